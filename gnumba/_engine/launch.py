"""The hall of the house: tables in, kernels called.

``opt.step(grads) → scalars of this step (host, float64) → launch(table, scalars) → place →
kernel(rule, target, dtype) → p and state, in place``
"""

from __future__ import annotations

import numpy as np

from . import host, place, threads
from .table import Table, address, by_lines


def launch(table: Table, scalars: tuple[float, ...]) -> None:
    """Run the table's function over its rows, in place. Every array has been checked before."""
    target = place.target_for(table.traffic)
    sweep, pieces, first = table.ready(target)
    with threads.gate(target):
        sweep(table.addresses, pieces, first, scalars)
        for row in table.strided.values():
            walk = host.walk(table.function, table.dtype, target)
            addresses = np.array([[address(a) for a in row]], np.int64)
            walk(addresses, *by_lines(row), threads.shares(target), scalars)
