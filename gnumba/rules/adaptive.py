"""Update rules with a step size for each element, by its squared gradients."""

from .._rule import rule
from ..elementary import sqrt
from .terms import mean, plus, variance

__all__ = [
    "adadelta",
    "adagrad",
    "rmsprop",
    "rmsprop_centered",
    "rmsprop_centered_momentum",
    "rmsprop_momentum",
]


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
def rmsprop_momentum(p, g, E, b, /, lr, decay, one_minus_decay, eps, eps_root, mu, weight_decay):  # noqa: N803
    """RMSProp with momentum of the scaled gradients. Tieleman & Hinton 2012."""
    g = plus(g, weight_decay, p)
    E = mean(E, g * g, decay, one_minus_decay)  # noqa: N806
    b = mean(b, g / (sqrt(E + eps_root) + eps), mu, 1.0)
    return p - lr * b, E, b


@rule
def rmsprop_centered(p, g, E, a, /, lr, decay, one_minus_decay, eps, eps_root, weight_decay):  # noqa: N803
    """RMSProp by the gradients' variance. Graves 2013, arXiv:1308.0850."""
    g = plus(g, weight_decay, p)
    E = mean(E, g * g, decay, one_minus_decay)  # noqa: N806
    a = mean(a, g, decay, one_minus_decay)
    return p - lr * g / (sqrt(variance(E, a) + eps_root) + eps), E, a


@rule
def rmsprop_centered_momentum(
    p, g, E, a, b, /, lr, decay, one_minus_decay, eps, eps_root, mu, weight_decay,  # noqa: N803
):  # fmt: skip
    """RMSProp by the gradients' variance, with momentum. Graves 2013, arXiv:1308.0850."""
    g = plus(g, weight_decay, p)
    E = mean(E, g * g, decay, one_minus_decay)  # noqa: N806
    a = mean(a, g, decay, one_minus_decay)
    b = mean(b, g / (sqrt(variance(E, a) + eps_root) + eps), mu, 1.0)
    return p - lr * b, E, a, b


@rule
def adadelta(p, g, E, D, /, lr, decay, one_minus_decay, eps_root, weight_decay):  # noqa: N803
    """AdaDelta. Zeiler 2012, arXiv:1212.5701."""
    g = plus(g, weight_decay, p)
    E = mean(E, g * g, decay, one_minus_decay)  # noqa: N806
    step = sqrt(D + eps_root) / sqrt(E + eps_root) * g
    return p - lr * step, E, mean(D, step * step, decay, one_minus_decay)
