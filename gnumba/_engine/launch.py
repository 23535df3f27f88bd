"""Launch kernels over tables of arrays.

``opt.step(grads) → scalars of this step (host, float64) → launch(tables, scalars) → place →
kernel(rule, target, dtype) → p and state, in place``
"""

from __future__ import annotations

import contextlib
import operator
import signal
from collections import deque
from collections.abc import Iterable
from itertools import starmap
from typing import Any

import numpy as np

from .._rule import Elementwise
from .._signals import uninterrupted
from . import host, objects, targets, threads
from .arrays import DTYPES
from .compile.kernel import Kernel
from .cuda import place as gpu
from .cuda.memory import Remote
from .host import DONE, TOO_LARGE, UNFIT
from .table import HOST, Table, address, by_lines

Array = np.ndarray[Any, np.dtype[Any]]
Scalars = np.ndarray[Any, np.dtype[np.float64]]  # in the order of function.scalars
Call = tuple[Any, ...]  # a callable and its arguments
_exhaust = deque[Any](maxlen=0).extend


def launch(work: list[tuple[Table, Scalars]], control: int = 0, after: Call = ()) -> None:
    """Run each table's function over its rows, in place; every array has been checked before.

    All kernels are made before the first runs, so that a rule that does not compile changes nothing.
    ``control`` is where a device's memory says whether to, and the gradients' factor. ``after`` is
    called as one with the kernels: an interrupt comes before all of them or after all.
    """
    calls: list[Call] = []
    cautious = ""
    for table, scalars in work:
        target = _target(table)
        calls += _calls(table, target, scalars, control)
        if target != "cpu" and not (target == "parallel" and threads.are_free()):
            cautious += target
    if after:
        calls.append(after)
    if cautious:
        _run_cautiously(calls, cautious)
    else:
        run(calls)


def _run_cautiously(calls: list[Call], targets: str) -> None:
    """Run calls of Python code, which interrupts could come between, or that take a turn."""
    with contextlib.ExitStack() as held:
        if "cuda" in targets:
            held.enter_context(uninterrupted(signal.SIGINT))
        if "parallel" in targets:
            held.enter_context(threads.turn())
        run(calls)


def run(calls: Iterable[Call]) -> None:
    """Make calls one after another, with no bytecode between them: signals are handled between bytecodes."""
    _exhaust(starmap(operator.call, calls))


def launch_row(function: Elementwise, row: tuple[Array, ...], scalars: Scalars) -> None:
    """Run a function over one row of arrays."""
    if isinstance(row[0], Remote):
        gpu.over_row(function, row, scalars)
    else:
        launch([(Table(function, [row]), scalars)])


def _target(table: Table) -> str:
    return targets.target_for(table.traffic) if table.ordinal == HOST else "cuda"


def _calls(table: Table, target: str, scalars: Scalars, control: int) -> list[Call]:
    """The calls that run a table: a sweep over its dense rows, a walk over each other row."""
    if target == "cuda":
        return gpu.calls(table, scalars, control)
    made: list[Call] = []
    if len(table.strided) < len(table.rows):
        sweep, pieces, first = table.ready(target)
        made.append((sweep, table.addresses, pieces, first, scalars))
    if table.strided:
        walk, shares = host.walk(table.function, table.dtype, target), threads.shares(target)
        for row in table.strided.values():
            addresses = np.array([[address(a) for a in row]], np.int64)
            made.append((walk, addresses, *by_lines(row, table.function.indexed), shares, scalars))
    return made


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
        if not arrays[0].flags.forc:
            return False  # before a kernel is made to say so
        kernel = kernels[function] = host.flat(function, arrays[0].dtype)
    result = kernel(id(arrays), model, targets.one_core_below(), scalars)
    if result == DONE:
        return True
    if result == TOO_LARGE:
        _on_all_cores(function, arrays, scalars)
        return True
    if not function.summed:
        return False
    state, total = result
    return state != UNFIT, _on_all_cores(function, arrays, scalars) if state == TOO_LARGE else total


def _on_all_cores(function: Elementwise, arrays: tuple[Any, ...], scalars: Scalars) -> Any:
    """Run a function on all cores, over arrays that are checked and too large for one core."""
    kernel = host.shared_flat(function, arrays[0].dtype)
    return kernel(id(arrays), threads.shares("parallel"), scalars)


def total_of(x: Array) -> float:
    """The sum of an array's elements in float64, in the order in which they lie in memory."""
    dense = x.ravel("K")
    return float(host.summing(x.dtype)(address(dense), dense.size))


# By dtype: the id of an array of it, and the kernels that there are.
_MODELS = [np.empty(0, dtype) for dtype in DTYPES]
_SHORT: dict[Any, tuple[int, dict[Elementwise, Kernel]]] = (
    {model.dtype: (id(model), {}) for model in _MODELS} if objects.READABLE else {}
)
