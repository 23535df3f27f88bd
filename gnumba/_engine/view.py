"""Views of arrays that only their place can read, and where the elements of any array lie."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

Array = Any  # NumPy's, or a View
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])  # as NumPy has it without ml_dtypes
Scalars = np.ndarray[Any, np.dtype[np.float64]]  # a function's, in their order


class View:
    """An array in memory that the host cannot read: its layout, its place, and whose memory it is.

    NumPy computes with the layout, as ``geometry``, whose elements must not be touched.
    """

    def __init__(self, geometry: np.ndarray[Any, Any], place: Any, owner: Any) -> None:
        self.place, self.owner = place, owner
        self._lay(geometry)

    def _lay(self, geometry: np.ndarray[Any, Any]) -> None:
        self.geometry = geometry
        self.address = int(geometry.__array_interface__["data"][0])
        self.shape, self.strides, self.dtype = geometry.shape, geometry.strides, geometry.dtype
        self.size, self.ndim, self.nbytes = geometry.size, geometry.ndim, geometry.nbytes
        self.itemsize, self.flags = geometry.itemsize, geometry.flags

    def _over(self, geometry: np.ndarray[Any, Any]) -> Self:
        """A view of part of the same memory."""
        made = copy.copy(self)
        made._lay(geometry)
        return made

    def __getitem__(self, index: Any) -> Self:
        every = index if isinstance(index, tuple) else (index,)
        return self._over(self.geometry[every if ... in every else (*every, ...)])  # never an element

    def __len__(self) -> int:
        return len(self.geometry)

    def reshape(self, shape: Sequence[int]) -> Self:
        """As `numpy.reshape` does it without a copy; ValueError if it could not."""
        made = self.geometry.view()
        made.shape = tuple(shape)
        return self._over(made)

    def __repr__(self) -> str:
        return f"View({self.place}, shape={self.shape}, dtype={self.dtype})"

    def __copy__(self) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: Any) -> Any:
        return self.place.hold(self.place.read(self))

    def __reduce__(self) -> Any:
        return _held, (self.place, self.place.read(self))


def _held(place: Any, values: np.ndarray[Any, Any]) -> Any:
    return place.hold(values)


class _Memory:
    """Memory at an address, as NumPy makes arrays of it."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def geometry_at(
    address: int,
    shape: Sequence[int],
    strides: Sequence[int] | None,
    dtype: np.dtype[Any],
    writable: bool = True,
) -> np.ndarray[Any, Any]:
    """Elements at an address that may be another memory's, as a NumPy array that must not be read."""
    interface = {
        "data": (address, not writable),
        "shape": tuple(shape),
        "strides": None if strides is None else tuple(strides),
        "typestr": dtype.str,
        "version": 3,
    }
    return np.asarray(_Memory(interface))


def geometry(x: Array) -> np.ndarray[Any, Any]:
    """The layout of an array, for NumPy's arithmetic of addresses."""
    made: np.ndarray[Any, Any] = x.geometry if isinstance(x, View) else x
    return made


def address(x: Array) -> int:
    """Where the array's first element is; 0 if it has none, wherever NumPy or a library has it then."""
    if not x.size:
        return 0
    return x.address if isinstance(x, View) else int(x.__array_interface__["data"][0])


def layout(x: Array) -> tuple[Any, ...]:
    """Where an array's memory begins, 0 if it has none, and how its elements lie in it."""
    return address(x), x.shape, x.strides


def broadcast(x: Array, shape: tuple[int, ...]) -> Array:
    """The array with a shape that it broadcasts to, without a copy; ValueError for another."""
    made = np.broadcast_to(geometry(x), shape, subok=True)
    return x._over(made) if isinstance(x, View) else made


def where(x: Array) -> str:
    """Where an array lives, in words."""
    return str(x.place) if isinstance(x, View) else "host memory"
