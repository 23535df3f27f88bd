"""Loads, stores and tuples of addresses: intrinsics by which one template serves every rule.

Addresses are int64. They must be in a tuple before a loop starts: numba tells LLVM nothing of
aliasing, so a table read inside the loop could alias the stores, and that switches SIMD off.
numba-cuda compiles them too; addresses are of global memory then, and aligned to their element.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .compile.intrinsics import intrinsic

INT64 = ir.IntType(64)
GLOBAL = 1  # the address space of a GPU's main memory


@intrinsic
def fetch(typing, dtype, addresses, i):
    """``(a[i], b[i], ...)`` of type ``dtype`` for the addresses of a, b, …"""
    element, count = dtype.dtype, len(addresses)

    def generate(context, builder, signature, args):
        values = [element_at(context, builder, element, args[1], j, args[2]) for j in range(count)]
        loads = [builder.load(value, align=alignment(context, element)) for value in values]
        return context.make_tuple(builder, signature.return_type, loads)

    return types.UniTuple(element, count)(dtype, addresses, i), generate


@intrinsic
def put(typing, dtype, addresses, i, values):
    """``a[i], b[i], ... = values``; a single value may come without a tuple."""
    element, count = dtype.dtype, len(addresses)
    single = not isinstance(values, types.BaseTuple)
    given = 1 if single else len(values)
    if given != count:
        raise TypeError(f"returns {given} values, expected {count}")

    def generate(context, builder, signature, args):
        for j in range(count):
            kind = signature.args[3] if single else signature.args[3].types[j]
            value = args[3] if single else builder.extract_value(args[3], j)
            value = context.cast(builder, value, kind, element)
            there = element_at(context, builder, element, args[1], j, args[2])
            builder.store(value, there, align=alignment(context, element))
        return context.get_dummy_value()

    return types.void(dtype, addresses, i, values), generate


def element_at(context, builder, element, addresses, j, i):
    """A pointer to element i of the j-th array."""
    pointer = context.get_data_type(element).as_pointer(GLOBAL if is_cuda(context) else 0)
    base = builder.inttoptr(builder.extract_value(addresses, j), pointer)
    return builder.gep(base, [i])


def alignment(context, element):
    """On what bytes elements begin: on a CPU on any."""
    return element.bitwidth // 8 if is_cuda(context) else 1


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
    """An intrinsic that takes those items of a tuple of addresses."""

    @intrinsic
    def picked(typing, addresses):
        def generate(context, builder, signature, args):
            items = [builder.extract_value(args[0], j) for j in indices]
            return context.make_tuple(builder, signature.return_type, items)

        return types.UniTuple(types.int64, len(indices))(addresses), generate

    return picked
