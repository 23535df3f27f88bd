"""Ends of sums: of a list of numbers in one order, and the norm of sums of squares."""

from __future__ import annotations

import math

import numba

from .compile.cache import own_symbol
from .compile.specialize import OPTIONS
from .factor import SMALL

SCALES = (1.0, 2.0**-600, 2.0**600)  # squares of float64 that overflow or underflow are summed scaled


@numba.njit(**OPTIONS)
@own_symbol
def folded(sums, n):
    """The sum of the first n, by pairs and pairs of these, as SIMD can; what they were is lost.

    Not ``sums.sum()``, which numba under ``parallel`` deals to the threads there are.
    """
    while n > 1:
        half = (n + 1) // 2
        for i in range(n - half):
            sums[i] += sums[half + i]
        n = half
    return sums[0] if n == 1 else 0.0


@numba.njit(**OPTIONS)
@own_symbol
def root(plain, smaller, larger):
    """The norm, from the sums of squares at each of `SCALES`."""
    if plain < SMALL and larger > 0.0:
        return math.sqrt(larger) * SCALES[1]
    if plain == math.inf:
        return math.sqrt(smaller) * SCALES[2]
    return math.sqrt(plain)
