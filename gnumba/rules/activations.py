"""Activations, each beside its derivative: from x, and from y = f(x) where that is cheaper.

Written so that nan stays nan (`x <= 0` is false for it), and without branches: a loop over such a
function becomes SIMD.
"""

from ..elementary import (
    FAR,
    SILU_MINIMUM,
    SILU_MINIMUM_LOW,
    SILU_NEAR_MINIMUM,
    clip,
    exp,
    exp_plus,
    expm1,
    expm1_times,
    fma,
    horner,
    per_dtype,
    scaled_one_plus_exp,
    tanh,
    where,
)

__all__ = [
    "elu",
    "elu_derivative",
    "elu_derivative_from_y",
    "leaky_relu",
    "leaky_relu_derivative",
    "prelu",
    "prelu_backward",
    "relu",
    "relu_derivative",
    "selu",
    "selu_derivative",
    "selu_derivative_from_y",
    "sigmoid",
    "sigmoid_derivative",
    "sigmoid_derivative_from_y",
    "silu",
    "silu_derivative",
    "tanh",
    "tanh_derivative",
    "tanh_derivative_from_y",
]

SELU_LAMBDA = 1.0507009873554804934193349852946
SELU_LAMBDA_ALPHA = 1.7580993408473768
# What its rounding lost.
SELU_LAMBDA_ALPHA_LOW = per_dtype(float64=1.4153519380084499e-17, float32=2.32967177e-08)


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
