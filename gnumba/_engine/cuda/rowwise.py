"""Functions along an axis on a device: what they are launched with. Nothing here waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import rowwise_grid, sums
from ..fold import SUMMED
from ..grid import THREADS
from ..lines import by_lines
from ..row_steps import BLOCK, FLOAT64, ROW_NUMBERS, Labels, Rowwise
from ..storage import OF_DTYPE, storage_of
from ..view import Array, View, address, broadcast, geometry, geometry_at
from . import driver

Device = Any  # of place.py, which imports this
Numbers = np.ndarray[Any, np.dtype[Any]]


def launch(
    device: Device,
    function: Rowwise,
    row: Sequence[Array],
    axis: int,
    scalars: Sequence[float],
    stream: int,
    given: int = 0,
    losses: int = 0,
    divisor: int = 0,
) -> None:
    """Put a function along an axis on a stream: one launch, or three for rows longer than a block."""
    out, ordinal, cuda = row[-1], device.ordinal, driver.get()
    if not out.size:
        return
    width, rows = out.shape[axis], out.size // out.shape[axis]
    starts = tuple(np.moveaxis(geometry(x), axis, -1)[..., 0] for x in row)
    lines = by_lines(starts, in_c_order=True)
    along = tuple(x.strides[axis] for x in row)
    across = int(rows > 1 and abs(lines[-1, 1]) < abs(along[0]))
    numbers, kind = np.array(scalars, np.float64), (function, out.dtype)
    with device.uploaded(lines.ravel(), stream) as axes_at:
        where = tuple(map(address, row)), along, axes_at, len(lines), rows, width
        if width <= BLOCK:
            together = rowwise_grid.tile(width)
            bits = (THREADS // together).bit_length() - 1
            rest = bits, across, given, losses, divisor
            pieces = -(-rows // together)
            device.start(rowwise_grid.tiles(*kind), stream, pieces, *where, *rest, scalars=numbers)
            return
        bodies = [make(*kind) for make in rowwise_grid.BODIES_OF_BLOCKS]
        for body in bodies:
            cuda.load(ordinal, body)
        blocks, of_rows, results = bodies
        each = -(-width // BLOCK)
        room = rows * (function.sums + 1) * each
        with cuda.scratch(ordinal, 8 * (room + ROW_NUMBERS * rows), stream) as parts:
            made, pieces = parts + 8 * room, rows * each
            device.start(blocks, stream, pieces, *where, across, given, divisor, parts, scalars=numbers)
            device.start(of_rows, stream, rows, *where, given, losses, parts, made, scalars=numbers)
            rest = across, given, divisor, parts, made
            device.start(results, stream, pieces, *where, *rest, scalars=numbers)


def losses(
    device: Device,
    function: Rowwise,
    row: Sequence[Any],
    axis: int,
    scalars: Sequence[float],
    labels: Labels | None,
    divisor: float | None,
    result: Array,
    each: bool,
) -> None:
    """Put a function with losses on its stream; ``result`` is for what `losses_along` returns."""
    out, cuda, whole = row[-1], driver.get(), OF_DTYPE[FLOAT64]
    stream, ordinal, classes = row[0].stream, device.ordinal, out.shape[axis]
    rows = int(np.prod(out.shape[:axis] + out.shape[axis + 1 :], dtype=np.int64))
    blocks = -(-rows // SUMMED)
    nbytes = 8 * (rows + blocks + 3)
    with contextlib.ExitStack() as held:
        at = held.enter_context(cuda.scratch(ordinal, nbytes, stream))
        cuda.zero(ordinal, at, nbytes, stream)
        partial, counter, total, weight = (at + 8 * (rows + k) for k in (0, blocks, blocks + 1, blocks + 2))
        given = 0 if labels is None else held.enter_context(_told(device, labels, stream))
        if divisor is None:
            body = rowwise_grid.label_weights()
            device.start(body, stream, -(-rows // THREADS), given, classes, rows, at)
            device.start(sums.total(whole), stream, blocks, at, rows, partial, counter, weight)
        columns = [held.enter_context(_column(device, a, axis, out, stream)) for a in row]
        scale, by = (1.0 / divisor, 0) if divisor is not None else (0.0, weight)
        launch(device, function, columns, axis, (scale, *scalars), stream, given, at, by)
        body, to = sums.quotients(whole, storage_of(result)), address(result)
        if each:
            device.start(body, stream, -(-rows // THREADS), at, 8, rows, 1.0, 0, to)
        else:
            device.start(sums.total(whole), stream, blocks, at, rows, partial, counter, total)
            device.start(body, stream, 1, total, 8, 1, 1.0 if divisor is None else divisor, by, to)


@contextlib.contextmanager
def _told(device: Device, labels: Labels, stream: int) -> Iterator[int]:
    """The address of what kernels are told of labels, which are uploaded if they are the host's."""
    numbers, weights = labels.numbers, labels.weights
    known = None if weights is None else (address(weights), weights.strides[0], weights.itemsize)
    with contextlib.ExitStack() as held:
        at = address(numbers)
        if not isinstance(numbers, View):
            at = held.enter_context(device.uploaded(numbers.ravel(), stream))
        told = rowwise_grid.told(at, numbers, labels.ignored, labels.share, known)
        yield held.enter_context(device.uploaded(told, stream))


@contextlib.contextmanager
def _column(device: Device, x: Any, axis: int, out: Array, stream: int) -> Iterator[Any]:
    """An array like ``out``: itself, or a number or one a class, of any dtype, spread over it."""
    if isinstance(x, float):
        word = np.zeros(1, np.int64)
        word.view(out.dtype)[0] = x
        with device.uploaded(word, stream) as at:
            yield geometry_at(at, out.shape, (0,) * out.ndim, out.dtype)
        return
    classes, lies = out.shape[axis], [-1 if k == axis else 1 for k in range(out.ndim)]
    if x.dtype != out.dtype:
        with driver.get().scratch(device.ordinal, max(8, classes * out.itemsize), stream) as at:
            body = sums.quotients(storage_of(x), storage_of(out))
            device.start(body, stream, -(-classes // THREADS), address(x), x.strides[0], classes, 1.0, 0, at)
            yield broadcast(geometry_at(at, (classes,), None, out.dtype).reshape(lies), out.shape)
    else:
        yield x if x.shape == out.shape else broadcast(x.reshape(lies), out.shape)
