"""CUDA devices as places: what is uploaded and when, how streams are ordered, what kernels are launched with.

Nothing here waits for a device but numbers that are read, `read`, `copy`, `full` and `between_steps`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import signal
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np

from ..._rule import Elementwise
from ..._signals import uninterrupted
from .. import grid, sums
from ..arrays import as_view, empty_like, in_kind_of, operand, read_interface, reader, stream_source
from ..checks import Updated
from ..factor import CONTROL, FINITE, GO, NORM, ONE
from ..fold import SUMMED
from ..lines import by_lines
from ..place import Call, Care, Verdict, place_of
from ..row_steps import Labels, Rowwise
from ..storage import OF_DTYPE, storage_of, storages_of
from ..table import BLOCK, Table, is_dense
from ..view import Scalars, View, address, geometry_at
from . import driver, normed, rowwise
from .driver import Arguments, HostNumber, StreamOrder
from .memory import DeviceView, downloaded, uploaded

Array = np.ndarray[Any, np.dtype[Any]]
A_PROCESSOR = 8  # blocks of 256 threads that are on one at a time
SWEEP_CONTROL = 3  # which argument of a sweep
OF_TABLE = 6  # how many arguments of `sums.squares` come first


@functools.cache
def of(ordinal: int) -> Device:
    """The place that a CUDA device is."""
    return Device(ordinal)


class Device:
    """Memory of a CUDA device; work on it is put on streams."""

    target = "cuda"

    def __init__(self, ordinal: int) -> None:
        self.ordinal = ordinal

    def __repr__(self) -> str:
        return f"CUDA device {self.ordinal}"

    def __reduce__(self) -> Any:
        return of, (self.ordinal,)

    # Values.

    def read(self, x: DeviceView, copy: bool = False) -> Array:
        return downloaded(x)

    def hold(self, values: Array) -> DeviceView:
        made = uploaded(values, self)
        driver.get().finish(self.ordinal)  # whichever stream is the first to use it
        return made

    def full(self, x: DeviceView, value: float, dtype: np.dtype[Any]) -> DeviceView:
        model, cuda = np.empty_like(x.geometry, dtype), driver.get()
        if value != 0.0:
            model[...] = value
            return self.hold(model)
        nbytes = max(8, model.nbytes)
        memory = cuda.allocate(self.ordinal, nbytes)
        cuda.zero(self.ordinal, memory.address, nbytes, 0)
        cuda.finish(self.ordinal)
        geometry = geometry_at(memory.address, model.shape, model.strides, model.dtype)
        return DeviceView(geometry, self, memory, 0)

    def copy(self, to: DeviceView, values: Any) -> None:
        if not isinstance(values, View) or place_of(values) is not self:
            values = uploaded(place_of(values).read(values), self)
        self.between_steps(COPY, (values.reshape(to.shape), to), np.empty(0))

    def in_c_order(self, values: DeviceView) -> DeviceView:
        if values.flags.c_contiguous:
            return values
        out = self._new(values, values.shape)
        self.run(COPY, (values, out), np.empty(0))
        return out

    def _new(self, x: DeviceView, shape: tuple[int, ...]) -> DeviceView:
        """New memory in C order for this shape, on an array's stream."""
        order, nbytes = StreamOrder(self.ordinal, x.stream), int(np.prod(shape, dtype=np.int64)) * x.itemsize
        memory = driver.get().allocate(self.ordinal, max(8, nbytes), order)
        return DeviceView(geometry_at(memory.address, shape, None, x.dtype), self, memory, x.stream, order)

    # Work.

    def binder(self, table: Table, row: int, x: DeviceView, given: Any, memory: Updated) -> Binder | None:
        return Binder(self, table, row, x, given, memory) if x.flags.forc else None

    def begin(self, tables: Sequence[Table], views: Iterable[Any], bound: Iterable[Any] = ()) -> None:
        """Choose a stream for the tables' work, after all others that their arrays are on."""
        streams: dict[int, None] = {}
        for place, source in bound:
            if place is self:
                streams[source if isinstance(source, int) else source(self.ordinal)] = None
        owned = []
        for x in views:
            if isinstance(x, DeviceView) and x.place is self:
                streams[x.stream] = None
                if x.order is not None:
                    owned.append(x.order)
        if not streams:
            return
        stream, *others = streams
        if others:
            self.follow((stream,), others)
        for table in tables:
            if not table.kept:
                table.kept.append(Resident(table, stream))
            table.kept[0].begin(stream, others, owned)

    def follow(self, streams: Iterable[int], others: Iterable[int]) -> None:
        """Make later work on each of the streams wait for the work submitted so far to the others."""
        for stream, other in itertools.product(streams, others):
            driver.get().order(self.ordinal, other, stream)

    @contextlib.contextmanager
    def joined(self, row: Iterable[Any], stream: int) -> Iterator[None]:
        """Work on one stream with arrays of several: after what these did, and before what they will do."""
        others = {x.stream for x in row if isinstance(x, DeviceView)} - {stream}
        self.follow((stream,), others)
        yield
        self.follow(others, (stream,))

    def prepare(self, table: Table, scalars: Scalars, verdict: Verdict) -> tuple[list[Call], Care | None]:
        """Calls that put a table's function on its stream: a sweep, and a walk over each row with gaps."""
        here: Resident = table.kept[0]
        last: list[Call] = [(self.follow, here.others, (here.stream,))] if here.others else []
        if table.function.normed:
            return normed.calls(self, table, verdict.control, scalars) + last, CARE
        bodies = [grid.sweep(table.function, table.storages)]
        if table.strided:
            bodies.append(grid.walk(table.function, table.storages))
        for body in bodies:
            driver.get().load(self.ordinal, body)
        calls: list[Call] = []
        if here.count and len(table.strided) < len(table.rows):
            calls.append((here.sweep, bodies[0], table, verdict.control, scalars))
        for row in table.strided.values():
            in_c_order = table.function.indexed
            calls.append((self._walk, bodies[1], row, here.stream, verdict.control, scalars, in_c_order))
        return calls + last, CARE

    def launch(self, body: grid.Body, stream: int, pieces: int, arguments: Arguments) -> None:
        """Launch a body over so many pieces of work."""
        cuda = driver.get()
        blocks = max(1, min(pieces, A_PROCESSOR * cuda.multiprocessors(self.ordinal)))
        cuda.launch(self.ordinal, cuda.load(self.ordinal, body), blocks, stream, arguments)

    def start(self, body: grid.Body, stream: int, pieces: int, *values: Any, scalars: Any = None) -> None:
        """Launch a body with these arguments."""
        arguments = Arguments(body, *values)
        if scalars is not None:
            arguments.set_scalars(scalars)
        self.launch(body, stream, pieces, arguments)

    def _walk(
        self,
        body: grid.Body,
        row: tuple[Any, ...],
        stream: int,
        control: int,
        scalars: Scalars,
        in_c_order: bool,
    ) -> None:
        lines, size = by_lines(row, in_c_order), row[0].size
        if not size:
            return
        numbers = np.append(np.array([address(a) for a in row], np.int64), lines)
        with using(orders(row), stream), self.uploaded(numbers, stream) as at:
            where = at, at + 8 * len(row), len(lines), size, control, 0
            self.start(body, stream, -(-size // grid.THREADS), *where, scalars=scalars)

    @contextlib.contextmanager
    def uploaded(self, numbers: Array, stream: int) -> Iterator[int]:
        """The address of numbers on the device, for work put on the stream inside."""
        with driver.get().scratch(self.ordinal, max(8, numbers.nbytes), stream) as at:
            driver.get().upload(self.ordinal, at, numbers, stream)
            yield at

    def run(self, function: Elementwise, row: tuple[Any, ...], scalars: Scalars) -> None:
        """The function over one row of arrays, the first on whose stream all runs."""
        first, stream = row[0], row[0].stream
        with self.joined(row, stream):
            if not is_dense(row, function.indexed):
                body = grid.walk(function, storages_of(row))
                self._walk(body, row, stream, 0, scalars, function.indexed)
            elif first.size:
                body = grid.flat(function, storages_of(row))
                pieces = -(-first.size // grid.CHUNK)
                with using(orders(row), stream):
                    self.start(body, stream, pieces, tuple(map(address, row)), first.size, scalars=scalars)

    def run_along(
        self, function: Rowwise, row: tuple[Any, ...], axis: int, scalars: tuple[float, ...] = ()
    ) -> None:
        stream = row[0].stream
        with self.joined(row, stream), using(orders(row), stream):
            rowwise.launch(self, function, row, axis, scalars, stream)

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
        x = row[0]
        rest, number = x.shape[:axis] + x.shape[axis + 1 :], np.dtype(np.float64)
        result = empty_like(like, x, rest if each else (), x.dtype if each else number)
        used = (*row, result, *(() if labels is None else (labels.numbers, labels.weights)))
        with self.joined(used, x.stream), using(orders(used), x.stream):
            rowwise.losses(self, function, row, axis, scalars, labels, divisor, result, each)
        return in_kind_of(like, result)

    def between_steps(self, function: Elementwise, row: tuple[Any, ...], scalars: Scalars) -> None:
        driver.get().finish(self.ordinal)
        self.run(function, tuple(map(_on_default_stream, row)), scalars)
        driver.get().finish(self.ordinal)

    def judge(
        self,
        tables: Sequence[Table],
        column: int,
        scale: float = 1.0,
        limit: float = -1.0,
        skip: bool = False,
        again: Verdict | None = None,
    ) -> Control:
        here: Resident = tables[0].kept[0]
        made = again if isinstance(again, Control) else Control.at(self, here.stream)
        made.take(tables, column, here.stream, scale, limit, skip)
        return made

    # Sums.

    def summed(self, share: DeviceView, axes: tuple[int, ...] | None, x: Any, alpha: Any) -> Any:
        if isinstance(alpha, Real):
            kind, result = x, empty_like(x, operand("x", x), ())
        else:
            seen = as_view("alpha", alpha)
            kind, result = alpha, empty_like(alpha, seen, seen.shape)
        if axes is None:
            self._total(share, result)
        elif result.size:
            self._summed_along(share, axes, result)
        return in_kind_of(kind, result)

    def mean(self, share: DeviceView, x: Any, divisor: float) -> Any:
        result = empty_like(x, share, (), np.dtype(np.float64))
        self._total(share, result, divisor)
        return in_kind_of(x, result)

    def _total(self, x: DeviceView, result: Any, divisor: float = 1.0) -> None:
        """The sum of dense elements, in the order of memory, over a divisor."""
        blocks = -(-x.size // SUMMED)
        cuda, stream = driver.get(), x.stream
        room = cuda.scratch(self.ordinal, 8 * (blocks + 2), stream)
        with self.joined((x, result), stream), using(orders((x, result)), stream), room as at:
            cuda.zero(self.ordinal, at, 8, stream)
            self.start(sums.total(storage_of(x)), stream, blocks, address(x), x.size, at + 16, at, at + 8)
            body = sums.quotients(OF_DTYPE[np.dtype(np.float64)], storage_of(result))
            self.start(body, stream, 1, at + 8, 8, 1, divisor, 0, address(result))

    def _summed_along(self, x: DeviceView, axes: tuple[int, ...], result: Any) -> None:
        """The sums over some axes, in float64, into ``result``, dense, of the other axes."""
        stream, kept = x.stream, [axis for axis in range(x.ndim) if axis not in axes]
        over = int(np.prod([x.shape[k] for k in axes], dtype=np.int64))
        numbers = np.array([(x.shape[k], x.strides[k]) for k in (*kept, *axes)], np.int64).reshape(-1, 2)
        with (
            self.joined((x, result), stream),
            using(orders((x, result)), stream),
            self.uploaded(numbers, stream) as at,
        ):
            where = address(x), at, len(kept), result.size, at + 16 * len(kept), len(axes), over
            self.start(sums.along(storage_of(x)), stream, result.size, *where, address(result))

    def gathered(self, values: DeviceView, order: Array, starts: Array) -> DeviceView:
        rows, width = len(starts) - 1, int(np.prod(values.shape[1:], dtype=np.int64))
        out, stream = self._new(values, (rows, *values.shape[1:])), values.stream
        if out.size:
            numbers = np.concatenate([order, starts]).astype(np.int64)
            with using(orders((values, out)), stream), self.uploaded(numbers, stream) as at:
                pieces = -(-rows * width // grid.THREADS)
                where = address(values), at, at + 8 * order.size, rows, width, address(out)
                self.start(sums.gathered(storage_of(values)), stream, pieces, *where)
        return out

    def number(self, x: DeviceView) -> None:
        return None


CARE = functools.partial(uninterrupted, signal.SIGINT)  # between calls of Python code an interrupt could come


def _same(x: Any) -> Any:
    """x."""
    return x


COPY = Elementwise(_same, ("x",), ("y",))


def _on_default_stream(x: DeviceView) -> DeviceView:
    """View of an array on the default stream, as the stream that last used the array may be destroyed."""
    there = x[...]
    there.stream = 0
    return there


@contextlib.contextmanager
def using(orders: Iterable[StreamOrder], stream: int) -> Iterator[None]:
    """Work on a stream that becomes the latest use of memory that the engine frees."""
    begun = [order.on(stream) for order in dict.fromkeys(orders)]
    try:
        yield
    finally:
        for order in begun:
            order.leave()


def orders(arrays: Iterable[Any]) -> list[StreamOrder]:
    """The orders of those arrays whose memory the engine frees."""
    return [x.order for x in arrays if isinstance(x, DeviceView) and x.order is not None]


class Binder:
    """Fast path for the gradients of one parameter: those that lie as it does, on its stream, beside all."""

    def __init__(
        self, place: Device, table: Table, row: int, x: DeviceView, given: Any, memory: Updated
    ) -> None:
        self._given, self._kind, self._memory, self._nbytes = given, type(given), memory, x.nbytes
        self._cell, self._itemsize = table.addresses[row, 1:2], x.itemsize
        known = reader(given)
        self._read = known or read_interface
        self._known = self._read(given)
        self._lies = self._known[2:]
        self._bound = place, stream_source(given) or x.stream

    def bind(self, held: Any, g: Any) -> tuple[Device, Any] | None:
        """Bind a gradient and return what `Device.begin` asks for; None, and nothing done, otherwise."""
        if held is not self._given or type(g) is not self._kind:
            return None
        address, _, *lies = self._read(g)
        if not address or address % self._itemsize or (*lies,) != self._lies:
            return None
        if self._read(held) != self._known or not self._memory.is_clear(address, self._nbytes):
            return None
        self._cell[0] = address
        return self._bound


class Resident:
    """Device copies of a table's addresses, uploaded when one changed, and of its pieces of work."""

    def __init__(self, table: Table, stream: int) -> None:
        self.device: Device = table.rows[0][0].place
        pieces, ordinal = np.ascontiguousarray(table.blocks), self.device.ordinal
        self.count, self.order = len(pieces), StreamOrder(ordinal, stream)
        self._of_rows = orders(x for row in table.rows for x in row)
        self._known = b""
        nbytes = max(8, table.addresses.nbytes + pieces.nbytes)
        self._memory = driver.get().allocate(ordinal, nbytes, self.order)
        self.rows_at = self._memory.address
        self.pieces_at = self.rows_at + table.addresses.nbytes
        with self.order:
            driver.get().upload(ordinal, self.pieces_at, pieces, stream)
        self._sweep = Arguments(
            grid.sweep(table.function, table.storages), self.rows_at, self.pieces_at, self.count, 0, 0
        )
        self._of_norm: dict[int, Arguments] = {}

    def begin(self, stream: int, others: Sequence[int], owned: list[StreamOrder]) -> None:
        """Set the stream of the work to come, those that come after it, and whose memory it uses."""
        self.stream, self.others = stream, others
        self.orders = (self.order, *self._of_rows, *owned)

    def upload(self, table: Table) -> None:
        """Make the device's addresses those of the table; inside a use of `order`."""
        now = table.addresses.tobytes()
        if now != self._known:
            driver.get().upload(self.device.ordinal, self.rows_at, table.addresses, self.stream)
            self._known = now

    def sweep(self, body: grid.Body, table: Table, control: int, scalars: Scalars) -> None:
        with self.order.on(self.stream):
            self.upload(table)
            self._sweep.set(SWEEP_CONTROL, control)
            self._sweep.set_scalars(scalars)
            self.device.launch(body, self.stream, self.count, self._sweep)
        self._used()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Work on this, and on the memory that the table's arrays are in, inside."""
        with self.order.on(self.stream):
            yield
        self._used()

    def _used(self) -> None:
        """End a use of the memory that the table's arrays are in."""
        if len(self.orders) > 1:
            with using(self.orders[1:], self.stream):
                pass

    def squares(self, table: Table, column: int, rest: tuple[Any, ...]) -> None:
        """The kernel that takes the norm of a column; ``rest`` are its arguments after `OF_TABLE`."""
        body = sums.squares(table.storages[column])
        if column not in self._of_norm:
            self._of_norm[column] = Arguments(body, *self._column(table, column))
        for k, value in enumerate(rest, OF_TABLE):
            self._of_norm[column].set(k, value)
        with using(self.orders, self.stream):
            self.upload(table)
            self.device.launch(body, self.stream, self.count, self._of_norm[column])

    def overflow(self, table: Table, column: int, rest: tuple[Any, ...]) -> None:
        """The kernel that looks for what only the scale makes infinite."""
        with using(self.orders, self.stream):
            body, where = sums.overflow(table.storages[column]), self._column(table, column)
            self.device.start(body, self.stream, self.count, *where, *rest)

    def _column(self, table: Table, column: int) -> tuple[int, ...]:
        of = table.function
        return self.rows_at, len(of.columns), of.switch, column, self.pieces_at, self.count


class Control:
    """The verdict of a device: the norm of gradients and what follows from it, in its memory."""

    factor = ONE

    def __init__(self, device: Device, stream: int) -> None:
        ordinal = device.ordinal
        self.device, self.order, self._room = device, StreamOrder(ordinal, stream), 0
        self._memory = driver.get().allocate(ordinal, 8 * (CONTROL + 1), self.order)
        self.control, self._counter = self._memory.address, self._memory.address + 8 * CONTROL
        self._number: HostNumber | None = None
        self.go: bool | None = True
        with self.order:
            driver.get().zero(ordinal, self._counter, 8, stream)

    @classmethod
    def at(cls, device: Device, stream: int) -> Control:
        """One that no call is using, or a new one."""
        kept = _FREE.setdefault(driver.get(), {}).setdefault(device.ordinal, [])
        return kept.pop() if kept else cls(device, stream)

    def __enter__(self) -> Self:
        """One call's verdict: its memory is the next call's."""
        self.order.on(self._stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.order.leave()
        self.device.follow(self._others, (self._stream,))
        _FREE[driver.get()][self.device.ordinal].append(self)

    def take(
        self, tables: Sequence[Table], column: int, stream: int, scale: float, limit: float, skip: bool
    ) -> None:
        """Put the norm of a column of all tables on the stream; ``limit`` < 0 is none."""
        self.go, self._stream, self._others = None if skip else True, stream, tables[0].kept[0].others
        dense = [(table, len(table.blocks), None) for table in tables]
        found = [row[column] for table in tables for row in table.strided.values()]
        work = [*dense, *((None, -(-x.size // BLOCK), x) for x in found if x.size)]
        longest, slots = max(pieces for _, pieces, _ in work), len(work)
        with self.order.on(stream):
            at = self._scratch(8 * sums.PER_SLOT * (longest + slots))
            totals = at + 8 * sums.PER_SLOT * longest
            for slot, (table, pieces, x) in enumerate(work):
                rest = at, self._counter, totals, slot, slots, self.control, scale, limit, int(skip)
                if table is not None:
                    table.kept[0].squares(table, column, rest)
                else:
                    self._strided(sums.strided_squares(storage_of(x)), x, stream, pieces, rest)
            if scale < 1.0:  # or finite gradients stay so
                for table, pieces, x in work:
                    if table is not None:
                        table.kept[0].overflow(table, column, (self.control, scale, int(skip)))
                    else:
                        body = sums.strided_overflow(storage_of(x))
                        self._strided(body, x, stream, pieces, (self.control, scale, int(skip)))

    def _scratch(self, nbytes: int) -> int:
        """Memory for sums, kept from step to step."""
        if nbytes > self._room:
            ordinal = self.device.ordinal
            self._sums, self._room = driver.get().allocate(ordinal, nbytes, self.order), nbytes
        return self._sums.address

    def _strided(self, body: grid.Body, x: Any, stream: int, pieces: int, rest: tuple[Any, ...]) -> None:
        """Put a kernel on the stream that reads an array with gaps."""
        lines = by_lines((x,))
        with using(orders([x]), stream), self.device.uploaded(lines, stream) as at:
            self.device.start(body, stream, pieces, address(x), at, len(lines), x.size, *rest)

    def _told(self, k: int) -> HostNumber:
        """Number ``k`` of this on its way to the host; the one before is forgotten."""
        if self._number is None:
            self._number = driver.get().number(self.device.ordinal)
        with self.order:
            self._number.copy(self.control + 8 * k, self.order.stream)
        return self._number

    def later(self) -> HostNumber:
        return self._told(GO)

    def norm(self) -> float:
        return self._told(NORM).read()

    def finite(self) -> bool:
        return bool(self._told(FINITE).read())

    def norm_like(self, x: Any) -> Any:
        """A copy of the norm as it is now, float64, in an array of shape () of x's kind."""
        there = empty_like(x, as_view("parameter", x), (), np.dtype(np.float64))
        geometry = geometry_at(self.control + 8 * NORM, (), None, there.dtype)
        self.device.run(
            COPY, (DeviceView(geometry, self.device, self, there.stream, self.order), there), np.empty(0)
        )
        return in_kind_of(x, there)


# By driver and device: the controls that no call is using.
_FREE: WeakKeyDictionary[driver.Driver, dict[int, list[Control]]] = WeakKeyDictionary()
