"""Intrinsics for kernels, beside loads and stores, that compile for a GPU and for a CPU.

16 bytes at a time; tuples out of raw memory; the memory that the threads of a block share, and the
barrier between them. On a CPU a block has one thread: the barrier is nothing, shared memory is the
function's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .compile.intrinsics import declared, intrinsic, stack_slot
from .memory import GLOBAL, INT64, element_at, is_cuda

WIDTH = 16  # bytes of one access
DOUBLE, SHARED = ir.DoubleType(), 3


def count_of(dtype: np.dtype) -> int:
    """How many elements are accessed at once."""
    return WIDTH // dtype.itemsize


@intrinsic
def fetch_lanes(typing, dtype, addresses, i):
    """``((a[i], b[i], ...), (a[i + 1], b[i + 1], ...), ...)``, as many as 16 bytes hold; aligned to these."""
    element, columns, lanes = dtype.dtype, len(addresses), WIDTH * 8 // dtype.dtype.bitwidth
    each = types.UniTuple(element, columns)

    def generate(context, builder, signature, args):
        loads = []
        for j in range(columns):
            there = _vector(context, builder, element, args[1], j, args[2])
            loads.append(builder.load(there, align=WIDTH))
        rows = []
        for lane in range(lanes):
            items = [builder.extract_element(load, ir.IntType(32)(lane)) for load in loads]
            rows.append(context.make_tuple(builder, each, items))
        return context.make_tuple(builder, signature.return_type, rows)

    return types.UniTuple(each, lanes)(dtype, addresses, i), generate


@intrinsic
def put_lanes(typing, dtype, addresses, i, rows):
    """The converse: each row is what one element's function returned, a value or a tuple of them."""
    element, lanes = dtype.dtype, len(rows)

    def generate(context, builder, signature, args):
        for j in range(len(addresses)):
            there = _vector(context, builder, element, args[1], j, args[2])
            vector = ir.Constant(there.type.pointee, ir.Undefined)
            for lane in range(lanes):
                value, kind = builder.extract_value(args[3], lane), signature.args[3].types[lane]
                if isinstance(kind, types.BaseTuple):
                    value, kind = builder.extract_value(value, j), kind.types[j]
                value = context.cast(builder, value, kind, element)
                vector = builder.insert_element(vector, value, ir.IntType(32)(lane))
            builder.store(vector, there, align=WIDTH)
        return context.get_dummy_value()

    return types.void(dtype, addresses, i, rows), generate


def _vector(context, builder, element, addresses, j, i):
    there = element_at(context, builder, element, addresses, j, i)
    vector = ir.VectorType(context.get_data_type(element), WIDTH * 8 // element.bitwidth)
    return builder.bitcast(there, vector.as_pointer(there.type.addrspace))


@intrinsic
def differing(typing, addresses):
    """The low bits in which addresses differ: 0 below 16 if one alignment serves all."""
    count = len(addresses)

    def generate(context, builder, signature, args):
        items = [builder.extract_value(args[0], j) for j in range(count)]
        bits = INT64(0)
        for item in items[1:]:
            bits = builder.or_(bits, builder.xor(items[0], item))
        return builder.and_(bits, INT64(WIDTH - 1))

    return types.int64(addresses), generate


@intrinsic
def listed(typing, table, k, like):
    """Row k of int64 numbers in C order at an address, as a tuple as long as ``like``."""
    count = len(like)

    def generate(context, builder, signature, args):
        base = builder.inttoptr(args[0], INT64.as_pointer(_space(context)))
        base = builder.gep(base, [builder.mul(args[1], INT64(count))])
        items = [builder.load(builder.gep(base, [INT64(j)])) for j in range(count)]
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(types.int64, count)(types.int64, types.int64, like), generate


@intrinsic
def first(typing, values, like):
    """The first items of a tuple, as many as ``like`` has."""
    kinds = list(values.types)[: len(like)]

    def generate(context, builder, signature, args):
        items = [builder.extract_value(args[0], j) for j in range(len(kinds))]
        return context.make_tuple(builder, signature.return_type, items)

    return types.BaseTuple.from_types(kinds)(values, like), generate


@intrinsic
def ending(typing, values, last):
    """A tuple with other last items."""

    def generate(context, builder, signature, args):
        made = args[0]
        for j in range(len(last)):
            item = builder.extract_value(args[1], j)
            made = builder.insert_value(made, item, len(values) - len(last) + j)
        return made

    return values(values, last), generate


def placing(places: tuple[int, ...]) -> Any:
    """An intrinsic ``placed(values, rows, k)``: a tuple with the float64 numbers of row k in those places."""

    @intrinsic
    def placed(typing, values, rows, k):
        def generate(context, builder, signature, args):
            base = builder.inttoptr(args[1], DOUBLE.as_pointer(_space(context)))
            base = builder.gep(base, [builder.mul(args[2], INT64(len(places)))])
            made = args[0]
            for j, place in enumerate(places):
                item = builder.load(builder.gep(base, [INT64(j)]))
                item = context.cast(builder, item, types.float64, signature.return_type.dtype)
                made = builder.insert_value(made, item, place)
            return made

        return values(values, rows, k), generate

    return placed


def _space(context):
    return GLOBAL if is_cuda(context) else 0


# Threads of one block.


@intrinsic
def barrier(typing):
    """All threads of the block come here, and see what the others wrote, before any goes on."""

    def generate(context, builder, signature, args):
        if is_cuda(context):
            _call(builder, "llvm.nvvm.barrier0")
        return context.get_dummy_value()

    return types.void(), generate


def shared(count: int) -> Any:
    """An intrinsic: the address of so many float64 that the block's threads share."""

    @intrinsic
    def memory(typing):
        def generate(context, builder, signature, args):
            kind = ir.ArrayType(DOUBLE, count)
            if not is_cuda(context):
                return builder.ptrtoint(stack_slot(builder, kind), INT64)
            name = builder.module.get_unique_name("shared")
            numbers = ir.GlobalVariable(builder.module, kind, name, addrspace=SHARED)
            numbers.linkage, numbers.initializer = "internal", ir.Constant(kind, ir.Undefined)
            return builder.ptrtoint(numbers, INT64)

        return types.int64(), generate

    return memory


@intrinsic
def held(typing, address, i):
    """Number i of shared memory."""

    def generate(context, builder, signature, args):
        return builder.load(_shared_number(context, builder, *args))

    return types.float64(types.int64, types.int64), generate


@intrinsic
def hold(typing, address, i, value):
    """Make a number the i-th of shared memory."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _shared_number(context, builder, args[0], args[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), generate


def _shared_number(context, builder, address, i):
    pointer = DOUBLE.as_pointer(SHARED if is_cuda(context) else 0)
    return builder.gep(builder.inttoptr(address, pointer), [i])


# Blocks of one launch.


@intrinsic
def ticket(typing, address):
    """Fence, atomic increment of a counter, fence; returns the old value.

    The stores before it are visible to the loads that follow it in the block that takes a later ticket.
    """

    def generate(context, builder, signature, args):
        there = builder.inttoptr(args[0], INT64.as_pointer(_space(context)))
        if is_cuda(context):
            _call(builder, "llvm.nvvm.membar.gl")
            count = builder.atomic_rmw("add", there, INT64(1), "monotonic")
            _call(builder, "llvm.nvvm.membar.gl")
            return count
        count = builder.load(there)
        builder.store(builder.add(count, INT64(1)), there)
        return count

    return types.int64(types.int64), generate


@intrinsic
def clear(typing, address):
    """Make the 8 bytes at an address 0, whichever other threads do so too."""

    def generate(context, builder, signature, args):
        there = builder.inttoptr(args[0], INT64.as_pointer(_space(context)))
        if is_cuda(context):
            builder.atomic_rmw("and", there, INT64(0), "monotonic")
        else:
            builder.store(INT64(0), there)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _call(builder, name):
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.call(declared(builder, kind, name), [])
