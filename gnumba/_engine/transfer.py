"""Values from one place to another: into arrays that are there, or into new ones beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._rule import Elementwise
from . import grid, sums
from .arrays import as_view, device_view, empty_like, in_kind_of
from .cuda import place as gpu
from .cuda.memory import Remote, downloaded
from .launch import Scalars, launch_row
from .table import address

Array = np.ndarray[Any, np.dtype[Any]]


def assign(x: Array, values: Array) -> None:
    """Write values to an array of their shape, wherever the two live."""
    if isinstance(x, Remote):
        gpu.assign(x, values)
    else:
        x[...] = downloaded(values) if isinstance(values, Remote) else values


def between_steps(function: Elementwise, row: tuple[Array, ...], scalars: Scalars) -> None:
    """Run a function over one row of arrays whose streams may be gone: waits for a device."""
    if isinstance(row[0], Remote):
        gpu.between_steps(function, row, scalars)
    else:
        launch_row(function, row, scalars)


def placed(x: Any, values: Array) -> Any:
    """Host values as a new array of x's kind, where x lives."""
    view = as_view("like", x)
    if not isinstance(view, Remote):
        return in_kind_of(x, values)
    there = empty_like(x, view, values.shape)
    assign(there, values)
    return in_kind_of(x, there)


def filled(x: Array, value: float) -> Array:
    """A new array laid out as ``x``, where x lives, full of one value."""
    return gpu.filled(x, value) if isinstance(x, Remote) else np.full_like(x, value, subok=False)


def on_host(x: Array) -> Array:
    """A copy in host memory; waits for a device."""
    return downloaded(x) if isinstance(x, Remote) else x.copy()


def gathered(values: Array, order: Array, starts: Array) -> Array:
    """Sums of rows of dense values, ``values[order[starts[r]:starts[r + 1]]]``, in float64 and in order."""
    if isinstance(values, Remote):
        return gpu.gathered(values, order, starts)
    out = np.empty((len(starts) - 1, *values.shape[1:]), values.dtype)
    numbers = [np.ascontiguousarray(each, np.int64) for each in (order, starts)]
    width = int(np.prod(values.shape[1:], dtype=np.int64))
    where = (address(values), *map(address, numbers), len(out), width, address(out))
    grid.native(sums.gathered(values.dtype))(1, *where)
    return out


def numbers(name: str, x: Any) -> Array:
    """A sequence of numbers of any dtype as a NumPy array; waits for a device if it lives there."""
    if isinstance(x, np.ndarray) or not hasattr(x, "__cuda_array_interface__"):
        return np.asarray(x)
    return downloaded(device_view(name, x, x))
