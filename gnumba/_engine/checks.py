"""Checks on arrays: alike, together, writable, clear of one another."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .arrays import as_view, is_foreign
from .libraries import check_no_derivative_lost
from .storage import storage_of
from .view import Array, geometry, layout, where


def check_together(arrays: Mapping[str, Array]) -> None:
    """TypeError unless all arrays live where the first does."""
    (first, x), *others = arrays.items() or [("", np.empty(0))]
    for name, other in others:
        if where(other) != where(x):
            raise TypeError(f"{name} is in {where(other)}, expected {first}'s place, {where(x)}")


def check_alike(arrays: Mapping[str, Array]) -> None:
    """All arrays must have the place, dtype and shape of the first."""
    check_together(arrays)
    (first, x), *others = arrays.items()
    for name, other in others:
        if other.dtype != x.dtype and (found := storage_of(other)) is not (own := storage_of(x)):
            raise TypeError(f"{name} has dtype {found.name}, expected {first}'s, {own.name}")
        if other.shape != x.shape:
            raise ValueError(f"{name} has shape {other.shape}, expected {first}'s, {x.shape}")


def check_out(name: str, out: Any, x: Array, narrow: bool = False) -> Array:
    """``out`` as an array to write to: alike ``x``, writable, no element twice."""
    check_no_derivative_lost(name, out)
    made = as_view(name, out, narrow)
    check_alike({"x": x, name: made})
    _check_writable(name, made)
    return made


def same_elements(x: Array, y: Array) -> bool:
    """Whether two arrays of one dtype are the same memory, element by element."""
    return layout(x) == layout(y)


def overlap(x: Array, y: Array) -> bool:
    """Whether memory of two arrays may be shared otherwise than element by element."""
    return not same_elements(x, y) and np.may_share_memory(geometry(x), geometry(y))


def count_rows(arrays: Sequence[Any]) -> int:
    """How many rows the arrays have along their first axis, each as many; any dtype will do."""
    if not arrays:
        raise ValueError("there are no arrays, expected at least one")
    for k, x in enumerate(arrays):
        if not hasattr(x, "shape") or hasattr(x, "iloc"):  # pandas takes labels or columns for an index
            raise TypeError(f"array {k} is of type {type(x).__name__}, expected an array")
        if len(x.shape) == 0:
            raise ValueError(f"array {k} has shape (), expected rows along the first axis")
    counts = [int(x.shape[0]) for x in arrays]
    if len(set(counts)) > 1:
        raise ValueError(f"the arrays have {counts} rows, expected as many in each")
    return counts[0]


def check_updated(what: str, given: Mapping[str, Any], narrow: bool = False) -> Updated:
    """Arrays to update in place (``what`` they are): writable, no element twice; of 16 bits if ``narrow``."""
    arrays = {}
    for name, x in given.items():
        if not (isinstance(x, np.ndarray) or is_foreign(x)):
            raise TypeError(
                f"{what} {name} is of type {type(x).__name__}, "
                f"expected an array (it is updated in place){_advice(x)}"
            )
        arrays[name] = as_view(f"{what} {name}", x, narrow)
        _check_writable(f"{what} {name}", arrays[name])
    made = Updated(arrays)
    made.check_apart(what)
    return made


def _advice(x: Any) -> str:
    """How to give what was meant by something that is no array."""
    if hasattr(x, "named_parameters"):
        return ": its named_parameters() will do"
    return ": pairs of names and arrays are taken from a dict or an iterator" if isinstance(x, str) else ""


def check_gradient(name: str, gradient: Any, parameter: Array) -> Array:
    """The gradient of ``parameter`` as an array of its shape, and of its dtype or that it is computed in."""
    g = as_view(f"gradient of {name}", gradient, narrow=True)
    check_kept_alike(name, g, parameter)
    if g.shape != parameter.shape:
        raise ValueError(
            f"gradient of {name} has shape {g.shape}, expected its parameter's, {parameter.shape}"
        )
    return g


def check_kept_alike(name: str, g: Array, parameter: Array) -> None:
    """TypeError unless a gradient's elements are where and as its parameter's are."""
    check_together({f"parameter {name}": parameter, f"gradient of {name}": g})
    storage, own = storage_of(g), storage_of(parameter)
    if storage is not own and storage.kept != own.computed:
        wide = "" if own.decode is None else f", or {own.computed}"
        raise TypeError(
            f"gradient of {name} has dtype {storage.name}, expected its parameter's, {own.name}{wide}"
        )


class Updated:
    """Arrays that are updated, by name, and which of them another array shares memory with."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays
        bounds = sorted((*byte_bounds(geometry(x)), name) for name, x in arrays.items() if x.size)
        self._starts = [low for low, _, _ in bounds]
        self._names = [name for _, _, name in bounds]
        self._ends = list(itertools.accumulate((high for _, high, _ in bounds), max))  # the farthest so far
        self.bounds = self._starts, self._ends

    def is_clear(self, address: int, nbytes: int) -> bool:
        """Whether that memory is clear of them all."""
        before = bisect.bisect_left(self._starts, address + nbytes)
        return not before or self._ends[before - 1] <= address

    def check_apart(self, what: str) -> None:
        """ValueError if two of them share an element."""
        for name, x in self.arrays.items():
            for other in self._sharing(x):
                if other != name:
                    raise ValueError(
                        f"{what}s {name} and {other} share elements, expected each to be updated once"
                    )

    def check_clear(self, name: str, g: Array) -> None:
        """ValueError if a gradient shares memory with a parameter, but element for element with its own."""
        for other in self._sharing(g):
            if other != name or not same_elements(g, self.arrays[other]):
                raise ValueError(
                    f"gradient of {name} shares memory with parameter {other}, which the step changes; "
                    "expected memory of its own (a copy)"
                )

    def _sharing(self, x: Array) -> Iterator[str]:
        """The parameters that share an element with ``x``; only neighbours in memory are compared exactly."""
        low, high = byte_bounds(geometry(x))
        k = bisect.bisect_left(self._starts, high) - 1
        while k >= 0 and self._ends[k] > low:
            if np.shares_memory(geometry(x), geometry(self.arrays[self._names[k]])):
                yield self._names[k]
            k -= 1


def _check_writable(name: str, x: Array) -> None:
    if not x.flags.writeable:
        raise ValueError(f"{name} is read-only, expected an array that can be updated in place")
    if _overlaps_itself(x):
        raise ValueError(
            f"{name} has strides {x.strides} for shape {x.shape}: elements share memory, expected none to"
        )


def _overlaps_itself(x: Array) -> bool:
    axes = sorted((abs(s), n) for s, n in zip(x.strides, x.shape, strict=True) if n > 1)
    reach = x.itemsize
    for stride, n in axes:
        if stride < reach:
            break
        reach += stride * (n - 1)
    else:
        return False
    if x.size == 0:
        return False
    # Interleaved axes may still keep apart: count the bytes at which elements start.
    start = np.zeros(x.shape, np.int64)
    for axis, (stride, n) in enumerate(zip(x.strides, x.shape, strict=True)):
        start += stride * np.arange(n).reshape(-1, *[1] * (x.ndim - axis - 1))
    starts = np.unique(start)
    return starts.size < x.size or bool((np.diff(starts) < x.itemsize).any())
