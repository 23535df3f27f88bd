"""Rules with norms, on a CPU: a first pass over a table sums squares, a second one is the rule's sweep.

What is normed is computed block by block, and added up as the norm of an array of it would be: the
same bits for any number of threads. Nothing the size of a row is kept.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange, types

from .._rule import Elementwise
from . import host, threads
from .compile.cache import own_symbol
from .compile.kernel import (
    FLOAT64_LIST,
    FLOAT64_TABLE,
    INT64_LIST,
    INT64_TABLE,
    Kernel,
    compiled,
    explaining,
    specialized,
)
from .compile.specialize import OPTIONS, refuse_widening
from .factor import SMALL
from .fold import SCALES, folded, root
from .lines import by_lines
from .memory import row
from .norm import block_squares, gathering
from .storage import Storages, computed, plain
from .table import BLOCK, Table
from .view import address

Calls = list[tuple[Any, ...]]


def calls(table: Table, scalars: Any, target: str) -> Calls:
    """The calls that run a table's rule: the norms of its rows into their scalars, then the sweep."""
    function, storages, shares = table.function, table.storages, threads.shares(target)
    of_rows = np.empty((len(table.rows), scalars.size))
    made: Calls = []
    if len(table.strided) < len(table.rows):
        blocks = table.blocks, table.first_blocks
        made.append((norms(function, storages, target), table.addresses, *blocks, shares, scalars, of_rows))
        kernel, pieces, first = table.ready(target, host.sweep)
        made.append((kernel, table.addresses, pieces, first, of_rows))
    for k, arrays in table.strided.items():
        addresses = np.array([[address(a) for a in arrays]], np.int64)
        where = addresses, by_lines(arrays), arrays[0].size, shares
        made.append((strided_norms(function, storages, target), *where, scalars, of_rows[k]))
        made.append((host.walk(function, storages, target), *where, of_rows[k]))
    return made


@functools.cache
def norms(function: Elementwise, storages: Storages, target: str) -> Kernel:
    """``kernel(table, blocks, first, shares, scalars, rows)``: rows[k] becomes the scalars of row k.

    ``blocks`` are rows (k, lo, hi), those of row k from ``first[k]`` to ``first[k + 1]``. A row whose
    ``function.switch`` column is 0 is left alone.
    """
    arguments = INT64_TABLE, INT64_TABLE, INT64_LIST, types.int64, FLOAT64_LIST, FLOAT64_TABLE
    return _compiled(
        _norms(function, storages), function, storages, target, arguments, function.norm_functions
    )


@functools.cache
def strided_norms(function: Elementwise, storages: Storages, target: str) -> Kernel:
    """``kernel(table, lines, size, shares, scalars, row)``: `norms` of one row with any strides."""
    arguments = INT64_TABLE, INT64_TABLE, types.int64, types.int64, FLOAT64_LIST, FLOAT64_LIST
    return _compiled(
        _strided_norms(function, storages), function, storages, target, arguments, function.norm_functions
    )


def makers(function: Elementwise) -> tuple[Callable[[Elementwise, Storages, str], Kernel], ...]:
    """Functions that make the kernels of a step without strides."""
    return (norms, host.sweep) if function.normed else (host.sweep,)


def _compiled(
    loop: Kernel,
    function: Elementwise,
    storages: Storages,
    target: str,
    arguments: tuple[Any, ...],
    made_of: tuple[Elementwise, ...],
) -> Kernel:
    """The loop as machine code; TypeError if a function that it is made of does not compile, or widens."""

    def approve() -> None:
        for each in made_of:
            refuse_widening(each.title, specialized(each, computed(storages)))

    loop.__name__ = f"{function.symbol}_{loop.__name__}_{target}"
    with contextlib.ExitStack() as explained:
        for each in made_of:
            explained.enter_context(explaining(each, computed(storages)))
        return compiled(loop, arguments, target, approve)
    raise AssertionError("a compiler's error is not swallowed")


def _norms(function: Elementwise, storages: Storages) -> Kernel:
    """The Python source of `norms`, to be compiled."""
    summed, finished = _summed(function, storages), _finished(function, storages)
    columns, switch = (0,) * len(function.columns), function.switch
    count, scales = len(function.normed), len(scales_of(storages))

    def norms(table, blocks, first, shares, scalars, rows):
        sums = np.empty((count, scales, blocks.shape[0]))
        for share in prange(shares):
            for b in range(blocks.shape[0] * share // shares, blocks.shape[0] * (share + 1) // shares):
                k = blocks[b, 0]
                if table[k, switch] != 0:
                    summed(row(table, k, columns), blocks[b, 1], blocks[b, 2], scalars, sums, b)
        for k in range(first.size - 1):
            if table[k, switch] != 0:
                finished(sums, first[k], first[k + 1], scalars, rows[k])

    return norms


def _strided_norms(function: Elementwise, storages: Storages) -> Kernel:
    """The Python source of `strided_norms`, to be compiled."""
    wide, columns = plain(computed(storages)), (0,) * len(function.columns)
    gather, summed = gathering(storages), _summed(function, (wide,) * len(columns))
    finished = _finished(function, storages)
    kind, nbytes = wide.computed.type, BLOCK * wide.itemsize
    count, scales = len(function.normed), len(scales_of(storages))

    @numba.njit(**OPTIONS)
    @own_symbol
    def one(at, axes, axis_count, lo, hi, scalars, sums, b):
        """Elements lo to hi in the order of memory, gathered, and what they add up to."""
        values, into = np.empty(len(columns) * BLOCK, kind), np.empty((1, len(columns)), np.int64)
        for column in range(len(columns)):
            into[0, column] = values.ctypes.data + column * nbytes
        there = row(into, 0, columns)
        gather(at, axes, axis_count, lo, hi, there)
        summed(there, 0, hi - lo, scalars, sums, b)
        return values[0]  # until here they are held

    def strided_norms(table, lines, size, shares, scalars, of_row):
        at, axes, blocks = row(table, 0, columns), lines.ctypes.data, -(-size // BLOCK)
        sums = np.empty((count, scales, blocks))
        for share in prange(shares):
            for b in range(blocks * share // shares, blocks * (share + 1) // shares):
                lo, hi = b * BLOCK, min(size, (b + 1) * BLOCK)
                one(at, axes, lines.shape[0], lo, hi, scalars, sums, b)
        finished(sums, 0, blocks, scalars, of_row)

    return strided_norms


# A block's sums, and a row's norms from them.


def scales_of(storages: Storages) -> tuple[float, ...]:
    """At which scales squares are summed: no square of a float32 leaves float64."""
    return SCALES if computed(storages) == np.float64 else SCALES[:1]


def _summed(function: Elementwise, storages: Storages) -> Kernel:
    """``summed(addresses, lo, hi, scalars, sums, b)``: those of block b, ``sums[norm, scale, b]``."""
    made = [_summed_one(each, storages, k) for k, each in enumerate(function.norm_functions)]
    return functools.reduce(_one_after_another, made)


def _one_after_another(one: Kernel, other: Kernel) -> Kernel:
    @numba.njit(**OPTIONS)
    @own_symbol
    def both(addresses, lo, hi, scalars, sums, b):
        one(addresses, lo, hi, scalars, sums, b)
        other(addresses, lo, hi, scalars, sums, b)

    return both


def _summed_one(function: Elementwise, storages: Storages, k: int) -> Kernel:
    """`_summed` of norm k: its values in a block's memory, which are added up as an array's are.

    They are read in the columns' order, which is the processor's to foresee. Squares that leave float64, or
    may, are added up again, scaled; the sum of others is scaled without rounding.
    """
    output, scales = plain(computed(storages)), scales_of(storages)
    compute, kind, itemsize = (
        host.inner_loop(function, (*storages, output)),
        output.computed.type,
        output.itemsize,
    )
    unscaled, scaled = block_squares(output, False), block_squares(output, True)

    @numba.njit(**OPTIONS)
    @own_symbol
    def summed_one(addresses, lo, hi, scalars, sums, b):
        values = np.empty(BLOCK, kind)
        at = values.ctypes.data
        compute((*addresses, at - lo * itemsize), lo, hi, scalars)
        total = unscaled(at, hi - lo, 1.0, values)
        sums[k, 0, b] = total
        leaves = total < SMALL or total == np.inf
        for j in range(1, len(scales)):
            again = scaled(at, hi - lo, scales[j], values) if leaves else total * scales[j] * scales[j]
            sums[k, j, b] = again

    return summed_one


def _finished(function: Elementwise, storages: Storages) -> Kernel:
    """``finished(sums, lo, hi, scalars, of_row)``: a row's scalars, its norms from blocks lo to hi."""
    places, wide = tuple(map(function.scalars.index, function.normed)), len(scales_of(storages)) > 1

    @numba.njit(**OPTIONS)
    @own_symbol
    def finished(sums, lo, hi, scalars, of_row):
        for j in range(scalars.size):
            of_row[j] = scalars[j]
        for k in range(len(places)):
            total, small, large = folded(sums[k, 0, lo:hi], hi - lo), np.inf, 0.0
            if wide:
                small, large = folded(sums[k, 1, lo:hi], hi - lo), folded(sums[k, 2, lo:hi], hi - lo)
            of_row[places[k]] = root(total, small, large)

    return finished
