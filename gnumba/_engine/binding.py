"""The gradients of a step bound to the rows of their tables, all in one compiled call."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types

from . import objects
from .cache import own_symbol
from .host import INT64_LIST, INT64_TABLE, Kernel, compiled
from .objects import DATA, FLAGS, WRITEABLE, half, item, same_kind, same_layout, size, store, word
from .place import Parameters
from .specialize import OPTIONS
from .table import Table

Array = np.ndarray[Any, np.dtype[Any]]


class Binding:
    """What the compiled call has to know of each parameter, in their order."""

    def __init__(self, bound: list[tuple[Table, int, Array, Any]], memory: Parameters) -> None:
        self._rows = np.array([_known(*each) for each in bound], np.int64)
        self._starts, self._ends = (np.array(bounds, np.int64) for bounds in memory.bounds)

    def bind(self, held: tuple[Any, ...], gradients: tuple[Any, ...], k: int) -> int:
        """Bind gradients from the k-th on; the first that is out of the ordinary, or how many there are.

        Ordinary is a dense NumPy array laid out as its parameter, clear of all parameters, for a
        parameter that is held as it was given, writable and where it was. Each other needs a look.
        """
        if not objects.READABLE:
            return k
        return _binder()(self._rows, self._starts, self._ends, id(held), id(gradients), k)


def _known(table: Table, row: int, array: Array, given: Any) -> tuple[int, ...]:
    """The object, where its memory is, how many elements and bytes, and the cell for the gradient's address.

    All is 0 for a parameter that is never ordinary.
    """
    if given is not array or type(array) is not np.ndarray or not array.flags.forc:
        return (0,) * 5
    return id(given), int(table.addresses[row, 0]), array.size, array.nbytes, table.cell(row)


@functools.cache
def _binder() -> Kernel:
    signature = (INT64_TABLE, INT64_LIST, INT64_LIST, types.int64, types.int64, types.int64)
    return compiled(numba.njit(own_symbol(_bind), **OPTIONS), signature)


@numba.njit(**OPTIONS)
@own_symbol
def count_below(ordered, limit):
    """How many of ascending numbers are below the limit."""
    lo, hi = 0, ordered.size
    while lo < hi:
        middle = (lo + hi) // 2
        if ordered[middle] < limit:
            lo = middle + 1
        else:
            hi = middle
    return lo


def _bind(rows, starts, ends, held, gradients, k):
    while k < rows.shape[0]:
        p, g, cell = item(held, k), item(gradients, k), rows[k, 4]
        if cell == 0 or p != rows[k, 0] or not half(p + FLAGS) & WRITEABLE:
            break
        if word(p + DATA) != rows[k, 1] or size(p) != rows[k, 2]:
            break
        if not same_kind(g, p) or not same_layout(g, p):
            break
        low = word(g + DATA)
        before = count_below(starts, low + rows[k, 3])  # parameters that start before it ends
        if before > 0 and ends[before - 1] > low:
            break
        store(cell, low)
        k += 1
    return k
