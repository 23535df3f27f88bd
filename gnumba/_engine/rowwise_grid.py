"""Functions along an axis on a grid, with the CPU's bits: the maximum and the sums in one read.

Rows of up to `BLOCK` elements are read once into the memory that a block's threads share, as many rows
at a time as there is room for, and written from there: 4 + 4 bytes an element of float32. Of longer rows
every block is read twice, 4 + 4 + 4 bytes, in three launches: each block's maximum and sums, each row's of
these, and the result, whose exponentials are computed anew instead of stored.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types

from .compile.cache import own_symbol
from .compile.kernel import Kernel, specialized
from .compile.specialize import OPTIONS
from .grid import THREADS, WHOLE, Body
from .lanes import (
    barrier,
    first,
    held,
    held_as,
    held_each,
    hold,
    hold_as,
    hold_each,
    rounded_to,
    shared,
)
from .lines import at_index, by_lines
from .memory import get, listed, pick, put
from .row_steps import (
    BLOCK,
    LANES,
    MAXIMUM,
    ROW_NUMBERS,
    TOTAL,
    WEIGHED,
    WEIGHT,
    Rowwise,
    approve,
    contributed,
    in_float64,
    joined,
    number,
    ratio_of,
    settled,
)

Array = np.ndarray[Any, np.dtype[Any]]

assert LANES == THREADS, "a thread a lane"
IN_SHARED = 2  # columns of a block that are kept there; others are read again
NO_LABEL, UNCOUNTED = -1, -2  # instead of a row's label
TOLD, SHARE = (0,) * 8, 8  # of labels: whole numbers, where the float64 after them is, and then the axes
REAL = types.float64


def tile(width: int) -> int:
    """How many rows of a width are worked on at a time, a power of 2; each begins on an odd number."""
    fit = min(THREADS, BLOCK // (width | 1))
    return 1 << max(fit, 1).bit_length() - 1


@functools.cache
def tiles(function: Rowwise, dtype: np.dtype[Any]) -> Body:
    """The function along rows of at most `BLOCK` elements.

    (at, along, axes, count, rows, width, bits, across, given, losses, divisor, scalars)

    ``at`` and ``along`` are the addresses of the columns read and of the result, and their strides along the
    axis. ``axes`` is the address of ``count`` rows (size, stride of each column) of all others. 2**``bits``
    threads are on a row; where ``across`` is not 0, neighbours in memory are of different rows.
    ``given`` is what `_label_of` is told, ``losses`` where the rows' float64 losses go, or 0. The first
    scalar is 1 over the number at ``divisor``, if that is not 0.
    """
    gather, measure, write = (
        _gather(len(function.reads), dtype),
        _measure(function, dtype),
        _write(function, dtype),
    )
    label_of, scaled, tell = _label_of(function), _scaled(function), _tell(function, dtype)
    contribution, settle = contributed(function), _settled(function)
    numbers, kind = (0,) * len(function.scalars), dtype.type
    columns, folds, told = _memory(function, dtype)
    sums, shifted, has_loss = function.sums, function.shifted, function.loss is not None

    def tiles(
        block, blocks, rank, size, at, along, axes, count, rows, width, bits, across,
        given, losses, divisor, scalars,
    ):  # fmt: skip
        cells, values, made = columns(), folds(), told()
        constants = scaled(first(scalars, numbers), divisor)
        together = THREADS >> bits
        layout = together, width | 1, across if together > 1 else 0
        row = block * together
        while row < rows:
            place, part = (at, along, axes, count, rows), (row, 0, width)
            gather(place, part, layout, cells, rank, size)
            barrier()
            measure(place, part, width | 1, bits, constants, cells, values, rank, size)
            r = rank
            while r < together and row + r < rows:
                v, share, weighed, label = r << bits, 0.0, 0.0, NO_LABEL
                maximum = held(values, v) if shifted else 0.0
                if sums == 3:
                    share, weighed = held(values, 2 * LANES + v), held(values, 3 * LANES + v)
                total, weight, weighed = contribution(
                    held(values, LANES + v), share, weighed, maximum, maximum
                )
                if has_loss:
                    label, hot = label_of(given, width, row + r)
                    loss = at_label = 0.0
                    if label >= 0:
                        here = at_index(at, axes, count, row + r)[0]
                        at_label = np.float64(get(kind, here + label * along[0], 0))
                    if label != UNCOUNTED:
                        weight, loss = settle(maximum, total, weight, weighed, hot, at_label)
                    put(np.float64, losses, row + r, loss)
                    hold(values, v, np.float64(label))
                    hold(values, LANES + v, hot * constants[0])
                tell(1.0, maximum, total, weight, constants, made, r)
                r += size
            barrier()
            write(place, part, layout, bits, cells, values, made, rank, size)
            barrier()
            row += blocks * together

    return _body(function, dtype, tiles, 9)


@functools.cache
def blocks_of(function: Rowwise, dtype: np.dtype[Any]) -> Body:
    """Each block's maximum and sums: the first of three launches for rows of any length.

    (at, along, axes, count, rows, width, across, given, divisor, parts, scalars), as `tiles` has them;
    ``parts`` is room for each row's sums of all blocks and their maxima.
    """
    gather, measure, label_of, scaled = (
        _gather(len(function.reads), dtype), _measure(function, dtype), _label_of(function), _scaled(function)
    )  # fmt: skip
    numbers, sums, shifted = (0,) * len(function.scalars), function.sums, function.shifted
    columns, folds, _ = _memory(function, dtype)
    has_loss = function.loss is not None

    def row_blocks(
        block, blocks, rank, size, at, along, axes, count, rows, width, across, given, divisor, parts, scalars
    ):
        cells, values = columns(), folds()
        constants = scaled(first(scalars, numbers), divisor)
        each = -(-width // BLOCK)
        piece = block
        while piece < rows * each:
            row, b = (piece % rows, piece // rows) if across != 0 else (piece // each, piece % each)
            label = label_of(given, width, row)[0] if has_loss else NO_LABEL
            if label != UNCOUNTED:
                lo = b * BLOCK
                n = min(BLOCK, width - lo)
                place, part = (at, along, axes, count, rows), (row, lo, n)
                gather(place, part, (1, 0, 0), cells, rank, size)
                barrier()
                measure(place, part, 0, 8, constants, cells, values, rank, size)
                if rank == 0:
                    here = parts + 8 * (row * (sums + 1) * each + b)
                    for j in range(sums):
                        put(np.float64, here, j * each, held(values, (1 + j) * LANES))
                    if shifted:
                        put(np.float64, here, sums * each, held(values, 0))
                barrier()
            piece += blocks

    return _body(function, dtype, row_blocks, 8)


@functools.cache
def rows_of(function: Rowwise, dtype: np.dtype[Any]) -> Body:
    """Each row's maximum, sums and loss: the second launch, of a block of threads a row.

    (at, along, axes, count, rows, width, given, losses, parts, numbers, scalars): ``numbers`` is room for
    `ROW_NUMBERS` a row.
    """
    join, label_of, settle = joined(function), _label_of(function), _settled(function)
    sums, kind, has_loss = function.sums, dtype.type, function.loss is not None
    room = shared(LANES)

    def row_sums(
        block, blocks, rank, size, at, along, axes, count, rows, width, given, losses, parts, numbers, scalars
    ):
        values, each = room(), -(-width // BLOCK)
        row = block
        while row < rows:
            label, hot = label_of(given, width, row) if has_loss else (NO_LABEL, 0.0)
            here = numbers + 8 * ROW_NUMBERS * row
            if label != UNCOUNTED:
                join(parts + 8 * row * (sums + 1) * each, each, here, values, rank, size)
            if has_loss and rank == 0:
                loss = at_label = 0.0
                if label >= 0:
                    there = at_index(at, axes, count, row)[0] + label * along[0]
                    at_label = np.float64(get(kind, there, 0))
                if label != UNCOUNTED:
                    maximum, total = number(here, MAXIMUM), number(here, TOTAL)
                    weight, weighed = number(here, WEIGHT), number(here, WEIGHED)
                    weight, loss = settle(maximum, total, weight, weighed, hot, at_label)
                    put(np.float64, here, WEIGHT, weight)
                put(np.float64, losses, row, loss)
            barrier()
            row += blocks

    return _body(function, dtype, row_sums, 8)


@functools.cache
def results(function: Rowwise, dtype: np.dtype[Any]) -> Body:
    """The result of each block: the third launch.

    (at, along, axes, count, rows, width, across, given, divisor, parts, numbers, scalars)
    """
    gather, refill, write, label_of, scaled, tell = (
        _gather(len(function.reads), dtype), _refill(function, dtype), _write(function, dtype),
        _label_of(function), _scaled(function), _tell(function, dtype),
    )  # fmt: skip
    like, sums, shifted, ratio_to = (0,) * len(function.scalars), function.sums, function.shifted, ratio_of()
    columns, folds, told = _memory(function, dtype)
    has_loss = function.loss is not None

    def row_results(
        block, blocks, rank, size, at, along, axes, count, rows, width, across,
        given, divisor, parts, numbers, scalars,
    ):  # fmt: skip
        cells, values, made = columns(), folds(), told()
        constants = scaled(first(scalars, like), divisor)
        each = -(-width // BLOCK)
        piece = block
        while piece < rows * each:
            row, b = (piece % rows, piece // rows) if across != 0 else (piece // each, piece % each)
            lo = b * BLOCK
            n, here = min(BLOCK, width - lo), numbers + 8 * ROW_NUMBERS * row
            own = number(parts, (row * (sums + 1) + sums) * each + b) if shifted else 0.0
            place, part = (at, along, axes, count, rows), (row, lo, n)
            gather(place, part, (1, 0, 0), cells, rank, size)
            barrier()
            refill(place, part, own, constants, cells, rank, size)
            if rank == 0:
                maximum = number(here, MAXIMUM)
                if has_loss:
                    label, hot = label_of(given, width, row)
                    hold(values, 0, np.float64(label))
                    hold(values, LANES, hot * constants[0])
                ratio = ratio_to(own, maximum) if shifted else 1.0
                tell(ratio, maximum, number(here, TOTAL), number(here, WEIGHT), constants, made, 0)
            barrier()
            write(place, part, (1, 0, 0), 8, cells, values, made, rank, size)
            barrier()
            piece += blocks

    return _body(function, dtype, row_results, 9)


BODIES_OF_BLOCKS = blocks_of, rows_of, results  # in the order in which they are launched


def _body(function: Rowwise, dtype: np.dtype[Any], source: Callable[..., None], whole: int) -> Body:
    """A body of two tuples, so many whole numbers, and the scalars of the call in float64."""
    columns, scalars = types.UniTuple(WHOLE, len(function.reads) + 1), max(1, len(function.scalars))
    arguments = (columns, columns, *(WHOLE,) * whole, types.UniTuple(REAL, scalars))
    name = f"{function.name}_{source.__name__}_{dtype}"
    return Body(name, source, arguments, functools.partial(approve, function, dtype))


def _memory(function: Rowwise, dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """Makers of shared memory: for columns of a block, numbers to be folded, scalars of the result."""
    columns, per_element = min(IN_SHARED, len(function.reads)), dtype.itemsize
    scalars = len(function.result.scalars)
    return (
        shared(columns * BLOCK * per_element // 8),
        shared((1 + function.sums) * LANES),
        shared(scalars * LANES * per_element // 8),
    )


# Labels.


def told(address: int, labels: Any, ignored: int | None, share: float, weights: Any = None) -> Array:
    """Labels as kernels are told of them: int64, the last a float64's bits, and the axes (size, stride).

    ``share`` is the labels' share of the rows' weight; ``weights`` are (address, stride, bytes of one).
    """
    lines = by_lines((labels,), in_c_order=True)
    nbytes = labels.dtype.itemsize * (-1 if labels.dtype.kind == "u" else 1)
    fits = ignored is not None and -(2**63) <= ignored < 2**63
    numbers = address, nbytes, len(lines), int(fits), ignored if fits else 0, *(weights or (0, 0, 0))
    return np.concatenate([numbers, np.array([share]).view(np.int64), lines.ravel()]).astype(np.int64)


@functools.cache
def label_weights() -> Body:
    """The weight of each row's label in float64: (given, classes, rows, out)."""

    def label_weights(block, blocks, rank, size, given, classes, rows, out):
        for row in range(block * size + rank, rows, blocks * size):
            label, own = _known_label(given, classes, row)
            put(np.float64, out, row, 0.0 if label == UNCOUNTED else own)

    return Body("label_weights", label_weights, (WHOLE,) * 4)


@numba.njit(**OPTIONS)
@own_symbol
def _known_label(given, classes, row):
    """A row's label and its class's weight, nan where that is no class.

    ``given`` is the address of what `told` returns.
    """
    labels, nbytes, count, is_ignored, ignored, weights, step, width = listed(given, 0, TOLD)
    label = _whole(at_index((labels,), given + 8 * (SHARE + 1), count, row)[0], nbytes)
    if is_ignored != 0 and label == ignored:
        return UNCOUNTED, 0.0
    if label < 0 or label >= classes:
        return 0, math.nan
    if weights == 0:
        return label, 1.0
    there = weights + label * step
    return label, get(np.float64, there, 0) if width == 8 else np.float64(get(np.float32, there, 0))


@numba.njit(**OPTIONS)
@own_symbol
def _whole(at, nbytes):
    """The integer at an address, as int64."""
    if nbytes == 8 or nbytes == -8:
        return get(np.int64, at, 0)
    if nbytes == 4:
        return np.int64(get(np.int32, at, 0))
    if nbytes == -4:
        return np.int64(get(np.uint32, at, 0))
    if nbytes == 2:
        return np.int64(get(np.int16, at, 0))
    if nbytes == -2:
        return np.int64(get(np.uint16, at, 0))
    return np.int64(get(np.int8, at, 0)) if nbytes == 1 else np.int64(get(np.uint8, at, 0))


@functools.cache
def _label_of(function: Rowwise) -> Kernel:
    """``label_of(given, classes, row)``: a row's label and that one's share of the weight."""
    is_hard = function.is_hard

    @numba.njit(**OPTIONS)
    @own_symbol
    def label_of(given, classes, row):
        if given == 0:
            return NO_LABEL, 0.0
        label, own = _known_label(given, classes, row)
        own *= get(np.float64, given, SHARE)
        return UNCOUNTED if is_hard and own == 0.0 else label, own

    return label_of


def _settled(function: Rowwise) -> Any:
    """`settled`, or nothing for a function without losses."""
    return None if function.loss is None else settled(function)


@functools.cache
def _scaled(function: Rowwise) -> Kernel:
    """``scaled(scalars, divisor)``: the scalars, the first 1 over the number there, 0 if that is 0."""
    if function.loss is None:
        return numba.njit(own_symbol(lambda scalars, divisor: scalars), **OPTIONS)

    @numba.njit(**OPTIONS)
    @own_symbol
    def scaled(scalars, divisor):
        if divisor == 0:
            return scalars
        by = get(np.float64, divisor, 0)
        return (1.0 / by if by != 0.0 else 0.0, *scalars[1:])

    return scaled


# A tile: elements lo to lo + n of some rows, in shared memory.


@numba.njit(**OPTIONS)
@own_symbol
def _begin(rank, size, n, together, across):
    """A thread's first place in a tile, (slow, fast), and its step."""
    if together == 1:
        return (0 if rank < n else 1), rank, 0, size
    fast = together if across != 0 else n
    return rank // fast, rank % fast, size // fast, size % fast


@functools.cache
def _gather(reads: int, dtype: np.dtype[Any]) -> Kernel:
    """``gather(place, part, layout, cells, rank, size)``: read a tile.

    ``place`` is (at, along, axes, count, rows), ``part`` (the first row, the first element, how many), and
    ``layout`` (how many rows, how far apart they are kept, whether neighbours are of different rows).
    """
    kind, several = dtype.type, reads > 1

    @numba.njit(**OPTIONS)
    @own_symbol
    def gather(place, part, layout, cells, rank, size):
        (at, along, axes, count, rows), (row, lo, n) = place, part
        together, pitch, across = layout
        slow, fast, slow_step, fast_step = _begin(rank, size, n, together, across)
        slow_end, fast_end = (n, together) if across != 0 else (together, n)
        while slow < slow_end:
            r, i = (fast, slow) if across != 0 else (slow, fast)
            if row + r < rows:
                here = at_index(at, axes, count, row + r)
                hold_as(kind, cells, r * pitch + i, get(kind, here[0] + (lo + i) * along[0], 0))
                if several:
                    other = get(kind, here[1] + (lo + i) * along[1], 0)
                    hold_as(kind, cells, BLOCK + r * pitch + i, other)
            slow += slow_step
            fast += fast_step
            if fast >= fast_end:
                fast -= fast_end
                slow += 1

    return gather


@functools.cache
def _elements(reads: int, dtype: np.dtype[Any]) -> Kernel:
    """``elements(cells, slot, here, along, i)``: element i of a row's columns read, as a tuple."""
    kind = dtype.type

    @numba.njit(**OPTIONS)
    @own_symbol
    def one(cells, slot, here, along, i):
        return (held_as(kind, cells, slot),)

    @numba.njit(**OPTIONS)
    @own_symbol
    def two(cells, slot, here, along, i):
        return held_as(kind, cells, slot), held_as(kind, cells, BLOCK + slot)

    @numba.njit(**OPTIONS)
    @own_symbol
    def three(cells, slot, here, along, i):
        last = get(kind, here[2] + i * along[2], 0)
        return held_as(kind, cells, slot), held_as(kind, cells, BLOCK + slot), last

    return (one, two, three)[reads - 1]


@functools.cache
def _terms(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``terms(cells, slot, here, along, i, shift, constants)``: those of an element.

    The first is kept where the result is made of it.
    """
    term, elements, kind = (
        specialized(function.term, dtype).dispatcher,
        _elements(len(function.reads), dtype),
        dtype.type,
    )
    shifted, kept, several = function.shifted, function.kept, function.sums > 1

    @numba.njit(**OPTIONS)
    @own_symbol
    def call(row, shift, constants):
        if shifted:
            return term(*row, shift, *constants)
        return term(*row, *constants)

    @numba.njit(**OPTIONS)
    @own_symbol
    def several_terms(cells, slot, here, along, i, shift, constants):
        made = call(elements(cells, slot, here, along, i), shift, constants)
        if kept:
            hold_as(kind, cells, slot, made[0])
        return made

    @numba.njit(**OPTIONS)
    @own_symbol
    def one_term(cells, slot, here, along, i, shift, constants):
        made = call(elements(cells, slot, here, along, i), shift, constants)
        if kept:
            hold_as(kind, cells, slot, made)
        return (made,)

    return several_terms if several else one_term


@functools.cache
def _measure(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``measure(place, part, pitch, bits, constants, cells, values, rank, size)``.

    Of each row of the tile, which is at r << ``bits``, its maximum there and its sums `LANES` further each.
    """
    lane_sums, kind = _lane_sums(function, dtype), dtype.type
    shifted, sums, reads_again = function.shifted, function.sums, len(function.reads) > IN_SHARED

    @numba.njit(**OPTIONS)
    @own_symbol
    def measure(place, part, pitch, bits, constants, cells, values, rank, size):
        (at, along, axes, count, rows), (row, lo, n) = place, part
        team = 1 << bits
        if shifted:
            v = rank
            while v < THREADS:
                largest, slot = kind(-math.inf), (v >> bits) * pitch
                i = v & (team - 1)
                while i < n:
                    x = held_as(kind, cells, slot + i)
                    largest = x if x > largest else largest
                    i += team
                hold(values, v, np.float64(largest))
                v += size
            barrier()
            _fold_teams(values, 0, team, True, rank, size)
        rounded = rounded_to(kind, constants)
        v = rank
        while v < THREADS:
            r = v >> bits
            if row + r < rows:
                here = at_index(at, axes, count, row + r) if reads_again else at
                own = held(values, r << bits) if shifted else 0.0
                shift = kind(own if own > -math.inf else 0.0)
                made = lane_sums(cells, r * pitch, here, along, lo, n, v & (team - 1), bits, shift, rounded)
                for j in range(sums):
                    hold(values, (1 + j) * LANES + v, made[j])
            v += size
        barrier()
        for j in range(sums):
            _fold_teams(values, (1 + j) * LANES, team, False, rank, size)

    return measure


@numba.njit(**OPTIONS)
@own_symbol
def _fold_teams(values, at, team, is_maximum, rank, size):
    """Fold the numbers of each team's threads by halves, into the first's."""
    half = team >> 1
    while half > 0:
        v = rank
        while v < THREADS:
            if v & (team - 1) < half:
                one, other = held(values, at + v), held(values, at + v + half)
                if is_maximum:
                    hold(values, at + v, one if one > other else other)
                else:
                    hold(values, at + v, one + other)
            v += size
        barrier()
        half >>= 1


@functools.cache
def _lane_sums(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``lane_sums(cells, slot, here, along, lo, n, lane, bits, shift, constants)``.

    A thread's part of the sums of a row that 2**``bits`` threads are on. Its lanes are ``lane`` and others
    that far apart, at most 8, folded by halves: taken in the order of their numbers' reversed bits, and added
    as a binary counter carries.
    """
    terms = _terms(function, dtype)
    added, none = {1: (_added_one, (-0.0,)), 3: (_added_three, (-0.0,) * 3)}[function.sums]

    @numba.njit(**OPTIONS)
    @own_symbol
    def lane_sums(cells, slot, here, along, lo, n, lane, bits, shift, constants):
        ones = twos = fours = made = none
        spare = max(0, bits - 5)  # of three bits
        for k in range(8 >> spare):
            i = lane + ((((k & 1) << 2) | (k & 2) | (k >> 2)) >> spare << bits)
            made = none
            while i < n:
                made = added(made, terms(cells, slot + i, here, along, lo + i, shift, constants))
                i += LANES
            if k & 1 == 0:
                ones = made
                continue
            made = added(ones, made)
            if k & 2 == 0:
                twos = made
                continue
            made = added(twos, made)
            if k & 4 == 0:
                fours = made
                continue
            made = added(fours, made)
        return made

    return lane_sums


@numba.njit(**OPTIONS)
@own_symbol
def _added_one(sums, terms):
    return (sums[0] + np.float64(terms[0]),)


@numba.njit(**OPTIONS)
@own_symbol
def _added_three(sums, terms):
    first, second, third = np.float64(terms[0]), np.float64(terms[1]), np.float64(terms[2])
    return sums[0] + first, sums[1] + second, sums[2] + third


@functools.cache
def _refill(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``refill(place, part, own, constants, cells, rank, size)``: compute a block's kept terms."""
    terms, kind, kept = (
        _terms(function, dtype),
        dtype.type,
        function.kept,
    )

    @numba.njit(**OPTIONS)
    @own_symbol
    def refill(place, part, own, constants, cells, rank, size):
        if kept:
            (at, along, axes, count, _), (row, lo, n) = place, part
            here, rounded = at_index(at, axes, count, row), rounded_to(kind, constants)
            shift = kind(own if own > -math.inf else 0.0)
            i = rank
            while i < n:
                terms(cells, i, here, along, lo + i, shift, rounded)
                i += size

    return refill


@functools.cache
def _tell(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``tell(ratio, maximum, total, weight, constants, made, r)``: scalars of row r."""
    numbers_of, kind = in_float64(function.numbers), dtype.type

    @numba.njit(**OPTIONS)
    @own_symbol
    def tell(ratio, maximum, total, weight, constants, made, r):
        hold_each(kind, made, r, LANES, numbers_of(ratio, maximum, total, weight, *constants))

    return tell


@functools.cache
def _write(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``write(place, part, layout, bits, cells, values, made, rank, size)``: a tile's result."""
    elements, kind = _elements(len(function.reads), dtype), dtype.type
    result, scalars = specialized(function.result, dtype).dispatcher, (0,) * len(function.result.scalars)
    names = (function.term.writes[0], *function.reads[1:]) if function.kept else function.reads
    chosen, has_loss = pick(tuple(map(names.index, function.result.reads))), function.loss is not None

    @numba.njit(**OPTIONS)
    @own_symbol
    def write(place, part, layout, bits, cells, values, made, rank, size):
        (at, along, axes, count, rows), (row, lo, n) = place, part
        together, pitch, across = layout
        slow, fast, slow_step, fast_step = _begin(rank, size, n, together, across)
        slow_end, fast_end = (n, together) if across != 0 else (together, n)
        while slow < slow_end:
            r, i = (fast, slow) if across != 0 else (slow, fast)
            if row + r < rows:
                here = at_index(at, axes, count, row + r)
                numbers = held_each(kind, made, r, LANES, scalars)
                y = result(*chosen(elements(cells, r * pitch + i, here, along, lo + i)), *numbers)
                if has_loss:
                    label = held(values, r << bits)
                    if label == UNCOUNTED:
                        y = kind(0.0)
                    elif label == lo + i:
                        y = kind(np.float64(y) - held(values, LANES + (r << bits)))
                put(kind, here[-1] + (lo + i) * along[-1], 0, y)
            slow += slow_step
            fast += fast_step
            if fast >= fast_end:
                fast -= fast_end
                slow += 1

    return write
