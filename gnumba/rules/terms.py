"""Parts of update rules.

A term that is switched off must not act: 0 · inf is nan. `plus` and `mean` see to that.
"""

from ..elementary import maximum

__all__ = []


def plus(x, factor, y):
    """x + factor · y, and x where the factor is 0."""
    return x + factor * y if factor != 0.0 else x


def mean(old, new, beta, one_minus_beta):
    """β · old + (1 − β) · new, a moving mean, and new where β is 0."""
    return beta * old + one_minus_beta * new if beta != 0.0 else one_minus_beta * new


def variance(mean_of_squares, mean):
    """E[g²] − E[g]², not below 0."""
    return maximum(mean_of_squares - mean * mean, 0.0)
