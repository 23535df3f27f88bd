"""Scalar elementary functions in branch-free arithmetic that vectorises.

They are for rules: gnumba compiles them, with all that they call, for float32 and for float64.
In plain Python they run as they stand, in float64, with the same bits as the compiled float64.
(`math.exp` in a compiled loop is a call for each element, ten times slower than this arithmetic.)

Every multiplication that feeds an addition is an explicit `fma`, so there is one way to round it,
on every machine. On a CPU without FMA, from before 2013, that is a library call, and slow.

Accuracies are the largest error seen, in units in the last place (ulp), subnormal numbers included.
All functions keep nan, the odd ones keep the sign of zero, and the limits at ±inf are right.
"""

import math
from math import copysign, inf, isfinite, nan
from typing import TYPE_CHECKING, Any

from ._suggest import module_getattr

__all__ = [
    "FAR",
    "clip",
    "exp",
    "exp_plus",
    "expm1",
    "expm1_times",
    "fma",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "scaled_exp",
    "scaled_one_plus_exp",
    "sign",
    "sqrt",
    "tanh",
    "where",
]


# Primitives: here what they mean; compiled, they are machine instructions (_engine/compile/primitives.py).


def _exact_fma(a, b, c):
    from fractions import Fraction  # here: 16 ms of import that few need

    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return float(exact) if exact else a * b + c  # a zero's sign: a b is then exact in floats too


_fma = getattr(math, "fma", _exact_fma)  # in Python from 3.13


def fma(a: float, b: float, c: float) -> float:
    """Fused multiply-add: a·b + c, rounded once.

    Examples
    --------
    >>> 0.1 * 10.0 - 1.0, fma(0.1, 10.0, -1.0)
    (0.0, 5.551115123125783e-17)
    """
    if not (isfinite(a) and isfinite(b)):
        return a * b + c
    if not isfinite(c):
        return c
    try:
        return _fma(a, b, c)
    except OverflowError:
        return copysign(inf, a * b + c)


def horner(x, coefficients):
    """c₀ + x(c₁ + x(c₂ + …)) as a chain of fma, for a tuple of at least one coefficient."""
    *lower, total = coefficients
    for coefficient in reversed(lower):
        total = fma(x, total, coefficient)
    return total


def pow2(n):
    """2ⁿ for an integer-valued float n, where that is a normal number."""
    return nan if n != n else math.ldexp(1.0, int(n))


def split_exponent(x):
    """(m, e) with x = m·2ᵉ, √½ ≤ m < √2, for a positive normal x; for others without meaning."""
    m, e = math.frexp(abs(x))
    return (m, float(e)) if m >= SQRT_HALF else (2.0 * m, e - 1.0)


def sqrt(x: float) -> float:
    """Square root, rounded correctly; nan below zero.

    Examples
    --------
    >>> sqrt(2.0), sqrt(-1.0)
    (1.4142135623730951, nan)
    """
    return nan if x < 0.0 else math.sqrt(x)


def where(condition: bool, a: float, b: float) -> float:
    """a if the condition holds, else b: a select, not a branch, so both are computed.

    A loop over a rule becomes SIMD if all its choices are selects. Of an ``a if condition else b``
    the compiler makes one where it sees that it may; of this, always. Conditions are combined by
    ``&`` and ``|``, as ``and`` and ``or`` are branches.

    Examples
    --------
    >>> where(1.0 < 2.0, 3.0, 4.0)
    3.0
    """
    return a if condition else b


PRIMITIVES = (fma, horner, pow2, split_exponent, sqrt, where)


# Constants. A plain float or tuple is rounded to the dtype; these differ by more than that.


class PerDtype:
    """A constant that is the float64 one, and carries the one for float32 code as `.float32`."""

    float32: Any


class Real(PerDtype, float):
    pass


class Reals(PerDtype, tuple[float, ...]):
    pass


def per_dtype(*, float64, float32):
    constant = (Reals if isinstance(float64, tuple) else Real)(float64)
    constant.float32 = float32
    return constant


SQRT_HALF = 0.7071067811865476
LOG2E = 1.4426950408889634
ROUNDING_SHIFT = -0.08496250072115619  # 1/2 - log2(3/2)
LN2 = 0.6931471805599453
LN2_LOW = per_dtype(float64=2.3190468138462996e-17, float32=-1.9046543e-9)  # log(2) - LN2
MAGIC = per_dtype(float64=1.5 * 2.0**52, float32=1.5 * 2.0**23)  # x + MAGIC - MAGIC rounds x
MIN_NORMAL = per_dtype(float64=2.0**-1022, float32=2.0**-126)
MANTISSA_BITS = per_dtype(float64=52.0, float32=23.0)
LAST_EXPONENT = per_dtype(float64=1023.0, float32=127.0)
LOW_EXPONENT = per_dtype(float64=-1000.0, float32=-100.0)  # some way above the lowest normal one

EXP_IS_ZERO = per_dtype(float64=-746.0, float32=-104.0)
EXP_IS_NORMAL = per_dtype(float64=-708.0, float32=-87.0)
EXP_IS_INF = per_dtype(float64=710.0, float32=89.0)
EXPM1_IS_MINUS_1 = per_dtype(float64=-40.0, float32=-20.0)
FAR = per_dtype(float64=1100.0, float32=150.0)  # FAR e^-FAR underflows to zero

# Made by tools/polynomials.py, with the error that each adds to its function.
# fmt: off
EXP_TAIL = per_dtype(
    float64=(  # 0.21 ulp
        0.49999999999999994, 0.16666666666667324, 0.041666666666679598,
        0.008333333332658387, 0.0013888888885921053, 0.00019841272047569538,
        2.4801577832005543e-05, 2.7554400129286816e-06, 2.7588252560879461e-07,
        2.6427015173204189e-08,
    ),
    float32=(  # 0.25 ulp
        0.500000119, 0.166665852, 0.0416596048,
        0.00835861079, 0.00146032695,
    ),
)
LOG_TAIL = per_dtype(
    float64=(  # 0.02 ulp
        0.6666666666666734, 0.39999999999414587, 0.28571428742408717,
        0.22222198570868817, 0.18183564454497869, 0.1531404706267363,
        0.14795986632343075,
    ),
    float32=(  # 0.01 ulp
        0.666667759, 0.399775416, 0.298717618,
    ),
)
TANH_TAIL = per_dtype(
    float64=(  # 0.14 ulp
        -0.33333333333332998, 0.13333333333295613, -0.05396825395330377,
        0.021869488235717147, -0.0088632319367566246, 0.0035921000920815889,
        -0.0014556852191552924, 0.00058946206557661197, -0.00023757594427301323,
        9.3789290808883274e-05, -3.4654214647966641e-05, 1.0904201972376711e-05,
        -2.4774323590349574e-06, 2.9077465692522325e-07,
    ),
    float32=(  # 0.12 ulp
        -0.333333224, 0.133329779, -0.0539293028,
        0.021663541, -0.00826454256, 0.00258266716,
        -0.000455459842,
    ),
)
SILU_NEAR_MINIMUM = per_dtype(
    float64=(  # 0.20 ulp
        0.2178117057198001, 0.14664879699694719, 0.018874814223781566,
        -0.015222655232884789, -0.0066065891287901569, 0.00012670679827736948,
        0.00079848410947154361,
    ),
    float32=(  # 0.17 ulp
        0.217811704, 0.146648794, 0.0188731998,
        -0.0152220652,
    ),
)
SILU_MINIMUM = per_dtype(float64=-1.2784645427610737, float32=-1.27846456)
SILU_MINIMUM_LOW = per_dtype(float64=-1.0946994183093437e-16, float32=1.29792825e-08)
# fmt: on


def maximum(a: float, b: float) -> float:
    """The larger of a and b; nan if either is.

    Examples
    --------
    >>> maximum(1.0, 2.0), maximum(nan, 2.0)
    (2.0, nan)
    """
    return where((a > b) | (a != a), a, b)


def minimum(a: float, b: float) -> float:
    """The smaller of a and b; nan if either is.

    Examples
    --------
    >>> minimum(1.0, 2.0), minimum(nan, 2.0)
    (1.0, nan)
    """
    return where((a < b) | (a != a), a, b)


def clip(x: float, lo: float, hi: float) -> float:
    """x, but at least lo and at most hi; nan stays nan.

    Examples
    --------
    >>> clip(3.0, -1.0, 1.0), clip(nan, -1.0, 1.0)
    (1.0, nan)
    """
    x = where(x < lo, lo, x)
    return where(x > hi, hi, x)


def sign(x: float) -> float:
    """-1, x or 1 for x below, at and above zero; nan stays nan.

    Examples
    --------
    >>> sign(-3.0), sign(0.0), sign(nan)
    (-1.0, 0.0, nan)
    """
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x))


def _reduce_in_parts(x):
    """(r, tail, n) with eˣ = 2ⁿ(1 + r + tail), n an integer, 3/4 ≤ 1 + r + tail < 3/2."""
    # n is round(x log2(e)) but for the shift, which costs 6 %. Without it 1 + z goes from √½ to √2
    # and expm1 has 1.5 ulp: at n = 1, where z < -1/4, 2(1 + z) - 1 magnifies the rounding of z.
    n = (fma(x, LOG2E, ROUNDING_SHIFT) + MAGIC) - MAGIC
    h = fma(-n, LN2, x)  # exact
    r = fma(-n, LN2_LOW, h)
    low = fma(-n, LN2_LOW, h - r)  # what the rounding of r lost
    return r, fma(horner(r, EXP_TAIL), r * r, low), n


def _reduce(x):
    """(z, n) with eˣ = 2ⁿ(1 + z), n an integer, 3/4 ≤ 1 + z < 3/2; z is good to 1.1 ulp."""
    r, tail, n = _reduce_in_parts(x)
    return r + tail, n


def exp_plus(x: float, a: float) -> tuple[float, float, float]:
    """(y, a + eˣ, 2ᵏ) with eˣ = y·2ᵏ and a normal y, for |x| ≤ FAR; k is 0 unless eˣ is near underflow.

    What is computed of y, and multiplied by 2ᵏ last, is rounded once in a subnormal result too. The
    sum has the bits that the rounding of eˣ would lose; where k is not 0 it has y in place of eˣ.

    Examples
    --------
    >>> y, q, scale = exp_plus(-744.0, 1.0)
    >>> 1e6 * y / q * scale, 1e6 * exp(-744.0)
    (7.671945e-318, 9.881313e-318)
    """
    z, n = _reduce(x)
    k = clip(n, LOW_EXPONENT, LAST_EXPONENT)  # 2ⁿ may be too small or too large for a normal number
    p = pow2(k)
    return fma(p, z, p), fma(p, z, a + p), pow2(n - k)


def exp(x: float) -> float:
    """eˣ.

    Accuracy: 0.9 ulp in float32 and in float64.

    Examples
    --------
    >>> exp(1.0), exp(-745.0), exp(-inf)
    (2.718281828459045, 5e-324, 0.0)
    """
    y, _, scale = exp_plus(clip(x, EXP_IS_ZERO, EXP_IS_INF), 0.0)
    return y * scale


def expm1(x: float) -> float:
    """eˣ − 1, accurate near 0 too.

    Accuracy: 1.2 ulp in float32, 1.3 in float64 (near x = 17 and 37); 1 ulp below 0.

    Examples
    --------
    >>> expm1(1e-20), exp(1e-20) - 1.0, expm1(-inf)
    (1e-20, 0.0, -1.0)
    """
    z, n = _reduce(clip(x, EXPM1_IS_MINUS_1, EXP_IS_INF))
    half = pow2(n - 1.0)  # 2ⁿ may overflow where the result does not
    y = 2.0 * fma(half, z, half - 0.5)
    return where(abs(x) < 1e-17, x, y)  # x/2 would lose a subnormal's last bit, and -0.0 its sign


def expm1_times(x: float, c: float, c_low: float) -> float:
    """(c + c_low)(eˣ − 1) for x ≤ 0, c_low what the rounding of the factor to c lost.

    Accuracy: 1.2 ulp in float32 and in float64, where c · expm1(x) has 2.2.

    Examples
    --------
    >>> expm1_times(-1e-20, 2.0, 0.0), expm1_times(-inf, 3.0, 0.0)
    (-2e-20, -3.0)
    """
    r, tail, n = _reduce_in_parts(clip(x, EXPM1_IS_MINUS_1, 0.0))
    p = pow2(n)
    whole = c * (p - 1.0)
    lost = fma(c, p - 1.0, -whole) + c_low * fma(p, r, p - 1.0)
    return fma(c * p, r, fma(c * p, tail, lost)) + whole


def scaled_exp(x: float) -> tuple[float, float]:
    """(w, s) with eˣ = w/s: s is 1, or a smaller power of two where w would overflow without it.

    x is clipped: below at the smallest normal eˣ, above at FAR. With (w, s) = scaled_exp(-x),
    1/(1 + e⁻ˣ) is s/(s + w), right down to subnormal results.

    Accuracy: 0.9 ulp in float32 and in float64; s/(s + w): 2.5 and 2.4.

    Examples
    --------
    >>> scaled_exp(1.0)
    (2.718281828459045, 1.0)
    >>> w, s = scaled_exp(740.0)
    >>> s / (s + w)
    4.2e-322
    """
    z, n = _reduce(clip(x, EXP_IS_NORMAL, FAR))
    k = where(n > LAST_EXPONENT, LAST_EXPONENT, n)
    p = pow2(k)
    return fma(p, z, p), pow2(k - n)


def scaled_one_plus_exp(x):
    """(d, s) with 1 + eˣ = d/s: s is 1, or a smaller power of two where d would overflow without it.

    x is clipped as in `scaled_exp`. With (d, s) = scaled_one_plus_exp(-x), 1/(1 + e⁻ˣ) is s/d.

    Accuracy: s/d has 2.4 ulp in float32 and 2.2 in float64, near x = 17 and 37; elsewhere 1.6.

    Examples
    --------
    >>> scaled_one_plus_exp(1.0)
    (3.718281828459045, 1.0)
    >>> d, s = scaled_one_plus_exp(740.0)
    >>> s / d
    4.2e-322
    """
    z, n = _reduce(clip(x, EXP_IS_NORMAL, FAR))
    k = where(n > LAST_EXPONENT, LAST_EXPONENT, n)
    p, s = pow2(k), pow2(k - n)
    return fma(p, z, s + p), s  # the rounding of 1 + z is saved


def tanh(x: float) -> float:
    """Hyperbolic tangent, (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ).

    Accuracy: 1.0 ulp in float32, 1.2 in float64.

    Examples
    --------
    >>> tanh(0.5), tanh(-0.0), tanh(inf)
    (0.46211715726000974, -0.0, 1.0)
    """
    a = abs(x)
    a = where(a > 20.0, 20.0, a)
    u = a * a
    near = fma(a, u * horner(u, TANH_TAIL), a)
    # As in _reduce, but without the low parts: from 0.9 on an error of e²ᵃ counts for a quarter.
    n = (fma(2.0 * a, LOG2E, ROUNDING_SHIFT) + MAGIC) - MAGIC
    r = fma(-n, LN2, 2.0 * a)
    p = pow2(n)
    far = 1.0 - 2.0 / fma(p, fma(horner(r, EXP_TAIL), r * r, r), p + 1.0)
    return copysign(where(a < 0.9, near, far), x)


def _log(m, e, correction):
    """log(m·2ᵉ) + correction, √½ ≤ m < √2. After FreeBSD's e_log.c, by Sun Microsystems."""
    # A polynomial in f, without the division, needs 20 coefficients for 7 and is slower in float64.
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    tail = fma(s, fma(z, horner(z, LOG_TAIL), half_square), -half_square)  # log(m) - f
    high = fma(e, LN2, f)
    low = fma(e, LN2, -high) + f  # what the rounding of high lost
    return high + (low + (tail + fma(e, LN2_LOW, correction)))


def _outside(x, lowest, y):
    """y between `lowest` and inf; elsewhere what a logarithm with its pole at `lowest` is there."""
    return where(x < inf, where(x > lowest, y, where(x == lowest, -inf, nan)), x)


def log(x: float) -> float:
    """Natural logarithm; -inf at 0, nan below.

    Accuracy: 0.9 ulp in float32 and in float64.

    Examples
    --------
    >>> log(10.0), log(5e-324), log(0.0)
    (2.302585092994046, -744.4400719213812, -inf)
    """
    normal = x >= MIN_NORMAL
    m, e = split_exponent(where(normal, x, x * pow2(MANTISSA_BITS)))
    return _outside(x, 0.0, _log(m, where(normal, e, e - MANTISSA_BITS), 0.0))


def log1p(x: float) -> float:
    """log(1 + x), accurate near 0 too; -inf at -1, nan below.

    Accuracy: 0.9 ulp in float32 and in float64.

    Examples
    --------
    >>> log1p(1e-20), log(1.0 + 1e-20), log1p(-1.0)
    (1e-20, 0.0, -inf)
    """
    t = where(x > -1.0, x, 0.0)  # no division by zero
    u = 1.0 + t
    m, e = split_exponent(u)
    y = _log(m, e, (t - (u - 1.0)) / u)  # what the rounding of u lost, times log'(u)
    return where(x == 0.0, x, _outside(x, -1.0, y))


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # for a type checker a module with this has every attribute
    __getattr__ = module_getattr(__name__, __dir__)
