"""From one scalar function fused loops, for one core and for all.

A *sweep* is one compiled call over a table of dense rows. It loads an element of every column,
calls the scalar function, and stores all its results: one pass, in place, SIMD. A *walk* is the
same over one row of arrays with any strides. Both deal their work in contiguous shares.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import prange, types

from .._rule import Elementwise
from . import threads
from .compile.cache import own_symbol
from .compile.kernel import (
    FLOAT64_LIST,
    FLOAT64_TABLE,
    INT64_LIST,
    INT64_TABLE,
    Kernel,
    accessors,
    compiled,
    cost,
    dispatcher,
    element_of,
    like_scalars,
    loop_compiled,
    parts_of,
)
from .compile.specialize import OPTIONS, inlined
from .fold import SUMMED, folded
from .lines import runs
from .memory import cast, moved, row, stay_apart
from .objects import C_ORDER, DATA, DENSE, FLAGS, WRITEABLE, half, items, same_kind, same_layout, size, words
from .storage import Storage, Storages, computed

threads.load_tbb()  # before numba looks for a threading layer


@functools.cache
def sweep(function: Elementwise, storages: Storages, target: str) -> Kernel:
    """``kernel(table, pieces, first, scalars)`` over dense rows.

    ``table[k]`` holds the addresses of row k's columns; where ``function.switch`` is 0
    the row is left alone. ``pieces`` are rows (k, lo, hi); share s has ``pieces[first[s]:first[s + 1]]``.
    ``scalars`` are float64, in the order of ``function.scalars``, and last the two factors (power, rest)
    of one with ``scaled``: see `factor`. Those of one with ``normed`` are each row's own.
    """
    *arguments, scalars = _of_sweep(function)
    return loop_compiled(_sweep(function, storages), function, storages, target, *arguments, scalars=scalars)


def _of_sweep(function: Elementwise) -> tuple[Any, ...]:
    """The types of a sweep's arguments."""
    return INT64_TABLE, INT64_TABLE, INT64_LIST, FLOAT64_TABLE if function.normed else FLOAT64_LIST


@functools.cache
def walk(function: Elementwise, storages: Storages, target: str) -> Kernel:
    """``kernel(table, lines, size, shares, scalars)`` over one row with any strides.

    ``table`` has the one row of addresses; `by_lines` made the ``lines``.
    """
    arguments = (INT64_TABLE, INT64_TABLE, types.int64, types.int64)
    return loop_compiled(_walk(function, storages), function, storages, target, *arguments)


@functools.cache
def flat(function: Elementwise, storages: Storages) -> Kernel:
    """``kernel(arrays, model, below, scalars)`` over dense arrays, one a column, on one core.

    ``arrays`` is the id of a tuple of them, ``model`` the id of an array of that dtype. The kernel
    returns DONE; or TOO_LARGE, where the traffic is not below ``below``; or UNFIT, where an array is of
    another kind or layout, or read-only where it is written, or what is written overlaps what is
    read. Nothing has been done but with DONE.

    For a function with ``summed`` the arrays lack the last column, and the kernel returns (state, sum).
    """
    loop = (_flat_summed if function.summed else _flat)(function, storages)
    return loop_compiled(loop, function, storages, "cpu", *(types.int64,) * 3)


@functools.cache
def shared_flat(function: Elementwise, storages: Storages) -> Kernel:
    """``kernel(arrays, shares, scalars)`` on all cores, over arrays of which `flat` said TOO_LARGE.

    A kernel of its own, because numba starts its threads when one that can use them is made or loaded.
    """
    loop = (_shared_flat_summed if function.summed else _shared_flat)(function, storages)
    return threads.one_caller(loop_compiled(loop, function, storages, "parallel", *(types.int64,) * 2))


UNFIT, DONE, TOO_LARGE = range(3)


@functools.cache
def inner_loop(function: Elementwise, storages: Storages) -> Kernel:
    """The inner loop: ``span(addresses, lo, hi, scalars)`` over dense memory.

    Not a prange itself: parfors drops stores to arrays that it cannot see, and says nothing. Not
    inlined: within a share's loops LLVM loads every constant anew for each vector (sigmoid 1.25×).
    """
    scalar, indices, load, store = parts_of(function, storages)
    kind, count = computed(storages).type, like_scalars(function)

    @numba.njit(**OPTIONS)
    @own_symbol
    def span(addresses, lo, hi, scalars):
        stay_apart()
        constants = cast(kind, scalars, count)
        for i in range(lo, hi):
            # As `element_of` has it; a function less to compile in every kernel.
            store(addresses, i, scalar(*indices((i,)), *load(addresses, i), *constants))

    return span


@numba.njit(**OPTIONS)
@own_symbol
def _own(scalars, k):
    return scalars[k]


@numba.njit(**OPTIONS)
@own_symbol
def _common(scalars, k):
    return scalars


def _sweep(function: Elementwise, storages: Storages) -> Kernel:
    """The sweep's Python source, to be compiled."""
    span, scalars_of = inner_loop(function, storages), _own if function.normed else _common
    columns, switch = (0,) * len(function.columns), function.switch

    def sweep(table, pieces, first, scalars):
        for share in prange(first.size - 1):
            for piece in range(first[share], first[share + 1]):
                k = pieces[piece, 0]
                if table[k, switch] != 0:
                    span(row(table, k, columns), pieces[piece, 1], pieces[piece, 2], scalars_of(scalars, k))

    return sweep


def _flat(function: Elementwise, storages: Storages) -> Kernel:
    """The Python source of `flat`, to be compiled."""
    span, weight, columns = (
        inner_loop(function, storages),
        cost(function, storages),
        (0,) * len(function.columns),
    )
    fits = _fits(function, function.writes, storages[0].itemsize)

    def flat(held, model, below, scalars):
        arrays = items(held, columns)
        if not fits(arrays, model):
            return UNFIT
        n = size(arrays[0])
        if n * weight >= below:
            return TOO_LARGE
        span(words(arrays, DATA), 0, n, scalars)
        return DONE

    return flat


def _shared_flat(function: Elementwise, storages: Storages) -> Kernel:
    """The Python source of `shared_flat`, to be compiled."""
    span, columns = inner_loop(function, storages), (0,) * len(function.columns)
    share_of = numba.njit(threads.share_of, **OPTIONS)

    def flat(held, shares, scalars):
        arrays = items(held, columns)
        n, at = size(arrays[0]), words(arrays, DATA)
        share = share_of(n, shares)
        for k in prange(shares):
            lo, hi = k * share, (k + 1) * share
            span(at, lo if lo < n else n, hi if hi < n else n, scalars)

    return flat


def _flat_summed(function: Elementwise, storages: Storages) -> Kernel:
    """`_flat` of a function with ``summed``: its last column is a block long, and summed block by block.

    Blocks are of one length whatever the target, so that the sum is the same for any number of threads.
    """
    block_sum, weight, stored = (
        _block_sum(function, storages),
        cost(function, storages),
        function.columns[:-1],
    )
    fits, columns = _fits(function, function.writes[:-1], storages[0].itemsize), (0,) * len(stored)

    def flat_summed(held, model, below, scalars):
        arrays = items(held, columns)
        if not fits(arrays, model):
            return UNFIT, 0.0
        n, at = size(arrays[0]), words(arrays, DATA)
        if n * weight >= below:
            return TOO_LARGE, 0.0
        blocks = -(-n // SUMMED)
        sums = np.empty(blocks)
        for block in range(blocks):
            sums[block] = block_sum(at, block, n, scalars)
        return DONE, folded(sums, blocks)

    return flat_summed


def _shared_flat_summed(function: Elementwise, storages: Storages) -> Kernel:
    """`_shared_flat` of a function with ``summed``; it returns the sum."""
    block_sum, columns = _block_sum(function, storages), (0,) * (len(function.columns) - 1)

    def flat_summed(held, shares, scalars):
        arrays = items(held, columns)
        n, at = size(arrays[0]), words(arrays, DATA)
        blocks = -(-n // SUMMED)
        sums = np.empty(blocks)
        for share in prange(shares):
            for block in range(blocks * share // shares, blocks * (share + 1) // shares):
                sums[block] = block_sum(at, block, n, scalars)
        return folded(sums, blocks)

    return flat_summed


def _block_sum(function: Elementwise, storages: Storages) -> Kernel:
    """``block_sum(addresses, block, n, scalars)`` runs the function over a block and sums its last column."""
    span, total = inner_loop(function, storages), _total(storages[-1])
    kind, itemsize = storages[-1].kept.type, storages[-1].itemsize

    @numba.njit(**OPTIONS)
    @own_symbol
    def block_sum(at, block, n, scalars):
        values = np.empty(SUMMED, kind)
        lo, hi, address = block * SUMMED, min(n, (block + 1) * SUMMED), values.ctypes.data
        span((*at, address - lo * itemsize), lo, hi, scalars)
        return total(address, hi - lo, values)

    return block_sum


@functools.cache
def summing(storage: Storage) -> Kernel:
    """``kernel(address, n)``: the sum of dense elements, in the order and with the bits of `flat`'s."""
    total, itemsize = _total(storage), storage.itemsize

    def summing(address, n):
        sums = np.empty(-(-n // SUMMED))
        for block in range(sums.size):
            sums[block] = total(address + block * SUMMED * itemsize, min(SUMMED, n - block * SUMMED), None)
        return folded(sums, sums.size)

    return compiled(summing, (types.int64, types.int64))


@functools.cache
def _total(storage: Storage) -> Kernel:
    """``total(address, n, held)`` of at most a block, in float64, added up as `folded` does.

    ``held`` is the array at that address, if its last reference is the caller's: numba frees an array
    after the last line that names it.
    """
    load, _ = accessors(storage)

    @numba.njit(**inlined())
    @own_symbol
    def element(address, i, part):
        return np.float64(load((address,), i)[0])

    sixteen = functools.reduce(
        _added_to_another, (8, 4, 2, 1), element
    )  # the first four rounds, in registers

    @numba.njit(**OPTIONS)
    @own_symbol
    def total(address, n, held):
        stay_apart()
        if n % 16:
            sums = np.empty(SUMMED)
            for i in range(n):
                sums[i] = element(address, i, 0)
            return folded(sums, n)
        sums, part = np.empty(SUMMED // 16), n // 16
        for i in range(part):
            sums[i] = sixteen(address, i, part)
        return folded(sums, part)

    return total


def _added_to_another(one: Kernel, parts: int) -> Kernel:
    @numba.njit(**inlined())
    @own_symbol
    def both(address, i, part):
        return one(address, i, part) + one(address, i + parts * part, part)

    return both


def _fits(function: Elementwise, writes: tuple[str, ...], itemsize: int) -> Kernel:
    """``fits(arrays, model)``: whether a flat loop may run over arrays, of which it writes those."""
    written = tuple(map(function.columns.index, writes))
    return _fitting(written, itemsize, C_ORDER if function.indexed else DENSE)


@functools.cache
def _fitting(written: tuple[int, ...], itemsize: int, dense: int) -> Kernel:
    """`_fits`, one for all functions that write the same columns: it is compiled but once."""

    @numba.njit(**OPTIONS)
    @own_symbol
    def fits(arrays, model):
        first = arrays[0]
        for k in range(len(arrays)):
            if not same_kind(arrays[k], model) or not same_layout(arrays[k], first):
                return False
        for k in range(len(written)):
            if not half(arrays[written[k]] + FLAGS) & WRITEABLE:
                return False
        at, length = words(arrays, DATA), size(first) * itemsize
        for k in range(len(arrays)):
            if k != written[0] and abs(at[k] - at[written[0]]) < length:
                return False
        return half(first + FLAGS) & dense != 0

    return fits


def _walk(function: Elementwise, storages: Storages) -> Kernel:
    """The walk's Python source, to be compiled."""
    element, kind = element_of(function, storages), computed(storages).type
    columns, numbers = (0,) * len(function.columns), like_scalars(function)

    @numba.njit(**OPTIONS)
    @own_symbol
    def one(at, strides, first, n, scalars):
        constants = cast(kind, scalars, numbers)
        for i in range(n):
            element(moved(at, strides, i), 0, first + i, constants)

    each = runs(one)

    def walk(table, lines, size, shares, scalars):
        at, axes, count = row(table, 0, columns), lines.ctypes.data, lines.shape[0]
        for share in prange(shares):
            each(at, axes, count, size * share // shares, size * (share + 1) // shares, scalars)

    return walk


def inspect(function: Elementwise, storages: Storages, target: str, *, flat: bool) -> dict[str, str]:
    """A kernel as compiled, afresh, LLVM and assembly: the one over dense arrays, or the sweep."""
    if flat:
        loop = (_flat if target == "cpu" else _shared_flat)(function, storages)
        signature = (*(types.int64,) * (3 if target == "cpu" else 2), FLOAT64_LIST)
    else:
        loop, signature = _sweep(function, storages), _of_sweep(function)
    return shown(loop, signature, target)


def shown(loop: Kernel, signature: tuple[Any, ...], target: str) -> dict[str, str]:
    """LLVM and assembly of a loop, compiled afresh."""
    kernel = dispatcher(loop, target)
    kernel.compile(signature)
    return {"llvm": kernel.inspect_llvm(signature), "asm": kernel.inspect_asm(signature)}
