"""The hall of the house: tables in, kernels called.

``opt.step(grads) → scalars of this step (host, float64) → launch(tables, scalars) → place →
kernel(rule, target, dtype) → p and state, in place``
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._rule import Elementwise
from . import gpu, host, objects, place, threads
from .remote import Remote
from .table import HOST, Table, address, by_lines

Array = np.ndarray[Any, np.dtype[Any]]
Scalars = np.ndarray[Any, np.dtype[np.float64]]  # in the order of function.scalars


def launch(work: list[tuple[Table, Scalars]], control: int = 0) -> None:
    """Run each table's function over its rows, in place; every array has been checked before.

    All kernels are made before the first runs, so that a rule that does not compile changes nothing.
    ``control`` is where a device's memory says whether to, and the gradients' factor.
    """
    ready = [(table, scalars, *_kernels(table, control)) for table, scalars in work]
    for table, scalars, (sweep, pieces, first), walk in ready:
        sweep(table.addresses, pieces, first, scalars)
        if table.strided:
            walk(table, scalars)


def launch_row(function: Elementwise, row: tuple[Array, ...], scalars: Scalars) -> None:
    """The same for one row of arrays."""
    if isinstance(row[0], Remote):
        gpu.over_row(function, row, scalars)
    else:
        launch([(Table(function, [row]), scalars)])


def _kernels(table: Table, control: int) -> tuple[Any, Any]:
    """What runs on the table: the sweep with its pieces, and a walk for the rows that need it."""
    if table.ordinal != HOST:
        return gpu.kernels(table, control)
    target = place.target_for(table.traffic)
    if not table.strided:
        return table.ready(target), None
    kernel, shares = host.walk(table.function, table.dtype, target), threads.shares(target)

    def walk(table: Table, scalars: Scalars) -> None:
        for row in table.strided.values():
            addresses = np.array([[address(a) for a in row]], np.int64)
            kernel(addresses, *by_lines(row, table.function.indexed), shares, scalars)

    return table.ready(target), walk


def launch_flat(function: Elementwise, arrays: tuple[Any, ...], scalars: Scalars) -> Any:
    """The short way for dense NumPy arrays of one layout; False, and nothing done, for all others.

    A function with ``summed`` gets all arrays but the one to be summed, and returns (done, sum).
    """
    known = _SHORT.get(arrays[0].dtype) if type(arrays[0]) is np.ndarray else None
    if known is None:
        return False
    model, kernels = known
    kernel = kernels.get(function)
    if kernel is None:
        kernel = kernels[function] = host.flat(function, arrays[0].dtype)
    one_below, all_from = place.limits()
    result = kernel(id(arrays), model, one_below, all_from, scalars)
    if all_from == threads.NEVER and not (result[0] if function.summed else result):
        with threads.LOCK:  # all cores, one caller at a time
            result = kernel(id(arrays), model, one_below, one_below, scalars)
    return result


def total_of(x: Array) -> float:
    """The sum of an array's elements in float64, in the order in which they lie in memory."""
    dense = x.ravel("K")
    return float(host.summing(x.dtype)(address(dense), dense.size))


# By dtype: the id of an array of it, and the kernels that there are.
_MODELS = [np.empty(0, dtype) for dtype in place.DTYPES]
_SHORT: dict[Any, tuple[int, dict[Elementwise, host.Kernel]]] = (
    {model.dtype: (id(model), {}) for model in _MODELS} if objects.READABLE else {}
)
