"""Tables on a device: what is uploaded and when, and what each kernel is launched with.

Nothing here waits for the device but `Control.read` and the functions that bring numbers to the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._rule import Elementwise
from . import driver, grid, place, sums
from .driver import Arguments
from .factor import CONTROL, FINITE, GO, NORM
from .remote import Remote, uploaded, view
from .table import BLOCK, Table, address, by_lines, is_dense

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


class Turn:
    """Order of the uses of a device buffer by different streams.

    An event is recorded after each use on a stream other than the default one, so that a later stream
    can wait for the use even if the earlier stream has been destroyed.
    """

    def __init__(self, ordinal: int, stream: int) -> None:
        self.ordinal, self.stream = ordinal, stream
        self._mark: Any = None

    def take(self, stream: int) -> None:
        """Begin on a stream."""
        if stream != self.stream:
            if self._mark is not None and self.stream:
                driver.get().wait(self.ordinal, self._mark, stream)
            else:
                driver.get().order(self.ordinal, self.stream, stream)
            self.stream = stream

    def done(self) -> None:
        """All is put on the stream."""
        if self.stream:
            self._mark = driver.get().mark(self.ordinal, self.stream, self._mark)


class Resident:
    """A table's numbers in its device's memory: addresses, uploaded again when one changed, and pieces."""

    def __init__(self, table: Table) -> None:
        pieces = np.ascontiguousarray(table.pieces)
        self.count, self.turn = len(pieces), Turn(table.ordinal, table.stream)
        self._known = b""
        self._memory = driver.get().allocate(table.ordinal, max(8, table.addresses.nbytes + pieces.nbytes))
        self.rows_at = self._memory.address
        self.pieces_at = self.rows_at + table.addresses.nbytes
        driver.get().upload(table.ordinal, self.pieces_at, pieces, table.stream)
        body = grid.sweep(table.function, table.dtype)
        self.arguments = Arguments(body, self.rows_at, self.pieces_at, self.count, 0)
        self._of_norm: dict[int, Arguments] = {}

    def follow(self, table: Table) -> None:
        """Make the device's addresses those of the table, after what still reads the former."""
        self.turn.take(table.stream)
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
    return made + [(_walk, bodies[1], row, *rest) for row in table.strided.values()]


def _sweep(body: grid.Body, table: Table, here: Resident, control: int, scalars: Array) -> None:
    here.follow(table)
    here.arguments.set(SWEEP_CONTROL, control)
    here.arguments.set_scalars(scalars)
    _launch(body, table.ordinal, table.stream, here.count, here.arguments)
    here.turn.done()


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
    with driver.get().scratch(ordinal, numbers.nbytes, stream) as at:
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
    follow(ordinal, stream, (a.stream for a in row[1:] if isinstance(a, Remote)))
    if not is_dense(row, function.indexed):
        body = grid.walk(function, row[0].dtype)
        _walk(body, row, ordinal, stream, 0, scalars, function.indexed)
    elif row[0].size:
        body = grid.flat(function, row[0].dtype)
        pieces = -(-row[0].size // grid.CHUNK)
        start(body, ordinal, stream, pieces, tuple(map(address, row)), row[0].size, scalars=scalars)


def follow(ordinal: int, stream: int, others: Iterable[int]) -> None:
    """Make later work on the stream wait for the work submitted so far to the other streams."""
    for other in set(others) - {stream}:
        driver.get().order(ordinal, other, stream)


# Sums.


class Control:
    """The norm of gradients and what follows from it, on their device."""

    def __init__(self, ordinal: int) -> None:
        self.ordinal, self.turn, self._room = ordinal, Turn(ordinal, 0), 0
        self._memory = driver.get().allocate(ordinal, 8 * (CONTROL + 1))
        self.address, self._counter = self._memory.address, self._memory.address + 8 * CONTROL
        driver.get().zero(ordinal, self._counter, 8, 0)
        driver.get().finish(ordinal)

    def take(
        self, tables: list[Table], column: int, stream: int, scale: float, limit: float, skip: bool
    ) -> None:
        """Put the norm of a column of all tables on the stream; ``limit`` < 0 is none."""
        self.turn.take(stream)
        work = [*_dense_parts(tables), *_strided_parts(tables, column)]
        longest, slots = max(pieces for _, pieces, _ in work), len(work)
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
        self.turn.done()

    def _scratch(self, nbytes: int) -> int:
        """Memory for sums, kept from step to step."""
        if nbytes > self._room:
            self._sums, self._room = driver.get().allocate(self.ordinal, nbytes), nbytes
        return self._sums.address

    def _dense(self, table: Table, column: int, stream: int, pieces: int, rest: tuple[Any, ...]) -> None:
        here = resident(table)
        here.follow(table)
        arguments = here.of_norm(table, column)
        for k, value in enumerate(rest, OF_TABLE):
            arguments.set(k, value)
        _launch(sums.squares(table.dtype), self.ordinal, stream, pieces, arguments)

    def _strided(self, x: Array, stream: int, pieces: int, rest: tuple[Any, ...]) -> None:
        shape, strides = by_lines((x,))
        numbers = np.concatenate([shape, strides.ravel()]).astype(np.int64)
        with driver.get().scratch(self.ordinal, numbers.nbytes, stream) as at:
            driver.get().upload(self.ordinal, at, numbers, stream)
            place = (address(x), at, at + 8 * shape.size, shape.size, x.size)
            start(sums.strided_squares(x.dtype), self.ordinal, stream, pieces, *place, *rest)

    def _look(self, table: Any, column: int, x: Any, stream: int, pieces: int, rest: tuple[Any, ...]) -> None:
        """Whether gradients are infinite only after they are divided by the scale."""
        if x is None:
            here, columns = resident(table), len(table.function.columns)
            numbers = here.rows_at, columns, column, here.pieces_at, here.count
            start(sums.overflow(table.dtype), self.ordinal, stream, pieces, *numbers, *rest)
            return
        axes = np.array([*zip(x.shape, x.strides, strict=True)], np.int64)
        with driver.get().scratch(self.ordinal, axes.nbytes, stream) as at:
            driver.get().upload(self.ordinal, at, axes, stream)
            where = address(x), at, x.ndim, x.size
            start(sums.strided_overflow(x.dtype), self.ordinal, stream, pieces, *where, *rest)

    def read(self) -> tuple[float, bool]:
        """The norm and whether it is finite; waits for it."""
        numbers = np.empty(CONTROL)
        driver.get().download(self.ordinal, numbers, self.address)
        return float(numbers[NORM]), bool(numbers[FINITE])

    def later(self) -> driver.Later:
        """Whether work went on, once it is known."""
        return driver.get().later(self.ordinal, self.address + 8 * GO, self.turn.stream)

    def given_to(self, x: Any) -> Any:
        """A copy of the norm as it is now, float64, in an array of shape () of x's kind."""
        there = place.fresh(x, place.seen("parameter", x), (), np.dtype(np.float64))
        assert isinstance(there, Remote)
        self.turn.take(there.stream)
        norm = view(self, self.address, (), None, there.dtype, self.ordinal, there.stream)
        over_row(COPY, (norm, there), np.empty(0))
        self.turn.done()
        return place.like(x, there)


def _dense_parts(tables: list[Table]) -> list[tuple[Any, int, Any]]:
    return [(table, len(table.pieces), None) for table in tables]


def _strided_parts(tables: list[Table], column: int) -> list[tuple[Any, int, Any]]:
    found = [row[column] for table in tables for row in table.strided.values()]
    return [(None, -(-x.size // BLOCK), x) for x in found if x.size]


def summed_over_row(function: Elementwise, row: tuple[Array, ...], scalars: Array, result: Remote) -> None:
    """A function with ``summed`` over dense arrays; the sum of its last output goes to ``result``."""
    first = row[0]
    assert isinstance(first, Remote)
    _summed(first, result, sums.summed(function, first.dtype), tuple(map(address, row)), scalars)


def total(x: Array, result: Remote) -> None:
    """The sum of dense elements, in the order of memory."""
    assert isinstance(x, Remote)
    _summed(x, result, sums.total(x.dtype), address(x), None)


def _summed(x: Remote, result: Remote, body: grid.Body, where: Any, scalars: Any) -> None:
    blocks = -(-x.size // sums.SUMMED)
    cuda, ordinal, stream = driver.get(), x.ordinal, x.stream
    with cuda.scratch(ordinal, 8 * (blocks + 2), stream) as at:
        cuda.zero(ordinal, at, 8, stream)
        start(body, ordinal, stream, blocks, where, x.size, at + 16, at, at + 8, scalars=scalars)
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
    with cuda.scratch(ordinal, max(8, numbers.nbytes), stream) as at:
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
    memory = cuda.allocate(ordinal, max(8, rows * width * values.itemsize))
    out = view(memory, memory.address, (rows, *values.shape[1:]), None, values.dtype, ordinal, stream)
    if out.size:
        numbers = np.concatenate([order, starts]).astype(np.int64)
        with cuda.scratch(ordinal, numbers.nbytes, stream) as at:
            cuda.upload(ordinal, at, numbers, stream)
            pieces = -(-rows * width // grid.THREADS)
            where = (address(values), at, at + 8 * order.size, rows, width, memory.address)
            start(sums.gathered(values.dtype), ordinal, stream, pieces, *where)
    return out


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
