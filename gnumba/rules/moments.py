"""Update rules of two moments of the gradients, Adam's family.

``lr`` arrives with a bias correction folded in; ``one_minus_beta`` and every correction are computed
once a step on the host in float64, since 1 − 0.999 in float32 is off by 1e-5.
"""

from .._rule import rule
from ..elementary import maximum, sqrt
from .terms import mean, plus

__all__ = ["adabelief", "adam", "adamax", "adamw", "adan", "amsgrad", "amsgradw", "nadam", "radam"]


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
