"""Make the coefficients in gnumba/elementary.py: `python tools/polynomials.py` prints them.

Each polynomial is the one of its degree with the smallest largest error (Remez' exchange, in
mpmath), an error counting as much as it changes the function's result. The comment is that error
in ulp of the result, after the coefficients were rounded to the dtype. Degrees are the lowest with
which the functions stay within about one ulp, the roundings of their arithmetic included.
"""

import struct

import mpmath as mp

mp.mp.dps = 40
DTYPES = {"float64": ("d", 53, 17), "float32": ("f", 24, 9)}  # struct code, bits, digits


def exp_tail(r):
    return (mp.expm1(r) - r) / r**2


def log_tail(z):
    return 2 * (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z


def tanh_tail(u):
    return (mp.tanh(mp.sqrt(u)) / mp.sqrt(u) - 1) / u


def silu_derivative(x):
    return (1 + mp.exp(-x) * (1 + x)) / (1 + mp.exp(-x)) ** 2


SILU_MINIMUM = mp.findroot(silu_derivative, -1.278)


def silu_slope(d):
    return silu_derivative(SILU_MINIMUM + d) / d


# name: function, interval, weight (d result / result for a change in the polynomial), degrees
FITS = {
    # r from log(3/4) to log(3/2), and a little more for the rounding of x log2(e)
    "EXP_TAIL": (
        exp_tail,
        (-0.28769, 0.40548),
        lambda r: r**2 / abs(mp.expm1(r)),
        {"float64": 9, "float32": 4},
    ),
    # s = f / (2 + f), z = s², 1 + f from sqrt(1/2) to sqrt(2)
    "LOG_TAIL": (log_tail, (1e-12, 0.029438), lambda z: z / 2, {"float64": 6, "float32": 2}),
    # u = x², |x| below 0.9
    "TANH_TAIL": (
        tanh_tail,
        (1e-12, 0.81),
        lambda u: 1 / (1 / u + tanh_tail(u)),
        {"float64": 13, "float32": 6},
    ),
    # x - SILU_MINIMUM, within 1/64
    "SILU_NEAR_MINIMUM": (
        silu_slope,
        (-0.01563, 0.01563),
        lambda d: 1 / abs(silu_slope(d)),
        {"float64": 6, "float32": 3},
    ),
}


def value(coefficients, x):
    """The polynomial with these coefficients, lowest first. (mpmath.polyval changes its order in 1.4.)"""
    return mp.fsum(c * x**k for k, c in enumerate(coefficients))


def remez(f, interval, weight, degree, points=600):
    """Coefficients, lowest first, that make the largest `weight * (f - polynomial)` smallest."""
    lo, hi = map(mp.mpf, interval)
    x = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (i + 0.5) / points) for i in range(points)]
    y, w = [f(t) for t in x], [weight(t) for t in x]
    extremes = [round((points - 1) * (i + 0.5) / (degree + 2)) for i in range(degree + 2)]
    while True:
        # the polynomial whose weighted errors at `extremes` are equal, with alternating signs
        rows = [[x[i] ** j for j in range(degree + 1)] + [(-1) ** k / w[i]] for k, i in enumerate(extremes)]
        *coefficients, _ = mp.lu_solve(mp.matrix(rows), mp.matrix([y[i] for i in extremes]))
        error = [w[i] * (y[i] - value(coefficients, x[i])) for i in range(points)]
        runs = [[0]]  # of one sign each
        for i in range(1, points):
            runs.append([i]) if error[i] * error[i - 1] < 0 else runs[-1].append(i)
        found = [max(run, key=lambda i: abs(error[i])) for run in runs]
        if found == extremes or len(found) != degree + 2:
            return coefficients
        extremes = found


def fitted(name, dtype):
    """The coefficients in `dtype`, and the largest error they make, in ulp of the result."""
    f, interval, weight, degrees = FITS[name]
    code, precision, digits = DTYPES[dtype]
    exact = remez(f, interval, weight, degrees[dtype])
    rounded = [struct.unpack(code, struct.pack(code, c))[0] for c in exact]
    errors = [weight(t) * (f(t) - value(rounded, t)) for t in mp.linspace(*interval, 500)]
    return [f"{c:.{digits}g}" for c in rounded], float(max(map(abs, errors)) * 2**precision)


def split(x, dtype):
    """x rounded to `dtype`, and what that lost, rounded."""
    code, _, digits = DTYPES[dtype]
    high = struct.unpack(code, struct.pack(code, x))[0]
    low = struct.unpack(code, struct.pack(code, x - high))[0]
    return f"{high:.{digits}g}", f"{low:.{digits}g}"


if __name__ == "__main__":
    for name in FITS:
        print(f"{name} = per_dtype(")
        for dtype in DTYPES:
            coefficients, error = fitted(name, dtype)
            print(f"    {dtype}=(  # {error:.2f} ulp")
            for i in range(0, len(coefficients), 3):
                print("        " + ", ".join(coefficients[i : i + 3]) + ",")
            print("    ),")
        print(")")
    halves = {dtype: split(SILU_MINIMUM, dtype) for dtype in DTYPES}
    for k, name in enumerate(("SILU_MINIMUM", "SILU_MINIMUM_LOW")):
        print(f"{name} = per_dtype(" + ", ".join(f"{d}={halves[d][k]}" for d in DTYPES) + ")")
