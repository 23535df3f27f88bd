"""Update rules along the gradient or a mean of gradients, in the symbols of the papers.

``weight_decay`` is the L2 term, g + λθ; ``pull`` is decoupled decay's ηλ. Decay is added to the step
and not made a factor of θ: in float32, 1 − ηλ with AdamW's defaults, 1e-7, would be off by 19 %.
"""

from .._rule import rule
from .terms import mean, plus

__all__ = ["heavy_ball", "momentum", "nesterov", "sgd"]


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
