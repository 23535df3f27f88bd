"""Sums in one order, on a CPU and by the threads of a block: of numbers, of squares; and norms from these."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from .compile.cache import own_symbol
from .compile.primitives import fma
from .compile.specialize import OPTIONS, inlined
from .factor import SMALL
from .lanes import barrier, held, hold
from .memory import get, put

Kernel = Any  # compiled, or an intrinsic
SUMMED = 2048  # elements that a plain sum adds up at a time: 16 KiB of float64 stay in the first cache
SCALES = (1.0, 2.0**-600, 2.0**600)  # squares of float64 that overflow or underflow are summed scaled


def folding(number: Kernel, make: Kernel) -> Kernel:
    """``fold(numbers, n, rank, size)``: the sum of the first n, in the first; what they were is lost.

    By pairs and pairs of these, as SIMD and threads can. ``number`` and ``make`` get and set one.
    """

    @numba.njit(**inlined())
    @own_symbol
    def fold(numbers, n, rank, size):
        barrier()
        while n > 1:
            half = (n + 1) // 2
            for i in range(rank, n - half, size):
                make(numbers, i, number(numbers, i) + number(numbers, half + i))
            barrier()
            n = half

    return fold


@numba.njit(**OPTIONS)
@own_symbol
def _number(address, i):
    return get(np.float64, address, i)


@numba.njit(**OPTIONS)
@own_symbol
def _make(address, i, value):
    put(np.float64, address, i, value)


fold_shared, fold_global = folding(held, hold), folding(_number, _make)


@numba.njit(**OPTIONS)
@own_symbol
def folded(sums, n):
    """The sum of the first n of an array.

    Not ``sums.sum()``, which numba under ``parallel`` deals to the threads there are.
    """
    fold_global(sums.ctypes.data, n, 0, 1)
    return sums[0] if n > 0 else 0.0


def four_squares(value: Kernel) -> Kernel:
    """``four(at, i, part, constants)``: Σx² of elements i, i + part, i + 2·part and i + 3·part.

    ``value(at, i, constants)`` is a float64 of element i.
    """

    @numba.njit(**inlined())
    @own_symbol
    def four(at, i, part, constants):
        a, b = value(at, i, constants), value(at, i + part, constants)
        c, d = value(at, i + 2 * part, constants), value(at, i + 3 * part, constants)
        return fma(a, a, b * b) + fma(c, c, d * d)

    return four


@numba.njit(**OPTIONS)
@own_symbol
def root(plain, smaller, larger):
    """The norm, from the sums of squares at each of `SCALES`."""
    if plain < SMALL and larger > 0.0:
        return math.sqrt(larger) * SCALES[1]
    if plain == math.inf:
        return math.sqrt(smaller) * SCALES[2]
    return math.sqrt(plain)
