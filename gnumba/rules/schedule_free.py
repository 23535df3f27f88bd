"""Update rules that need no schedule: gradients are taken at a mean of all iterates."""

from .._rule import rule
from ..elementary import sqrt
from .terms import mean, plus

__all__ = ["schedule_free_adamw", "schedule_free_sgd"]


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
