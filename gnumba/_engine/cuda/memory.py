"""Arrays in a device's memory, as NumPy views that know where everything is and must not be read.

A `Remote` has an address, a shape, strides and a dtype, so that tables, layouts and checks of overlap
take it as they take any array. Its elements are for kernels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import driver

Array = np.ndarray[Any, np.dtype[Any]]


class Remote(np.ndarray[Any, np.dtype[Any]]):
    """A view of memory of the CUDA device with this ordinal, used on that stream; whose it is.

    Memory that the engine frees has the order of its uses.
    """

    ordinal: int
    stream: int
    given: Any
    order: driver.StreamOrder | None

    def __array_finalize__(self, source: Any) -> None:
        self.ordinal, self.stream = getattr(source, "ordinal", 0), getattr(source, "stream", 0)
        self.order, self.given = getattr(source, "order", None), None

    def __repr__(self) -> str:
        return f"Remote(device={self.ordinal}, shape={self.shape}, dtype={self.dtype})"

    __str__ = __repr__

    def __deepcopy__(self, memo: Any) -> Remote:
        return uploaded(downloaded(self), self.ordinal, self.stream)

    def __reduce__(self) -> Any:
        return uploaded, (downloaded(self), self.ordinal, 0)


class _Memory:
    """Device buffer exposed through ``__array_interface__``, with the owner that keeps the buffer alive."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__, self.owner = interface, owner


def view(
    owner: Any,
    address: int,
    shape: Sequence[int],
    strides: Sequence[int] | None,
    dtype: np.dtype[Any],
    device: int,
    stream: int,
    writeable: bool = True,
    order: driver.StreamOrder | None = None,
) -> Remote:
    """A device's memory as an array; ``owner`` lives as long as the view."""
    interface = {
        "data": (address, not writeable),
        "shape": tuple(shape),
        "strides": None if strides is None else tuple(strides),
        "typestr": dtype.str,
        "version": 3,
    }
    made = np.asarray(_Memory(interface, owner)).view(Remote)
    made.ordinal, made.stream, made.given, made.order = device, stream, owner, order
    return made


class DeviceArray:
    """A C-contiguous array on a CUDA device, for callers whose own library gnumba does not know.

    It has ``__cuda_array_interface__``; ``float(x)`` and ``numpy.asarray(x)`` copy it to the host. What
    else works on its memory, on another stream than the interface names, must have it live until then.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], device: int, stream: int) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self.ndim = len(self.shape)
        self._device, self._stream = device, stream
        self._order = driver.StreamOrder(device, stream)
        self._memory = driver.get().allocate(device, max(1, self.size * self.dtype.itemsize), self._order)

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

    def view(self) -> Remote:
        """The array as the engine has it."""
        where = self._memory.address, self.shape, None, self.dtype, self._device, self._stream
        return view(self, *where, order=self._order)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return downloaded(self.view()).astype(dtype or self.dtype, copy=False)

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array of shape ()")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray({np.asarray(self)!r}, device={self._device})"


def uploaded(values: Array, device: int, stream: int) -> Remote:
    """Dense memory of a device with these values, in the order in which they lie."""
    dense = values if values.flags.forc else np.ascontiguousarray(values)
    memory = driver.get().allocate(device, max(1, dense.nbytes))
    made = view(memory, memory.address, dense.shape, dense.strides, dense.dtype, device, stream)
    driver.get().upload(device, memory.address, dense, stream)
    return made


def downloaded(x: Remote) -> Array:
    """A copy in host memory; waits for the device."""
    if not x.size:
        return np.empty(x.shape, x.dtype)
    low, high = np.lib.array_utils.byte_bounds(x)
    memory = np.empty(high - low, np.uint8)
    driver.get().download(x.ordinal, memory, low)
    first = x.__array_interface__["data"][0] - low
    there = np.ndarray(x.shape, x.dtype, memory, first, x.strides)
    return there.copy(order="K")
