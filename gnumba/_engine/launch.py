"""Launch kernels over tables of arrays.

``opt.step(grads) → scalars of this step (host, float64) → launch(tables, scalars) → place →
kernel(rule, target, dtype) → p and state, in place``
"""

from __future__ import annotations

import contextlib

from .place import PLAIN, Call, Care, Verdict, make, place_of
from .table import Table
from .view import Scalars


def launch(work: list[tuple[Table, Scalars]], verdict: Verdict = PLAIN, after: Call = ()) -> None:
    """Run each table's function over its rows, in place; every array has been checked before.

    All kernels are made before the first runs, so that a rule that does not compile changes nothing.
    What only a device knows of the gradients' factor is in the ``verdict``. ``after`` is called as one
    with the kernels: an interrupt comes before all of them or after all.
    """
    calls: list[Call] = []
    cares: list[Care] = []
    for table, scalars in work:
        made, care = place_of(table.rows[0][0]).prepare(table, scalars, verdict)
        calls += made
        if care is not None and care not in cares:
            cares.append(care)
    if after:
        calls.append(after)
    if not cares:
        make(calls)
        return
    with contextlib.ExitStack() as held:
        for care in cares:
            held.enter_context(care())
        make(calls)
