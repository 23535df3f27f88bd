"""Storages: how the elements of an array are kept, apart from the dtype that they are computed in.

A kernel is made for a function and a storage a column: it decodes what it loads and encodes what it
stores, and the scalar function sees numbers of the computed dtype only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from .._rule import Elementwise
from .view import BFLOAT16, Array


class Storage(NamedTuple):
    """A way to keep numbers: the dtype of the arrays, that of the arithmetic, and what lies between.

    ``decode(code)`` and ``encode(number)`` are scalar functions, written as rules are; a code is an element's
    bits as an integer of 32 bits without a sign. Without them elements are kept as they are computed.
    """

    name: str
    kept: np.dtype[Any]
    computed: np.dtype[Any]
    decode: Callable[..., Any] | None = None
    encode: Callable[..., Any] | None = None

    @property
    def itemsize(self) -> int:
        return self.kept.itemsize


Storages = tuple[Storage, ...]  # one a column


def plain(dtype: np.dtype[Any]) -> Storage:
    """The storage of numbers kept as they are computed."""
    return Storage(dtype.name, dtype, dtype)


# By dtype: the storages of users' arrays.
OF_DTYPE = {np.dtype(kept): plain(np.dtype(kept)) for kept in (np.float32, np.float64)}
# By the dtype's name: those of 16 bits, which few take (_narrow.py).
NARROW: dict[str, Storage] = {}


def narrow_storage(dtype: np.dtype[Any]) -> Storage | None:
    """The storage of 16 bits that a dtype is: NumPy's, that of ml_dtypes by its name, or `BFLOAT16`."""
    name = "bfloat16" if dtype == BFLOAT16 else dtype.name
    return NARROW.get(name) if dtype.itemsize == 2 and dtype.isnative else None


def storage_of(x: Array) -> Storage:
    """How an array that has been checked keeps its elements."""
    return OF_DTYPE.get(x.dtype) or NARROW["bfloat16" if x.dtype == BFLOAT16 else x.dtype.name]


def widened(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The numbers of a host array that NumPy may not know, as it computes with them."""
    if x.dtype in OF_DTYPE:
        return x
    if x.dtype == np.float16:
        return x.astype(np.float32)
    return (x.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def storages_of(row: Iterable[Array]) -> Storages:
    return tuple(map(storage_of, row))


def alike(function: Elementwise, dtype: np.dtype[Any]) -> Storages:
    """A function's storages for arrays of one dtype; a column of which only the sum is wanted is plain."""
    storage, count = OF_DTYPE[dtype], len(function.columns)
    return (storage,) * (count - function.summed) + (plain(storage.computed),) * function.summed


def computed(storages: Storages) -> np.dtype[Any]:
    """The dtype that columns are computed in; TypeError if that is not one for all."""
    first, *others = dict.fromkeys(storage.computed for storage in storages)
    if others:
        raise TypeError(f"columns are computed in {first} and {others[0]}, expected one dtype")
    return first


def names_of(storages: Storages) -> str:
    """The storages' names, one for all columns that are alike."""
    return "_".join(dict.fromkeys(storage.name for storage in storages))
