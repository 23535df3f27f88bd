"""The gradients of a step bound to the rows of their tables, all in one compiled call."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numba
import numpy as np
from numba import types

from . import objects
from .arrays import reader
from .buffers import is_readable, lent_like
from .checks import Updated
from .compile.cache import own_symbol
from .compile.kernel import Kernel, compiled
from .compile.specialize import OPTIONS
from .exchange import DL_TENSOR, address_like, dtype_code, exporter
from .libraries import class_of, has_host_view, is_jax, viewer_of
from .memory import listed
from .objects import DATA, FLAGS, ITEMS, TYPE, WORD, WRITEABLE, half, same_kind, same_layout, store, word
from .table import Table

Array = np.ndarray[Any, np.dtype[Any]]
KNOWN, PLAN = (0,) * 7, (0,) * 6  # as many numbers as there are of a parameter, and of a plan
COUNT = DL_TENSOR  # where in memory it stands behind one
LENT = 1  # in place of an exporter: arrays that tell in a buffer where they lie


class Binding:
    """Fast path for gradients: the known layout of each parameter, in order, and the compiled call."""

    def __init__(self, bound: list[tuple[Table, int, Array, Any]], memory: Updated) -> None:
        self._given = [given for _, _, _, given in bound]
        self._views = [array[...] for _, _, array, _ in bound]  # what nobody else can resize or reshape
        known = [_known(*each, view) for each, view in zip(bound, self._views, strict=True)]
        self._rows = np.array(known, np.int64)
        self._bounds = [np.array(bounds, np.int64) for bounds in memory.bounds]
        self._lies = {k: _lies(x) for k, x in enumerate(self._given) if known[k][0] == id(self._views[k])}
        self._kinds: tuple[type, ...] = ()  # of gradients that describe themselves
        self._negatable: tuple[type, ...] = ()  # PyTorch's of them
        self._exporters = np.zeros(DL_TENSOR // WORD + 1, np.int64)  # see `exporter_of`
        self._seen_first = False  # whether the last step's gradients began with one to be given a view of
        self._set_plan()

    def _set_plan(self) -> None:
        """Where everything lies, as `_bind` is told: a number is passed in a third of an array's time."""
        tables = self._rows, *self._bounds, self._exporters
        self._plan = np.array(
            [*(x.ctypes.data for x in tables), len(self._rows), len(self._bounds[0])], np.int64
        )
        self._plan_at = int(self._plan.ctypes.data)

    def bind(self, held: tuple[Any, ...], gradients: tuple[Any, ...], k: int) -> int:
        """Bind gradients from the k-th on; the first that is out of the ordinary, or how many there are.

        Ordinary is a dense array of NumPy, PyTorch or JAX in host memory, laid out as its parameter, clear
        of all parameters, for a parameter that is held as it was given, writable and where it was. Each
        other needs a look. The addresses are good as long as the caller holds the gradients.
        """
        if not objects.READABLE:
            return k
        if k == 0 and self._negatable:
            self._choose_exporters(gradients)
        if k > 0 or not self._seen_first:
            k = binder()(self._plan_at, id(held), id(gradients), k)
        return k if k == len(gradients) else self._bind_foreign(held, gradients, k)

    def _bind_foreign(self, held: tuple[Any, ...], gradients: tuple[Any, ...], k: int) -> int:
        """Go on from a gradient that the compiled call does not know, with what it may know instead."""
        self._seen_first = False
        while k < len(gradients) and self._is_foreign(k, gradients[k]):
            if self._learn(type(gradients[k])):
                self._choose_exporters(gradients)
                reached = self._bind(held, gradients, k)
            else:
                reached = self._bind(*self._seen(held, gradients, k), k)
                self._seen_first |= k == 0
            if reached == k:
                break
            k = reached
        return k

    def _bind(self, held: tuple[Any, ...], gradients: tuple[Any, ...], k: int) -> int:
        return binder()(self._plan_at, id(held), id(gradients), k)

    def _learn(self, kind: type) -> bool:
        """Whether gradients of a type turn out to describe themselves."""
        if kind in self._kinds or not (function := _describer(kind)):
            return False
        self._kinds += (kind,)
        self._negatable += (kind,) if function != LENT else ()
        self._exporters = np.append(self._exporters, [id(kind), function])
        self._set_plan()
        return True

    def _choose_exporters(self, gradients: tuple[Any, ...]) -> None:
        """None for a step with a tensor whose negative bit is set, of which its description says nothing."""
        kinds = self._negatable
        negative = any(type(g) in kinds and g.is_neg() for g in gradients)
        self._exporters[COUNT // WORD] = 0 if negative else len(self._kinds)

    def _is_foreign(self, k: int, g: Any) -> bool:
        """Whether the compiled call has to be given a view of a gradient, or of its parameter."""
        return has_host_view(g) or (k in self._lies and type(g) is np.ndarray)

    def _seen(
        self, held: tuple[Any, ...], gradients: tuple[Any, ...], k: int
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Both with NumPy views in place of other libraries' arrays, from the k-th on as far as they go."""
        parameters, seen = list(held), list(gradients)
        with contextlib.suppress(BufferError, RuntimeError, TypeError, ValueError):  # told of when looked at
            kind = viewer = None
            for j in range(k, len(seen)):
                g = seen[j]
                if type(g) is not kind:
                    kind, viewer = type(g), viewer_of(g)
                if viewer is None and not self._is_foreign(j, g):
                    break
                if j in self._lies and held[j] is self._given[j] and _lies(held[j]) == self._lies[j]:
                    parameters[j] = self._views[j]
                if viewer is not None and (view := viewer(g)) is not None:
                    seen[j] = view
        return tuple(parameters), tuple(seen)


def _describer(kind: type) -> int:
    """How gradients of a type describe themselves: an exporter, or LENT; 0 if they do not."""
    return exporter(kind) or (LENT if is_jax(kind) and is_readable() else 0)


def _known(table: Table, row: int, array: Array, given: Any, view: Array) -> tuple[int, ...]:
    """The object that is to be held, our view of it, how many bytes, the cell for the gradient's address.

    Then what describes the object (0 for an array of NumPy), and the view's dtype where that does. An
    object that nothing describes is checked by its `_lies`, and the view is what is held. All is 0 for a
    parameter that is never ordinary.
    """
    if type(array) is not np.ndarray or not array.flags.forc or (given is not array and not _lies(given)):
        return (0,) * 7
    described = 0 if given is array else exporter(class_of(given))
    held = given if given is array or described else view
    return (
        id(held),
        id(view),
        array.nbytes,
        table.cell(row),
        described,
        dtype_code(array.dtype),
        array.itemsize,
    )


def _lies(x: Any) -> tuple[Any, ...]:
    """Where a parameter of another library lies, and how; empty if only NumPy can tell."""
    read = reader(x)
    return read(x) if read else ()


@functools.cache
def binder() -> Kernel:
    return compiled(_bind, (types.int64,) * 4, nogil=False)  # it reads what others may change


@numba.njit(**OPTIONS)
@own_symbol
def count_below(ordered, size, limit):
    """How many of so many ascending numbers at an address are below the limit."""
    lo, hi = 0, size
    while lo < hi:
        middle = (lo + hi) // 2
        if word(ordered + middle * WORD) < limit:
            lo = middle + 1
        else:
            hi = middle
    return lo


@numba.njit(**OPTIONS)
@own_symbol
def exporter_of(exporters, x):
    """The function that describes an object, by its type; 0 if there is none.

    ``exporters`` is where there is memory for a DLTensor, a count, and so many ids of types and functions.
    """
    at = exporters + COUNT + WORD
    for _ in range(word(exporters + COUNT)):
        if word(at) == word(x + TYPE):
            return word(at + WORD)
        at += 2 * WORD
    return 0


def _bind(plan, held, gradients, k):
    rows, starts, ends, exporters, count, bounds = listed(plan, 0, PLAN)
    while k < count:
        p, g = word(held + ITEMS + k * WORD), word(gradients + ITEMS + k * WORD)
        given, view, nbytes, cell, described, code, itemsize = listed(rows, k, KNOWN)
        if p != given or cell == 0:
            break
        if described != 0:
            if address_like(described, p, view, code, itemsize, exporters) != word(view + DATA):
                break
        elif (
            not half(p + FLAGS) & WRITEABLE or word(p + DATA) != word(view + DATA) or not same_layout(p, view)
        ):
            break
        exported = exporter_of(exporters, g)
        if exported == LENT:
            low = lent_like(g, view)
        elif exported != 0:
            low = address_like(exported, g, view, code, itemsize, exporters)
        else:
            low = word(g + DATA) if same_kind(g, view) and same_layout(g, view) else 0
        if low == 0:
            break
        before = count_below(starts, bounds, low + nbytes)  # parameters that start before it ends
        if before > 0 and word(ends + (before - 1) * WORD) > low:
            break
        store(cell, low)
        k += 1
    return k
