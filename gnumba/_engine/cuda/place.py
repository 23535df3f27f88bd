"""Tables on a device: what is uploaded and when, and what each kernel is launched with.

Nothing here waits for the device but a number that is read, `assign`, `filled` and `between_steps`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..._rule import Elementwise
from .. import grid, sums
from ..arrays import as_view, empty_like, in_kind_of
from ..factor import CONTROL, FINITE, GO, NORM
from ..table import BLOCK, Table, address, by_lines, is_dense
from . import driver
from .driver import Arguments, HostNumber, StreamOrder
from .memory import Remote, uploaded, view

Array = np.ndarray[Any, np.dtype[Any]]
A_PROCESSOR = 8  # blocks of 256 threads that are on one at a time
SWEEP_CONTROL = 3  # which argument of a sweep
OF_TABLE = 5  # how many arguments of `sums.squares` come first


def start(body: grid.Body, ordinal: int, stream: int, pieces: int, *values: Any, scalars: Any = None) -> None:
    """Launch a body over so many pieces of work."""
    arguments = Arguments(body, *values)
    if scalars is not None:
        arguments.set_scalars(scalars)
    _launch(body, ordinal, stream, pieces, arguments)


def _launch(body: grid.Body, ordinal: int, stream: int, pieces: int, arguments: Arguments) -> None:
    cuda = driver.get()
    blocks = max(1, min(pieces, A_PROCESSOR * cuda.multiprocessors(ordinal)))
    cuda.launch(ordinal, cuda.load(ordinal, body), blocks, stream, arguments)


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
    return [x.order for x in arrays if isinstance(x, Remote) and x.order is not None]


class Resident:
    """A table's numbers in its device's memory: addresses, uploaded again when one changed, and pieces."""

    def __init__(self, table: Table) -> None:
        pieces = np.ascontiguousarray(table.pieces)
        self.count, self.order = len(pieces), StreamOrder(table.ordinal, table.stream)
        self.orders = orders(x for row in table.rows for x in row)
        self._known = b""
        nbytes = max(8, table.addresses.nbytes + pieces.nbytes)
        self._memory = driver.get().allocate(table.ordinal, nbytes, self.order)
        self.rows_at = self._memory.address
        self.pieces_at = self.rows_at + table.addresses.nbytes
        with self.order:
            driver.get().upload(table.ordinal, self.pieces_at, pieces, table.stream)
        body = grid.sweep(table.function, table.dtype)
        self.arguments = Arguments(body, self.rows_at, self.pieces_at, self.count, 0)
        self._of_norm: dict[int, Arguments] = {}

    def upload(self, table: Table) -> None:
        """Make the device's addresses those of the table; inside a use of `order`."""
        now = table.addresses.tobytes()
        if now != self._known:
            driver.get().upload(table.ordinal, self.rows_at, table.addresses, table.stream)
            self._known = now

    def of_norm(self, table: Table, column: int) -> Arguments:
        """The arguments of the kernel that takes the norm of a column, all but those after `OF_TABLE`."""
        if column not in self._of_norm:
            columns = len(table.function.columns)
            numbers = self.rows_at, columns, column, self.pieces_at, self.count
            self._of_norm[column] = Arguments(sums.squares(table.dtype), *numbers)
        return self._of_norm[column]


def resident(table: Table) -> Resident:
    """The table's numbers on its device, made when first needed."""
    if not table.on_device:
        table.on_device.append(Resident(table))
    found: Resident = table.on_device[0]
    return found


def calls(table: Table, scalars: Array, control: int) -> list[tuple[Any, ...]]:
    """The calls that put a table's function on its stream: a sweep, and a walk over each row with gaps."""
    here = resident(table)
    bodies = [grid.sweep(table.function, table.dtype)]
    if table.strided:
        bodies.append(grid.walk(table.function, table.dtype))
    for body in bodies:
        driver.get().load(table.ordinal, body)
    made: list[tuple[Any, ...]] = []
    if here.count and len(table.strided) < len(table.rows):
        made.append((_sweep, bodies[0], table, here, control, scalars))
    rest = table.ordinal, table.stream, control, scalars, table.function.indexed
    made += [(_walk, bodies[1], row, *rest) for row in table.strided.values()]
    if table.others:
        made.append((follow, table.ordinal, table.others, (table.stream,)))
    return made


def _sweep(body: grid.Body, table: Table, here: Resident, control: int, scalars: Array) -> None:
    with here.order.on(table.stream):
        here.upload(table)
        here.arguments.set(SWEEP_CONTROL, control)
        here.arguments.set_scalars(scalars)
        _launch(body, table.ordinal, table.stream, here.count, here.arguments)
    if here.orders or table.orders:
        with using((*here.orders, *table.orders), table.stream):
            pass


def _walk(
    body: grid.Body,
    row: tuple[Array, ...],
    ordinal: int,
    stream: int,
    control: int,
    scalars: Array,
    in_c_order: bool,
) -> None:
    shape, strides = by_lines(row, in_c_order)
    numbers = np.concatenate([[address(a) for a in row], shape, strides.ravel()]).astype(np.int64)
    size = row[0].size
    if not size:
        return
    with using(orders(row), stream), driver.get().scratch(ordinal, numbers.nbytes, stream) as at:
        driver.get().upload(ordinal, at, numbers, stream)
        shape_at = at + 8 * len(row)
        strides_at = shape_at + 8 * shape.size
        start(
            body, ordinal, stream, -(-size // grid.THREADS),
            at, shape_at, strides_at, shape.size, size, control, scalars=scalars,
        )  # fmt: skip


def over_row(function: Elementwise, row: tuple[Array, ...], scalars: Array) -> None:
    """The function over one row of arrays, the first on whose stream all runs."""
    assert isinstance(row[0], Remote)
    ordinal, stream = row[0].ordinal, row[0].stream
    with joined(ordinal, stream, (a.stream for a in row if isinstance(a, Remote))):
        if not is_dense(row, function.indexed):
            body = grid.walk(function, row[0].dtype)
            _walk(body, row, ordinal, stream, 0, scalars, function.indexed)
        elif row[0].size:
            body = grid.flat(function, row[0].dtype)
            pieces = -(-row[0].size // grid.CHUNK)
            with using(orders(row), stream):
                start(body, ordinal, stream, pieces, tuple(map(address, row)), row[0].size, scalars=scalars)


@contextlib.contextmanager
def joined(ordinal: int, stream: int, others: Iterable[int]) -> Iterator[None]:
    """Work on one stream with arrays of several: after what these did, and before what they will do."""
    apart = set(others) - {stream}
    follow(ordinal, (stream,), apart)
    yield
    follow(ordinal, apart, (stream,))


def follow(ordinal: int, streams: Iterable[int], others: Iterable[int]) -> None:
    """Make later work on each of the streams wait for the work submitted so far to the others."""
    for stream, other in itertools.product(streams, others):
        driver.get().order(ordinal, other, stream)


# Sums.


class Control:
    """The norm of gradients and what follows from it, on their device."""

    def __init__(self, ordinal: int, stream: int) -> None:
        self.ordinal, self.order, self._room = ordinal, StreamOrder(ordinal, stream), 0
        self._memory = driver.get().allocate(ordinal, 8 * (CONTROL + 1), self.order)
        self.address, self._counter = self._memory.address, self._memory.address + 8 * CONTROL
        self._number: HostNumber | None = None
        with self.order:
            driver.get().zero(ordinal, self._counter, 8, stream)

    def take(
        self, tables: list[Table], column: int, stream: int, scale: float, limit: float, skip: bool
    ) -> None:
        """Put the norm of a column of all tables on the stream; ``limit`` < 0 is none."""
        work = [*_dense_parts(tables), *_strided_parts(tables, column)]
        longest, slots = max(pieces for _, pieces, _ in work), len(work)
        with self.order.on(stream):
            at = self._scratch(8 * sums.PER_SLOT * (longest + slots))
            totals = at + 8 * sums.PER_SLOT * longest
            for slot, (table, pieces, x) in enumerate(work):
                rest = (at, self._counter, totals, slot, slots, self.address, scale, limit, int(skip))
                if x is None:
                    self._dense(table, column, stream, pieces, rest)
                else:
                    self._strided(x, stream, pieces, rest)
            if scale < 1.0:  # or finite gradients stay so
                for table, pieces, x in work:
                    self._look(table, column, x, stream, pieces, (self.address, scale, int(skip)))

    def _scratch(self, nbytes: int) -> int:
        """Memory for sums, kept from step to step."""
        if nbytes > self._room:
            self._sums, self._room = driver.get().allocate(self.ordinal, nbytes, self.order), nbytes
        return self._sums.address

    def _dense(self, table: Table, column: int, stream: int, pieces: int, rest: tuple[Any, ...]) -> None:
        here = resident(table)
        arguments = here.of_norm(table, column)
        for k, value in enumerate(rest, OF_TABLE):
            arguments.set(k, value)
        with using((here.order, *here.orders, *table.orders), stream):
            here.upload(table)
            _launch(sums.squares(table.dtype), self.ordinal, stream, pieces, arguments)

    def _strided(self, x: Array, stream: int, pieces: int, rest: tuple[Any, ...]) -> None:
        shape, strides = by_lines((x,))
        numbers = np.concatenate([shape, strides.ravel()]).astype(np.int64)
        with using(orders([x]), stream), driver.get().scratch(self.ordinal, numbers.nbytes, stream) as at:
            driver.get().upload(self.ordinal, at, numbers, stream)
            place = (address(x), at, at + 8 * shape.size, shape.size, x.size)
            start(sums.strided_squares(x.dtype), self.ordinal, stream, pieces, *place, *rest)

    def _look(self, table: Any, column: int, x: Any, stream: int, pieces: int, rest: tuple[Any, ...]) -> None:
        """Whether gradients are infinite only after they are divided by the scale."""
        if x is None:
            here, columns = resident(table), len(table.function.columns)
            numbers = here.rows_at, columns, column, here.pieces_at, here.count
            with using((here.order, *here.orders, *table.orders), stream):
                start(sums.overflow(table.dtype), self.ordinal, stream, pieces, *numbers, *rest)
            return
        axes = np.array([*zip(x.shape, x.strides, strict=True)], np.int64)
        with using(orders([x]), stream), driver.get().scratch(self.ordinal, axes.nbytes, stream) as at:
            driver.get().upload(self.ordinal, at, axes, stream)
            where = address(x), at, x.ndim, x.size
            start(sums.strided_overflow(x.dtype), self.ordinal, stream, pieces, *where, *rest)

    def told(self, k: int) -> HostNumber:
        """Number ``k`` of this on its way to the host; the one before is forgotten."""
        if self._number is None:
            self._number = driver.get().number(self.ordinal)
        with self.order:
            self._number.copy(self.address + 8 * k, self.order.stream)
        return self._number

    def later(self) -> HostNumber:
        """Whether work went on, once it is known."""
        return self.told(GO)

    def norm(self) -> float:
        """The norm; waits for it."""
        return self.told(NORM).read()

    def finite(self) -> bool:
        """Whether the gradients are finite; waits for them."""
        return bool(self.told(FINITE).read())

    def given_to(self, x: Any) -> Any:
        """A copy of the norm as it is now, float64, in an array of shape () of x's kind."""
        there = empty_like(x, as_view("parameter", x), (), np.dtype(np.float64))
        assert isinstance(there, Remote)
        where = self.address + 8 * NORM, (), None, there.dtype, self.ordinal, there.stream
        over_row(COPY, (view(self, *where, order=self.order), there), np.empty(0))
        return in_kind_of(x, there)


# By driver and device: the controls that no call is using.
_CONTROLS: WeakKeyDictionary[driver.Driver, dict[int, list[Control]]] = WeakKeyDictionary()


@contextlib.contextmanager
def control(ordinal: int, stream: int) -> Iterator[Control]:
    """A control for one call, kept for the next one: what is in it is the call's until it ends."""
    kept = _CONTROLS.setdefault(driver.get(), {}).setdefault(ordinal, [])
    made = kept.pop() if kept else Control(ordinal, stream)
    yield made
    kept.append(made)


def _dense_parts(tables: list[Table]) -> list[tuple[Any, int, Any]]:
    return [(table, len(table.pieces), None) for table in tables]


def _strided_parts(tables: list[Table], column: int) -> list[tuple[Any, int, Any]]:
    found = [row[column] for table in tables for row in table.strided.values()]
    return [(None, -(-x.size // BLOCK), x) for x in found if x.size]


def total(x: Array, result: Remote) -> None:
    """The sum of dense elements, in the order of memory."""
    assert isinstance(x, Remote)
    blocks = -(-x.size // sums.SUMMED)
    cuda, ordinal, stream = driver.get(), x.ordinal, x.stream
    with using(orders((x, result)), stream), cuda.scratch(ordinal, 8 * (blocks + 2), stream) as at:
        cuda.zero(ordinal, at, 8, stream)
        start(sums.total(x.dtype), ordinal, stream, blocks, address(x), x.size, at + 16, at, at + 8)
        start(sums.rounded(result.dtype), ordinal, stream, 1, at + 8, address(result))


def summed_along(x: Array, axes: tuple[int, ...], result: Remote) -> None:
    """The sums over some axes, in float64, into ``result``, dense, of the other axes."""
    assert isinstance(x, Remote)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    numbers = np.array([(x.shape[k], x.strides[k]) for k in (*kept, *axes)], np.int64).reshape(-1, 2)
    over = int(np.prod([x.shape[k] for k in axes], dtype=np.int64))
    cuda, ordinal, stream = driver.get(), x.ordinal, x.stream
    if not result.size:
        return
    with using(orders((x, result)), stream), cuda.scratch(ordinal, max(8, numbers.nbytes), stream) as at:
        cuda.upload(ordinal, at, numbers, stream)
        start(
            sums.along(x.dtype), ordinal, stream, result.size,
            address(x), at, len(kept), result.size, at + 16 * len(kept), len(axes), over, address(result),
        )  # fmt: skip


def gathered(values: Array, order: Array, starts: Array) -> Remote:
    """Sums of rows of dense values, ``values[order[starts[r]:starts[r + 1]]]`` for each r."""
    assert isinstance(values, Remote)
    rows, width = len(starts) - 1, int(np.prod(values.shape[1:], dtype=np.int64))
    cuda, ordinal, stream = driver.get(), values.ordinal, values.stream
    out = _like(values, (rows, *values.shape[1:]))
    if out.size:
        numbers = np.concatenate([order, starts]).astype(np.int64)
        with using(orders((values, out)), stream), cuda.scratch(ordinal, numbers.nbytes, stream) as at:
            cuda.upload(ordinal, at, numbers, stream)
            pieces = -(-rows * width // grid.THREADS)
            where = (address(values), at, at + 8 * order.size, rows, width, address(out))
            start(sums.gathered(values.dtype), ordinal, stream, pieces, *where)
    return out


def dense(values: Array) -> Remote:
    """A copy in C order, on the array's stream."""
    assert isinstance(values, Remote)
    out = _like(values, values.shape)
    over_row(COPY, (values, out), np.empty(0))
    return out


def _like(x: Remote, shape: tuple[int, ...]) -> Remote:
    """New memory in C order for this shape, beside an array and on its stream."""
    order, nbytes = StreamOrder(x.ordinal, x.stream), int(np.prod(shape, dtype=np.int64)) * x.itemsize
    memory = driver.get().allocate(x.ordinal, max(8, nbytes), order)
    return view(memory, memory.address, shape, None, x.dtype, x.ordinal, x.stream, order=order)


# To and fro.


def _same(x: Any) -> Any:
    """x."""
    return x


COPY = Elementwise(_same, ("x",), ("y",))


def between_steps(function: Elementwise, row: tuple[Array, ...], scalars: Array) -> None:
    """The function over one row, after all that runs on the device and before all that will."""
    assert isinstance(row[0], Remote)
    driver.get().finish(row[0].ordinal)
    over_row(function, tuple(map(_on_default_stream, row)), scalars)
    driver.get().finish(row[0].ordinal)


def _on_default_stream(x: Any) -> Remote:
    """View of an array on the default stream, as the stream that last used the array may be destroyed."""
    there: Remote = x.view()
    there.stream = 0
    return there


def assign(x: Array, values: Array) -> None:
    """Write to an array on a device what another array, there or on the host, holds."""
    assert isinstance(x, Remote)
    there = values if isinstance(values, Remote) else uploaded(np.ascontiguousarray(values), x.ordinal, 0)
    between_steps(COPY, (there.reshape(x.shape), x), np.empty(0))


def filled(x: Array, value: float) -> Array:
    """An array laid out as ``x``, on its device, full of one value."""
    assert isinstance(x, Remote)
    model, cuda = np.empty_like(x, subok=False), driver.get()
    if value != 0.0:
        model[...] = value
        made = uploaded(model, x.ordinal, 0)
    else:
        memory = cuda.allocate(x.ordinal, max(8, model.nbytes))
        cuda.zero(x.ordinal, memory.address, max(8, model.nbytes), 0)
        made = view(memory, memory.address, model.shape, model.strides, model.dtype, x.ordinal, 0)
    cuda.finish(x.ordinal)
    return made
