"""Activations that bring x nearer to 0, each beside its derivative."""

from math import copysign

from ..elementary import TANH_SHRINK_TAIL, exp_plus, fma, horner, tanh, where

__all__ = ["hard_shrink", "shrink_derivative", "soft_shrink", "tanh_shrink", "tanh_shrink_derivative"]


def soft_shrink(x, threshold=0.5):
    """x, nearer to 0 by the threshold, and no farther than it. Donoho 1995."""
    return where(x > threshold, x - threshold, where(x < -threshold, x + threshold, where(x == x, 0.0, x)))


def hard_shrink(x, threshold=0.5):
    """x, but 0 within the threshold. Donoho & Johnstone 1994."""
    return where(abs(x) <= threshold, 0.0, x)


def shrink_derivative(x, threshold):
    """0 within the threshold, else 1: that of both shrinks."""
    return where(abs(x) <= threshold, 0.0, where(x == x, 1.0, x))


def tanh_shrink(x):
    """x − tanh x, near 0 from a series."""
    a = abs(x)
    u = a * a
    _, one_plus_e, _ = exp_plus(where(a > 20.0, 40.0, 2.0 * a), 1.0)
    far = (a - 1.0) + 2.0 / one_plus_e
    c = a * u
    third = c / 3.0
    low = (fma(-3.0, third, c) + fma(a, u, -c) + a * fma(a, a, -u)) / 3.0
    return copysign(where(a < 1.0, third + fma(c * u, horner(u, TANH_SHRINK_TAIL), low), far), x)


def tanh_shrink_derivative(x):
    """tanh² x."""
    y = tanh(x)
    return y * y
