"""Activations, each beside its derivative: from x, and from y = f(x) where that is cheaper.

Written so that nan stays nan (`x <= 0` is false for it), and without branches: a loop over such a
function becomes SIMD.
"""

from math import copysign

from ..elementary import (
    FAR,
    GAUSS_IS_ZERO,
    GAUSS_MIDDLE,
    GAUSS_SCALE,
    GAUSS_TAIL,
    GELU_MINIMUM,
    GELU_MINIMUM_LOW,
    GELU_SLOPE,
    GELU_TANH_MINIMUM,
    GELU_TANH_MINIMUM_LOW,
    GELU_TANH_NEAR_MINIMUM,
    MISH_MINIMUM,
    MISH_MINIMUM_LOW,
    MISH_NEAR_MINIMUM,
    SILU_MINIMUM,
    SILU_MINIMUM_LOW,
    SILU_NEAR_MINIMUM,
    TANH_SHRINK_TAIL,
    clip,
    cos_of_product,
    exp,
    exp_of_sum,
    exp_plus,
    exp_plus_of_sum,
    expm1,
    expm1_times,
    fma,
    gauss_roughly,
    horner,
    log1p,
    per_dtype,
    scaled_one_plus_exp,
    sin_of_product,
    tanh,
    where,
)

__all__ = [
    "celu",
    "celu_derivative",
    "elu",
    "elu_derivative",
    "elu_derivative_from_y",
    "geglu",
    "geglu_derivative",
    "gelu",
    "gelu_derivative",
    "gelu_tanh",
    "gelu_tanh_derivative",
    "glu",
    "glu_derivative",
    "hard_shrink",
    "hard_sigmoid",
    "hard_sigmoid_derivative",
    "hard_swish",
    "hard_swish_derivative",
    "hard_tanh",
    "hard_tanh_derivative",
    "leaky_relu",
    "leaky_relu_derivative",
    "log_sigmoid",
    "log_sigmoid_derivative",
    "mish",
    "mish_derivative",
    "prelu",
    "prelu_backward",
    "reglu",
    "reglu_derivative",
    "relu",
    "relu6",
    "relu6_derivative",
    "relu_derivative",
    "selu",
    "selu_derivative",
    "selu_derivative_from_y",
    "shrink_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "sigmoid_derivative_from_y",
    "silu",
    "silu_derivative",
    "sine",
    "sine_derivative",
    "soft_shrink",
    "softplus",
    "softplus_derivative",
    "softsign",
    "softsign_derivative",
    "swiglu",
    "swiglu_derivative",
    "tanh",
    "tanh_derivative",
    "tanh_derivative_from_y",
    "tanh_shrink",
    "tanh_shrink_derivative",
]

SELU_LAMBDA = 1.0507009873554804934193349852946
SELU_LAMBDA_ALPHA = 1.7580993408473768
# What its rounding lost.
SELU_LAMBDA_ALPHA_LOW = per_dtype(float64=1.4153519380084499e-17, float32=2.32967177e-08)
# 2√(2/π), and 0.044715 times that.
GATE_LINEAR = 1.5957691216057308
GATE_LINEAR_LOW = per_dtype(float64=-9.9693088091109202e-17, float32=-4.53406805e-08)
GATE_CUBIC = 0.071354816272600249
GATE_CUBIC_LOW = per_dtype(float64=-6.175149918155315e-19, float32=2.39883247e-09)
TANH_GATE_IS_CLOSED = per_dtype(float64=22.5, float32=10.95)  # where x·eᶻ underflows to zero
SOFTPLUS_IS_X = per_dtype(float64=40.0, float32=20.0)  # from here on softplus(x) is x
MISH_IS_X = per_dtype(float64=30.0, float32=15.0)  # from here on mish(x) is x
SIXTH = 1.0 / 6.0


def sigmoid(x):
    """1 / (1 + e⁻ˣ)."""
    d, s = scaled_one_plus_exp(-x)
    return s / d


def sigmoid_derivative(x):
    """σ(x)(1 − σ(x)), as e / (1 + e)² with e = e^−|x|, which never cancels."""
    e = exp(-abs(x))
    return e / fma(e, 2.0 + e, 1.0)


def sigmoid_derivative_from_y(y):
    """y(1 − y)."""
    return y * (1.0 - y)


def tanh_derivative(x):
    """1 − tanh² x, as 4e / (1 + e)² with e = e^−2|x|, which never cancels."""
    e = exp(-2.0 * abs(x))
    return 4.0 * e / fma(e, 2.0 + e, 1.0)


def tanh_derivative_from_y(y):
    """1 − y², rounded once."""
    return fma(-y, y, 1.0)


def relu(x):
    """max(0, x). Nair & Hinton 2010."""
    return where(x <= 0.0, 0.0, x)


def relu_derivative(x):
    """1 right of 0, else 0."""
    return where(x <= 0.0, 0.0, where(x > 0.0, 1.0, x))


def leaky_relu(x, negative_slope=0.01):
    """x, or negative_slope·x left of 0. Maas, Hannun & Ng 2013."""
    return where(x > 0.0, x, negative_slope * x)


def leaky_relu_derivative(x, negative_slope):
    """1 right of 0, else negative_slope."""
    return where(x > 0.0, 1.0, where(x <= 0.0, negative_slope, x))


def prelu(x, alpha):
    """x, or αx left of 0, α learned. He et al. 2015, arXiv:1502.01852."""
    return where(x > 0.0, x, alpha * x)


def prelu_backward(dy, x, alpha):
    """dL/dx, and each element's share of dL/dα."""
    slope = where(x > 0.0, 1.0, where(x <= 0.0, alpha, x))
    return dy * slope, dy * where(x > 0.0, 0.0, x)


def elu(x, alpha=1.0):
    """x, or α(eˣ − 1) left of 0. Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289."""
    return where(x < 0.0, alpha * expm1(x), x)


def elu_derivative(x, alpha):
    """1 right of 0, else αeˣ."""
    return where(x > 0.0, 1.0, alpha * exp(x))


def elu_derivative_from_y(y, alpha):
    """1 right of 0, else y + α; right for α ≥ 0, where y has the sign of x."""
    return where(y > 0.0, 1.0, y + alpha)


def selu(x):
    """λ·ELU, its λ and α keep mean 0 and variance 1. Klambauer et al. 2017, arXiv:1706.02515."""
    return where(x < 0.0, expm1_times(x, SELU_LAMBDA_ALPHA, SELU_LAMBDA_ALPHA_LOW), SELU_LAMBDA * x)


def selu_derivative(x):
    """λ right of 0, else λαeˣ."""
    return where(x > 0.0, SELU_LAMBDA, SELU_LAMBDA_ALPHA * exp(x))


def selu_derivative_from_y(y):
    """λ right of 0, else y + λα."""
    return where(y > 0.0, SELU_LAMBDA, y + SELU_LAMBDA_ALPHA)


def silu(x):
    """x·σ(x). Ramachandran, Zoph & Le 2017, arXiv:1710.05941."""
    x = where(x < -FAR, -FAR, x)
    d, s = scaled_one_plus_exp(-x)
    return x * s / d


def silu_derivative(x):
    """σ(x)(1 + x(1 − σ(x))) = (1 + e(1 + x))/(1 + e)² with e = e⁻ˣ, from a series about its zero there."""
    # Left of 0 it is e(1 + x + e)/(1 + e)² with e = eˣ, multiplied by e's power of two last.
    x = clip(x, -FAR, FAR)  # beyond it is 1 or 0, where inf·0 would be nan
    e, above_x, scale = exp_plus(-abs(x), 1.0 + x)
    left = x < 0.0
    y = where(left, e * above_x, fma(e, 1.0 + x, 1.0)) / fma(e, 2.0 + e, 1.0)
    d = (x - SILU_MINIMUM) - SILU_MINIMUM_LOW
    return where(abs(d) < 0.015625, d * horner(d, SILU_NEAR_MINIMUM), where(left, y * scale, y))


def gelu(x):
    """x·Φ(x), Φ the normal distribution function. Hendrycks & Gimpel 2016, arXiv:1606.08415."""
    t = abs(x)
    t = where(t > GAUSS_IS_ZERO, GAUSS_IS_ZERO, t)
    q = t / (t + GAUSS_MIDDLE)  # qP(2q − ¾) hardly depends on q where t is large, nor on its rounding
    tail = horner(fma(2.0, q, -0.75), GAUSS_TAIL)
    z, p = gauss_roughly(t)
    y = q * tail
    y = p * (y + fma(y, z, fma(q, tail, -y)))
    return fma(-GAUSS_SCALE, y, where(x < 0.0, -0.0, x))


def gelu_derivative(x):
    """Φ(x) + xφ(x), left of 0 e^(−x²/2) times the distance from its zero, right of it 1 − f′(−x)."""
    t = abs(x)
    t = where(t > GAUSS_IS_ZERO, GAUSS_IS_ZERO, t)
    z, p = gauss_roughly(t)
    d = (-GELU_MINIMUM - t) - GELU_MINIMUM_LOW
    y = d * horner(fma(2.0, t / (t + GAUSS_MIDDLE), -0.75), GELU_SLOPE) * p
    y = fma(y, z, y)
    return where(x < 0.0, GAUSS_SCALE * y, fma(-GAUSS_SCALE, y, 1.0))


def _tanh_gate(x):
    """`exp_of_sum` for z = −2√(2/π)(|x| + 0.044715|x|³), and −dz/d|x| without GATE_LINEAR."""
    t = abs(x)
    t = where(t > TANH_GATE_IS_CLOSED, TANH_GATE_IS_CLOSED, t)
    s = t * t
    c = GATE_CUBIC * s
    q = GATE_LINEAR + c
    back = q - GATE_LINEAR
    q_low = (GATE_LINEAR - (q - back)) + (c - back)
    q_low += fma(GATE_CUBIC, s, -c) + fma(GATE_CUBIC, fma(t, t, -s), fma(GATE_CUBIC_LOW, s, GATE_LINEAR_LOW))
    z = -t * q
    return *exp_of_sum(z, fma(-t, q_low, fma(-t, q, -z))), fma(3.0 * GATE_CUBIC, s, GATE_LINEAR_LOW)


def gelu_tanh(x):
    """½x(1 + tanh(√(2/π)(x + 0.044715x³))). Hendrycks & Gimpel 2016, arXiv:1606.08415."""
    z, p, scale, _ = _tanh_gate(x)
    t = where(x < -TANH_GATE_IS_CLOSED, -TANH_GATE_IS_CLOSED, x)
    y = where(x < 0.0, t * p, x) / fma(p, z, 1.0 + p)
    return where(x < 0.0, fma(y, z, y) * scale, y)


def gelu_tanh_derivative(x):
    """σ(z) + xz′σ(z)(1 − σ(z)) with z from `_tanh_gate`; right of 0, 1 less that at −x."""
    z, p, scale, slope = _tanh_gate(x)
    t = abs(x)
    t = where(t > TANH_GATE_IS_CLOSED, TANH_GATE_IS_CLOSED, t)
    e = fma(p, z, p)
    above = fma(-t, GATE_LINEAR, fma(-t, slope, fma(p, z, 1.0 + p)))  # 1 + e less z′|x|
    d = fma(e, 2.0 + e, 1.0)
    q = above / d
    far = (q + fma(q, z, fma(-q, d, above) * (1.0 - e))) * p * scale  # 1 − e is near enough to 1/d
    near = (-GELU_TANH_MINIMUM - t) - GELU_TANH_MINIMUM_LOW
    y = where(abs(near) < 0.5, near * horner(near, GELU_TANH_NEAR_MINIMUM), far)
    return where(x < 0.0, y, 1.0 - y)


def softplus(x, beta=1.0):
    """log(1 + e^(βx))/β. Dugas et al. 2001."""
    z = beta * x
    t = clip(z, -FAR, SOFTPLUS_IS_X)
    e, _, scale = exp_plus_of_sum(t, where(t == z, fma(beta, x, -t), 0.0), 0.0)
    return where(z > SOFTPLUS_IS_X, x, log1p(e) / beta * scale)


def softplus_derivative(x, beta):
    """σ(βx)."""
    z = beta * x
    t = clip(z, -FAR, FAR)
    e, one_plus_e, scale = exp_plus_of_sum(
        -abs(t), where(t == z, copysign(1.0, -z) * fma(beta, x, -t), 0.0), 1.0
    )
    return where(z < 0.0, e / one_plus_e * scale, 1.0 / one_plus_e)


def log_sigmoid(x):
    """log σ(x) = −log(1 + e⁻ˣ)."""
    e, _, scale = exp_plus(clip(-x, -FAR, SOFTPLUS_IS_X), 0.0)
    return where(x < -SOFTPLUS_IS_X, x, -log1p(e) * scale)


def log_sigmoid_derivative(x):
    """σ(−x)."""
    return sigmoid(-x)


def mish(x):
    """x·tanh(log(1 + eˣ)) = x·h/(1 + h) with h = eˣ + e²ˣ/2. Misra 2019, arXiv:1908.08681."""
    t = clip(x, -FAR, MISH_IS_X)
    e, _, scale = exp_plus(t, 0.0)
    h = fma(0.5 * e, e, e)
    d = 1.0 + h
    q = h / d
    lost = fma(-q, d, h) - q * (h - (d - 1.0))  # in the roundings of d and q
    y = t * q
    return where(x > MISH_IS_X, x, (y + fma(t, lost * (1.0 - q), fma(t, q, -y))) * scale)


def mish_derivative(x):
    """e(1 + x + e(e²/4 + e + 3/2 + x))/(1 + h)², e = eˣ, h as in mish, from a series about its zero."""
    t = clip(x, -FAR, MISH_IS_X)
    z, p, scale = exp_of_sum(t, 0.0)
    e = fma(p, z, p)
    h = fma(0.5 * e, e, e)
    d = 1.0 + h
    lost = (h - (d - 1.0)) + fma(0.5 * e, e, e - h)  # in the roundings of h and d
    far = p * fma(e, fma(e, fma(0.25, e, 1.0), t + 1.5), t + 1.0) / fma(d, d, 2.0 * d * lost)
    far = fma(far, z, far) * scale
    near = (x - MISH_MINIMUM) - MISH_MINIMUM_LOW
    y = where(abs(near) < 0.5, near * horner(near, MISH_NEAR_MINIMUM), far)
    return where(x > MISH_IS_X, 1.0, y)


def hard_sigmoid(x):
    """(x + 3)/6, at least 0 and at most 1. Courbariaux, Bengio & David 2015, arXiv:1511.00363."""
    return clip(x + 3.0, 0.0, 6.0) / 6.0


def hard_sigmoid_derivative(x):
    """1/6 between −3 and 3, else 0."""
    return where(abs(x) < 3.0, SIXTH, where(x == x, 0.0, x))


def hard_swish(x):
    """x·hard_sigmoid(x). Howard et al. 2019, arXiv:1905.02244."""
    return where(x < -3.0, -3.0, x) * (clip(x + 3.0, 0.0, 6.0) / 6.0)


def hard_swish_derivative(x):
    """(2x + 3)/6 between −3 and 3, 0 left and 1 right of them."""
    y = fma(2.0, x, 3.0) / 6.0
    return where(x <= -3.0, 0.0, where(x >= 3.0, 1.0, y))


def hard_tanh(x, low=-1.0, high=1.0):
    """x, at least low and at most high. Collobert 2004."""
    return clip(x, low, high)


def hard_tanh_derivative(x, low, high):
    """1 between low and high, else 0."""
    return where((x > low) & (x < high), 1.0, where(x == x, 0.0, x))


def relu6(x):
    """max(0, x), at most 6. Krizhevsky 2010."""
    return where(x <= 0.0, 0.0, where(x > 6.0, 6.0, x))


def relu6_derivative(x):
    """1 between 0 and 6, else 0."""
    return hard_tanh_derivative(x, 0.0, 6.0)


def celu(x, alpha=1.0):
    """x, or α(e^(x/α) − 1) left of 0. Barron 2017, arXiv:1704.07483."""
    return where(x < 0.0, alpha * expm1(x / alpha), x)


def celu_derivative(x, alpha):
    """1 right of 0, else e^(x/α)."""
    q = x / alpha
    rest = fma(-q, alpha, x) / alpha
    e, _, scale = exp_plus_of_sum(clip(q, -FAR, FAR), where(abs(q) < FAR, rest, 0.0), 0.0)
    return where(x > 0.0, 1.0, e * scale)


def softsign(x):
    """x/(1 + |x|). Turian, Bergstra & Bengio 2009."""
    a = abs(x)
    q = where(a < 1.0, a, 1.0) / (1.0 + a)
    # Rounded as if once, so that it is monotone.
    return copysign(where(a < 1.0, fma(fma(-q, a, a - q), 1.0 - q, q), 1.0 - q), x)


def softsign_derivative(x):
    """1/(1 + |x|)²."""
    q = 1.0 / (1.0 + abs(x))
    return q * q


def soft_shrink(x, threshold=0.5):
    """x, nearer to 0 by the threshold, and no farther than it. Donoho 1995."""
    return where(x > threshold, x - threshold, where(x < -threshold, x + threshold, where(x == x, 0.0, x)))


def hard_shrink(x, threshold=0.5):
    """x, but 0 within the threshold. Donoho & Johnstone 1994."""
    return where(abs(x) <= threshold, 0.0, x)


def shrink_derivative(x, threshold):
    """0 within the threshold, else 1: that of both shrinks."""
    return where(abs(x) <= threshold, 0.0, where(x == x, 1.0, x))


def tanh_shrink(x):
    """x − tanh x, near 0 from a series."""
    a = abs(x)
    u = a * a
    _, one_plus_e, _ = exp_plus(where(a > 20.0, 40.0, 2.0 * a), 1.0)
    far = (a - 1.0) + 2.0 / one_plus_e
    c = a * u
    third = c / 3.0
    low = (fma(-3.0, third, c) + fma(a, u, -c) + a * fma(a, a, -u)) / 3.0
    return copysign(where(a < 1.0, third + fma(c * u, horner(u, TANH_SHRINK_TAIL), low), far), x)


def tanh_shrink_derivative(x):
    """tanh² x."""
    y = tanh(x)
    return y * y


def sine(x, omega=30.0):
    """sin(ωx). Sitzmann et al. 2020, arXiv:2006.09661."""
    return sin_of_product(omega, x)


def sine_derivative(x, omega):
    """ω cos(ωx)."""
    return omega * cos_of_product(omega, x)


def swiglu(x, gate, /):
    """x·SiLU(gate). Shazeer 2020, arXiv:2002.05202."""
    return x * silu(gate)


def swiglu_derivative(x, gate):
    """To x, and to the gate."""
    return silu(gate), x * silu_derivative(gate)


def geglu(x, gate, /):
    """x·GELU(gate). Shazeer 2020, arXiv:2002.05202."""
    return x * gelu(gate)


def geglu_derivative(x, gate):
    """To x, and to the gate."""
    return gelu(gate), x * gelu_derivative(gate)


def reglu(x, gate, /):
    """x·ReLU(gate). Shazeer 2020, arXiv:2002.05202."""
    return x * relu(gate)


def reglu_derivative(x, gate):
    """To x, and to the gate."""
    return relu(gate), x * relu_derivative(gate)


def glu(x, gate, /):
    """x·σ(gate). Dauphin et al. 2017, arXiv:1612.08083."""
    return x * sigmoid(gate)


def glu_derivative(x, gate):
    """To x, and to the gate."""
    return sigmoid(gate), x * sigmoid_derivative(gate)
