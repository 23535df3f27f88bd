"""Activations that are x, or a multiple, right of 0 or nearly so, each beside its derivative."""

from ..elementary import (
    FAR,
    clip,
    exp,
    exp_plus,
    exp_plus_of_sum,
    expm1,
    expm1_times,
    fma,
    log1p,
    per_dtype,
    scaled_one_plus_exp_of_sum,
    where,
)
from .sigmoids import hard_tanh_derivative, sigmoid

__all__ = [
    "celu",
    "celu_derivative",
    "elu",
    "elu_derivative",
    "elu_derivative_from_y",
    "leaky_relu",
    "leaky_relu_derivative",
    "log_sigmoid",
    "log_sigmoid_derivative",
    "prelu",
    "prelu_backward",
    "relu",
    "relu6",
    "relu6_derivative",
    "relu_derivative",
    "selu",
    "selu_derivative",
    "selu_derivative_from_y",
    "softplus",
    "softplus_derivative",
]

SELU_LAMBDA = 1.0507009873554804934193349852946
SELU_LAMBDA_ALPHA = 1.7580993408473768
# What its rounding lost.
SELU_LAMBDA_ALPHA_LOW = per_dtype(float64=1.4153519380084499e-17, float32=2.32967177e-08)
SOFTPLUS_IS_X = per_dtype(float64=40.0, float32=20.0)  # from here on softplus(x) is x


def relu(x):
    """max(0, x). Nair & Hinton 2010."""
    return where(x <= 0.0, 0.0, x)


def relu_derivative(x):
    """1 right of 0, else 0."""
    return where(x <= 0.0, 0.0, where(x > 0.0, 1.0, x))


def relu6(x):
    """max(0, x), at most 6. Krizhevsky 2010."""
    return where(x <= 0.0, 0.0, where(x > 6.0, 6.0, x))


def relu6_derivative(x):
    """1 between 0 and 6, else 0."""
    return hard_tanh_derivative(x, 0.0, 6.0)


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


def celu(x, alpha=1.0):
    """x, or α(e^(x/α) − 1) left of 0. Barron 2017, arXiv:1704.07483."""
    return where(x < 0.0, alpha * expm1(x / alpha), x)


def celu_derivative(x, alpha):
    """1 right of 0, else e^(x/α)."""
    q = x / alpha
    rest = fma(-q, alpha, x) / alpha
    e, _, scale = exp_plus_of_sum(clip(q, -FAR, FAR), where(abs(q) < FAR, rest, 0.0), 0.0)
    return where(x > 0.0, 1.0, e * scale)


def softplus(x, beta=1.0):
    """log(1 + e^(βx))/β. Dugas et al. 2001."""
    z = beta * x
    t = clip(z, -FAR, SOFTPLUS_IS_X)
    e, _, scale = exp_plus_of_sum(t, where(t == z, fma(beta, x, -t), 0.0), 0.0)
    return where(z > SOFTPLUS_IS_X, x, log1p(e) / beta * scale)


def softplus_derivative(x, beta):
    """σ(βx)."""
    z = -beta * x
    t = clip(z, -FAR, FAR)
    d, s = scaled_one_plus_exp_of_sum(t, where(t == z, fma(-beta, x, -t), 0.0))
    return s / d


def log_sigmoid(x):
    """log σ(x) = −log(1 + e⁻ˣ)."""
    e, _, scale = exp_plus(clip(-x, -FAR, SOFTPLUS_IS_X), 0.0)
    return where(x < -SOFTPLUS_IS_X, x, -log1p(e) * scale)


def log_sigmoid_derivative(x):
    """σ(−x)."""
    return sigmoid(-x)
