"""Places: where arrays live, and how work is done there.

`HOST` is here; a device's place is that of the first array seen on it.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import starmap
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from .._rule import Elementwise
from . import grid, normed, rowwise, sums, threads
from .arrays import as_view, empty_like, in_kind_of
from .factor import ONE, Factor, factor
from .host import summing, sweep, walk
from .lines import by_lines
from .norm import finite_norm
from .row_steps import Labels, Rowwise
from .storage import storage_of
from .table import Table
from .targets import target_for
from .view import BFLOAT16, Array, Scalars, View, address

Host = np.ndarray[Any, np.dtype[Any]]
Call = tuple[Any, ...]  # a callable and its arguments
Care = Callable[[], AbstractContextManager[Any]]  # what calls are run inside


class Verdict(Protocol):
    """The norm of gradients and what follows from it: known to the host, or to a device first."""

    factor: Factor  # of the gradients; what only a device knows is not in it
    go: bool | None  # whether the step is taken; None as long as only a device knows
    control: int  # where in a device's memory its kernels find what the host does not know, else 0

    def norm(self) -> float | None:
        """The norm, None if nobody asked for it; waits for a device."""

    def finite(self) -> bool:
        """Whether the gradients are finite; waits for a device."""

    def norm_like(self, x: Any) -> Any:
        """The norm where it is: a number, or an array of x's kind on its device."""

    def later(self) -> Answer:
        """Whether the step is taken, to be read when it is wanted."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Answer(Protocol):
    """A number on its way to the host."""

    def read(self) -> float:
        """The number; waits for it."""


class Known:
    """The verdict that the host has."""

    __slots__ = ("_finite", "_norm", "factor", "go")
    control = 0

    def __init__(
        self, factor: Factor, norm: float | None = None, finite: bool = True, go: bool | None = True
    ) -> None:
        self.factor, self.go, self._norm, self._finite = factor, go, norm, finite

    def norm(self) -> float | None:
        return self._norm

    def finite(self) -> bool:
        return self._finite

    def norm_like(self, x: Any) -> Any:
        return self._norm

    def later(self) -> Answer:
        raise AssertionError("a verdict that the host has is not waited for")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass


PLAIN = Known(ONE)


class Place(Protocol):
    """Where arrays live. Arrays are NumPy's on the host, views of this place elsewhere."""

    target: str  # as `target_of` says it; on the host it depends on the size too

    # Values.

    def read(self, x: Array, copy: bool = False) -> Host:
        """The values in host memory, copied if they were elsewhere or by request; waits for a device."""

    def hold(self, values: Host) -> Array:
        """New memory with these values."""

    def full(self, x: Array, value: float, dtype: np.dtype[Any]) -> Array:
        """A new array of a dtype laid out as ``x``, full of one value."""

    def copy(self, to: Array, values: Array) -> None:
        """Write values, from any place, to an array of their shape."""

    def in_c_order(self, values: Array) -> Array:
        """The values without gaps, in C order: themselves if they are."""

    # Work.

    def binder(self, table: Table, row: int, x: Array, given: Any, memory: Any) -> Any:
        """The fast path for a parameter's gradients, where the compiled one does not serve."""

    def begin(self, tables: Sequence[Table], views: Iterable[Array], bound: Iterable[Any] = ()) -> None:
        """Put the work on these tables after what made their arrays, and before what comes later.

        ``views`` are arrays as they are now, ``bound`` what the binders said.
        """

    def prepare(self, table: Table, scalars: Scalars, verdict: Verdict) -> tuple[list[Call], Care | None]:
        """The calls that run a table's function, made before any runs, and what to run them inside."""

    def run(self, function: Elementwise, row: tuple[Array, ...], scalars: Scalars) -> None:
        """Run a function over one row of arrays."""

    def run_along(
        self, function: Rowwise, row: tuple[Array, ...], axis: int, scalars: tuple[float, ...] = ()
    ) -> None:
        """Run a function along an axis of arrays, the last of which is the result and may be another."""

    def losses_along(
        self,
        function: Rowwise,
        row: tuple[Array | float, ...],
        axis: int,
        scalars: tuple[float, ...],
        labels: Labels | None,
        divisor: float | None,
        like: Any,
        each: bool,
    ) -> Any:
        """Run a function along an axis; return each loss in ``like``'s kind, or all as `mean` does.

        In ``row`` a number, or an array of one a class, is spread over the others' shape. The first of
        the function's scalars, which ``scalars`` lacks, is 1 over the ``divisor``; without one that is the
        sum of the labels' weights.
        """

    def between_steps(self, function: Elementwise, row: tuple[Array, ...], scalars: Scalars) -> None:
        """Run a function over one row, after all that runs here and before all that will."""

    def judge(
        self,
        tables: Sequence[Table],
        column: int,
        scale: float = 1.0,
        limit: float = -1.0,
        skip: bool = False,
        again: Verdict | None = None,
    ) -> Verdict:
        """The norm of a column of the tables over ``scale``, and what follows from it.

        Gradients are clipped to ``limit``, -1 for none; ``skip`` is whether inf and nan are a reason to
        leave the step. ``again`` is the verdict before, whose memory may be used.
        """

    # Sums.

    def summed(self, share: Array, axes: tuple[int, ...] | None, x: Any, alpha: Any) -> Any:
        """The sum over some axes, or all, in float64: shaped as alpha, of its kind."""

    def mean(self, share: Array, x: Any, divisor: float) -> Any:
        """The sum of all elements over a divisor: a float; on a device an array of shape () of x's kind."""

    def gathered(self, values: Array, order: Host, starts: Host) -> Array:
        """Sums of rows of dense values, ``values[order[starts[r]:starts[r + 1]]]``, in float64 and in order.

        Rows alone are copied.
        """

    def number(self, x: Array) -> Scalars | None:
        """The one element of an array as a scalar, if the host can tell it without waiting."""


class HostPlace:
    """Memory of the host, as NumPy's arrays."""

    target = "cpu"

    def __repr__(self) -> str:
        return "host memory"

    def __reduce__(self) -> str:
        return "HOST"

    def read(self, x: Host, copy: bool = False) -> Host:
        return x.copy() if copy else x

    def hold(self, values: Host) -> Host:
        return values

    def full(self, x: Host, value: float, dtype: np.dtype[Any]) -> Host:
        return np.full_like(x, value, dtype, subok=False)

    def copy(self, to: Host, values: Array) -> None:
        values = place_of(values).read(values)
        to[...] = values.view(to.dtype) if BFLOAT16 in (to.dtype, values.dtype) else values

    def in_c_order(self, values: Host) -> Host:
        return values if values.flags.c_contiguous else np.ascontiguousarray(values)

    def binder(self, table: Table, row: int, x: Host, given: Any, memory: Any) -> None:
        return None

    def begin(self, tables: Sequence[Table], views: Iterable[Array], bound: Iterable[Any] = ()) -> None:
        pass

    def prepare(self, table: Table, scalars: Scalars, verdict: Verdict) -> tuple[list[Call], Care | None]:
        target = target_for(table.traffic)
        care = threads.turn if target == "parallel" and not threads.are_free() else None
        if table.function.normed:
            return normed.calls(table, scalars, target), care
        made: list[Call] = []
        if len(table.strided) < len(table.rows):
            kernel, pieces, first = table.ready(target, sweep)
            made.append((kernel, table.addresses, pieces, first, scalars))
        if table.strided:
            strided, shares = walk(table.function, table.storages, target), threads.shares(target)
            for row in table.strided.values():
                addresses = np.array([[address(a) for a in row]], np.int64)
                lines = by_lines(row, table.function.indexed)
                made.append((strided, addresses, lines, row[0].size, shares, scalars))
        return made, care

    def run(self, function: Elementwise, row: tuple[Host, ...], scalars: Scalars) -> None:
        calls, care = self.prepare(Table(function, [row]), scalars, PLAIN)
        with care() if care else contextlib.nullcontext():
            make(calls)

    between_steps = run

    def run_along(
        self, function: Rowwise, row: tuple[Host, ...], axis: int, scalars: tuple[float, ...] = ()
    ) -> None:
        rowwise.run(function, row, axis, np.array(scalars, np.float64))

    def losses_along(
        self,
        function: Rowwise,
        row: tuple[Any, ...],
        axis: int,
        scalars: tuple[float, ...],
        labels: Labels | None,
        divisor: float | None,
        like: Any,
        each: bool,
    ) -> Any:
        x: Any = row[-1]
        rest = x.shape[:axis] + x.shape[axis + 1 :]
        numbers, hot, losses = None, None, np.zeros(math.prod(rest))
        if labels is not None:
            numbers = labels.numbers.ravel()
            of_classes = 1.0 if labels.weights is None else labels.weights.astype(np.float64)[numbers]
            own = np.where(numbers < 0, 0.0, of_classes)
            divisor, hot = self.total(own) if divisor is None else divisor, labels.share * own
        arrays = [a if np.shape(a) == x.shape and a.dtype == x.dtype else along(a, axis, x) for a in row]
        scale = 1.0 / divisor if divisor else 0.0
        rowwise.run(function, arrays, axis, np.array([scale, *scalars]), numbers, hot, losses)
        if each:
            return in_kind_of(like, losses.astype(x.dtype).reshape(rest))
        return self.total(losses) / divisor if divisor else math.nan

    def judge(
        self,
        tables: Sequence[Table],
        column: int,
        scale: float = 1.0,
        limit: float = -1.0,
        skip: bool = False,
        again: Verdict | None = None,
    ) -> Known:
        norm, finite = finite_norm(tables, column, scale)
        by = ONE if limit < 0.0 and scale == 1.0 else factor(norm, limit, scale)
        return Known(by, norm, finite, finite or not skip)

    def summed(self, share: Host, axes: tuple[int, ...] | None, x: Any, alpha: Any) -> Any:
        total = self.total(share) if axes is None else np.sum(share, axis=axes, dtype=np.float64)
        return self.as_alpha(total, share.dtype, alpha)

    def mean(self, share: Host, x: Any, divisor: float) -> float:
        return self.total(share) / divisor

    def total(self, x: Host) -> float:
        """The sum of all elements in float64, in the order in which they lie in memory."""
        dense = x.ravel("K")
        return float(summing(storage_of(x))(address(dense), dense.size))

    @staticmethod
    def as_alpha(total: Any, dtype: np.dtype[Any], alpha: Any) -> Any:
        """A sum as an array for an alpha that is one, also of shape (): it is a parameter's gradient."""
        made = np.asarray(total, dtype).reshape(np.shape(alpha))
        return made if isinstance(alpha, np.ndarray) else in_kind_of(alpha, made)

    def gathered(self, values: Host, order: Host, starts: Host) -> Host:
        counts = np.diff(starts)
        several = counts > 1
        if not several.any():
            return values[order[starts[:-1]]]
        if not several.all():  # the others are copied
            made = values[order[starts[:-1]]]
            ends = np.append(0, np.cumsum(counts[several]))
            made[several] = self.gathered(values, order[np.repeat(several, counts)], ends)
            return made
        out = np.empty((len(starts) - 1, *values.shape[1:]), values.dtype)
        numbers = [np.ascontiguousarray(each, np.int64) for each in (order, starts)]
        width = int(np.prod(values.shape[1:], dtype=np.int64))
        where = (address(values), *map(address, numbers), len(out), width, address(out))
        grid.native(sums.gathered(storage_of(values)))(1, *where)
        return out

    def number(self, x: Host) -> Scalars | None:
        return x.astype(np.float64).reshape(1) if x.size == 1 else None


def along(of_classes: Any, axis: int, x: Host) -> Host:
    """A number, or one a class, as an array like ``x``: dense along an axis, of one row's memory."""
    full = np.full(x.shape[axis], of_classes, x.dtype)
    return np.broadcast_to(full.reshape(-1, *[1] * (x.ndim - axis - 1)), x.shape)


HOST = HostPlace()


def place_of(x: Array) -> Place:
    """Where an array lives."""
    place: Place = x.place if isinstance(x, View) else HOST
    return place


def begin(tables: Iterable[Table], views: Iterable[Array], bound: Iterable[Any] = ()) -> None:
    """Put the work on tables of any places after what made their arrays: see `Place.begin`."""
    views, by_place = list(views), dict[Place, list[Table]]()
    for table in tables:
        by_place.setdefault(place_of(table.rows[0][0]), []).append(table)
    for place, members in by_place.items():
        place.begin(members, views, bound)


def make(calls: Iterable[Call]) -> None:
    """Make calls one after another, with no bytecode between them: signals are handled between bytecodes."""
    _exhaust(starmap(operator.call, calls))


_exhaust = deque[Any](maxlen=0).extend


def placed(x: Any, values: Host) -> Any:
    """Host values as a new array of x's kind, where x lives."""
    view = as_view("like", x, narrow=True)
    if place_of(view) is HOST:
        return in_kind_of(x, values)
    there = empty_like(x, view, values.shape)
    place_of(there).copy(there, values)
    return in_kind_of(x, there)
