"""The L2 norm of a table's column, in one pass: the same bits for any number of threads."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numba
import numpy as np
from numba import prange, types

from . import targets, threads
from .compile.cache import own_symbol
from .compile.kernel import INT64_TABLE, Kernel, compilable, compiled, number_of
from .compile.specialize import OPTIONS, inlined
from .factor import SMALL, largest_float
from .fold import SCALES, folded, four_squares, root
from .lines import by_lines, runs
from .memory import loader, moved, stay_apart, storer
from .storage import Storage, Storages, computed, plain, storage_of, widened
from .table import BLOCK, Table
from .view import address

Array = np.ndarray[Any, np.dtype[Any]]


def norm(tables: Iterable[tuple[Table, int]]) -> float:
    """√Σx² over a column of each table, in float64; overflow and underflow are no concern."""
    return math.hypot(*(_norm(table, column) for table, column in tables))


def largest(x: Array) -> float:
    """max |x|, nan where there is one; 0 for no element."""
    if not x.size:
        return 0.0
    x = widened(x)
    return float(max(np.max(x), -np.min(x)))


def finite_norm(tables: Sequence[Table], column: int, scale: float) -> tuple[float, bool]:
    """The norm of a column of the tables over scale, and whether all elements are finite after that."""
    found = norm((table, column) for table in tables) / scale
    if not math.isfinite(found):
        return found, False
    if scale >= 1.0:
        return found, True
    near = [table for table in tables if found > 0.5 * largest_float(table.computed)]  # a norm is rounded
    return found, all(is_finite(x, scale) for table in near for x in table.column(column))


def is_finite(x: Array, scale: float) -> bool:
    """Whether x / scale, as computed, is finite in every element."""
    return largest(x) / scale <= largest_float(storage_of(x).computed)


def _norm(table: Table, column: int) -> float:
    plain = _sum_of_squares(table, column, SCALES[0])
    if table.computed == np.float32:  # no square of one leaves float64
        return math.sqrt(plain)
    smaller = _sum_of_squares(table, column, SCALES[1]) if plain == math.inf else 0.0
    larger = _sum_of_squares(table, column, SCALES[2]) if plain < SMALL else 0.0
    found: float = root.py_func(plain, smaller, larger)
    return found


def _sum_of_squares(table: Table, column: int, scale: float) -> float:
    """Σ(scale·x)²: squares are added in blocks of one length, whatever the target."""
    storage = table.storages[column]
    target = targets.target_for(table.size * storage.itemsize)
    shares = threads.shares(target)
    total = 0.0
    if len(table.strided) < len(table.rows):
        kernel = _squares(storage, target, scale != 1.0)
        total += kernel(table.addresses, table.function.switch, column, table.blocks, shares, scale)
    for arrays in table.strided.values():
        kernel = _strided_squares(storage, target, scale != 1.0)
        x = arrays[column]
        total += kernel(address(x), by_lines((x,)), x.size, shares, scale)
    return total


@functools.cache
def _squares(storage: Storage, target: str, scaled: bool) -> Kernel:
    """``kernel(table, switch, column, blocks, shares, scale)`` of dense rows cut into blocks (k, lo, hi).

    A row whose ``switch`` column is 0 is left out.
    """
    of_block, itemsize = block_squares(storage, scaled), storage.itemsize

    def squares(table, switch, column, blocks, shares, scale):
        count = blocks.shape[0]
        sums = np.zeros(count)
        for share in prange(shares):
            for b in range(count * share // shares, count * (share + 1) // shares):
                k, lo = blocks[b, 0], blocks[b, 1]
                if table[k, switch] != 0:
                    sums[b] = of_block(table[k, column] + lo * itemsize, blocks[b, 2] - lo, scale, None)
        return folded(sums, count)

    arguments = (INT64_TABLE, types.int64, types.int64, INT64_TABLE, types.int64, types.float64)
    return _made(squares, target, arguments)


@functools.cache
def _strided_squares(storage: Storage, target: str, scaled: bool) -> Kernel:
    """``kernel(address, lines, size, shares, scale)`` of one array with any strides."""
    of_block, kind = block_squares(plain(storage.computed), scaled), storage.computed.type
    gather = gathering((storage,))

    @numba.njit(**OPTIONS)
    @own_symbol
    def one(at, axes, count, lo, hi, scale):
        values = np.empty(hi - lo, kind)
        gather(at, axes, count, lo, hi, (values.ctypes.data,))
        return of_block(values.ctypes.data, hi - lo, scale, values)

    def strided_squares(address, lines, size, shares, scale):
        count, axes = -(-size // BLOCK), lines.ctypes.data
        sums = np.zeros(count)
        for share in prange(shares):
            for b in range(count * share // shares, count * (share + 1) // shares):
                lo, hi = b * BLOCK, min(size, (b + 1) * BLOCK)
                sums[b] = one((address,), axes, lines.shape[0], lo, hi, scale)
        return folded(sums, count)

    arguments = (types.int64, INT64_TABLE, types.int64, types.int64, types.float64)
    return _made(strided_squares, target, arguments)


@functools.cache
def gathering(storages: Storages) -> Kernel:
    """``gather(at, lines, count, lo, hi, into)``: put elements lo to hi, as computed, into dense memory."""
    columns, wide = tuple(range(len(storages))), plain(computed(storages))
    load = loader(tuple(map(compilable, storages)), columns)
    store = storer((wide,) * len(columns), columns)

    @numba.njit(**OPTIONS)
    @own_symbol
    def one(at, strides, first, n, rest):
        into, lo = rest
        for i in range(n):
            store(into, first - lo + i, load(moved(at, strides, i), 0))

    each = runs(one)

    @numba.njit(**OPTIONS)
    @own_symbol
    def gather(at, lines, count, lo, hi, into):
        each(at, lines, count, lo, hi, (into, lo))

    return gather


def _made(loop: Kernel, target: str, arguments: tuple[Any, ...]) -> Kernel:
    made = compiled(loop, arguments, target)
    return threads.one_caller(made) if target == "parallel" else made


@functools.cache
def block_squares(storage: Storage, scaled: bool) -> Kernel:
    """``of_block(address, n, scale, held)`` of at most a block: 16 parts beside one another, then pairs."""
    number = number_of(storage)

    @numba.njit(**inlined())
    @own_symbol
    def element(at, i, scale):
        x = number(at, i)
        return x * scale if scaled else x

    four = four_squares(element)

    @numba.njit(**OPTIONS)
    @own_symbol
    def of_block(address, n, scale, held):
        stay_apart()
        sums, part, at = np.empty(BLOCK // 16 + 16), n // 16, (address,)
        for i in range(part):
            low = four(at, i, part, scale) + four(at, i + 4 * part, part, scale)
            high = four(at, i + 8 * part, part, scale) + four(at, i + 12 * part, part, scale)
            sums[i] = low + high
        for i in range(16 * part, n):
            x = element(at, i, scale)
            sums[i - 15 * part] = x * x
        return folded(sums, n - 15 * part)

    return of_block
