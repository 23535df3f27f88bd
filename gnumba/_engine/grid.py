"""Kernels for a grid of blocks of threads, as one Python function each that a GPU and a CPU run.

A body says what thread ``rank`` of ``size`` in block ``block`` of ``blocks`` does. Its loops step by
the threads there are, so any number of them computes the same: on a GPU `THREADS` a block, on a CPU
one, which is how kernels are tested where there is no GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types

from .._rule import Elementwise
from .compile import explain
from .compile.cache import own_symbol
from .compile.kernel import (
    Kernel,
    columns_of,
    compiled,
    element_of,
    explaining,
    indexer,
    like_scalars,
    scalar_of,
    specialized,
)
from .compile.specialize import OPTIONS, refuse_widening
from .factor import FACTORS, GO
from .lanes import count_of, ending, first, lane_loader, lane_storer, phases, placing
from .lines import at_index
from .memory import get, listed
from .storage import Storages, computed, names_of

THREADS = 256
CHUNK = 4096  # elements of a piece of work: 4 accesses a thread in float32

WHOLE = types.int64


class Body:
    """A kernel's Python source ``source(block, blocks, rank, size, *arguments)`` and their types.

    A function's scalars are one tuple of the dtype computed in, the last argument.
    """

    def __init__(
        self,
        name: str,
        source: Callable[..., None],
        arguments: tuple[types.Type, ...],
        approve: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.arguments, self.approve = name, arguments, approve
        self.source = numba.njit(own_symbol(source), **OPTIONS)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


@functools.cache
def native(body: Body) -> Kernel:
    """``kernel(blocks, *arguments)``: the body on this CPU, block after block, each of one thread."""
    source = body.source

    def run(blocks, arguments):
        for block in range(blocks):
            source(block, blocks, 0, 1, *arguments)

    run.__name__ = body.name
    kernel = compiled(run, (WHOLE, types.Tuple(body.arguments)), approve=body.approve)
    return lambda blocks, *arguments: kernel(blocks, arguments)


@functools.cache
def sweep(function: Elementwise, storages: Storages) -> Body:
    """The function over the dense rows of a table: (table, pieces, count, control, norms, scalars).

    ``table`` is the address of the rows' addresses, ``pieces`` that of ``count`` rows (k, lo, hi).
    ``control``, if not 0, is the address of the float64 numbers that `sums` writes: where go is 0.0 nothing
    is done; the factors for that dtype take the place of the last two scalars of a function with ``scaled``.
    ``norms`` is the address of float64 numbers, those of each row in turn, for a function with ``normed``.
    """
    span, numbers, factored = (
        inner_loop(function, storages),
        like_scalars(function),
        factored_by(function, storages),
    )
    columns, switch, placed = (0,) * len(function.columns), function.switch, norms_placed_by(function)

    def sweep(block, blocks, rank, size, table, pieces, count, control, norms, scalars):
        if control != 0 and get(np.int64, control, GO) == 0:
            return
        constants = factored(first(scalars, numbers), control)
        piece = block  # no range() here and below: its length takes a division, half of such a kernel's code
        while piece < count:
            k, lo, hi = listed(pieces, piece, (0, 0, 0))
            at = listed(table, k, columns)
            if at[switch] != 0:
                span(at, lo, hi, rank, size, placed(constants, norms, k))
            piece += blocks

    return body_of(function, storages, sweep, (WHOLE,) * 5)


@functools.cache
def flat(function: Elementwise, storages: Storages) -> Body:
    """The function over one row of dense arrays: (addresses, count, scalars)."""
    span, numbers = inner_loop(function, storages), like_scalars(function)

    def flat(block, blocks, rank, size, addresses, count, scalars):
        constants = first(scalars, numbers)
        lo = block * CHUNK
        while lo < count:
            span(addresses, lo, min(count, lo + CHUNK), rank, size, constants)
            lo += blocks * CHUNK

    return body_of(function, storages, flat, (types.UniTuple(WHOLE, len(function.columns)), WHOLE))


@functools.cache
def walk(function: Elementwise, storages: Storages) -> Body:
    """The function over one row of arrays with any strides.

    (table, lines, axes, length, control, norms, scalars): addresses of the columns' addresses, and of the
    lines, so many, that `by_lines` makes.
    """
    element, numbers, factored = (
        element_of(function, storages),
        like_scalars(function),
        factored_by(function, storages),
    )
    columns, placed = (0,) * len(function.columns), norms_placed_by(function)

    def walk(block, blocks, rank, size, table, lines, axes, length, control, norms, scalars):
        if control != 0 and get(np.int64, control, GO) == 0:
            return
        constants = placed(factored(first(scalars, numbers), control), norms, 0)
        at = listed(table, 0, columns)
        for i in range(block * size + rank, length, blocks * size):
            element(at_index(at, lines, axes, i), 0, i, constants)

    return body_of(function, storages, walk, (WHOLE,) * 6)


def scalars_type(function: Elementwise, storages: Storages) -> types.Type:
    """The last argument: as many numbers as the function's loops take, and one where it takes none."""
    return types.UniTuple(numba.from_dtype(computed(storages)), max(1, len(like_scalars(function))))


def body_of(function: Elementwise, storages: Storages, source: Any, arguments: tuple[Any, ...]) -> Body:
    return Body(
        f"{function.symbol}_{source.__name__}_{names_of(storages)}",
        source,
        (*arguments, scalars_type(function, storages)),
        functools.partial(approve, function, storages),
    )


def approve(function: Elementwise, storages: Storages) -> None:
    """TypeError if the function does not compile, or widens float32; seen on this CPU."""
    made = specialized(function, computed(storages))
    with explaining(function):
        explain.check(function, made)
    refuse_widening(function.title, made)


def inner_loop(function: Elementwise, storages: Storages) -> Kernel:
    """``span(addresses, lo, hi, rank, size, constants)``: a thread's part of one piece of dense memory.

    16 bytes at a time where one alignment serves all arrays; what is before and after these one by one.
    """
    scalar, index = scalar_of(function, computed(storages)), indexer(function)
    kept, reads, writes = columns_of(function, storages)
    load, store, phase = lane_loader(kept, reads), lane_storer(kept, writes), phases(kept)
    element, itemsize, lanes = element_of(function, storages), computed(storages).itemsize, count_of(kept)

    @numba.njit(**OPTIONS)
    @own_symbol
    def one(row, i, constants):
        return scalar(*index((i,)), *row, *constants)

    each = {2: _each_of_two, 4: _each_of_four}[lanes](one)

    @numba.njit(**OPTIONS)
    @own_symbol
    def span(addresses, lo, hi, rank, size, constants):
        start = phase(addresses)
        if start & (itemsize - 1) == 0:
            head = min(hi, lo + (-(start + lo * itemsize) & 15) // itemsize)
            tail = head + (hi - head) // lanes * lanes
        else:
            head = tail = hi
        i = head + rank * lanes
        while i < tail:
            store(addresses, i, each(load(addresses, i), i, constants))
            i += size * lanes
        k, before = rank, head - lo
        while k < before + hi - tail:
            i = lo + k if k < before else tail + k - before
            element(addresses, i, i, constants)
            k += size

    return span


def _each_of_two(one: Kernel) -> Kernel:
    @numba.njit(**OPTIONS)
    @own_symbol
    def each(rows, i, constants):
        return one(rows[0], i, constants), one(rows[1], i + 1, constants)

    return each


def _each_of_four(one: Kernel) -> Kernel:
    @numba.njit(**OPTIONS)
    @own_symbol
    def each(rows, i, constants):
        return (
            one(rows[0], i, constants),
            one(rows[1], i + 1, constants),
            one(rows[2], i + 2, constants),
            one(rows[3], i + 3, constants),
        )

    return each


def factored_by(function: Elementwise, storages: Storages) -> Kernel:
    """``factored(scalars, control)``: the scalars with the control's two factors, if there is a control.

    The last scalar stays a factor: it has the sign.
    """
    kind, power = computed(storages).type, FACTORS[computed(storages)]
    if not function.scaled:
        return numba.njit(own_symbol(lambda scalars, control: scalars), **OPTIONS)

    @numba.njit(**OPTIONS)
    @own_symbol
    def factored(scalars, control):
        if control == 0:
            return scalars
        rest = kind(get(np.float64, control, power + 1)) * scalars[-1]
        return ending(scalars, (kind(get(np.float64, control, power)), rest))

    return factored


def norms_placed_by(function: Elementwise) -> Any:
    """``placed(scalars, norms, k)``: the scalars with the norms of row k, if the function has any."""
    if function.normed:
        return placing(tuple(map(function.scalars.index, function.normed)))
    return numba.njit(own_symbol(lambda scalars, norms, k: scalars), **OPTIONS)
