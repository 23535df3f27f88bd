"""A table: rows (p, g, *state) of one dtype in one place, as addresses that a kernel walks."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._rule import Elementwise
from . import host, threads

Array = np.ndarray[Any, np.dtype[Any]]
Row = tuple[Array, ...]


class Table:
    """Rows of arrays, one array a column of ``function``, and how the work on them is dealt.

    A dense row is walked as flat memory whatever its shape. A row whose arrays differ in layout
    or have gaps is walked by their strides. The second column may be bound anew for each run.
    """

    def __init__(self, function: Elementwise, rows: list[Row]) -> None:
        self.function, self.dtype = function, rows[0][0].dtype
        self.rows = rows
        self.addresses = np.array([[address(a) for a in row] for row in rows], np.int64)
        self.strided: dict[int, Row] = {}
        for k, row in enumerate(rows):
            if not is_dense(row):
                self._bind_strided(k, row)
        self._sizes = [row[0].size for row in rows]
        self._ready: dict[str, tuple[host.Kernel, Array, Array]] = {}
        self.traffic = sum(self._sizes) * host.cost(function, self.dtype)

    def bind(self, k: int, column: Array) -> None:
        """Make an array (a gradient) the second column of row ``k``."""
        head, _, *rest = self.rows[k]
        row = (head, column, *rest)
        if is_dense(row):
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
        """The same table with all rows but these left out."""
        part = copy.copy(self)
        part.addresses, part.strided = self.addresses.copy(), dict(self.strided)
        for k in set(range(len(self.rows))) - rows:
            part.leave_out(k)
        return part

    def _bind_strided(self, k: int, row: Row) -> None:
        self.leave_out(k)
        self.strided[k] = row

    def ready(self, target: str) -> tuple[host.Kernel, Array, Array]:
        """The sweep, the pieces of all shares, and where in them each share begins."""
        if target not in self._ready:
            sweep = host.sweep(self.function, self.dtype, target)
            self._ready[target] = (sweep, *deal(self._sizes, threads.shares(target)))
        return self._ready[target]


def address(a: Array) -> int:
    """Where the array's first element is."""
    return int(a.__array_interface__["data"][0])


def is_dense(row: Row) -> bool:
    """Whether all arrays fill their memory without gaps, in one order."""
    return all(a.flags.c_contiguous for a in row) or all(a.flags.f_contiguous for a in row)


def deal(sizes: list[int], shares: int) -> tuple[Array, Array]:
    """Cut rows of these sizes into contiguous shares of equal length, as (row, lo, hi) pieces."""
    share = threads.share_of(sum(sizes), shares)
    pieces, first, room = [], [0], share
    for k, size in enumerate(sizes):
        lo = 0
        while lo < size:
            hi = min(lo + room, size)
            pieces.append((k, lo, hi))
            room -= hi - lo
            lo = hi
            if room == 0:
                first.append(len(pieces))
                room = share
    if first[-1] < len(pieces):
        first.append(len(pieces))
    return np.array(pieces, np.int64).reshape(-1, 3), np.array(first, np.int64)


def by_lines(row: Row) -> tuple[Array, Array]:
    """Shape, and strides[axis, column], of a row with its axes in the order of memory and merged."""
    strides = np.array([a.strides for a in row], np.int64).T
    merged: list[tuple[int, Array]] = [(1, np.zeros(len(row), np.int64))]
    for axis in sorted(range(row[0].ndim), key=lambda axis: -abs(strides[axis, 0])):
        n, along = row[0].shape[axis], strides[axis]
        outer, outer_along = merged[-1]
        if outer == 1:
            merged[-1] = (n, along)
        elif (outer_along == n * along).all():
            merged[-1] = (outer * n, along)
        elif n != 1:
            merged.append((n, along))
    return np.array([n for n, _ in merged], np.int64), np.array([s for _, s in merged], np.int64)
