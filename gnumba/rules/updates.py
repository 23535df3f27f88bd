"""Update rules, simplest first: one function an optimizer, in the symbols of the papers.

``lr`` may arrive with a bias correction folded in; ``one_minus_beta`` and every correction are
computed once a step on the host in float64, since 1 − 0.999 in float32 is off by 1e-5.
``weight_decay`` is the L2 term, g + λθ; ``pull`` is decoupled decay's ηλ. Decay is added to the step
and not made a factor of θ: in float32, 1 − ηλ with AdamW's defaults, 1e-7, would be off by 19 %.

A term that is switched off must not act: 0 · inf is nan. `plus` and `mean` see to that.
"""

from .._rule import rule
from ..elementary import sqrt

__all__ = [
    "adagrad",
    "adam",
    "adamw",
    "heavy_ball",
    "momentum",
    "nesterov",
    "rmsprop",
    "sgd",
]


def plus(x, factor, y):
    """x + factor · y, and x where the factor is 0."""
    return x + factor * y if factor != 0.0 else x


def mean(old, new, beta, one_minus_beta):
    """β · old + (1 − β) · new, a moving mean, and new where β is 0."""
    return beta * old + one_minus_beta * new if beta != 0.0 else one_minus_beta * new


@rule
def sgd(p, g, /, lr, weight_decay, pull):
    """Gradient descent. Robbins & Monro 1951."""
    return p - plus(lr * plus(g, weight_decay, p), pull, p)


@rule
def heavy_ball(p, g, v, /, lr, mu, one_minus_tau, weight_decay, pull):
    """SGD with momentum μ and dampening τ. Polyak 1964."""
    v = mean(v, plus(g, weight_decay, p), mu, one_minus_tau)
    return p - plus(lr * v, pull, p), v


@rule
def nesterov(p, g, v, /, lr, mu, one_minus_tau, weight_decay, pull):
    """SGD with Nesterov's momentum. Nesterov 1983; this form Sutskever et al. 2013."""
    g = one_minus_tau * plus(g, weight_decay, p)
    v = mean(v, g, mu, 1.0)
    return p - plus(lr * plus(g, mu, v), pull, p), v


@rule
def momentum(p, g, v, /, lr, beta, one_minus_beta, weight_decay, pull):
    """Momentum, the averaging form: v is a moving mean of the gradients. Polyak 1964."""
    v = mean(v, plus(g, weight_decay, p), beta, one_minus_beta)
    return p - plus(lr * v, pull, p), v


@rule
def adagrad(p, g, G, /, lr, eps, eps_root, weight_decay):  # noqa: N803
    """AdaGrad. Duchi, Hazan & Singer 2011."""
    g = plus(g, weight_decay, p)
    G = G + g * g  # noqa: N806
    return p - lr * g / (sqrt(G + eps_root) + eps), G


@rule
def rmsprop(p, g, E, /, lr, decay, one_minus_decay, eps, eps_root, weight_decay):  # noqa: N803
    """RMSProp. Tieleman & Hinton 2012."""
    g = plus(g, weight_decay, p)
    E = mean(E, g * g, decay, one_minus_decay)  # noqa: N806
    return p - lr * g / (sqrt(E + eps_root) + eps), E


@rule
def adam(
    p, g, m, v, /,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, v_correction, eps, eps_root, weight_decay,
):  # fmt: skip
    """Adam. Kingma & Ba 2015, arXiv:1412.6980; lr holds 1/(1 − β₁ᵗ), v_correction is 1/(1 − β₂ᵗ)."""
    g = plus(g, weight_decay, p)
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    return p - lr * m / (sqrt(v * v_correction + eps_root) + eps), m, v


@rule
def adamw(
    p, g, m, v, /,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, v_correction, eps, eps_root, pull,
):  # fmt: skip
    """AdamW. Loshchilov & Hutter 2019, arXiv:1711.05101; lr and v_correction as in Adam."""
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    return p - plus(lr * m / (sqrt(v * v_correction + eps_root) + eps), pull, p), m, v
