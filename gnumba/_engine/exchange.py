"""DLPack's C exchange API in compiled code: a tensor's memory described in tens of ns, by its own library.

A type that has ``__dlpack_c_exchange_api__`` names C functions there; the one used here fills in a
``DLTensor`` that is valid as long as the tensor lives and nobody changes it. PyTorch has it from 2.10 on.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types

from .compile.cache import own_symbol
from .compile.intrinsics import declared, intrinsic
from .compile.specialize import OPTIONS
from .memory import INT64
from .objects import NDIM, SHAPE, STRIDES, half, same_steps, word

MAJOR = 1  # of the API that is spoken here
FROM_OBJECT = 40  # where in its table the address of dltensor_from_py_object_no_sync stands
DL_TENSOR = 48  # bytes
# Fields of a DLTensor: where the memory is, its device, and how the elements lie in it.
DL_DATA, DL_DEVICE, DL_NDIM, DL_DTYPE, DL_SHAPE, DL_STRIDES, DL_OFFSET = 0, 8, 16, 20, 24, 32, 40
ON_CPU, FLOAT, BFLOAT = 1, 2, 4


@functools.cache
def exporter(kind: Any) -> int:
    """The address of the C function that describes objects of this very type; 0 if there is none.

    Subclasses may keep their numbers elsewhere than the tensor that they are.
    """
    torch = sys.modules.get("torch")
    if torch is None or kind not in (torch.Tensor, torch.nn.Parameter):
        return 0
    capsule = getattr(kind, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return 0
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = pointer(capsule, b"dlpack_exchange_api")
    if ctypes.c_uint32.from_address(table).value != MAJOR:
        return 0
    return ctypes.c_void_p.from_address(table + FROM_OBJECT).value or 0


def dtype_code(dtype: np.dtype[Any]) -> int:
    """A dtype of floats as the four bytes of a DLTensor's: code, bits, and lanes in two."""
    lanes, code = (1).to_bytes(2, sys.byteorder), FLOAT if dtype.kind == "f" else BFLOAT
    return int.from_bytes(bytes([code, 8 * dtype.itemsize]) + lanes, sys.byteorder)


@intrinsic
def _export(typing, function, x, out):
    """Call an exporter: 0, or else there is a Python exception."""

    def generate(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [INT64, INT64])
        status = builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return builder.sext(status, INT64)

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def clear_exception(typing):
    """Forget the Python exception that there is."""

    def generate(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(declared(builder, kind, "PyErr_Clear"), [])
        return context.get_dummy_value()

    return types.void(), generate


@numba.njit(**OPTIONS)
@own_symbol
def address_like(function, x, view, code, itemsize, out):
    """The address of a tensor in host memory that lies there as an array does; 0 for any other.

    ``out`` is memory for a DLTensor, ``code`` the array's dtype in one.
    """
    if _export(function, x, out) != 0:
        clear_exception()
        return 0
    if half(out + DL_DEVICE) != ON_CPU or half(out + DL_DTYPE) != code:
        return 0
    ndim = half(view + NDIM)
    if half(out + DL_NDIM) != ndim:
        return 0
    shape, strides = word(out + DL_SHAPE), word(out + DL_STRIDES)
    if not same_steps(ndim, word(view + SHAPE), shape, word(view + STRIDES), strides, itemsize):
        return 0
    return word(out + DL_DATA) + word(out + DL_OFFSET)
