"""Sums on a grid, with the CPU's bits: in blocks of one length, folded in one order by the last block."""

from __future__ import annotations

import functools
import math
from typing import Any

import numba
import numpy as np
from numba import types

from .._rule import Elementwise
from .compile.cache import own_symbol
from .compile.kernel import Kernel, accessors, columns_of, like_scalars, number_of, scalar_of
from .compile.primitives import fma
from .compile.specialize import OPTIONS
from .factor import BOUNDS, FACTORS, FINITE, GO, NORM, functions, largest_float
from .fold import SCALES, SUMMED, fold_global, fold_shared, four_squares, root
from .grid import WHOLE, Body, approve, scalars_type
from .lanes import barrier, clear, first, held, hold, shared, ticket
from .lines import at_index
from .memory import get, listed, loader, put, storer
from .storage import Storage, Storages, computed, names_of
from .table import BLOCK

REAL = types.float64
PER_SLOT = len(SCALES)
PARTS = 256
_factor, _split = functions(lambda function: numba.njit(own_symbol(function), **OPTIONS))
(FACTORS32, FACTORS64), (BOUND32, BOUND64) = FACTORS.values(), BOUNDS.values()
part_sums, whole_block, block_values, parts = map(shared, (BLOCK // 16 + 16, BLOCK, SUMMED, PARTS))


@functools.cache
def squares(storage: Storage) -> Body:
    """Σx² of a column of dense rows, and with the last of its ``slots`` the norm of all.

    (table, columns, switch, column, pieces, count, sums, counter, totals, slot, slots, control,
    scale, limit, skip)

    ``pieces`` are (k, lo, hi) of at most `BLOCK` elements; a row whose ``switch`` column is 0 is left out.
    ``sums`` is scratch for `PER_SLOT` numbers a piece; ``counter`` is 0 before and after. The sums, at each
    of `SCALES`, go to ``totals`` at ``slot``; `_finish` says what the last launch writes to ``control``.
    """
    block_sums, fold_all = block_squares(number_of(storage), storage.computed), fold_slot(storage.computed)

    def squares(
        block, blocks, rank, size, table, columns, switch, column, pieces, count,
        sums, counter, totals, slot, slots, control, scale, limit, skip,
    ):  # fmt: skip
        values = part_sums()
        for b in range(block, count, blocks):
            k, lo, hi = listed(pieces, b, (0, 0, 0))
            at, there = get(np.int64, table, k * columns + column), get(np.int64, table, k * columns + switch)
            block_sums((at,), lo, hi if there != 0 else lo, values, sums, b, count, rank, size)
        if _is_last(counter, blocks, values, rank):
            fold_all(sums, count, totals, slot, rank, size)
            if rank == 0 and slot == slots - 1:
                _finish(totals, slots, control, scale, limit, skip)

    arguments = (*(WHOLE,) * 12, REAL, REAL, WHOLE)
    return Body(f"squares_{storage.name}", squares, arguments)


@functools.cache
def strided_squares(storage: Storage) -> Body:
    """Σx² of one array with any strides, and with the last of the ``slots`` the norm of all slots.

    (address, lines, axes, length, sums, counter, totals, slot, slots, control, scale, limit, skip)
    """
    block_sums, fold_all = block_squares(in_shared, storage.computed), fold_slot(storage.computed)
    load, _ = accessors(storage)

    def strided_squares(
        block, blocks, rank, size, address, lines, axes, length,
        sums, counter, totals, slot, slots, control, scale, limit, skip,
    ):  # fmt: skip
        values, block_at, count = part_sums(), whole_block(), -(-length // BLOCK)
        for b in range(block, count, blocks):
            lo, hi = b * BLOCK, min(length, (b + 1) * BLOCK)
            for i in range(lo + rank, hi, size):
                at = at_index((address,), lines, axes, i)
                hold(block_at, i - lo, np.float64(load(at, 0)[0]))
            barrier()
            block_sums((block_at,), 0, hi - lo, values, sums, b, count, rank, size)
        if _is_last(counter, blocks, values, rank):
            fold_all(sums, count, totals, slot, rank, size)
            if rank == 0 and slot == slots - 1:
                _finish(totals, slots, control, scale, limit, skip)

    arguments = (*(WHOLE,) * 10, REAL, REAL, WHOLE)
    return Body(f"strided_squares_{storage.name}", strided_squares, arguments)


@functools.cache
def overflow(storage: Storage) -> Body:
    """Whether an element of a column of dense rows is infinite only after division by ``scale``.

    (table, columns, switch, column, pieces, count, control, scale, skip), as `squares` has them, which comes
    before.
    """
    mark, (load, _) = _overflow_marked(storage.computed), accessors(storage)

    def overflow(
        block, blocks, rank, size, table, columns, switch, column, pieces, count, control, scale, skip
    ):
        for b in range(block, count, blocks):
            k, lo, hi = listed(pieces, b, (0, 0, 0))
            at, there = get(np.int64, table, k * columns + column), get(np.int64, table, k * columns + switch)
            for i in range(lo + rank, hi if there != 0 else lo, size):
                mark(np.float64(load((at,), i)[0]), control, scale, skip)

    return Body(f"overflow_{storage.name}", overflow, (*(WHOLE,) * 7, REAL, WHOLE))


@functools.cache
def strided_overflow(storage: Storage) -> Body:
    """`overflow` of one array with any strides: (address, lines, axes, length, control, scale, skip)."""
    mark, (load, _) = _overflow_marked(storage.computed), accessors(storage)

    def strided_overflow(block, blocks, rank, size, address, lines, axes, length, control, scale, skip):
        for i in range(block * size + rank, length, blocks * size):
            at = at_index((address,), lines, axes, i)
            mark(np.float64(load(at, 0)[0]), control, scale, skip)

    return Body(f"strided_overflow_{storage.name}", strided_overflow, (*(WHOLE,) * 5, REAL, WHOLE))


@functools.cache
def total(storage: Storage) -> Body:
    """Σx of dense elements: (address, length, sums, counter, result)."""
    load, _ = accessors(storage)

    def total(block, blocks, rank, size, address, length, sums, counter, result):
        values, count = block_values(), -(-length // SUMMED)
        for b in range(block, count, blocks):
            lo, hi = b * SUMMED, min(length, (b + 1) * SUMMED)
            for i in range(lo + rank, hi, size):
                hold(values, i - lo, np.float64(load((address,), i)[0]))
            fold_shared(values, hi - lo, rank, size)
            _keep(values, sums, b, rank)
        if _is_last(counter, blocks, values, rank):
            _fold_all(sums, count, result, 0, rank, size)

    return Body(f"total_{storage.name}", total, (WHOLE,) * 5)


@functools.cache
def summed(function: Elementwise, storages: Storages) -> Body:
    """A function with ``summed`` over dense arrays, and the sum of its last output, which is not stored.

    (addresses, length, sums, counter, result, scalars)
    """
    kept, reads, writes = columns_of(function, storages)
    scalar = scalar_of(function, computed(storages))
    load, store = loader(kept, reads), storer(kept, writes[:-1])
    numbers, stored = like_scalars(function), (0,) * (len(function.writes) - 1)

    def summed(block, blocks, rank, size, addresses, length, sums, counter, result, scalars):
        values, count, constants = block_values(), -(-length // SUMMED), first(scalars, numbers)
        for b in range(block, count, blocks):
            lo, hi = b * SUMMED, min(length, (b + 1) * SUMMED)
            for i in range(lo + rank, hi, size):
                outputs = scalar(*load(addresses, i), *constants)
                store(addresses, i, first(outputs, stored))
                hold(values, i - lo, np.float64(outputs[-1]))
            fold_shared(values, hi - lo, rank, size)
            _keep(values, sums, b, rank)
        if _is_last(counter, blocks, values, rank):
            _fold_all(sums, count, result, 0, rank, size)

    return Body(
        f"{function.name}_summed_{names_of(storages)}",
        summed,
        (types.UniTuple(WHOLE, len(function.columns) - 1), *(WHOLE,) * 4, scalars_type(function, storages)),
        functools.partial(approve, function, storages),
    )


@functools.cache
def gathered(storage: Storage) -> Body:
    """Sums of rows that are named more than once, in float64 and in order.

    (values, order, starts, rows, width, out): ``out[r] = Σ values[order[k]]`` for k from ``starts[r]`` to
    ``starts[r + 1]``, all rows of ``width`` elements without gaps.
    """
    load, store = accessors(storage)

    def gathered(block, blocks, rank, size, values, order, starts, rows, width, out):
        for i in range(block * size + rank, rows * width, blocks * size):
            r, column = i // width, i % width
            lo, hi = listed(starts + 8 * r, 0, (0, 0))
            sum_of_row = np.float64(0.0)
            for k in range(lo, hi):
                there = get(np.int64, order, k) * width + column
                x = np.float64(load((values,), there)[0])
                sum_of_row = x if k == lo else sum_of_row + x
            store((out,), i, sum_of_row)

    return Body(f"gathered_{storage.name}", gathered, (WHOLE,) * 6)


@functools.cache
def along(storage: Storage) -> Body:
    """Sums over some axes of an array with any strides, in float64: 256 parts of each, then these folded.

    (address, kept, kept_axes, rows, over, over_axes, length, out): ``kept`` and ``over`` are the addresses of
    the axes' lines, rows and length how many elements these have.
    """
    load, store = accessors(storage)

    def along(block, blocks, rank, size, address, kept, kept_axes, rows, over, over_axes, length, out):
        values = parts()
        for r in range(block, rows, blocks):
            start = at_index((address,), kept, kept_axes, r)
            for part in range(rank, PARTS, size):
                total = np.float64(0.0)
                for i in range(part, length, PARTS):
                    total += np.float64(load(at_index(start, over, over_axes, i), 0)[0])
                hold(values, part, total)
            fold_shared(values, PARTS, rank, size)
            if rank == 0:
                store((out,), r, held(values, 0))

    return Body(f"along_{storage.name}", along, (WHOLE,) * 8)


@functools.cache
def quotients(source: Storage, storage: Storage) -> Body:
    """Numbers over another, in the other storage: (at, stride, length, divisor, divisor_at, out).

    Where ``divisor_at`` is not 0, the divisor is the float64 there.
    """
    (load, _), (_, store) = accessors(source), accessors(storage)

    def quotients(block, blocks, rank, size, at, stride, length, divisor, divisor_at, out):
        by = get(np.float64, divisor_at, 0) if divisor_at != 0 else divisor
        for i in range(block * size + rank, length, blocks * size):
            store((out,), i, np.float64(load((at + i * stride,), 0)[0]) / by)

    kinds = WHOLE, WHOLE, WHOLE, REAL, WHOLE, WHOLE
    return Body(f"quotients_{source.name}_{storage.name}", quotients, kinds)


# A block's elements.


@numba.njit(**OPTIONS)
@own_symbol
def in_shared(place, i):
    """Element i of a block in shared memory."""
    return held(place[0], i)


def block_squares(element: Kernel, dtype: np.dtype[Any]) -> Kernel:
    """``block_sums(place, lo, hi, values, sums, b, count, rank, size)``: a block's sums of squares."""
    squared, wide = _squared(element), dtype == np.float64

    @numba.njit(**OPTIONS)
    @own_symbol
    def block_sums(place, lo, hi, values, sums, b, count, rank, size):
        squared(place, lo, hi - lo, 1.0, values, rank, size)
        _keep(values, sums, b, rank)
        if wide:
            squared(place, lo, hi - lo, SCALES[1], values, rank, size)
            _keep(values, sums, count + b, rank)
            squared(place, lo, hi - lo, SCALES[2], values, rank, size)
            _keep(values, sums, 2 * count + b, rank)

    return block_sums


def _squared(element: Kernel) -> Kernel:
    """``squared(place, lo, n, scale, values, rank, size)``: Σ(scale·x)² in ``values[0]``, as norm.py adds."""

    @numba.njit(**OPTIONS)
    @own_symbol
    def value(place, i, scale):
        return element(place, i) * scale

    four = four_squares(value)

    @numba.njit(**OPTIONS)
    @own_symbol
    def squared(place, lo, n, scale, values, rank, size):
        part = n // 16
        for i in range(rank, part, size):
            low = four(place, lo + i, part, scale) + four(place, lo + i + 4 * part, part, scale)
            high = four(place, lo + i + 8 * part, part, scale) + four(place, lo + i + 12 * part, part, scale)
            hold(values, i, low + high)
        for i in range(16 * part + rank, n, size):
            x = value(place, lo + i, scale)
            hold(values, i - 15 * part, x * x)
        if n == 0 and rank == 0:
            hold(values, 0, 0.0)
        fold_shared(values, n - 15 * part, rank, size)

    return squared


# All blocks' sums.


@numba.njit(**OPTIONS)
@own_symbol
def _keep(values, sums, k, rank):
    """Store the sum that `fold_shared` found. No barrier follows: only thread 0 writes to its place."""
    if rank == 0:
        put(np.float64, sums, k, held(values, 0))


@numba.njit(**OPTIONS)
@own_symbol
def _is_last(counter, blocks, values, rank):
    """Whether this block is the last to come here; all others' sums can be read then."""
    if rank == 0:
        before = ticket(counter)
        if before == blocks - 1:
            put(np.int64, counter, 0, 0)
        hold(values, 0, 1.0 if before == blocks - 1 else 0.0)
    barrier()
    return held(values, 0) == 1.0


@numba.njit(**OPTIONS)
@own_symbol
def _fold_all(sums, n, result, k, rank, size):
    """Fold n numbers in global memory into their sum, stored as ``result[k]``."""
    fold_global(sums, n, rank, size)
    if rank == 0:
        put(np.float64, result, k, get(np.float64, sums, 0) if n > 0 else 0.0)


def fold_slot(dtype: np.dtype[Any]) -> Kernel:
    """``fold(sums, count, totals, slot, rank, size)``: all blocks' sums, at every scale, into their slot."""
    wide = dtype == np.float64

    @numba.njit(**OPTIONS)
    @own_symbol
    def fold(sums, count, totals, slot, rank, size):
        _fold_all(sums, count, totals, PER_SLOT * slot, rank, size)
        if wide:
            _fold_all(sums + 8 * count, count, totals, PER_SLOT * slot + 1, rank, size)
            _fold_all(sums + 16 * count, count, totals, PER_SLOT * slot + 2, rank, size)
        elif rank == 0:  # no square of a float32 leaves float64
            put(np.float64, totals, PER_SLOT * slot + 1, math.inf)
            put(np.float64, totals, PER_SLOT * slot + 2, 0.0)

    return fold


@numba.njit(**OPTIONS)
@own_symbol
def norm_of(totals, slot):
    at = totals + 8 * PER_SLOT * slot
    return root(get(np.float64, at, 0), get(np.float64, at, 1), get(np.float64, at, 2))


def _overflow_marked(dtype: np.dtype[Any]) -> Kernel:
    """``mark(x, control, scale, skip)``: the gradients are not finite if x / scale leaves the dtype."""
    largest = largest_float(dtype)

    @numba.njit(**OPTIONS)
    @own_symbol
    def mark(x, control, scale, skip):
        if abs(x) / scale > largest:
            clear(control + 8 * FINITE)
            if skip != 0:
                clear(control + 8 * GO)

    return mark


@numba.njit(**OPTIONS)
@own_symbol
def _finish(totals, slots, control, scale, limit, skip):
    """Write the norm of all slots over ``scale``, and what follows from it.

    ``limit`` is −1 for none. Work goes on unless ``skip`` is not 0 and the norm is inf or nan.
    """
    norm = norm_of(totals, 0)
    for slot in range(1, slots):
        other = norm_of(totals, slot)
        large, small = (norm, other) if norm > other else (other, norm)
        ratio = small / large if large > 0.0 and large < math.inf else (small if small != small else 0.0)
        norm = large * math.sqrt(fma(ratio, ratio, 1.0)) if large == large else large
    norm /= scale
    finite = abs(norm) < math.inf
    put(np.float64, control, NORM, norm)
    put(np.float64, control, GO, 0.0 if skip != 0 and not finite else 1.0)
    put(np.float64, control, FINITE, 1.0 if finite else 0.0)
    mantissa, exponent = _factor(norm, limit, scale)
    power, rest = _split(mantissa, exponent, BOUND32)
    put(np.float64, control, FACTORS32, power)
    put(np.float64, control, FACTORS32 + 1, rest)
    power, rest = _split(mantissa, exponent, BOUND64)
    put(np.float64, control, FACTORS64, power)
    put(np.float64, control, FACTORS64 + 1, rest)
