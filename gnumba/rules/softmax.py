"""Softmax and its kin along a row: terms of sums over it, and an element of the result.

``maximum``, ``total`` and ``weight`` are the row's, see the engine's `Rowwise`; the functions that return
scalars are computed in float64, once for a block of the row: ``ratio`` is e to its maximum less the row's.
"""

from ..elementary import exp, exp_below, log

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]


def exponential(x, shift):
    """e to the distance from the maximum."""
    return exp_below(x - shift)


def softmax(e, factor):
    """eˣ/Σeˣ."""
    return e * factor


def softmax_scalars(ratio, maximum, total, weight):
    """The factor of a block's exponentials."""
    return (ratio / total,)


def log_softmax(x, maximum, log_total):
    """x − log Σeˣ."""
    return (x - maximum) - log_total


def log_softmax_scalars(ratio, maximum, total, weight):
    """The maximum, and the logarithm of the sum relative to it."""
    return maximum, log(total)


def product(dy, y):
    """y·dL/dy."""
    return dy * y


def softmax_backward(dy, y, total):
    """y(dL/dy − Σ y·dL/dy)."""
    return y * (dy - total)


def gradient(dy, y):
    """dL/dy."""
    return dy


def log_softmax_backward(dy, y, total):
    """dL/dy − eʸ·Σ dL/dy."""
    return dy - exp(y) * total


def sum_alone(ratio, maximum, total, weight):
    """The sum."""
    return (total,)
