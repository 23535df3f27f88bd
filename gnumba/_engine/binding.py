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
from .objects import DATA, FLAGS, ITEMS, WORD, WRITEABLE, half, same_kind, same_layout, store, word
from .place import Updated
from .specialize import OPTIONS
from .table import Table

Array = np.ndarray[Any, np.dtype[Any]]


class Binding:
    """What the compiled call has to know of each parameter, in their order."""

    def __init__(self, bound: list[tuple[Table, int, Array, Any]], memory: Updated) -> None:
        self._views = [array.view() for _, _, array, _ in bound]  # what nobody else can resize or reshape
        known = [_known(*each, view) for each, view in zip(bound, self._views, strict=True)]
        self._rows = np.array(known, np.int64)
        self._starts, self._ends = (np.array(bounds, np.int64) for bounds in memory.bounds)

    def bind(self, held: tuple[Any, ...], gradients: tuple[Any, ...], k: int) -> int:
        """Bind gradients from the k-th on; the first that is out of the ordinary, or how many there are.

        Ordinary is a dense NumPy array laid out as its parameter, clear of all parameters, for a
        parameter that is held as it was given, writable and where it was. Each other needs a look.
        """
        if not objects.READABLE:
            return k
        return _binder()(self._rows, self._starts, self._ends, id(held), id(gradients), k)


def _known(table: Table, row: int, array: Array, given: Any, view: Array) -> tuple[int, ...]:
    """The object, our view of it, how many bytes, and the cell for the gradient's address.

    All is 0 for a parameter that is never ordinary.
    """
    if given is not array or type(array) is not np.ndarray or not array.flags.forc:
        return (0,) * 4
    return id(given), id(view), array.nbytes, table.cell(row)


@functools.cache
def _binder() -> Kernel:
    signature = (INT64_TABLE, INT64_LIST, INT64_LIST, types.int64, types.int64, types.int64)
    return compiled(_bind, signature, nogil=False)  # it reads what others may change


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
        p, g = word(held + ITEMS + k * WORD), word(gradients + ITEMS + k * WORD)
        given, view, nbytes, cell = rows[k, 0], rows[k, 1], rows[k, 2], rows[k, 3]
        if p != given or cell == 0 or not half(p + FLAGS) & WRITEABLE:
            break
        if word(p + DATA) != word(view + DATA) or not same_layout(p, view):
            break
        if not same_kind(g, view) or not same_layout(g, view):
            break
        low = word(g + DATA)
        before = count_below(starts, low + nbytes)  # parameters that start before it ends
        if before > 0 and ends[before - 1] > low:
            break
        store(cell, low)
        k += 1
    return k
