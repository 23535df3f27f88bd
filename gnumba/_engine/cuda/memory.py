"""Memory of CUDA devices: views of arrays there, and the arrays that the engine makes itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..view import View, geometry_at
from . import driver

Array = np.ndarray[Any, np.dtype[Any]]


class DeviceView(View):
    """A view of memory of a CUDA device that is used on a stream.

    Memory that the engine frees has the order of its uses.
    """

    def __init__(
        self, geometry: Array, place: Any, owner: Any, stream: int, order: driver.StreamOrder | None = None
    ) -> None:
        super().__init__(geometry, place, owner)
        self.stream, self.order = stream, order

    @property
    def device(self) -> int:
        """The device's ordinal."""
        ordinal: int = self.place.ordinal
        return ordinal


class DeviceArray:
    """A C-contiguous array on a CUDA device, for callers whose own library gnumba does not know.

    It has ``__cuda_array_interface__``; ``float(x)`` and ``numpy.asarray(x)`` copy it to the host. What
    else works on its memory, on another stream than the interface names, must have it live until then.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], place: Any, stream: int) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self.ndim = len(self.shape)
        self._place, self._stream = place, stream
        self._order = driver.StreamOrder(place.ordinal, stream)
        nbytes = max(1, self.size * self.dtype.itemsize)
        self._memory = driver.get().allocate(place.ordinal, nbytes, self._order)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._memory.address, False),
            "strides": None,
            "version": 3,
            "stream": self._stream or 1,
        }

    def view(self) -> DeviceView:
        """The array as the engine has it."""
        geometry = geometry_at(self._memory.address, self.shape, None, self.dtype)
        return DeviceView(geometry, self._place, self, self._stream, self._order)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return downloaded(self.view()).astype(dtype or self.dtype, copy=False)

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array of shape ()")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray({np.asarray(self)!r}, device={self._place.ordinal})"


def uploaded(values: Array, place: Any, stream: int = 0) -> DeviceView:
    """New memory of a device with these values, in the order in which they lie."""
    dense = values if values.flags.forc else np.ascontiguousarray(values)
    memory = driver.get().allocate(place.ordinal, max(1, dense.nbytes))
    geometry = geometry_at(memory.address, dense.shape, dense.strides, dense.dtype)
    driver.get().upload(place.ordinal, memory.address, dense, stream)
    return DeviceView(geometry, place, memory, stream)


def downloaded(x: DeviceView) -> Array:
    """A copy in host memory; waits for the device."""
    if not x.size:
        return np.empty(x.shape, x.dtype)
    low, high = np.lib.array_utils.byte_bounds(x.geometry)
    memory = np.empty(high - low, np.uint8)
    driver.get().download(x.device, memory, low)
    there = np.ndarray(x.shape, x.dtype, memory, x.address - low, x.strides)
    return there.copy(order="K")
