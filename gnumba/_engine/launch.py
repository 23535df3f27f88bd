"""The hall of the house: tables in, kernels called.

``opt.step(grads) → scalars of this step (host, float64) → launch(tables, scalars) → place →
kernel(rule, target, dtype) → p and state, in place``
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._rule import Elementwise
from . import host, place, threads
from .table import Table, address, by_lines


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


def launch(work: list[tuple[Table, tuple[float, ...]]]) -> None:
    """Run each table's function over its rows, in place; every array has been checked before.

    All kernels are made before the first runs, so that a rule that does not compile changes nothing.
    """
    ready = [(table, scalars, *_kernels(table)) for table, scalars in work]
    for table, scalars, target, (sweep, pieces, first), walk in ready:
        with threads.gate(target):
            sweep(table.addresses, pieces, first, scalars)
            for row in table.strided.values():
                addresses = np.array([[address(a) for a in row]], np.int64)
                walk(addresses, *by_lines(row), threads.shares(target), scalars)


def _kernels(table: Table) -> tuple[str, tuple[Any, ...], Any]:
    """The target, and what runs on it: the sweep with its pieces, and the walk if a row needs it."""
    target = place.target_for(table.traffic)
    walk = host.walk(table.function, table.dtype, target) if table.strided else None
    return target, table.ready(target), walk
