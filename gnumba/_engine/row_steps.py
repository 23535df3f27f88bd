"""Functions along an axis: what one is made of, and the steps of a row that a CPU and a GPU share.

A row is read in blocks. Each has its maximum and the sums of its terms, which are relative to that; the
blocks' sums are put together in float64, by pairs: that is the online softmax. A sum has `LANES` lanes,
element i in lane i modulo that, which are then folded: SIMD for a CPU, a block's threads for a GPU,
and the same bits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from .. import elementary
from .._rule import Elementwise
from .compile.cache import own_symbol
from .compile.kernel import Kernel, specialized
from .compile.specialize import OPTIONS, Specialized, refuse_widening
from .fold import fold_global
from .lanes import barrier, held, hold
from .memory import get, put
from .view import Array

LANES = 256
BLOCK = 2048  # elements: 16 KiB of float64 stay in the first cache; 8 a thread of a GPU's block
FLOAT64 = np.dtype(np.float64)
MAXIMUM, TOTAL, WEIGHT, WEIGHED, ROW_NUMBERS = range(5)  # of a row: float64 numbers in memory, and how many


class Rowwise:
    """A function along an axis, made of scalar functions.

    Parameters
    ----------
    term : Elementwise
        What is summed over a row, of its elements and of the scalars: the block's maximum if ``shifted``,
        then those of the call.
    result : Elementwise
        An element of the result, of those columns, or of the term's first output where it names that, and of
        the scalars that ``numbers`` returns.
    numbers : callable
        These, in float64, of (e to a block's maximum less the row's, the row's maximum, its sum, its weight,
        scalars of the call).
    scalars : tuple of str
        Names of the scalars of the call.
    shifted : bool
        Whether the term takes a maximum from the first column, so that no exponential overflows. The sum of
        its first output is then of terms relative to the row's maximum; a second and third output are weights
        and what they weigh, which is relative to the maximum too.
    loss : callable, optional
        For rows with a label: a row's loss, in float64, of (its sum, its weight, what is weighed, the label's
        share of the weight, the label's distance from the maximum).
    """

    def __init__(
        self,
        term: Elementwise,
        result: Elementwise,
        numbers: Callable[..., tuple[float, ...]],
        scalars: tuple[str, ...] = (),
        *,
        shifted: bool = False,
        loss: Callable[..., float] | None = None,
    ) -> None:
        self.name = result.name
        self.term, self.result, self.numbers, self.scalars = term, result, numbers, scalars
        self.shifted, self.loss = shifted, loss
        self.reads = term.reads
        self.sums = len(term.writes)
        self.is_hard = loss is not None and self.sums == 1  # all the weight of a row is its label's
        self.kept = term.writes[0] in result.reads
        self.columns = (*term.reads, *term.writes, *result.writes)  # of a block

    def __repr__(self) -> str:
        return f"<{self.name} along an axis>"


class Labels(NamedTuple):
    """The labels of rows, which have all or a share of the rows' weight."""

    numbers: Array  # integers; on the host int64 that are classes, or -1 where a row does not count
    ignored: int | None  # the label of rows that do not count
    weights: Array | None  # of classes
    share: float


def approve(function: Rowwise, dtype: np.dtype[Any]) -> None:
    """TypeError if a scalar function would widen float32."""
    for each in (function.term, function.result):
        refuse_widening(each.title, specialized(each, dtype))


@functools.cache
def in_float64(fn: Callable[..., Any]) -> Kernel:
    """A scalar function for float64."""
    made: Kernel = Specialized(fn, FLOAT64).dispatcher
    return made


@numba.njit(**OPTIONS)
@own_symbol
def number(memory, k):
    """Number k of float64 numbers in memory."""
    return get(np.float64, memory, k)


@functools.cache
def ratio_of() -> Kernel:
    """``ratio(own, maximum)``: e to their difference, and 1 where there is none, be they infinite."""
    exp = in_float64(elementary.exp)

    @numba.njit(**OPTIONS)
    @own_symbol
    def ratio(own, maximum):
        return 1.0 if own == maximum else exp(own - maximum)

    return ratio


@functools.cache
def contributed(function: Rowwise) -> Kernel:
    """``contribution(part, share, weighed, own, maximum)``: a block's sums, relative to the row's maximum."""
    shifted, ratio = function.shifted, ratio_of()

    @numba.njit(**OPTIONS)
    @own_symbol
    def contribution(part, share, weighed, own, maximum):
        if shifted:
            part *= ratio(own, maximum)
            shift = own if own > -math.inf else 0.0
            if share != 0.0 and shift != maximum:
                weighed += share * (shift - maximum)
        return part, share, weighed

    return contribution


@numba.njit(**OPTIONS)
@own_symbol
def fold_largest(values, n, rank, size):
    """The largest of the first n of shared memory, in the first; of nan and others, any of them."""
    while n > 1:
        half = (n + 1) // 2
        for i in range(rank, n - half, size):
            one, other = held(values, i), held(values, half + i)
            hold(values, i, one if one > other else other)
        barrier()
        n = half


@functools.cache
def joined(function: Rowwise) -> Kernel:
    """``join(parts, blocks, numbers, shared, rank, size)``: a row's maximum and sums, of its blocks'.

    ``parts`` are each sum of all blocks, then their maxima; what they were is lost but for the maxima.
    ``shared`` is room for `LANES` numbers that the threads share.
    """
    sums, shifted, contribution = function.sums, function.shifted, contributed(function)

    @numba.njit(**OPTIONS)
    @own_symbol
    def join(parts, blocks, numbers, shared, rank, size):
        maximum, maxima = 0.0, parts + 8 * sums * blocks
        if shifted:
            lanes = min(LANES, blocks)
            for lane in range(rank, lanes, size):
                largest = number(maxima, lane)
                for b in range(lane + LANES, blocks, LANES):
                    own = number(maxima, b)
                    largest = own if own > largest else largest
                hold(shared, lane, largest)
            barrier()
            fold_largest(shared, lanes, rank, size)
            maximum = held(shared, 0)
        for b in range(rank, blocks, size):
            share = weighed = 0.0
            if sums == 3:
                share, weighed = number(parts, blocks + b), number(parts, 2 * blocks + b)
            own = number(maxima, b) if shifted else 0.0
            part, share, weighed = contribution(number(parts, b), share, weighed, own, maximum)
            put(np.float64, parts, b, part)
            if sums == 3:
                put(np.float64, parts, 2 * blocks + b, weighed)
        for j in range(sums):
            fold_global(parts + 8 * j * blocks, blocks, rank, size)
        if rank == 0:
            put(np.float64, numbers, MAXIMUM, maximum)
            put(np.float64, numbers, WEIGHT, 0.0)
            put(np.float64, numbers, WEIGHED, 0.0)
            for j in range(sums):
                put(np.float64, numbers, TOTAL + j, number(parts, j * blocks))

    return join


@functools.cache
def settled(function: Rowwise) -> Kernel:
    """``settle(maximum, total, weight, weighed, own, at_label)``: a row's whole weight, and its loss."""
    assert function.loss is not None
    loss_of = in_float64(function.loss)

    @numba.njit(**OPTIONS)
    @own_symbol
    def settle(maximum, total, weight, weighed, own, at_label):
        weight += own
        return weight, loss_of(total, weight, weighed, own, at_label - maximum)

    return settle
