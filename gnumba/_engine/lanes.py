"""Intrinsics for kernels, beside loads and stores, that compile for a GPU and for a CPU.

16 bytes at a time; tuples of other items; the memory that the threads of a block share, and the
barrier between them. On a CPU a block has one thread: the barrier is nothing, shared memory is the
function's own.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .compile.intrinsics import declared, intrinsic, stack_slot
from .memory import INT32, INT64, computed_type, decoded, element_at, encoded, held_type, is_cuda, space
from .storage import Storages, computed

WIDTH = 16  # bytes of one access
DOUBLE, SHARED = ir.DoubleType(), 3


def count_of(storages: Storages) -> int:
    """How many elements are accessed at once, of narrow columns too: those of 16 bytes as computed."""
    return WIDTH // computed(storages).itemsize


def lane_loader(storages: Storages, columns: tuple[int, ...]) -> Any:
    """`loader` of several elements: ``((a[i], b[i], ...), (a[i + 1], b[i + 1], ...), ...)``; aligned."""
    chosen, lanes = [(j, storages[j]) for j in columns], count_of(storages)
    each = types.UniTuple(computed_type(storages[0]), len(columns))

    @intrinsic
    def load_lanes(typing, addresses, i):
        def generate(context, builder, signature, args):
            rows: list[list[Any]] = [[] for _ in range(lanes)]
            for j, storage in chosen:
                there = _vector(context, builder, storage, lanes, args[0], j, args[1])
                vector = builder.load(there, align=lanes * storage.itemsize)
                for lane, items in enumerate(rows):
                    value = builder.extract_element(vector, INT32(lane))
                    items.append(decoded(context, builder, storage, value))
            made = [context.make_tuple(builder, each, items) for items in rows]
            return context.make_tuple(builder, signature.return_type, made)

        return types.UniTuple(each, lanes)(addresses, i), generate

    return load_lanes


def lane_storer(storages: Storages, columns: tuple[int, ...]) -> Any:
    """The converse: each row is what one element's function returned, a value or a tuple of them."""
    chosen = [(j, storages[j]) for j in columns]

    @intrinsic
    def store_lanes(typing, addresses, i, rows):
        def generate(context, builder, signature, args):
            for k, (j, storage) in enumerate(chosen):
                there = _vector(context, builder, storage, len(rows), args[0], j, args[1])
                vector = ir.Constant(there.type.pointee, ir.Undefined)
                for lane, kind in enumerate(signature.args[2].types):
                    result = builder.extract_value(args[2], lane)
                    value = encoded(context, builder, storage, k, result, kind)
                    vector = builder.insert_element(vector, value, INT32(lane))
                builder.store(vector, there, align=len(rows) * storage.itemsize)
            return context.get_dummy_value()

        return types.void(addresses, i, rows), generate

    return store_lanes


def _vector(context, builder, storage, lanes, addresses, j, i):
    """A pointer to elements i, i + 1, … of the j-th array."""
    kind = held_type(storage)
    there = element_at(context, builder, kind, builder.extract_value(addresses, j), i)
    vector = ir.VectorType(context.get_data_type(kind), lanes)
    return builder.bitcast(there, vector.as_pointer(there.type.addrspace))


def phases(storages: Storages) -> Any:
    """An intrinsic: where in an access of 16 bytes columns begin; -1 unless that is one place for all.

    Narrow columns begin there if they were as wide as they are computed.
    """
    wide = computed(storages).itemsize
    shifts = [(wide // storage.itemsize).bit_length() - 1 for storage in storages]

    @intrinsic
    def phase(typing, addresses):
        def generate(context, builder, signature, args):
            starts = [builder.extract_value(args[0], j) for j in range(len(shifts))]
            starts = [builder.shl(at, INT64(k)) if k else at for at, k in zip(starts, shifts, strict=True)]
            differing = INT64(0)
            for other in starts[1:]:
                differing = builder.or_(differing, builder.xor(starts[0], other))
            alike = builder.icmp_signed("==", builder.and_(differing, INT64(WIDTH - 1)), INT64(0))
            return builder.select(alike, builder.and_(starts[0], INT64(WIDTH - 1)), INT64(-1))

        return types.int64(addresses), generate

    return phase


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
            base = builder.inttoptr(args[1], DOUBLE.as_pointer(space(context)))
            base = builder.gep(base, [builder.mul(args[2], INT64(len(places)))])
            made = args[0]
            for j, place in enumerate(places):
                item = builder.load(builder.gep(base, [INT64(j)]))
                item = context.cast(builder, item, types.float64, signature.return_type.dtype)
                made = builder.insert_value(made, item, place)
            return made

        return values(values, rows, k), generate

    return placed


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
        return builder.load(_shared_number(context, builder, types.float64, *args))

    return types.float64(types.int64, types.int64), generate


@intrinsic
def hold(typing, address, i, value):
    """Make a number the i-th of shared memory."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _shared_number(context, builder, types.float64, args[0], args[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), generate


@intrinsic
def held_as(typing, dtype, address, i):
    """Number i of those of a dtype in shared memory."""
    kind = dtype.dtype

    def generate(context, builder, signature, args):
        return builder.load(_shared_number(context, builder, kind, args[1], args[2]))

    return kind(dtype, types.int64, types.int64), generate


@intrinsic
def hold_as(typing, dtype, address, i, value):
    """Make a number the i-th of those of a dtype in shared memory."""
    kind = dtype.dtype

    def generate(context, builder, signature, args):
        there = _shared_number(context, builder, kind, args[1], args[2])
        builder.store(context.cast(builder, args[3], signature.args[3], kind), there)
        return context.get_dummy_value()

    return types.void(dtype, types.int64, types.int64, value), generate


@intrinsic
def hold_each(typing, dtype, address, i, step, values):
    """Make a tuple's numbers, as a dtype's, those at i, i + step, … of shared memory."""
    kind = dtype.dtype

    def generate(context, builder, signature, args):
        place = args[2]
        for j, given in enumerate(signature.args[4].types):
            item = context.cast(builder, builder.extract_value(args[4], j), given, kind)
            builder.store(item, _shared_number(context, builder, kind, args[1], place))
            place = builder.add(place, args[3])
        return context.get_dummy_value()

    return types.void(dtype, types.int64, types.int64, types.int64, values), generate


@intrinsic
def held_each(typing, dtype, address, i, step, like):
    """The numbers of a dtype at i, i + step, … of shared memory, as a tuple as long as ``like``."""
    kind, count = dtype.dtype, len(like)

    def generate(context, builder, signature, args):
        items, place = [], args[2]
        for _ in range(count):
            items.append(builder.load(_shared_number(context, builder, kind, args[1], place)))
            place = builder.add(place, args[3])
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(kind, count)(dtype, types.int64, types.int64, types.int64, like), generate


def _shared_number(context, builder, kind, address, i):
    pointer = context.get_data_type(kind).as_pointer(SHARED if is_cuda(context) else 0)
    return builder.gep(builder.inttoptr(address, pointer), [i])


@intrinsic
def rounded_to(typing, dtype, values):
    """A tuple of float64 numbers as one of a dtype."""
    kind, count = dtype.dtype, len(values)

    def generate(context, builder, signature, args):
        items = [builder.extract_value(args[1], j) for j in range(count)]
        items = [context.cast(builder, item, types.float64, kind) for item in items]
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(kind, count)(dtype, values), generate


# Blocks of one launch.


@intrinsic
def ticket(typing, address):
    """Fence, atomic increment of a counter, fence; returns the old value.

    The stores before it are visible to the loads that follow it in the block that takes a later ticket.
    """

    def generate(context, builder, signature, args):
        there = builder.inttoptr(args[0], INT64.as_pointer(space(context)))
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
        there = builder.inttoptr(args[0], INT64.as_pointer(space(context)))
        if is_cuda(context):
            builder.atomic_rmw("and", there, INT64(0), "monotonic")
        else:
            builder.store(INT64(0), there)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _call(builder, name):
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.call(declared(builder, kind, name), [])
