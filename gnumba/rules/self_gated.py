"""Activations that are x times a function between 0 and 1, each beside its derivative."""

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
    clip,
    exp_of_sum,
    exp_plus,
    fma,
    gauss_roughly,
    horner,
    per_dtype,
    scaled_one_plus_exp,
    where,
)

__all__ = [
    "gelu",
    "gelu_derivative",
    "gelu_tanh",
    "gelu_tanh_derivative",
    "hard_swish",
    "hard_swish_derivative",
    "mish",
    "mish_derivative",
    "silu",
    "silu_derivative",
]

# 2√(2/π), and 0.044715 times that.
GATE_LINEAR = 1.5957691216057308
GATE_LINEAR_LOW = per_dtype(float64=-9.9693088091109202e-17, float32=-4.53406805e-08)
GATE_CUBIC = 0.071354816272600249
GATE_CUBIC_LOW = per_dtype(float64=-6.175149918155315e-19, float32=2.39883247e-09)
TANH_GATE_IS_CLOSED = per_dtype(float64=22.5, float32=10.95)  # where x·eᶻ underflows to zero
MISH_IS_X = per_dtype(float64=30.0, float32=15.0)  # from here on mish(x) is x


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
    q = (t + t) / (t + GAUSS_MIDDLE)  # qP(q − ¾) hardly depends on q where t is large, nor on its rounding
    u = q - 0.75
    slope = horner(u, GAUSS_TAIL[1:])
    tail = fma(u, slope, GAUSS_TAIL[0])
    z, p = gauss_roughly(t)
    half = q * tail
    low = fma(q, fma(u, slope, GAUSS_TAIL[0] - tail), fma(q, tail, -half))
    y = p * ((half + half) + fma(-half, z, low + low))
    return fma(-GAUSS_SCALE, y, where(x < 0.0, -0.0, x))


def gelu_derivative(x):
    """Φ(x) + xφ(x), left of 0 e^(−x²/2) times the distance from its zero, right of it 1 − f′(−x)."""
    t = abs(x)
    t = where(t > GAUSS_IS_ZERO, GAUSS_IS_ZERO, t)
    z, p = gauss_roughly(t)
    d = (-GELU_MINIMUM - t) - GELU_MINIMUM_LOW
    y = d * horner((t + t) / (t + GAUSS_MIDDLE) - 0.75, GELU_SLOPE) * p
    y = fma(-0.5 * y, z, y)
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


def hard_swish(x):
    """x·hard_sigmoid(x). Howard et al. 2019, arXiv:1905.02244."""
    return where(x < -3.0, -3.0, x) * (clip(x + 3.0, 0.0, 6.0) / 6.0)


def hard_swish_derivative(x):
    """(2x + 3)/6 between −3 and 3, 0 left and 1 right of them."""
    y = fma(2.0, x, 3.0) / 6.0
    return where(x <= -3.0, 0.0, where(x >= 3.0, 1.0, y))
