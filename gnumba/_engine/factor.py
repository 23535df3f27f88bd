"""The factor of gradients, as two numbers that lose no digits whatever a dtype can hold.

Gradients are multiplied by min(1, limit / norm) / scale, which may be far below the smallest normal
float32, or beyond the largest, where the product is neither. A kernel computes (g · power) · rest:
power is a power of two, 1 in all ordinary cases, and rest is rounded once, as any factor is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Functions = tuple[Callable[[float, float, float], Any], Callable[[float, int, int], Any]]

# What a device's kernels write for those that follow, as float64: the norm, whether to go on, whether the
# norm is finite, and (power, rest) for each dtype.
NORM, GO, FINITE = range(3)
FACTORS = {np.dtype(np.float32): 3, np.dtype(np.float64): 5}
CONTROL = 7  # numbers

STEP = 63  # exponents go by this: a mantissa is in [1, 2⁶³)
SMALL = 2.0**-900  # a sum of squares below this may have lost some to underflow
BOUNDS = {np.dtype(np.float32): 2 * STEP, np.dtype(np.float64): 16 * STEP}  # 2^±bound are normal numbers


class Factor(NamedTuple):
    """mantissa · 2^exponent, the mantissa in ±[1, 2⁶³) or nan, the exponent a multiple of `STEP`."""

    mantissa: float
    exponent: int

    def split(self, dtype: np.dtype[Any]) -> tuple[float, float]:
        """The (power, rest) that kernels for a dtype multiply gradients by."""
        if -STEP <= self.exponent <= 0:  # ordinary, and not worth a loop in Python
            return 1.0, self.mantissa if self.exponent == 0 else self.mantissa * 2.0**-STEP
        pair: tuple[float, float] = _split(*self, BOUNDS[dtype])
        return pair

    def __neg__(self) -> Factor:
        return Factor(-self.mantissa, self.exponent)


def factor(norm: float, limit: float, scale: float) -> Factor:
    """min(1, limit / norm) / scale; nan where the norm is not finite, unless the limit is -1, for none."""
    if 1e-100 < limit < norm < 1e100:
        quick = limit / norm / scale
        if 2.0**-STEP <= quick < 1.0:
            return Factor(quick * 2.0**STEP, -STEP)  # what the loops find
    return Factor(*_factor(norm, limit, scale))


def functions(compiled: Callable[[Any], Any]) -> Functions:
    """``factor(norm, limit, scale)`` and ``split(mantissa, exponent, bound)``, each function ``compiled``."""

    @compiled
    def normalized(x, exponent):
        """x · 2^exponent as mantissa and exponent, for finite x > 0."""
        while x < 1.0:
            x *= 2.0**63
            exponent -= 63
        while x >= 2.0**63:
            x *= 2.0**-63
            exponent += 63
        return x, exponent

    @compiled
    def factor(norm, limit, scale):
        if limit >= 0.0 and not norm < math.inf:
            return math.nan, 0
        ratio, exponent = 1.0, 0
        if 0.0 <= limit < norm:
            small, exponent = normalized(limit, 0)
            large, other = normalized(norm, 0)
            ratio, exponent = small / large, exponent - other
        divisor, other = normalized(scale, 0)
        return normalized(ratio / divisor, exponent - other)

    @compiled
    def split(mantissa, exponent, bound):
        # (g · power) · rest rounds once: power is normal, the first product is unless the second is 0 or inf.
        power, moved = 1.0, 0
        while exponent < -bound and moved > -bound:
            power, moved, exponent = power * 2.0**-63, moved - 63, exponent + 63
        while exponent > bound - 63 and moved < bound:
            power, moved, exponent = power * 2.0**63, moved + 63, exponent - 63
        exponent = min(exponent, bound - 63)  # finite, for 0 · inf is nan
        while exponent < 0:
            mantissa, exponent = mantissa * 2.0**-63, exponent + 63
        while exponent > 0:
            mantissa, exponent = mantissa * 2.0**63, exponent - 63
        return power, mantissa

    return factor, split


_factor, _split = functions(lambda function: function)
ONE = Factor(1.0, 0)


@functools.cache
def largest_float(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).max)
