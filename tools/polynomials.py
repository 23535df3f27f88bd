"""Make the coefficients in gnumba/elementary.py: `python tools/polynomials.py` prints them.

Each polynomial is the one of its degree with the smallest largest error (Remez' exchange, in
mpmath), an error counting as much as it changes the function's result. The comment is that error
in ulp of the result, after the coefficients were rounded to the dtype. Degrees are the lowest with
which the functions stay within about one ulp, the roundings of their arithmetic included.
"""

import math
import struct

import mpmath as mp
import numpy as np

mp.mp.dps = 40
DTYPES = {"float64": ("d", 53, 17), "float32": ("f", 24, 9)}  # struct code, bits, digits


def exp_tail(r):
    return (mp.expm1(r) - r) / r**2


def log_tail(z):
    return 2 * (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z


def tanh_tail(u):
    return (mp.tanh(mp.sqrt(u)) / mp.sqrt(u) - 1) / u


def pow_tail(z):
    return (log_tail(z) - mp.mpf(2) / 3) / z


def erf_tail(u):
    return 2 / mp.sqrt(mp.pi) * mp.hyp1f1(0.5, 1.5, -u) - 1


def tanh_shrink_tail(u):
    return -(tanh_tail(u) + mp.mpf(1) / 3) / u


def sin_tail(u):
    return (mp.sin(mp.sqrt(u)) / mp.sqrt(u) - 1) / u


def cos_tail(u):
    return (mp.cos(mp.sqrt(u)) - 1 + u / 2) / u**2


def silu_derivative(x):
    return (1 + mp.exp(-x) * (1 + x)) / (1 + mp.exp(-x)) ** 2


def mish_derivative(x):
    w = mp.exp(x)
    return w * ((w + 2) * (w * w + 2 * w + 2) + 4 * x * (1 + w)) / (w * w + 2 * w + 2) ** 2


def gauss_tail(t):
    """Φ(-t) e^(t²/2)."""
    return mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2


def quarter_gauss_tail(t, c):
    return (t + c) * gauss_tail(t) / 4


def gelu_derivative(x):
    """The derivative of xΦ(x), times e^(x²/2), for x <= 0."""
    return gauss_tail(-x) + x / mp.sqrt(2 * mp.pi)


def gelu_tanh_derivative(x):
    a = 2 * mp.sqrt(2 / mp.pi)
    b = a * mp.mpf("0.044715")
    e = mp.exp(x * (a + b * x * x))
    return e * (1 + e + x * (a + 3 * b * x * x)) / (1 + e) ** 2


SILU_MINIMUM = mp.findroot(silu_derivative, -1.278)
MISH_MINIMUM = mp.findroot(mish_derivative, -1.192)
GELU_TANH_MINIMUM = mp.findroot(gelu_tanh_derivative, -0.752)
GELU_MINIMUM = mp.findroot(gelu_derivative, -0.752)
GAUSS_MIDDLE = {"float64": mp.mpf(5964153172084899) / 2**50, "float32": mp.mpf(3.40625)}
ERFC_MIDDLE = {"float64": mp.mpf(4), "float32": mp.mpf(2.5)}


def about(zero, derivative):
    """The derivative over the distance from its zero."""
    return lambda d: derivative(zero + d) / d


def over_gauss_range(f, dtype):
    """(f, interval, weight) of a function of t ≥ 0, in u = 2t/(t + c) - 3/4, up to underflow."""
    c = GAUSS_MIDDLE[dtype]
    last = {"float64": 39.5, "float32": 15.2}[dtype]

    def of_u(u):
        q = (u + 0.75) / 2  # t/(t + c)
        return f(c * q / (1 - q), c)

    return of_u, (-0.75, (last - c) / (last + c) + 0.25), lambda u: 1 / abs(of_u(u))


def over_erfc_range(f, dtype):
    """(f, interval, weight) of a function of t ≥ 0.6, in u = (t - c)/(t + c) + 1/4, up to underflow."""
    last = {"float64": 27.5, "float32": 10.5}[dtype]
    c = ERFC_MIDDLE[dtype]

    def of_u(u):
        return f(2 * c / (1.25 - u) - c, c)

    first, last = (1.25 - 2 * c / (t + c) for t in (0.599, last))
    return of_u, (first, last), lambda u: 1 / of_u(u)


def erfc_tail(t, c):
    """erfc(t) e^(t²) (t + c)."""
    return 2 * (t + c) * gauss_tail(t * mp.sqrt(2))


def gelu_slope(t, c):
    return gelu_derivative(-t) / (-t - GELU_MINIMUM)


def exp_tail_of_half(r):
    """exp(-r/2) is 1 - (r + r² times this)/2."""
    return (-2 * mp.expm1(-r / 2) - r) / r**2


# name: function, interval, weight (d result / result for a change in the polynomial), degrees
FITS = {
    # r from log(3/4) to log(3/2), and a little more for the rounding of x log2(e)
    "EXP_TAIL": (
        exp_tail,
        (-0.28769, 0.40548),
        lambda r: r**2 / abs(mp.expm1(r)),
        {"float64": 9, "float32": 4},
    ),
    # r from -2 log(3/2) to -2 log(3/4)
    "EXP_TAIL_OF_HALF": (
        exp_tail_of_half,
        (-0.81096, 0.57538),
        lambda r: r**2 / abs(2 * mp.expm1(-r / 2)),
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
        about(SILU_MINIMUM, silu_derivative),
        (-0.01563, 0.01563),
        lambda d: 1 / abs(about(SILU_MINIMUM, silu_derivative)(d)),
        {"float64": 6, "float32": 3},
    ),
    # s = f / (2 + f) as for LOG_TAIL, but what is left of the second term
    "POW_TAIL": (pow_tail, (1e-12, 0.029438), lambda z: 50 * z**2, {"float64": 8, "float32": 2}),
    # u = x², |x| below 1
    "TANH_SHRINK_TAIL": (
        tanh_shrink_tail,
        (1e-12, 1.0),
        lambda u: -u / tanh_tail(u),
        {"float64": 14, "float32": 6},
    ),
    # u = x², |x| below 0.6
    "ERF_TAIL": (erf_tail, (1e-12, 0.36), lambda u: 1 / (1 + erf_tail(u)), {"float64": 9, "float32": 4}),
    # u = x², |x| below π/4 + 1/60
    "SIN_TAIL": (
        sin_tail,
        (1e-12, 0.6433),
        lambda u: 1 / (1 / u + sin_tail(u)),
        {"float64": 5, "float32": 2},
    ),
    "COS_TAIL": (
        cos_tail,
        (1e-12, 0.6433),
        lambda u: u**2 / mp.cos(mp.sqrt(u)),
        {"float64": 5, "float32": 2},
    ),
    # u = 2t/(t + c) - 3/4, about which the polynomial loses little at either end
    "GAUSS_TAIL": (quarter_gauss_tail, over_gauss_range, {"float64": 21, "float32": 9}),
    "GELU_SLOPE": (gelu_slope, over_gauss_range, {"float64": 20, "float32": 8}),
    "ERFC_TAIL": (erfc_tail, over_erfc_range, {"float64": 20, "float32": 8}),
    # x - MISH_MINIMUM
    "MISH_NEAR_MINIMUM": (
        about(MISH_MINIMUM, mish_derivative),
        (-0.5001, 0.5001),
        lambda d: 1 / abs(about(MISH_MINIMUM, mish_derivative)(d)),
        {"float64": 17, "float32": 7},
    ),
    # x - GELU_TANH_MINIMUM
    "GELU_TANH_NEAR_MINIMUM": (
        about(GELU_TANH_MINIMUM, gelu_tanh_derivative),
        (-0.5001, 0.5001),
        lambda d: 1 / abs(about(GELU_TANH_MINIMUM, gelu_tanh_derivative)(d)),
        {"float64": 17, "float32": 7},
    ),
}


def powers(x, count):
    """1, x, x², …"""
    return [x**k for k in range(count)]


def value(coefficients, powers):
    """The polynomial with these coefficients, lowest first. (mpmath.polyval changes its order in 1.4.)"""
    return mp.fsum(c * power for c, power in zip(coefficients, powers, strict=True))


def remez(f, interval, weight, degree, points=600):
    """Coefficients, lowest first, that make the largest `weight * (f - polynomial)` smallest."""
    lo, hi = map(mp.mpf, interval)
    x = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (i + 0.5) / points) for i in range(points)]
    y, w, raised = [f(t) for t in x], [weight(t) for t in x], [powers(t, degree + 1) for t in x]
    extremes = [round((points - 1) * (i + 0.5) / (degree + 2)) for i in range(degree + 2)]
    while True:
        # the polynomial whose weighted errors at `extremes` are equal, with alternating signs
        rows = [raised[i] + [(-1) ** k / w[i]] for k, i in enumerate(extremes)]
        *coefficients, _ = mp.lu_solve(mp.matrix(rows), mp.matrix([y[i] for i in extremes]))
        error = [w[i] * (y[i] - value(coefficients, raised[i])) for i in range(points)]
        runs = [[0]]  # of one sign each
        for i in range(1, points):
            runs.append([i]) if error[i] * error[i - 1] < 0 else runs[-1].append(i)
        found = [max(run, key=lambda i: abs(error[i])) for run in runs]
        if found == extremes or len(found) != degree + 2:
            return coefficients
        extremes = found


def fitted(name, dtype):
    """The coefficients in `dtype`, and the largest error they make, in ulp of the result."""
    f, *domain, degrees = FITS[name]
    f, interval, weight = domain[0](f, dtype) if len(domain) == 1 else (f, *domain)
    code, precision, digits = DTYPES[dtype]
    exact = remez(f, interval, weight, degrees[dtype])
    rounded = [struct.unpack(code, struct.pack(code, c))[0] for c in exact]
    points = mp.linspace(*interval, 500)
    weights = [weight(t) * 2**precision for t in points]
    errors = [
        w * (f(t) - value(rounded, powers(t, len(rounded)))) for t, w in zip(points, weights, strict=True)
    ]
    if max(map(abs, errors)) > 0.3:
        rounded, errors = polished(rounded, errors, points, weights, precision)
    return [f"{c:.{digits}g}" for c in rounded], float(max(map(abs, errors)))


def polished(coefficients, errors, points, weights, precision, most=300):
    """Move single coefficients, and pairs of them, to neighbouring floats as long as the error falls.

    It may fall for days by less and less: ``most`` moves are made.
    """
    errors, size = np.array(errors, np.float64), len(coefficients)
    ulps = [2.0 ** (math.frexp(c)[1] - precision) for c in coefficients]
    moves = np.array(
        [[float(w * ulp * t**k) for t, w in zip(points, weights, strict=True)] for k, ulp in enumerate(ulps)]
    )
    steps = [(k, s, j, r) for k in range(size) for s in (-1, 1) for j in range(k) for r in (-1, 0, 1)]
    k, s, j, r = np.array(steps).T
    first, second = s[:, None] * moves[k], r[:, None] * moves[j]
    for _ in range(most):
        largest, worst = np.abs(errors).max(), np.argsort(np.abs(errors))[-32:]
        # steps that leave no error among the largest as large as it was
        able = np.flatnonzero(
            np.abs(errors[worst] - first[:, worst] - second[:, worst]).max(axis=1) < largest
        )
        tried = np.abs(errors - first[able] - second[able]).max(axis=1)
        if not (tried < largest).any():
            break
        best = able[np.argmin(tried)]
        coefficients[k[best]] += s[best] * ulps[k[best]]
        coefficients[j[best]] += r[best] * ulps[j[best]]
        errors = errors - first[best] - second[best]
    return coefficients, errors


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
    for name in ("SILU_MINIMUM", "MISH_MINIMUM", "GELU_TANH_MINIMUM", "GELU_MINIMUM"):
        halves = {dtype: split(globals()[name], dtype) for dtype in DTYPES}
        for k, part in enumerate((name, f"{name}_LOW")):
            print(f"{part} = per_dtype(" + ", ".join(f"{d}={halves[d][k]}" for d in DTYPES) + ")")
    for name in ("GAUSS_MIDDLE", "ERFC_MIDDLE"):
        print(
            f"{name} = per_dtype(" + ", ".join(f"{d}={split(globals()[name][d], d)[0]}" for d in DTYPES) + ")"
        )
