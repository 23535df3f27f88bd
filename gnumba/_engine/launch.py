"""The hall of the house: tables in, kernels called.

``opt.step(grads) → scalars of this step (host, float64) → launch(table, scalars) → place →
kernel(rule, target, dtype) → p and state, in place``
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._rule import Elementwise
from . import host, place, threads
from .table import Row, Table, address, by_lines


def launch_flat(function: Elementwise, arrays: tuple[Any, ...], scalars: tuple[float, ...]) -> bool:
    """The short way for dense NumPy arrays of one layout; False, and nothing done, for all others."""
    first = arrays[0]
    if type(first) is not np.ndarray or not first.flags.forc or first.dtype not in place.DTYPES:
        return False
    shape, strides = first.shape, first.strides
    for a in arrays:
        if type(a) is not np.ndarray or a.shape != shape or a.strides != strides:
            return False
    kernel, cost = host.flat(function, first.dtype)
    target = place.target_for(first.size * cost)
    try:
        with threads.gate(target):
            return kernel(tuple([a.ravel("K") for a in arrays]), target == "parallel", scalars)
    except TypeError:  # a type that was not compiled: read-only, another dtype, unaligned
        return False


def launch(table: Table, scalars: tuple[float, ...]) -> None:
    """Run the table's function over its rows, in place. Every array has been checked before."""
    target = place.target_for(table.traffic)
    sweep, pieces, first = table.ready(target)
    with threads.gate(target):
        sweep(table.addresses, pieces, first, scalars)
        for row in table.strided.values():
            _walk(table, row, scalars, target)


def _walk(table: Table, row: Row, scalars: tuple[float, ...], target: str) -> None:
    """Run the table's function over one row with any strides."""
    walk = host.walk(table.function, table.dtype, target)
    addresses = np.array([[address(a) for a in row]], np.int64)
    walk(addresses, *by_lines(row), threads.shares(target), scalars)
