"""Update rules with norms of whole parameters."""

from .._rule import rule
from ..elementary import sqrt
from .terms import mean, plus

__all__ = ["lamb", "lars", "lars_nesterov"]


def trust(of, by):
    """A ratio of norms, and 1 where either is 0."""
    return of / by if of != 0.0 and by != 0.0 else 1.0


def adam_direction(
    p, g, m, v,
    beta1, one_minus_beta1, beta2, one_minus_beta2, m_correction, v_correction, eps, eps_root, weight_decay,
):  # fmt: skip
    """AdamW's step but for lr."""
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    return plus(m * m_correction / (sqrt(v * v_correction + eps_root) + eps), weight_decay, p)


@rule(normed={"p_norm": lambda p: p, "u_norm": adam_direction})
def lamb(
    p, g, m, v, /,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, m_correction, v_correction, eps, eps_root,
    weight_decay, p_norm, u_norm,
):  # fmt: skip
    """LAMB. You et al. 2020, arXiv:1904.00962; norms of a whole parameter and of its step u."""
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    u = plus(m * m_correction / (sqrt(v * v_correction + eps_root) + eps), weight_decay, p)
    return p - lr * trust(p_norm, u_norm) * u, m, v


def decayed_gradient(g, weight_decay, p):
    """g + λθ."""
    return plus(g, weight_decay, p)


@rule(normed={"p_norm": lambda p: p, "g_norm": decayed_gradient})
def lars(p, g, v, /, lr, mu, trust_coefficient, weight_decay, p_norm, g_norm):
    """LARS. You, Gitman & Ginsburg 2017, arXiv:1708.03888; norms of a whole parameter and of g + λθ."""
    ratio = trust(trust_coefficient * p_norm, g_norm)
    v = plus(lr * ratio * plus(g, weight_decay, p), mu, v)
    return p - v, v


@rule(normed={"p_norm": lambda p: p, "g_norm": decayed_gradient})
def lars_nesterov(p, g, v, /, lr, mu, trust_coefficient, weight_decay, p_norm, g_norm):
    """LARS along the look-ahead; v as in `lars`."""
    step = lr * trust(trust_coefficient * p_norm, g_norm) * plus(g, weight_decay, p)
    v = plus(step, mu, v)
    return p - plus(step, mu, v), v
