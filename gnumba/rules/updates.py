"""Update rules, simplest first: one function an optimizer, in the symbols of the papers.

``lr`` may arrive with a bias correction folded in; ``one_minus_beta`` and every correction are
computed once a step on the host in float64, since 1 − 0.999 in float32 is off by 1e-5.
``weight_decay`` is the L2 term, g + λθ; ``pull`` is decoupled decay's ηλ. Decay is added to the step
and not made a factor of θ: in float32, 1 − ηλ with AdamW's defaults, 1e-7, would be off by 19 %.

A term that is switched off must not act: 0 · inf is nan. `plus` and `mean` see to that.
"""

from .._rule import rule
from ..elementary import clip, maximum, sign, sqrt, where

__all__ = [
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adan",
    "amsgrad",
    "amsgradw",
    "heavy_ball",
    "lamb",
    "lars",
    "lars_nesterov",
    "momentum",
    "nadam",
    "nesterov",
    "radam",
    "rmsprop",
    "rmsprop_centered",
    "rmsprop_centered_momentum",
    "rmsprop_momentum",
    "rprop",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "sgd",
    "sign_momentum",
]


def plus(x, factor, y):
    """x + factor · y, and x where the factor is 0."""
    return x + factor * y if factor != 0.0 else x


def mean(old, new, beta, one_minus_beta):
    """β · old + (1 − β) · new, a moving mean, and new where β is 0."""
    return beta * old + one_minus_beta * new if beta != 0.0 else one_minus_beta * new


def variance(mean_of_squares, mean):
    """E[g²] − E[g]², not below 0."""
    return maximum(mean_of_squares - mean * mean, 0.0)


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


@rule
def amsgrad(
    p, g, m, v, v_max, /,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, v_correction, eps, eps_root, weight_decay,
):  # fmt: skip
    """Adam by the largest v so far. Reddi, Kale & Kumar 2018, arXiv:1904.09237."""
    g = plus(g, weight_decay, p)
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    v_max = maximum(v, v_max)
    return p - lr * m / (sqrt(v_max * v_correction + eps_root) + eps), m, v, v_max


@rule
def amsgradw(
    p, g, m, v, v_max, /,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, v_correction, eps, eps_root, pull,
):  # fmt: skip
    """AdamW by the largest v so far. Reddi, Kale & Kumar 2018, arXiv:1904.09237."""
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    v_max = maximum(v, v_max)
    return p - plus(lr * m / (sqrt(v_max * v_correction + eps_root) + eps), pull, p), m, v, v_max


@rule
def radam(
    p, g, m, v, /,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, v_correction, rectified, eps, eps_root,
    weight_decay, pull,
):  # fmt: skip
    """RAdam. Liu et al. 2020, arXiv:1908.03265; where it is rectified, lr holds r/(1 − β₁ᵗ)."""
    g = plus(g, weight_decay, p)
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    step = lr * m / (sqrt(v * v_correction + eps_root) + eps) if rectified != 0.0 else lr * m
    return p - plus(step, pull, p), m, v


@rule
def nadam(
    p, g, m, v, /,
    lr, lr_m, beta1, one_minus_beta1, beta2, one_minus_beta2, v_correction, eps, eps_root,
    weight_decay, pull,
):  # fmt: skip
    """NAdam. Dozat 2016; lr is η(1 − μₜ)/(1 − Mₜ), lr_m ημₜ₊₁/(1 − Mₜ₊₁), Mₜ the product of the μ."""
    g = plus(g, weight_decay, p)
    m = mean(m, g, beta1, one_minus_beta1)
    v = mean(v, g * g, beta2, one_minus_beta2)
    step = plus(lr * g, lr_m, m) / (sqrt(v * v_correction + eps_root) + eps)
    return p - plus(step, pull, p), m, v


@rule
def adamax(p, g, m, u, /, lr, beta1, one_minus_beta1, beta2, eps, weight_decay):
    """Adamax, Adam by the infinity norm. Kingma & Ba 2015, arXiv:1412.6980; lr holds 1/(1 − β₁ᵗ)."""
    g = plus(g, weight_decay, p)
    m = mean(m, g, beta1, one_minus_beta1)
    u = maximum(abs(g) + eps, plus(0.0, beta2, u))
    return p - lr * m / u, m, u


@rule
def adabelief(
    p, g, m, s, /,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, s_correction, eps, eps_root, weight_decay, pull,
):  # fmt: skip
    """AdaBelief. Zhuang et al. 2020, arXiv:2010.07468; lr and s_correction as in Adam."""
    g = plus(g, weight_decay, p)
    m = mean(m, g, beta1, one_minus_beta1)
    surprise = g - m
    s = mean(s, surprise * surprise, beta2, one_minus_beta2) + eps_root
    return p - plus(lr * m / (sqrt(s * s_correction) + eps), pull, p), m, s


@rule
def adan(
    p, g, m, n, v, g_before, /,
    lr, lr_n, beta1, one_minus_beta1, beta2, one_minus_beta2, beta3, one_minus_beta3, v_correction,
    is_first, eps, eps_root, shrink,
):  # fmt: skip
    """Adan. Xie et al. 2022, arXiv:2208.06677; lr_n is ηβ₂/(1 − β₂ᵗ), shrink −ηλ/(1 + ηλ)."""
    change = 0.0 if is_first != 0.0 else g - g_before
    m = mean(m, g, beta1, one_minus_beta1)
    n = mean(n, change, beta2, one_minus_beta2)
    ahead = plus(g, beta2, change)
    v = mean(v, ahead * ahead, beta3, one_minus_beta3)
    p = p - plus(lr * m, lr_n, n) / (sqrt(v * v_correction + eps_root) + eps)
    return plus(p, shrink, p), m, n, v, g


@rule
def sign_momentum(p, g, m, /, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, pull):
    """Lion, evolved sign momentum. Chen et al. 2023, arXiv:2302.06675."""
    step = lr * sign(mean(m, g, beta1, one_minus_beta1))
    return p - plus(step, pull, p), mean(m, g, beta2, one_minus_beta2)


@rule
def rprop(p, g, g_before, size, /, lr, eta_minus, eta_plus, smallest, largest):
    """Rprop without weight backtracking. Riedmiller & Braun 1993; Igel & Hüsken 2000. A new size is lr."""
    turn = sign(g) * sign(g_before)
    factor = where(turn > 0.0, eta_plus, where(turn < 0.0, eta_minus, 1.0))
    size = clip(where(size == 0.0, lr, size) * factor, smallest, largest)
    g = where(turn < 0.0, 0.0, g)
    return p - sign(g) * size, g, size


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


@rule
def schedule_free_sgd(p, g, d, /, lr, share, one_minus_share, before, after, weight_decay):
    """Schedule-free SGD. Defazio et al. 2024, arXiv:2405.15682; d is z − x, before and after are 1 − β."""
    step = d - lr * plus(g, weight_decay, p)
    left = plus(0.0, one_minus_share, step)
    return p + (share * step - before * d + after * left), left


@rule
def schedule_free_adamw(
    p, g, d, v, /,
    lr, share, one_minus_share, before, after, beta2, one_minus_beta2, v_correction, eps, eps_root,
    weight_decay,
):  # fmt: skip
    """Schedule-free AdamW. Defazio et al. 2024, arXiv:2405.15682; as schedule_free_sgd."""
    v = mean(v, g * g, beta2, one_minus_beta2)
    step = d - lr * plus(g / (sqrt(v * v_correction + eps_root) + eps), weight_decay, p)
    left = plus(0.0, one_minus_share, step)
    return p + (share * step - before * d + after * left), left, v
