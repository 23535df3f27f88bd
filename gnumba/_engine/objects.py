"""Arrays and tuples as compiled code reads them: the fields of the objects, by address.

What extension modules read through macros (``PyTuple_GET_ITEM``, ``PyArray_DATA``), at offsets that
CPython's and NumPy's binary interfaces fix. Checking an array takes a few ns there, and half a
microsecond in Python. `READABLE` says whether it may be relied on; whoever passes an ``id`` holds
the object until the call returns.
"""

from __future__ import annotations

import ctypes
import sys

import numba
import numpy as np
from llvmlite import ir
from numba import types

from .compile.cache import own_symbol
from .compile.intrinsics import intrinsic
from .compile.specialize import OPTIONS
from .memory import INT64

HEADER, WORD = object.__basicsize__, 8
TYPE = HEADER - WORD
ITEMS = tuple.__basicsize__
DATA, NDIM, SHAPE, STRIDES, BASE, DTYPE, FLAGS = range(HEADER, HEADER + 7 * WORD, WORD)
LETTER, BYTE_ORDER, TYPE_NUMBER = HEADER + WORD + 1, HEADER + WORD + 2, HEADER + WORD + 4  # of a dtype
VOID = 20  # the type number of structures, whatever is in them
SWAPPED = ord(">" if sys.byteorder == "little" else "<")
C_ORDER, WRITEABLE = 0x0001, 0x0400
DENSE = C_ORDER | 0x0002  # or Fortran order


def _readable() -> bool:
    """Whether objects lie in memory as this file says, tried on an array in a tuple."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != WORD:
        return False
    a = np.zeros((2, 3, 5), np.float32)[:, ::2]
    kept, at = (None, a), id(a)
    shape, strides = ([_word(_word(at + field) + k * WORD) for k in range(3)] for field in (SHAPE, STRIDES))
    return (
        (_word(id(kept) + ITEMS + WORD), _word(at + TYPE)) == (at, id(np.ndarray))
        and (_word(at + DATA), _word(at + DTYPE)) == (a.__array_interface__["data"][0], id(a.dtype))
        and (_half(at + NDIM), shape, strides) == (3, [*a.shape], [*a.strides])
        and [_half(id(b) + FLAGS) & (DENSE | WRITEABLE) for b in _flagged(a)] == [WRITEABLE, 1, 2, 0]
        and all(map(_dtype_readable, ("=f4", "=f8", "=i8", "=f4".replace("=", chr(SWAPPED)))))
    )


def _dtype_readable(name: str) -> bool:
    """Whether a dtype lies in memory as this file says."""
    dtype = np.dtype(name)
    letters = ctypes.string_at(id(dtype) + LETTER, 2).decode()
    return (_half(id(dtype) + TYPE_NUMBER), letters) == (dtype.num, dtype.char + dtype.byteorder)


def _flagged(a: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays with gaps, in C order, in Fortran order, read-only with gaps."""
    fixed = a.view()
    fixed.flags.writeable = False
    read_only = [a.copy(), a.copy("F")]
    for each in read_only:
        each.flags.writeable = False
    return a, *read_only, fixed


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def _half(address: int) -> int:
    return ctypes.c_int32.from_address(address).value


READABLE = _readable()


def _loader(width: ir.Type):
    def load(typing, address):
        def generate(context, builder, signature, args):
            value = builder.load(builder.inttoptr(args[0], width.as_pointer()))
            return builder.sext(value, INT64) if width is not INT64 else value

        return types.int64(types.int64), generate

    return load


word = intrinsic(_loader(INT64))
half = intrinsic(_loader(ir.IntType(32)))
byte = intrinsic(_loader(ir.IntType(8)))


@intrinsic
def words(typing, addresses, offset):
    """``(word(a + offset), word(b + offset), ...)`` for a tuple of addresses."""
    count = len(addresses)

    def generate(context, builder, signature, args):
        places = (builder.add(builder.extract_value(args[0], j), args[1]) for j in range(count))
        items = [builder.load(builder.inttoptr(place, INT64.as_pointer())) for place in places]
        return context.make_tuple(builder, signature.return_type, items)

    return addresses(addresses, types.int64), generate


@intrinsic
def items(typing, held, like):
    """The objects of a tuple, as many as ``like`` has."""
    count = len(like)

    def generate(context, builder, signature, args):
        places = (builder.add(args[0], INT64(ITEMS + j * WORD)) for j in range(count))
        objects = [builder.load(builder.inttoptr(place, INT64.as_pointer())) for place in places]
        return context.make_tuple(builder, signature.return_type, objects)

    return types.UniTuple(types.int64, count)(types.int64, like), generate


@intrinsic
def store(typing, address, value):
    """Write an int64."""

    def generate(context, builder, signature, args):
        builder.store(args[1], builder.inttoptr(args[0], INT64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@numba.njit(**OPTIONS)
@own_symbol
def same_kind(a, b):
    """Whether an object is of the type of an array of native numbers, and of a dtype equal to its.

    Equal dtypes need not be one object: unpickling, metadata and ``newbyteorder`` make others.
    """
    if word(a + TYPE) != word(b + TYPE):
        return False
    of_a, of_b = word(a + DTYPE), word(b + DTYPE)
    if of_a == of_b:
        return True
    number = half(of_a + TYPE_NUMBER)
    return number == half(of_b + TYPE_NUMBER) and byte(of_a + BYTE_ORDER) != SWAPPED and number != VOID


@numba.njit(**OPTIONS)
@own_symbol
def same_layout(a, b):
    """Whether two arrays have one shape and strides."""
    ndim = half(a + NDIM)
    if ndim != half(b + NDIM):
        return False
    return same_steps(ndim, word(a + SHAPE), word(b + SHAPE), word(a + STRIDES), word(b + STRIDES), 1)


@numba.njit(**OPTIONS)
@own_symbol
def same_steps(ndim, shape, other, strides, others, unit):
    """Whether two shapes are one, and the strides (the others times ``unit``) of axes longer than 1."""
    for axis in range(0, ndim * WORD, WORD):
        n = word(shape + axis)
        if n != word(other + axis):
            return False
        if n != 1 and word(strides + axis) != word(others + axis) * unit:
            return False
    return True


@numba.njit(**OPTIONS)
@own_symbol
def size(a):
    """How many elements an array has."""
    shape, count = word(a + SHAPE), 1
    for axis in range(half(a + NDIM)):
        count *= word(shape + axis * WORD)
    return count
