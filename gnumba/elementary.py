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
from builtins import abs
from math import copysign, inf, isfinite, nan
from typing import TYPE_CHECKING, Any

from ._suggest import module_getattr

__all__ = [
    "FAR",
    "abs",
    "clip",
    "cos",
    "erf",
    "erfc",
    "exp",
    "exp_below",
    "exp_plus",
    "expm1",
    "expm1_times",
    "fma",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "pow",
    "scaled_exp",
    "scaled_one_plus_exp",
    "sign",
    "sin",
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
LN2_HEAD = per_dtype(float64=0.693147180559663, float32=0.693145751953125)  # times an exponent exact
LN2_REST = per_dtype(float64=2.8235290563031577e-13, float32=1.42860677e-06)
MAGIC = per_dtype(float64=1.5 * 2.0**52, float32=1.5 * 2.0**23)  # x + MAGIC - MAGIC rounds x
MIN_NORMAL = per_dtype(float64=2.0**-1022, float32=2.0**-126)
MANTISSA_BITS = per_dtype(float64=52.0, float32=23.0)
LAST_EXPONENT = per_dtype(float64=1023.0, float32=127.0)
LOW_EXPONENT = per_dtype(float64=-1000.0, float32=-100.0)  # some way above the lowest normal one

# π/2 in parts of a dtype's precision, and where their multiples are no longer exact.
HALF_PI = per_dtype(float64=1.5707963267948966, float32=1.57079637)
HALF_PI_2 = per_dtype(float64=6.123233995736766e-17, float32=-4.37113883e-08)
HALF_PI_3 = per_dtype(float64=-1.4973849048591698e-33, float32=-1.71512451e-15)
TWO_OVER_PI = 0.6366197723675814
SIN_IS_NAN = per_dtype(float64=2.0**47, float32=2.0**18)
INTEGERS = per_dtype(float64=2.0**52, float32=2.0**23)  # all floats from here on
TWO_THIRDS = 0.66666666666666663
TWO_THIRDS_LOW = per_dtype(float64=3.7007434154171886e-17, float32=-1.98682149e-08)

EXP_IS_ZERO = per_dtype(float64=-746.0, float32=-104.0)
EXP_IS_NORMAL = per_dtype(float64=-708.0, float32=-87.0)
EXP_IS_INF = per_dtype(float64=710.0, float32=89.0)
ERFC_IS_ZERO = per_dtype(float64=27.5, float32=10.5)
GAUSS_IS_ZERO = per_dtype(float64=39.0, float32=15.0)  # t with e^(-t²/2) = 0
GAUSS_LIFT = per_dtype(float64=256.0, float32=64.0)  # keeps e^(-t²/2) normal until then
GAUSS_SCALE = per_dtype(float64=2.0**-256, float32=2.0**-64)
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
EXP_TAIL_OF_HALF = per_dtype(
    float64=(  # 0.21 ulp
        -0.24999999999999997, 0.041666666666668309, -0.0052083333333349498,
        0.00052083333329114919, -4.340277776850329e-05, 3.1001987574327403e-06,
        -1.937623268125433e-07, 1.0763437550502663e-08, -5.3883305782967698e-10,
        2.5807632005082216e-11,
    ),
    float32=(  # 0.25 ulp
        -0.25000006, 0.041666463, -0.00520745059,
        0.000522413175, -4.56352172e-05,
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
POW_TAIL = per_dtype(
    float64=(  # 0.01 ulp
        0.40000000000000002, 0.28571428571428376, 0.22222222222290589,
        0.18181818169251746, 0.15384616753306846, 0.13333240431488144,
        0.11768673917167426, 0.10422902293831869, 0.11013323143438979,
    ),
    float32=(  # 0.02 ulp
        0.400001526, 0.28547132, 0.234186038,
    ),
)
TANH_SHRINK_TAIL = per_dtype(
    float64=(  # 0.15 ulp
        -0.13333333333333172, 0.053968253968086383, -0.021869488530032177,
        0.0088632354160958406, -0.0035921267718535725, 0.0014558251911265755,
        -0.00058998117864648601, 0.00023896215234585157, -9.6472798826110695e-05,
        3.840392083851921e-05, -1.4620834779380262e-05, 4.9983412138843519e-06,
        -1.3842429195257326e-06, 2.6475297361340207e-07, -2.5341389917739403e-08,
    ),
    float32=(  # 0.13 ulp
        -0.133333176, 0.0539641827, -0.0218332335,
        0.0087068798, -0.00321863871, 0.000931391434,
        -0.000144896447,
    ),
)
ERF_TAIL = per_dtype(
    float64=(  # 0.11 ulp
        0.12837916709551259, -0.37612638903183704, 0.11283791670950463,
        -0.026866170643480101, 0.0052239775957013254, -0.00085483239409225192,
        0.00012055138035247351, -1.491799365957435e-05, 1.6279244800691507e-06,
        -1.3911623101143151e-07,
    ),
    float32=(  # 0.25 ulp
        0.128379151, -0.376125127, 0.112809919,
        -0.0266469866, 0.00451235799,
    ),
)
SIN_TAIL = per_dtype(
    float64=(  # 0.10 ulp
        -0.16666666666666621, 0.0083333333333194867, -0.00019841269827446326,
        2.7557312867643337e-06, -2.5050628468718074e-08, 1.5889256892950894e-10,
    ),
    float32=(  # 0.15 ulp
        -0.166666523, 0.00833205786, -0.000195013286,
    ),
)
COS_TAIL = per_dtype(
    float64=(  # 0.01 ulp
        0.041666666666666574, -0.0013888888888869298, 2.4801587286490417e-05,
        -2.7557313494102058e-07, 2.0875607424143696e-09, -1.1353691149484972e-11,
    ),
    float32=(  # 0.01 ulp
        0.0416666418, -0.00138871768, 2.44172079e-05,
    ),
)
GAUSS_TAIL = per_dtype(
    float64=(  # 0.56 ulp
        0.24506616905198017, -0.25425428030687297, 0.21756640173703154,
        -0.15320988421062542, 0.087460178158845756, -0.039033541998614377,
        0.012474878746399186, -0.0020789232196868979, -0.00031573106696180722,
        0.00027298478357862949, -3.359200826887325e-05, -2.1319174983902548e-05,
        6.7582478815946987e-06, 1.6482684099098161e-06, -9.2208587265520352e-07,
        -1.6000989753037554e-07, 1.2152630116331577e-07, 2.0807771256607748e-08,
        -1.704077988068359e-08, -1.9804462597226736e-09, 2.2206621302340245e-09,
        -2.8079048119471825e-10,
    ),
    float32=(  # 0.32 ulp
        0.225354016, -0.181560129, 0.0950742066,
        -0.0270474739, -0.000128470056, 0.00251802709,
        -0.000180476971, -0.000289934134, 1.24407079e-05,
        3.19514038e-05,
    ),
)
GELU_SLOPE = per_dtype(
    float64=(  # 0.50 ulp
        0.47487887559803627, -0.1246069762657693, 0.096561038096641419,
        -0.063419505651389596, 0.034707437260727558, -0.015337361337590019,
        0.0051273911924640718, -0.0010803998337669657, 1.6283033476246602e-05,
        7.4956017680207672e-05, -1.8700045419027968e-05, -2.9934511804334892e-06,
        2.2028947080397398e-06, 4.2344568893719981e-08, -2.3436023761104716e-07,
        8.0407482318588859e-09, 2.6390336146422163e-08, -1.4228296883564976e-09,
        -2.8451717679040251e-09, 2.2877285261884586e-10, 1.4921457976052351e-10,
    ),
    float32=(  # 0.20 ulp
        0.503066361, -0.145831272, 0.0745037124,
        -0.0240326878, 0.0028038288, 0.00106366316,
        -0.000321298576, -7.72568383e-05, 3.1877611e-05,
    ),
)
ERFC_TAIL = per_dtype(
    float64=(  # 0.69 ulp
        1.3983919010370134, -1.4891356666705071, 1.335165951206734,
        -1.0082729983894001, 0.63607302519018338, -0.32854853449135174,
        0.13314224297418831, -0.038151074555227316, 0.0050279362492996671,
        0.0014173877959349377, -0.00085930432353003216, 7.981688700053629e-05,
        6.9210062084928449e-05, -2.0206167991406402e-05, -4.8627370131125109e-06,
        2.831291378665082e-06, 3.7242139977510422e-07, -3.8607829024288137e-07,
        -2.7121352426722144e-08, 6.0029719062245039e-08, -1.1755416330140947e-08,
    ),
    float32=(  # 0.09 ulp
        1.28634167, -1.06529999, 0.591407955,
        -0.192959875, 0.0137741528, 0.0145109817,
        -0.00302872807, -0.0016124195, 0.000606868824,
    ),
)
MISH_NEAR_MINIMUM = per_dtype(
    float64=(  # 0.52 ulp
        0.2669479140495345, 0.20473126408010586, 0.041907821043609961,
        -0.020271822716684994, -0.015821126561735833, -0.0033606849269761478,
        0.0010924055410601824, 0.00098981810070880691, 0.00025412936115649579,
        -4.1961472830076694e-05, -5.58288800341233e-05, -1.7299493616608459e-05,
        9.4245639333173005e-07, 2.9101131762022425e-06, 1.0730023970564152e-06,
        2.2424341806855973e-08, -1.4485579836044361e-07, -5.339833417666058e-08,
    ),
    float32=(  # 1.22 ulp
        0.266947895, 0.2047313, 0.0419087149,
        -0.0202735234, -0.0158384815, -0.00334492559,
        0.00120848184, 0.000938689802,
    ),
)
GELU_TANH_NEAR_MINIMUM = per_dtype(
    float64=(  # 0.52 ulp
        0.43040009102485849, 0.38751844613578884, -0.015782853521848956,
        -0.11394448308095165, -0.016619328342932869, 0.019682309459424056,
        0.0052610592499283222, -0.0024227318351074389, -0.00092744191874108808,
        0.00026392748788012059, 0.00012425105441004253, -3.4954913246097347e-05,
        -1.594244406241458e-05, 5.9124363870025575e-06, 2.3993136599101506e-06,
        -9.7224554487055232e-07, -3.5498027366748897e-07, 1.1483990392155449e-07,
    ),
    float32=(  # 1.54 ulp
        0.430400103, 0.387518197, -0.0157859791,
        -0.113936394, -0.0165529884, 0.0196069255,
        0.00482305745, -0.00216868706,
    ),
)
SILU_MINIMUM = per_dtype(float64=-1.2784645427610737, float32=-1.27846456)
SILU_MINIMUM_LOW = per_dtype(float64=-1.0946994183093437e-16, float32=1.29792825e-08)
MISH_MINIMUM = per_dtype(float64=-1.1924312145154952, float32=-1.19243121)
MISH_MINIMUM_LOW = per_dtype(float64=-4.8484829848031044e-17, float32=-3.04393755e-09)
GELU_TANH_MINIMUM = per_dtype(float64=-0.75246142207101629, float32=-0.752461433)
GELU_TANH_MINIMUM_LOW = per_dtype(float64=3.6355605092076871e-17, float32=1.13396279e-08)
GELU_MINIMUM = per_dtype(float64=-0.75179152469356447, float32=-0.751791537)
GELU_MINIMUM_LOW = per_dtype(float64=1.4956759177009883e-17, float32=1.21144499e-08)
GAUSS_MIDDLE = per_dtype(float64=5.2972321392318547, float32=3.40625)
ERFC_MIDDLE = per_dtype(float64=4, float32=2.5)
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


def _reduce_roughly(x):
    """`_reduce` without the part that the rounding of r lost."""
    n = (fma(x, LOG2E, ROUNDING_SHIFT) + MAGIC) - MAGIC
    r = fma(-n, LN2_LOW, fma(-n, LN2, x))
    return fma(horner(r, EXP_TAIL), r * r, r), n


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


def exp_of_sum(x, low):
    """(z, p, 2ᵏ) with e^(x + low) = p(1 + z)·2ᵏ, p a power of two and k as in `exp_plus`; low is small."""
    n = (fma(x, LOG2E, ROUNDING_SHIFT) + MAGIC) - MAGIC
    h = fma(-n, LN2, x)
    c = fma(-n, LN2_LOW, low)
    r = h + c
    z = r + fma(horner(r, EXP_TAIL), r * r, (h - r) + c)
    k = clip(n, LOW_EXPONENT, LAST_EXPONENT)
    return z, pow2(k), pow2(n - k)


def exp_plus_of_sum(x, low, a):
    """(y, a + y, 2ᵏ) with e^(x + low) = y·2ᵏ as in `exp_plus`; low is small."""
    z, p, scale = exp_of_sum(x, low)
    return fma(p, z, p), fma(p, z, a + p), scale


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


def exp_below(x: float) -> float:
    """eˣ for x ≤ 0, and 0 left of −87 in float32, of −708 in float64: two thirds of the work of `exp`.

    Accuracy: 1.1 ulp in float32 and in float64.

    Examples
    --------
    >>> exp_below(-1.0), exp_below(0.0), exp_below(-inf)
    (0.36787944117144233, 1.0, 0.0)
    """
    z, n = _reduce_roughly(where(x < EXP_IS_NORMAL, EXP_IS_NORMAL, x))
    p = pow2(n)
    return where(x < EXP_IS_NORMAL, 0.0, fma(p, z, p))


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


def scaled_one_plus_exp_of_sum(x, low):
    """(d, s) with 1 + e^(x + low) = d/s as in `scaled_one_plus_exp`, for |x| ≤ FAR; low is small."""
    z, p, scale = exp_of_sum(x, low)
    s = 1.0 / scale
    return fma(p, z, s + p), s


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


def pow(x: float, y: float) -> float:
    """xʸ, as IEEE 754 and `math.pow` have it: 1 for y = 0 and for x = 1, even beside nan.

    Where `math.pow` raises there is nan, for a negative x and a y that is no integer, or ±inf, for 0
    to a negative power and for too large results.

    Accuracy: 2 ulp in float32 and in float64.

    Examples
    --------
    >>> pow(4.0, 0.5), pow(-2.0, 3.0), pow(-2.0, 0.5), pow(0.0, -1.0)
    (2.0, -8.0, nan, inf)
    """
    a = abs(x)
    normal = a >= MIN_NORMAL
    m, e = split_exponent(where(normal, a, a * pow2(MANTISSA_BITS)))
    e = where(normal, e, e - MANTISSA_BITS)
    # log|x| = high + low, low below an ulp of high: 2s + s·tail, with s = (m - 1)/(m + 1) in two parts
    f = m - 1.0
    d = 2.0 + f
    s = f / d
    s_low = (fma(-s, d, f) - s * (f - (d - 2.0))) / d
    z = s * s
    z_low = fma(s, s, -z) + 2.0 * s * s_low
    first = z * TWO_THIRDS
    others = fma(z_low, TWO_THIRDS, z * fma(z, horner(z, POW_TAIL), TWO_THIRDS_LOW))
    tail = first + others
    tail_low = (first - tail) + others + fma(z, TWO_THIRDS, -first)
    whole, product = e * LN2, s * tail
    twice = fma(2.0, s, whole)
    high = twice + product
    low = (twice - high) + product + fma(2.0, s, whole - twice) + fma(e, LN2, -whole)
    low += fma(s, tail, -product) + fma(s, tail_low, fma(2.0 + tail, s_low, e * LN2_LOW))
    high, low = high + low, (high - (high + low)) + low
    # y log|x|, again in two parts; where it is far out of range there is no second one
    t = clip(y * high, -FAR, FAR)
    rest = where(abs(t) < FAR, fma(y, low, fma(y, high, -t)), 0.0)
    p, _, scale = exp_plus_of_sum(t, rest, 0.0)
    p *= scale
    limit = where((a < 1.0) == (y < 0.0), inf, 0.0)
    p = where((a == 0.0) | (a == inf) | (abs(y) == inf), where(a == 1.0, 1.0, limit), p)
    b = abs(y)
    half = 0.5 * b
    integer = (b >= INTEGERS) | ((b + INTEGERS) - INTEGERS == b)
    odd = integer & (b < 2.0 * INTEGERS) & ((half + INTEGERS) - INTEGERS != half)
    negative = copysign(1.0, x) < 0.0
    p = where(negative & odd, -p, p)
    p = where((x < 0.0) & (a < inf) & (b < inf) & ~integer, nan, p)
    p = where((x != x) | (y != y), nan, p)
    return where((x == 1.0) | (y == 0.0), 1.0, p)


def gauss(h, t, low):
    """(z, p) with e^(low − ht) = p(1 + z)·GAUSS_SCALE, p a power of two, for ht from 0 to 760 or 112."""
    square = h * t
    n = (fma(-square, LOG2E, ROUNDING_SHIFT) + MAGIC) - MAGIC
    part = fma(-n, LN2, -square)
    c = fma(-n, LN2_LOW, fma(-h, t, square) + low)
    r = part + c
    return r + fma(horner(r, EXP_TAIL), r * r, (part - r) + c), pow2(n + GAUSS_LIFT)


def gauss_roughly(t):
    """(z, p) with e^(−t²/2) = p(1 − z/2)·GAUSS_SCALE, p as in `gauss`, without what rounding −z/2 lost."""
    n = (fma(t * t, -0.5 * LOG2E, ROUNDING_SHIFT) + MAGIC) - MAGIC
    r = fma(2.0 * LN2_REST, n, fma(t, t, 2.0 * LN2_HEAD * n))
    return fma(horner(r, EXP_TAIL_OF_HALF), r * r, r), pow2(n + GAUSS_LIFT)


def _erfc_tail(t):
    """y with erfc(t) = y·GAUSS_SCALE, for t from 0.6 to ERFC_IS_ZERO."""
    q = 1.0 / (t + ERFC_MIDDLE)
    e = fma(-q, t, fma(-q, ERFC_MIDDLE, 1.0))  # what the roundings of q lost
    # The rounding of q is made up for in q itself and, about, in the polynomial of u.
    z, p = gauss(t, t, fma(ERFC_MIDDLE * q, 1.44 * e, e))
    u = fma(-2.0 * ERFC_MIDDLE, q, 1.25)
    first, slope = ERFC_TAIL[0], horner(u, ERFC_TAIL[1:])
    tail = fma(u, slope, first)
    low = fma(u, slope, first - tail)
    y = q * tail
    return p * (y + fma(y, z, fma(q, low, fma(q, tail, -y))))


def erfc(x: float) -> float:
    """Complementary error function, 1 − erf(x), accurate in its tail too.

    Accuracy: 2.5 ulp in float32 and in float64.

    Examples
    --------
    >>> erfc(0.0), erfc(-inf), erfc(inf)
    (1.0, 2.0, 0.0)
    """
    a = abs(x)
    y = GAUSS_SCALE * _erfc_tail(where(a > ERFC_IS_ZERO, ERFC_IS_ZERO, a))
    return where(a < 0.6, 1.0 - _erf_of_small(x), where(x < 0.0, 2.0 - y, y))


def _erf_of_small(x):
    """erf(x) for |x| < 0.6."""
    return fma(x, horner(x * x, ERF_TAIL), x)


def erf(x: float) -> float:
    """Error function, 2/√π times the integral of e^(−t²) from 0 to x.

    Accuracy: 2 ulp in float32, 1.3 in float64.

    Examples
    --------
    >>> erf(0.5), erf(-0.0), erf(inf)
    (0.5204998778130465, -0.0, 1.0)
    """
    a = abs(x)
    a = where(a > 6.0, 6.0, a)
    return copysign(where(a < 0.6, _erf_of_small(a), fma(-GAUSS_SCALE, _erfc_tail(a), 1.0)), x)


def sin_and_cos(x, low):
    """(sin r, cos r, k) with x + low = r + nπ/2, |r| ≤ π/4, and k = n modulo 4 from -2 to 2."""
    n = fma(x, TWO_OVER_PI, MAGIC) - MAGIC
    h = fma(-n, HALF_PI, x)  # exact, as long as n is
    p = n * HALF_PI_2
    r = h - p
    back = r - h
    rest = (h - (r - back)) - (p + back)  # what the rounding of r lost
    rest = fma(-n, HALF_PI_3, (rest - fma(n, HALF_PI_2, -p)) + low)
    s = r + rest
    rest = (r - s) + rest
    u = s * s
    half = 0.5 * u
    c = 1.0 - half
    sine = s + fma(s * u, horner(u, SIN_TAIL), rest * c)
    cosine = c + fma(u * u, horner(u, COS_TAIL), fma(-s, rest, (1.0 - c) - half))
    return sine, cosine, fma(-4.0, (fma(0.25, n, MAGIC) - MAGIC), n)


def sin(x: float) -> float:
    """Sine, for |x| ≤ 2¹⁸ in float32 and 2⁴⁷ in float64; beyond nan, as no digit would be right.

    Accuracy: 1 ulp in float32 and in float64.

    Examples
    --------
    >>> sin(1.0), sin(-0.0), sin(inf)
    (0.8414709848078965, -0.0, nan)
    """
    return sin_of_product(1.0, x)


def cos(x: float) -> float:
    """Cosine, for |x| ≤ 2¹⁸ in float32 and 2⁴⁷ in float64; beyond nan, as no digit would be right.

    Accuracy: 1 ulp in float32 and in float64.

    Examples
    --------
    >>> cos(1.0), cos(0.0), cos(inf)
    (0.5403023058681398, 1.0, nan)
    """
    return cos_of_product(1.0, x)


def sin_of_product(a, x):
    """sin(ax), the product not rounded."""
    z = a * x
    s, c, k = sin_and_cos(z, fma(a, x, -z))
    y = where(abs(k) == 1.0, c, s)
    y = where((k < 0.0) | (k > 1.0), -y, y)
    return where(z == 0.0, z, where(abs(z) <= SIN_IS_NAN, y, nan))


def cos_of_product(a, x):
    """cos(ax), the product not rounded."""
    z = a * x
    s, c, k = sin_and_cos(z, fma(a, x, -z))
    y = where(abs(k) == 1.0, s, c)
    return where(abs(z) <= SIN_IS_NAN, where((k > 0.0) | (k < -1.0), -y, y), nan)


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # for a type checker a module with this has every attribute
    __getattr__ = module_getattr(__name__, __dir__)
