"""Functions along an axis, for one core and for all: rows dealt in contiguous shares.

A block's terms are computed and summed while it is in the first cache. Where a term is what the result
is made of, eˣ of the softmax, it is kept where the result will be.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types

from .._rule import Elementwise
from . import threads
from .checks import same_elements
from .compile.cache import own_symbol
from .compile.intrinsics import intrinsic, stack_slot
from .compile.kernel import (
    FLOAT64_LIST,
    INT64_LIST,
    INT64_TABLE,
    Kernel,
    compiled,
    element_of,
    like_scalars,
    specialized,
)
from .compile.specialize import OPTIONS
from .memory import INT64, get, listed, moved, pick, put, row, stay_apart
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
from .storage import alike
from .targets import target_for
from .view import address

WIDE = 32


def cost(function: Rowwise, dtype: np.dtype[Any]) -> int:
    """Bytes that an element moves, as `cost` counts them."""
    made = [specialized(each, dtype).transcendental for each in (function.term, function.result)]
    return dtype.itemsize * (len(function.reads) + 1) * (4 if any(made) else 1)


@functools.cache
def kernel(function: Rowwise, dtype: np.dtype[Any], target: str) -> Kernel:
    """``kernel(table, strides, shape, width, shares, scalars, labels, hot, losses)``.

    ``table`` is the one row of addresses of the columns read and of the result. ``strides[axis]`` are theirs
    in bytes along the axes of ``shape``, which are all others; two rows more are their strides along the axis
    of ``width`` elements, and whether a column has to be copied block by block: one with gaps, or in the
    result's own memory. ``labels``, ``hot`` and ``losses`` are addresses of an int64 and two float64 a
    row, or 0.
    """
    loop = _kernel(function, dtype)
    loop.__name__ = f"{function.name}_along_{target}"
    whole = types.int64
    signature = (INT64_TABLE, INT64_TABLE, INT64_LIST, whole, whole, FLOAT64_LIST, whole, whole, whole)
    made = compiled(loop, signature, target, functools.partial(approve, function, dtype))
    return threads.one_caller(made) if target == "parallel" else made


# Of a row, in memory: float64 numbers, addresses of a block's columns, and columns of scratch.
NUMBERS, COLUMNS, PARTS = ROW_NUMBERS, 12, 24


def _kernel(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """The Python source of `kernel`, to be compiled."""
    one, read = _row(function, dtype), (0,) * (len(function.reads) + 1)
    parts_of_block, scratch = function.sums + 1, len(function.columns) * BLOCK * dtype.itemsize // 8

    @numba.njit(**OPTIONS)
    @own_symbol
    def some(table, strides, shape, width, lo, hi, scalars, labels, hot, losses):
        memory = np.empty(PARTS + scratch + -(-width // BLOCK) * parts_of_block)
        along, staged = row(strides, shape.size, read), row(strides, shape.size + 1, read)
        for r in range(lo, hi):
            at, rest = row(table, 0, read), r
            for axis in range(shape.size - 1, -1, -1):
                at = moved(at, row(strides, axis, read), rest % shape[axis])
                rest //= shape[axis]
            one(at, along, staged, width, memory.ctypes.data, scalars.ctypes.data, r, labels, hot, losses)
        return memory[0]  # alive until here

    def rowwise(table, strides, shape, width, shares, scalars, labels, hot, losses):
        rows = 1
        for axis in range(shape.size):
            rows *= shape[axis]
        for share in prange(shares):
            lo, hi = rows * share // shares, rows * (share + 1) // shares
            if lo < hi:
                some(table, strides, shape, width, lo, hi, scalars, labels, hot, losses)

    return rowwise


def _row(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``one(at, along, staged, width, memory, scalars, r, labels, hot, losses)``: a row."""
    measure, write, kind = _measure(function, dtype), _write(function, dtype), dtype.type

    @numba.njit(**OPTIONS)
    @own_symbol
    def unlabelled(at, along, staged, width, memory, scalars, r, labels, hot, losses):
        measure(at, along, staged, width, memory, scalars)
        write(at, along, staged, width, memory, scalars)

    if function.loss is None:
        return unlabelled
    is_hard, settle = function.is_hard, settled(function)

    @numba.njit(**OPTIONS)
    @own_symbol
    def labelled(at, along, staged, width, memory, scalars, r, labels, hot, losses):
        out, own, at_label, label = at[-1], 0.0, 0.0, 0
        if labels != 0:
            label, own = get(np.int64, labels, r), get(np.float64, hot, r)
            if label < 0 or (own == 0.0 and is_hard):
                for i in range(width):
                    put(kind, out + i * along[-1], 0, kind(0.0))
                put(np.float64, losses, r, 0.0)
                return
            at_label = np.float64(get(kind, at[0] + label * along[0], 0))
        measure(at, along, staged, width, memory, scalars)
        maximum, total = number(memory, MAXIMUM), number(memory, TOTAL)
        weight, weighed = number(memory, WEIGHT), number(memory, WEIGHED)
        weight, loss = settle(maximum, total, weight, weighed, own, at_label)
        put(np.float64, memory, WEIGHT, weight)
        put(np.float64, losses, r, loss)
        write(at, along, staged, width, memory, scalars)
        if labels != 0:
            there = out + label * along[-1]
            share = own * number(scalars, 0)
            put(kind, there, 0, kind(np.float64(get(kind, there, 0)) - share))

    return labelled


def _measure(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``measure(at, along, staged, width, memory, scalars)``: a row's maximum and sums."""
    stage, span, total = _stage(function, dtype), _span(function.term, dtype), _total(dtype)
    copy_out, join = _copied_out(dtype), joined(function)
    contribution = contributed(function)
    reads, sums, shifted, kept = len(function.reads), function.sums, function.shifted, function.kept
    term, kind = pick(tuple(range(reads + sums))), dtype.type
    columns, constants = (0,) * len(function.columns), len(function.scalars)

    @numba.njit(**OPTIONS)
    @own_symbol
    def measure(at, along, staged, width, memory, scalars):
        blocks = -(-width // BLOCK)
        parts = stage(at, along, staged, width, 0, memory)
        for k in range(constants):
            put(np.float64, memory, NUMBERS + shifted + k, number(scalars, k))
        for b in range(blocks):
            lo = b * BLOCK
            n = min(BLOCK, width - lo)
            if b > 0:
                stage(at, along, staged, width, lo, memory)
            block = listed(memory + 8 * COLUMNS, 0, columns)
            if shifted:
                largest = lane_maximum(kind, block[0], n)
                put(np.float64, parts, sums * blocks + b, largest)
                put(np.float64, memory, NUMBERS, largest if largest > -math.inf else 0.0)
            span(term(block), n, memory + 8 * NUMBERS)
            for j in range(sums):
                put(np.float64, parts, j * blocks + b, total(block[reads + j], n))
            if kept and blocks > 1:
                copy_out(block[reads], at[-1] + lo * along[-1], along[-1], n)
        if blocks > 1:
            join(parts, blocks, memory, memory + 8 * PARTS, 0, 1)
        else:
            share = weighed = 0.0
            if sums == 3:
                share, weighed = number(parts, 1), number(parts, 2)
            own = number(parts, sums) if shifted else 0.0
            part, share, weighed = contribution(number(parts, 0), share, weighed, own, own)
            put(np.float64, memory, MAXIMUM, own)
            put(np.float64, memory, TOTAL, part)
            put(np.float64, memory, WEIGHT, share)
            put(np.float64, memory, WEIGHED, weighed)

    return measure


def _write(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``write(at, along, staged, width, memory, scalars)``: a row's result, after `measure`."""
    stage, span = _stage(function, dtype), _span(function.result, dtype)
    copy_in, copy_out = _copied_in(dtype), _copied_out(dtype)
    reads, sums, kept, shifted = len(function.reads), function.sums, function.kept, function.shifted
    result = pick(tuple(map(function.columns.index, function.result.columns)))
    columns, constants = (0,) * len(function.columns), (0,) * len(function.scalars)
    numbers_of, last = in_float64(function.numbers), len(function.columns) - 1
    ratio_to, parts_at = ratio_of(), 8 * PARTS + len(function.columns) * BLOCK * dtype.itemsize

    @numba.njit(**OPTIONS)
    @own_symbol
    def write(at, along, staged, width, memory, scalars):
        blocks, parts = -(-width // BLOCK), memory + parts_at
        for b in range(blocks):
            lo = b * BLOCK
            n, out = min(BLOCK, width - lo), at[-1] + lo * along[-1]
            if blocks > 1:
                stage(at, along, staged, width, lo, memory)
                if kept:
                    copy_in(out, along[-1], n, get(np.int64, memory, COLUMNS + reads))
            maximum, total, weight = number(memory, MAXIMUM), number(memory, TOTAL), number(memory, WEIGHT)
            ratio = ratio_to(number(parts, sums * blocks + b), maximum) if shifted else 1.0
            made = numbers_of(ratio, maximum, total, weight, *numbers_at(np.float64, scalars, constants))
            put_numbers(memory + 8 * NUMBERS, made)
            if staged[-1] == 0:
                put(np.int64, memory, COLUMNS + last, out)
            block = listed(memory + 8 * COLUMNS, 0, columns)
            span(result(block), n, memory + 8 * NUMBERS)
            if staged[-1] != 0:
                copy_out(block[last], out, along[-1], n)

    return write


# Blocks.


def _span(function: Elementwise, dtype: np.dtype[Any]) -> Kernel:
    """``span(addresses, n, numbers)`` over dense memory, of which no column is another."""
    element, kind, count = element_of(function, alike(function, dtype)), dtype.type, like_scalars(function)

    @numba.njit(**OPTIONS)
    @own_symbol
    def span(addresses, n, numbers):
        stay_apart()
        constants = numbers_at(kind, numbers, count)
        for i in range(n):
            element(addresses, i, i, constants)

    return span


def _stage(function: Rowwise, dtype: np.dtype[Any]) -> Kernel:
    """``stage(at, along, staged, width, lo, memory)``: set where a block's columns are, all dense.

    It returns the address of the blocks' sums.
    """
    reads, copy_in, columns = len(function.reads), _copied_in(dtype), len(function.columns)
    first, nbytes = 8 * PARTS, BLOCK * dtype.itemsize

    @numba.njit(**OPTIONS)
    @own_symbol
    def stage(at, along, staged, width, lo, memory):
        n = min(BLOCK, width - lo)
        for c in range(columns):
            here = memory + first + c * nbytes
            if c < reads:
                there = at[c] + lo * along[c]
                if staged[c] != 0:
                    copy_in(there, along[c], n, here)
                else:
                    here = there
            put(np.int64, memory, COLUMNS + c, here)
        return memory + first + columns * nbytes

    return stage


@intrinsic
def numbers_at(typing, dtype, address, like):
    """The float64 numbers at an address as a tuple of ``dtype``, as long as ``like``."""
    element, count = dtype.dtype, len(like)

    def generate(context, builder, signature, args):
        base = builder.inttoptr(args[1], ir.DoubleType().as_pointer())
        items = [builder.load(builder.gep(base, [INT64(j)])) for j in range(count)]
        items = [context.cast(builder, item, types.float64, element) for item in items]
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(element, count)(dtype, address, like), generate


@intrinsic
def put_numbers(typing, address, values):
    """Store a tuple of float64 numbers at an address."""

    def generate(context, builder, signature, args):
        base = builder.inttoptr(args[0], ir.DoubleType().as_pointer())
        for j in range(len(values)):
            builder.store(builder.extract_value(args[1], j), builder.gep(base, [INT64(j)]))
        return context.get_dummy_value()

    return types.void(address, values), generate


@functools.cache
def _copied_in(dtype: np.dtype[Any]) -> Kernel:
    """``copied(source, stride, n, to)``: elements with a stride, to dense memory."""
    kind, itemsize = dtype.type, dtype.itemsize

    @numba.njit(**OPTIONS)
    @own_symbol
    def copied(source, stride, n, to):
        stay_apart()
        if stride == itemsize:
            for i in range(n):
                put(kind, to, i, get(kind, source, i))
        else:
            for i in range(n):
                put(kind, to, i, get(kind, source + i * stride, 0))

    return copied


@functools.cache
def _copied_out(dtype: np.dtype[Any]) -> Kernel:
    """``copied(source, to, stride, n)``: the converse."""
    kind, itemsize = dtype.type, dtype.itemsize

    @numba.njit(**OPTIONS)
    @own_symbol
    def copied(source, to, stride, n):
        stay_apart()
        if stride == itemsize:
            for i in range(n):
                put(kind, to, i, get(kind, source, i))
        else:
            for i in range(n):
                put(kind, to + i * stride, 0, get(kind, source, i))

    return copied


@functools.cache
def _total(dtype: np.dtype[Any]) -> Kernel:
    """``total(address, n)``: the sum of a block in scratch memory, in float64; it is filled up with -0.0."""
    kind = dtype.type

    @numba.njit(**OPTIONS)
    @own_symbol
    def total(address, n):
        for i in range(n, -(-n // WIDE) * WIDE):
            put(kind, address, i, kind(-0.0))
        return lane_sum(kind, address, n)

    return total


@intrinsic
def lane_sum(typing, dtype, address, n):
    """Sum of n elements, `WIDE` at a time: element i in lane i modulo `LANES`, the lanes folded by halves.

    What is between n and the next multiple of `WIDE` is added too.
    """
    element = dtype.dtype

    def generate(context, builder, signature, args):
        wide, zero = ir.VectorType(ir.DoubleType(), WIDE), ir.Constant(ir.DoubleType(), -0.0)
        none = ir.Constant(wide, [zero] * WIDE)
        sums = []
        for first in range(0, LANES, WIDE):
            slot = _variable(builder, none)

            def add(i, slot=slot):
                values = _vector_at(context, builder, element, args[1], i, WIDE)
                values = values if element == types.float64 else builder.fpext(values, wide)
                builder.store(builder.fadd(builder.load(slot), values), slot)

            _loop(builder, first, args[2], LANES, add)
            sums.append(builder.load(slot))
        while len(sums) > 1:
            half = len(sums) // 2
            sums = [builder.fadd(*pair) for pair in zip(sums[:half], sums[half:], strict=True)]
        return _folded(builder, sums[0], builder.fadd)

    return types.float64(dtype, types.int64, types.int64), generate


@intrinsic
def lane_maximum(typing, dtype, address, n):
    """The largest of n elements, the order of which does not matter; of nan and others, any of them."""
    element = dtype.dtype

    def generate(context, builder, signature, args):
        def larger(x, y):
            return builder.select(builder.fcmp_ordered(">", x, y), x, y)

        def take(slot, x):
            builder.store(larger(x, builder.load(slot)), slot)

        def vector(i):
            return _vector_at(context, builder, element, base, i, WIDE)

        def one(i):
            take(least, builder.load(_element_at(context, builder, element, base, i), align=1))

        base, count = args[1], args[2]
        least = _variable(builder, ir.Constant(context.get_data_type(element), -math.inf))
        with builder.if_else(builder.icmp_signed(">=", count, INT64(WIDE))) as (many, few):
            with many:  # the last vector overlaps the one before
                last = builder.sub(count, INT64(WIDE))
                slot = _variable(builder, vector(last))
                _loop(builder, 0, last, WIDE, lambda i: take(slot, vector(i)))
                builder.store(_folded(builder, builder.load(slot), larger), least)
            with few:
                _loop(builder, 0, count, 1, one)
        return context.cast(builder, builder.load(least), element, types.float64)

    return types.float64(dtype, types.int64, types.int64), generate


def _variable(builder, value):
    slot = stack_slot(builder, value.type)
    builder.store(value, slot)
    return slot


def _loop(builder, start, stop, step, generate):
    """``generate(i)`` for i from ``start`` by ``step`` while it is below ``stop``."""
    index = _variable(builder, INT64(start))
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.load(index)
    builder.cbranch(builder.icmp_signed("<", i, stop), body, end)
    builder.position_at_end(body)
    generate(i)
    builder.store(builder.add(i, INT64(step)), index)
    builder.branch(head)
    builder.position_at_end(end)


def _vector_at(context, builder, element, base, i, count):
    """That many elements from element i."""
    there = _element_at(context, builder, element, base, i)
    vector = ir.VectorType(context.get_data_type(element), count)
    return builder.load(builder.bitcast(there, vector.as_pointer()), align=1)


def _folded(builder, vector, combine):
    """A vector's elements combined by halves: each with that half a vector further."""
    count = vector.type.count
    while count > 1:
        count //= 2
        halves = [
            ir.Constant(ir.VectorType(ir.IntType(32), count), [*range(k, k + count)]) for k in (0, count)
        ]
        vector = combine(*(builder.shuffle_vector(vector, vector, half) for half in halves))
    return builder.extract_element(vector, ir.IntType(32)(0))


def _element_at(context, builder, element, base, i):
    pointer = context.get_data_type(element).as_pointer()
    return builder.gep(builder.inttoptr(base, pointer), [i])


def run(
    function: Rowwise,
    arrays: Sequence[np.ndarray[Any, Any]],
    axis: int,
    scalars: np.ndarray[Any, np.dtype[np.float64]],
    labels: np.ndarray[Any, Any] | None = None,
    hot: np.ndarray[Any, Any] | None = None,
    losses: np.ndarray[Any, Any] | None = None,
) -> None:
    """Run a function along an axis of host arrays, the last of which is the result and may be another."""
    *_, out = arrays
    shape = [n for k, n in enumerate(out.shape) if k != axis % out.ndim]
    if not out.size:
        return
    strides = np.empty((len(shape) + 2, len(arrays)), np.int64)
    for k, x in enumerate(arrays):
        along = list(x.strides)
        last = along.pop(axis)
        strides[:-2, k], strides[-2, k] = along, last
        strides[-1, k] = last != x.itemsize or (x is not out and same_elements(x, out))
    traffic, rows = (
        cost(function, out.dtype) * out.size,
        [0 if x is None else address(x) for x in (labels, hot, losses)],
    )
    target = target_for(traffic)
    table = np.array([[address(x) for x in arrays]], np.int64)
    shares = threads.shares(target)
    where = table, strides, np.array(shape, np.int64), out.shape[axis], shares, scalars, *rows
    kernel(function, out.dtype, target)(*where)
