"""A table: rows (p, g, *state) kept alike in one place, as addresses that a kernel walks."""

from __future__ import annotations

import copy
import ctypes
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._rule import Elementwise
from . import threads
from .compile.kernel import Kernel, cost
from .storage import Storages, computed, storages_of
from .view import Array, address

Row = tuple[Array, ...]
BLOCK = 4096  # elements: what is added up at a time, however the work is dealt


class Table:
    """Rows of arrays, one array a column of ``function``, and how the work on them is dealt.

    A dense row is walked as flat memory whatever its shape. A row whose arrays differ in layout
    or have gaps is walked by their strides. The second column may be bound anew for each run.
    """

    def __init__(self, function: Elementwise, rows: list[Row], storages: Storages | None = None) -> None:
        self.function = function
        self._set_storages(storages or storages_of(rows[0]))
        self.rows = rows
        self.addresses = np.array([[address(a) for a in row] for row in rows], np.int64)
        self.strided: dict[int, Row] = {}
        for k, row in enumerate(rows):
            if not is_dense(row, self.function.indexed):
                self._bind_strided(k, row)
        self._set_sizes(np.array([row[0].size for row in rows], np.int64))

    def _set_storages(self, storages: Storages) -> None:
        self.storages, self.computed = storages, computed(storages)

    def _set_sizes(self, sizes: Array) -> None:
        self._sizes, self.size = sizes, int(sizes.sum())
        self.kept: list[Any] = []  # by its place, and shared with subsets
        self.traffic = self.size * cost(self.function, self.storages)
        self._ready: dict[str, tuple[Kernel, Array, Array]] = {}

    def bind(self, k: int, column: Array) -> None:
        """Make an array (a gradient) the second column of row ``k``."""
        head, _, *rest = self.rows[k]
        row = (head, column, *rest)
        if is_dense(row, self.function.indexed):
            self.strided.pop(k, None)
            self.addresses[k, 1] = address(column)
        else:
            self._bind_strided(k, row)

    def cell(self, k: int) -> int:
        """Where in memory the address of row k's second column is kept."""
        return int(self.addresses[k, 1:].ctypes.data)

    def leave_out(self, k: int) -> None:
        """Leave row ``k`` alone until something is bound to it."""
        self.strided.pop(k, None)
        self.addresses[k, self.function.switch] = 0

    def only(self, rows: set[int]) -> Table:
        """Copy of the table in which all rows but ``rows`` are left out."""
        part = copy.copy(self)
        part.addresses, part.strided = self.addresses.copy(), dict(self.strided)
        for k in set(range(len(self.rows))) - rows:
            part.leave_out(k)
        return part

    def under(self, function: Elementwise) -> Table:
        """These rows, whatever is bound to them, for another function of the same columns."""
        made = copy.copy(self)
        made.function = function
        made._set_sizes(self._sizes)
        return made

    @functools.cached_property
    def blocks(self) -> Array:
        """All rows cut into blocks of one length, as (row, lo, hi)."""
        counts = -(-self._sizes // BLOCK)
        rows = np.repeat(np.arange(counts.size), counts)
        lows = (np.arange(rows.size) - (np.cumsum(counts) - counts)[rows]) * BLOCK
        return np.stack([rows, lows, np.minimum(lows + BLOCK, self._sizes[rows])], axis=1)

    @functools.cached_property
    def first_blocks(self) -> Array:
        """Where in `blocks` each row's begin, and where the last one's end."""
        return np.append(0, np.cumsum(-(-self._sizes // BLOCK)))

    def column(self, k: int) -> Iterator[Array]:
        """The k-th array of each row that is not left out, dense ones flat."""
        storage = self.storages[k]
        columns = self.addresses[:, k].tolist(), self.addresses[:, self.function.switch].tolist()
        for at, there, size in zip(*columns, self._sizes.tolist(), strict=True):
            if there:
                memory = (ctypes.c_char * (size * storage.itemsize)).from_address(at)
                yield np.frombuffer(memory, storage.kept)
        yield from (arrays[k] for arrays in self.strided.values())

    def _bind_strided(self, k: int, row: Row) -> None:
        self.leave_out(k)
        self.strided[k] = row

    def ready(self, target: str, make: Callable[..., Kernel]) -> tuple[Kernel, Array, Array]:
        """The sweep that is made, the pieces of all shares, and where in them each share begins."""
        if target not in self._ready:
            sweep = make(self.function, self.storages, target)
            self._ready[target] = (sweep, *self._dealt(threads.shares(target)))
        return self._ready[target]

    def _dealt(self, shares: int) -> tuple[Array, Array]:
        return deal(self._sizes, shares)


class PickedRows(Table):
    """Rows ``indices`` of arrays (p, g, *state) along their first axis; g holds no others."""

    def __init__(
        self, function: Elementwise, whole: Row, indices: Array, storages: Storages | None = None
    ) -> None:
        every = np.arange(indices.size)
        picks = [every if k == 1 else indices for k in range(len(whole))]
        if not all(a[:1].flags.c_contiguous for a in whole):
            rows = zip(*picks, strict=True)
            super().__init__(function, [tuple(map(operator.getitem, whole, row)) for row in rows], storages)
            return
        self.function, self.strided, self.rows = function, {}, [whole]
        self._set_storages(storages or storages_of(whole))
        starts = [address(a) + pick * a.strides[0] for a, pick in zip(whole, picks, strict=True)]
        self.addresses = np.stack(starts, axis=1)
        self._set_sizes(np.full(indices.size, whole[0][:1].size))

    def _dealt(self, shares: int) -> tuple[Array, Array]:
        """Whole rows: as many to each share."""
        count = len(self._sizes)
        pieces = np.zeros((count, 3), np.int64)
        pieces[:, 0], pieces[:, 2] = np.arange(count), self._sizes
        return pieces, np.arange(shares + 1) * count // shares


def is_dense(row: Row, in_c_order: bool = False) -> bool:
    """Whether all arrays fill their memory without gaps, in one order."""
    if all(a.flags.c_contiguous for a in row):
        return True
    return not in_c_order and all(a.flags.f_contiguous for a in row)


def deal(sizes: Array, shares: int) -> tuple[Array, Array]:
    """Cut rows of these sizes into contiguous shares of equal length.

    The pieces (row, lo, hi), and where in them each share begins and the last one ends.
    """
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    bounds = np.arange(0, total, threads.share_of(total, shares) or 1)
    cuts = np.unique(np.concatenate([bounds, ends]))  # where a piece ends, and the next begins
    cuts = cuts[cuts > 0] if total else cuts[:0]
    lows = np.concatenate([bounds[:1], cuts[:-1]])
    rows = np.searchsorted(ends, lows, side="right")
    before = (ends - sizes)[rows]
    pieces = np.stack([rows, lows - before, cuts - before], axis=1)
    return pieces, np.append(np.searchsorted(lows, bounds), len(pieces))
