"""Update rules by the signs of gradients."""

from .._rule import rule
from ..elementary import clip, sign, where
from .terms import mean, plus

__all__ = ["rprop", "sign_momentum"]


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
