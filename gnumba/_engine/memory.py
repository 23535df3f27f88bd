"""Loads, stores and tuples of addresses: intrinsics by which one template serves every rule.

`get` and `put` are of plain numbers, `loader` and `storer` of columns with storages. Addresses are
int64. They must be in a tuple before a loop starts: numba tells LLVM nothing of aliasing, so a table
read inside the loop could alias the stores, and that switches SIMD off. numba-cuda compiles them too;
addresses are of global memory then, and aligned to their element.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types

from .compile.intrinsics import intrinsic
from .storage import Storages

INT32, INT64 = ir.IntType(32), ir.IntType(64)
GLOBAL = 1  # the address space of a GPU's main memory


@intrinsic
def get(typing, dtype, address, i):
    """Number i of those at an address."""
    kind = dtype.dtype

    def generate(context, builder, signature, args):
        there = element_at(context, builder, kind, args[1], args[2])
        return builder.load(there, align=alignment(context, kind))

    return kind(dtype, types.int64, types.int64), generate


@intrinsic
def put(typing, dtype, address, i, value):
    """Make a number the i-th of those at an address."""
    kind = dtype.dtype

    def generate(context, builder, signature, args):
        there = element_at(context, builder, kind, args[1], args[2])
        builder.store(args[3], there, align=alignment(context, kind))
        return context.get_dummy_value()

    return types.void(dtype, types.int64, types.int64, kind), generate


def loader(storages: Storages, columns: tuple[int, ...]) -> Any:
    """An intrinsic ``load(addresses, i)``: element i of those columns, decoded, as a tuple."""
    chosen = [(j, storages[j]) for j in columns]

    @intrinsic
    def load(typing, addresses, i):
        def generate(context, builder, signature, args):
            items = []
            for j, storage in chosen:
                kind = held_type(storage)
                there = element_at(context, builder, kind, builder.extract_value(args[0], j), args[1])
                value = builder.load(there, align=alignment(context, kind))
                items.append(decoded(context, builder, storage, value))
            return context.make_tuple(builder, signature.return_type, items)

        return types.UniTuple(computed_type(chosen[0][1]), len(chosen))(addresses, i), generate

    return load


def storer(storages: Storages, columns: tuple[int, ...]) -> Any:
    """An intrinsic ``store(addresses, i, values)``: make values, encoded, element i of those columns.

    A single value may come without a tuple.
    """
    chosen = [(j, storages[j]) for j in columns]

    @intrinsic
    def store(typing, addresses, i, values):
        given = len(values) if isinstance(values, types.BaseTuple) else 1
        if given != len(chosen):
            raise TypeError(f"returns {given} values, expected {len(chosen)}")

        def generate(context, builder, signature, args):
            for k, (j, storage) in enumerate(chosen):
                kind = held_type(storage)
                value = encoded(context, builder, storage, k, args[2], signature.args[2])
                there = element_at(context, builder, kind, builder.extract_value(args[0], j), args[1])
                builder.store(value, there, align=alignment(context, kind))
            return context.get_dummy_value()

        return types.void(addresses, i, values), generate

    return store


def held_type(storage):
    """The type that an element is loaded as: a float, or the bits of a code."""
    return numba.from_dtype(np.dtype(f"u{storage.itemsize}") if storage.decode else storage.kept)


def computed_type(storage):
    return numba.from_dtype(storage.computed)


def decoded(context, builder, storage, value):
    """The number that an element is, once loaded."""
    if storage.decode is None:
        return value
    code = builder.zext(value, INT32) if storage.itemsize < 4 else value
    return context.compile_internal(builder, storage.decode, computed_type(storage)(types.uint32), [code])


def encoded(context, builder, storage, k, values, kind):
    """The k-th of a scalar function's results, which may be one without a tuple, as it is to be stored."""
    if isinstance(kind, types.BaseTuple):
        values, kind = builder.extract_value(values, k), kind.types[k]
    value = context.cast(builder, values, kind, computed_type(storage))
    if storage.encode is None:
        return value
    code = context.compile_internal(builder, storage.encode, types.uint32(computed_type(storage)), [value])
    return builder.trunc(code, ir.IntType(8 * storage.itemsize)) if storage.itemsize < 4 else code


def element_at(context, builder, kind, address, i):
    """A pointer to element i of an array."""
    pointer = context.get_data_type(kind).as_pointer(space(context))
    return builder.gep(builder.inttoptr(address, pointer), [i])


def alignment(context, kind):
    """On what bytes elements begin: on a CPU on any."""
    return kind.bitwidth // 8 if is_cuda(context) else 1


def space(context):
    """The address space of a GPU's main memory, or a CPU's only one."""
    return GLOBAL if is_cuda(context) else 0


def is_cuda(context):
    """Whether this is code for a GPU, asked without importing numba-cuda."""
    return "CUDA" in type(context).__name__


@intrinsic
def cast(typing, dtype, values, like):
    """A float64 array as a tuple of ``dtype``, as long as ``like``."""
    element, count = dtype.dtype, len(like)

    def generate(context, builder, signature, args):
        base = context.make_array(signature.args[1])(context, builder, args[1]).data
        items = [builder.load(builder.gep(base, [INT64(j)])) for j in range(count)]
        items = [context.cast(builder, item, types.float64, element) for item in items]
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(element, count)(dtype, values, like), generate


@intrinsic
def row(typing, table, k, like):
    """``table[k]`` of a C-contiguous int64 table as a tuple as long as ``like``."""
    count = len(like)

    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        base = builder.gep(data, [builder.mul(args[1], INT64(count))])
        items = [builder.load(builder.gep(base, [INT64(j)])) for j in range(count)]
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(types.int64, count)(table, k, like), generate


@intrinsic
def listed(typing, table, k, like):
    """Row k of int64 numbers in C order at an address, as a tuple as long as ``like``."""
    count = len(like)

    def generate(context, builder, signature, args):
        base = builder.inttoptr(args[0], INT64.as_pointer(space(context)))
        base = builder.gep(base, [builder.mul(args[1], INT64(count))])
        items = [builder.load(builder.gep(base, [INT64(j)])) for j in range(count)]
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(types.int64, count)(types.int64, types.int64, like), generate


@intrinsic
def moved(typing, addresses, strides, i):
    """``(a + i * stride_a, b + i * stride_b, ...)``."""

    def generate(context, builder, signature, args):
        items = [
            builder.add(
                builder.extract_value(args[0], j),
                builder.mul(args[2], builder.extract_value(args[1], j)),
            )
            for j in range(len(addresses))
        ]
        return context.make_tuple(builder, signature.return_type, items)

    return addresses(addresses, strides, i), generate


@intrinsic
def stay_apart(typing):
    """Keeps the function it is called in from being inlined."""

    def generate(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


def pick(indices: tuple[int, ...]) -> Any:
    """An intrinsic that takes those items of a tuple, of addresses or of numbers of one type."""

    @intrinsic
    def picked(typing, addresses):
        def generate(context, builder, signature, args):
            items = [builder.extract_value(args[0], j) for j in indices]
            return context.make_tuple(builder, signature.return_type, items)

        return types.UniTuple(addresses.dtype, len(indices))(addresses), generate

    return picked
