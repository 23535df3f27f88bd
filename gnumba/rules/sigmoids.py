"""Activations between two bounds, each beside its derivative.

Derivatives are from x, and from y = f(x) where that is cheaper. All is written so that nan stays nan
(`x <= 0` is false for it), and without branches: a loop over such a function becomes SIMD.
"""

from math import copysign

from ..elementary import clip, exp, fma, scaled_one_plus_exp, tanh, where

__all__ = [
    "hard_sigmoid",
    "hard_sigmoid_derivative",
    "hard_tanh",
    "hard_tanh_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "sigmoid_derivative_from_y",
    "softsign",
    "softsign_derivative",
    "tanh",
    "tanh_derivative",
    "tanh_derivative_from_y",
]

SIXTH = 1.0 / 6.0


def sigmoid(x):
    """1 / (1 + e⁻ˣ)."""
    d, s = scaled_one_plus_exp(-x)
    return s / d


def sigmoid_derivative(x):
    """σ(x)(1 − σ(x)), as e / (1 + e)² with e = e^−|x|, which never cancels."""
    e = exp(-abs(x))
    return e / fma(e, 2.0 + e, 1.0)


def sigmoid_derivative_from_y(y):
    """y(1 − y)."""
    return y * (1.0 - y)


def tanh_derivative(x):
    """1 − tanh² x, as 4e / (1 + e)² with e = e^−2|x|, which never cancels."""
    e = exp(-2.0 * abs(x))
    return 4.0 * e / fma(e, 2.0 + e, 1.0)


def tanh_derivative_from_y(y):
    """1 − y², rounded once."""
    return fma(-y, y, 1.0)


def softsign(x):
    """x/(1 + |x|). Turian, Bergstra & Bengio 2009."""
    a = abs(x)
    q = where(a < 1.0, a, 1.0) / (1.0 + a)
    # Rounded as if once, so that it is monotone.
    return copysign(where(a < 1.0, fma(fma(-q, a, a - q), 1.0 - q, q), 1.0 - q), x)


def softsign_derivative(x):
    """1/(1 + |x|)²."""
    q = 1.0 / (1.0 + abs(x))
    return q * q


def hard_sigmoid(x):
    """(x + 3)/6, at least 0 and at most 1. Courbariaux, Bengio & David 2015, arXiv:1511.00363."""
    return clip(x + 3.0, 0.0, 6.0) / 6.0


def hard_sigmoid_derivative(x):
    """1/6 between −3 and 3, else 0."""
    return where(abs(x) < 3.0, SIXTH, where(x == x, 0.0, x))


def hard_tanh(x, low=-1.0, high=1.0):
    """x, at least low and at most high. Collobert 2004."""
    return clip(x, low, high)


def hard_tanh_derivative(x, low, high):
    """1 between low and high, else 0."""
    return where((x > low) & (x < high), 1.0, where(x == x, 0.0, x))
