"""Rules with norms, on a grid: three launches, the sums of blocks, the norms of rows, the rule's sweep.

The norms stay in the device's memory; their bits are those of `normed` on a CPU.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from .._rule import Elementwise
from . import grid
from .compile.cache import own_symbol
from .compile.kernel import Kernel, columns_of, like_scalars, scalar_of
from .compile.specialize import OPTIONS
from .factor import GO
from .grid import WHOLE, Body, approve, factored_by, scalars_type
from .lanes import barrier, first, hold
from .lines import at_index
from .memory import get, listed, loader, put
from .storage import Storages, computed, names_of
from .sums import PER_SLOT, block_squares, fold_slot, in_shared, norm_of, part_sums, whole_block
from .table import BLOCK


@functools.cache
def sums(function: Elementwise, storages: Storages) -> Body:
    """Sums of squares of each block of dense rows, for every norm: the first of three launches.

    (table, pieces, count, starts, sums, control, scalars)

    ``pieces`` are rows (k, lo, hi) of at most `BLOCK` elements, those of row k from ``starts[k]`` to
    ``starts[k + 1]``. ``sums`` is room for `room` numbers; ``control`` as `grid.sweep` has it.
    """
    summed, columns, switch = (
        _summed(function, storages, _flat),
        (0,) * len(function.columns),
        function.switch,
    )
    numbers, factored = like_scalars(function), factored_by(function, storages)

    def norm_sums(block, blocks, rank, size, table, pieces, count, starts, sums, control, scalars):
        if control != 0 and get(np.int64, control, GO) == 0:
            return
        constants = factored(first(scalars, numbers), control)
        values, block_at = part_sums(), whole_block()
        b = block
        while b < count:
            k, lo, hi = listed(pieces, b, (0, 0, 0))
            at, (begin, end) = listed(table, k, columns), listed(starts + 8 * k, 0, (0, 0))
            if at[switch] != 0:
                where = at, 0, 0
                into = sums, begin, end - begin, b - begin
                summed(where, lo, hi, constants, values, block_at, into, rank, size)
            b += blocks

    return _made(function, storages, norm_sums, (WHOLE,) * 6)


@functools.cache
def strided_sums(function: Elementwise, storages: Storages) -> Body:
    """`sums` of one row of arrays with any strides.

    (table, lines, axes, length, sums, control, scalars): addresses as `grid.walk` has them.
    """
    summed, columns = _summed(function, storages, _strided), (0,) * len(function.columns)
    numbers, factored = like_scalars(function), factored_by(function, storages)

    def strided_norm_sums(block, blocks, rank, size, table, lines, axes, length, sums, control, scalars):
        if control != 0 and get(np.int64, control, GO) == 0:
            return
        constants = factored(first(scalars, numbers), control)
        values, block_at, count = part_sums(), whole_block(), -(-length // BLOCK)
        where = listed(table, 0, columns), lines, axes
        b = block
        while b < count:
            lo, hi = b * BLOCK, min(length, (b + 1) * BLOCK)
            summed(where, lo, hi, constants, values, block_at, (sums, 0, count, b), rank, size)
            b += blocks

    return _made(function, storages, strided_norm_sums, (WHOLE,) * 6)


@functools.cache
def norms(function: Elementwise, storages: Storages) -> Body:
    """Norms of rows from the sums of their blocks: the second launch, of a block of threads a row.

    (starts, rows, sums, totals, norms): ``totals`` is room for `PER_SLOT` numbers a norm and row,
    ``norms`` of one.
    """
    count, fold = len(function.normed), fold_slot(computed(storages))

    def row_norms(block, blocks, rank, size, starts, rows, sums, totals, norms):
        for r in range(block, rows, blocks):
            begin, end = listed(starts + 8 * r, 0, (0, 0))
            for k in range(count):
                slot = r * count + k
                at = sums + 8 * PER_SLOT * (begin * count + k * (end - begin))
                fold(at, end - begin, totals, slot, rank, size)
                if rank == 0:
                    put(np.float64, norms, slot, norm_of(totals, slot))

    return Body(f"{function.symbol}_row_norms_{names_of(storages)}", row_norms, (WHOLE,) * 5)


BODIES = sums, norms, grid.sweep  # in the order in which they are launched
BODIES_WITH_GAPS = strided_sums, norms, grid.walk


def room(function: Elementwise, blocks: int, rows: int) -> tuple[int, int, int]:
    """How many numbers `sums`, its totals and the norms take."""
    count = len(function.normed)
    return PER_SLOT * count * blocks, PER_SLOT * count * rows, count * rows


def _made(function: Elementwise, storages: Storages, source: Any, arguments: tuple[Any, ...]) -> Body:
    """A body that what is normed is computed in."""

    def approved() -> None:
        for each in function.norm_functions:
            approve(each, storages)

    name = f"{function.symbol}_{source.__name__}_{names_of(storages)}"
    return Body(name, source, (*arguments, scalars_type(function, storages)), approved)


# Where element i of a row is: the addresses of its columns, and its index there.


@numba.njit(**OPTIONS)
@own_symbol
def _flat(where, i):
    return where[0], i


@numba.njit(**OPTIONS)
@own_symbol
def _strided(where, i):
    at, lines, axes = where
    return at_index(at, lines, axes, i), 0


def _summed(function: Elementwise, storages: Storages, place: Kernel) -> Kernel:
    """``summed(where, lo, hi, constants, values, block_at, into, rank, size)``: a block's sums.

    ``into`` is (sums, the row's first block, how many it has, which of these this is).
    """
    count = len(function.normed)
    made = [_summed_one(each, storages, place, k, count) for k, each in enumerate(function.norm_functions)]
    return functools.reduce(_one_after_another, made)


def _one_after_another(one: Kernel, other: Kernel) -> Kernel:
    @numba.njit(**OPTIONS)
    @own_symbol
    def both(where, lo, hi, constants, values, block_at, into, rank, size):
        one(where, lo, hi, constants, values, block_at, into, rank, size)
        other(where, lo, hi, constants, values, block_at, into, rank, size)

    return both


def _summed_one(function: Elementwise, storages: Storages, place: Kernel, k: int, count: int) -> Kernel:
    kept, reads, _ = columns_of(function, storages)
    scalar, load = scalar_of(function, computed(storages)), loader(kept, reads)
    squares = block_squares(in_shared, computed(storages))

    @numba.njit(**OPTIONS)
    @own_symbol
    def summed_one(where, lo, hi, constants, values, block_at, into, rank, size):
        for i in range(lo + rank, hi, size):
            at, j = place(where, i)
            hold(block_at, i - lo, np.float64(scalar(*load(at, j), *constants)))
        barrier()
        sums, begin, blocks, b = into
        at_norm = sums + 8 * PER_SLOT * (begin * count + k * blocks)
        squares((block_at,), 0, hi - lo, values, at_norm, b, blocks, rank, size)

    return summed_one
