"""Rows of arrays with any strides: their axes, where an element is, and runs of elements along the last axis.

The axes of a row are lines (n, *strides) of a table of int64: a length, and each column's stride in bytes.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .compile.cache import own_symbol
from .compile.specialize import OPTIONS
from .memory import listed, moved


def by_lines(row: tuple[Any, ...], in_c_order: bool = False) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The lines of a row, its axes merged: in the order of memory or as they are."""
    strides = np.array([a.strides for a in row], np.int64).T
    merged: list[tuple[int, Any]] = [(1, np.zeros(len(row), np.int64))]
    axes = range(row[0].ndim)
    for axis in axes if in_c_order else sorted(axes, key=lambda axis: -abs(strides[axis, 0])):
        n, along = row[0].shape[axis], strides[axis]
        outer, outer_along = merged[-1]
        if outer == 1:
            merged[-1] = (n, along)
        elif (outer_along == n * along).all():
            merged[-1] = (outer * n, along)
        elif n != 1:
            merged.append((n, along))
    return np.array([(n, *along) for n, along in merged], np.int64)


@numba.njit(**OPTIONS)
@own_symbol
def at_index(at, lines, count, i):
    """Where columns that begin ``at`` have element i, by the ``count`` lines at an address."""
    for axis in range(count - 1, -1, -1):
        line = listed(lines, axis, (0, *at))
        if axis == 0:  # where there is one axis, no division is left
            return moved(at, line[1:], i)
        at = moved(at, line[1:], i % line[0])
        i //= line[0]
    return at


def runs(one: Any) -> Any:
    """``each(at, lines, count, lo, hi, rest)``: elements lo to hi of a row, those along a line in one call.

    ``one(at, strides, i, n, rest)`` is given where element i is, and how many there are from it on.
    """

    @numba.njit(**OPTIONS)
    @own_symbol
    def each(at, lines, count, lo, hi, rest):
        line = listed(lines, count - 1, (0, *at))
        length, strides = line[0], line[1:]
        while lo < hi:
            start = lo % length
            n = min(length - start, hi - lo)
            there = moved(at_index(at, lines, count - 1, lo // length), strides, start)
            one(there, strides, lo, n, rest)
            lo += n

    return each
