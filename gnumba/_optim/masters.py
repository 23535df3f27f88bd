"""Masters: what parameters of 16 bits are in float32, kept beside them, and rules that work on it.

Steps are far below half a unit of 16 bits, and would be lost. A float16 has its float32 beside it. A bfloat16
has the other 16 bits: both together are the float32. Where somebody else writes to a parameter, its master is
what is written, but for the lower bits of a bfloat16, less than half a unit of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._engine.storage import OF_DTYPE, Storage, Storages
from .._narrow import BFLOAT16, FLOAT16
from .._params import Parameter
from .._rule import Elementwise, Rule
from ..rules.storages import high_code, joined, low_code, low_number, taken_up

FLOAT32 = OF_DTYPE[np.dtype(np.float32)]
LOW = Storage("low16", np.dtype(np.int16), FLOAT32.computed, low_number, low_code)


class Master(NamedTuple):
    """The master of parameters of one storage: the state that is kept, and the number of both."""

    name: str
    kept: Storage
    shown: Storage  # of the parameter, when it is written
    whole: Callable[..., Any]  # of the parameter and the state

    def first(self, p: Parameter) -> Any:
        """The state of a parameter as it is."""
        made = p.place.full(p.array, 0, self.kept.kept)
        if self.kept is FLOAT32:
            p.place.copy(made, p.array)
        return made


MASTERS = {
    FLOAT16: Master("master", FLOAT32, FLOAT16, taken_up),
    BFLOAT16: Master("low_bits", LOW, BFLOAT16._replace(name="high16", encode=high_code), joined),
}


def first_masters(rule: Rule, p: Parameter) -> dict[str, Any]:
    """The state by its name, none for a parameter that is its own; TypeError for a rule without one."""
    master = MASTERS.get(p.storage)
    if master is None:
        return {}
    kernel = rule._kernel
    if kernel.normed or kernel.lent or master.name in rule.state:
        has = "norms" if kernel.normed else "directions" if kernel.lent else f"a state {master.name!r}"
        raise TypeError(
            f"parameter {p.name} has dtype {p.storage.name}, expected float32 or float64, as {rule._title} "
            f"has {has}{'' if master.name in rule.state else ' of whole parameters'}"
        )
    return {master.name: master.first(p)}


def masters_of(optimizer: Any) -> dict[int, Any]:
    """The states that are masters, by the identities of their parameters."""
    kept = [p for p in optimizer._params if p.storage in MASTERS]
    return {id(p.given): optimizer._state[p.index][MASTERS[p.storage].name] for p in kept}


def take_over(optimizer: Any, masters: Mapping[int, Any]) -> None:
    """Go on with the masters that another optimizer of the same parameters had."""
    for p in optimizer._params:
        if id(p.given) in masters:
            p.place.copy(optimizer._state[p.index][MASTERS[p.storage].name], masters[id(p.given)])


@functools.cache
def kernel_for(function: Elementwise, storage: Storage) -> tuple[Elementwise, Storages | None]:
    """A rule's function for parameters of a storage, on masters where there are any, and its storages."""
    master = MASTERS.get(storage)
    if master is None:
        return function, None
    made = Elementwise(
        _on_master(function, master.whole),
        (*function.reads[:2], master.name, *function.reads[2:]),
        (function.writes[0], master.name, *function.writes[1:]),
        function.scalars,
        scaled=True,
        title=function.title.replace("{", "{{").replace("}", "}}"),
    )
    return made, (master.shown, storage, master.kept, *(FLOAT32,) * len(function.columns[2:]))


def _on_master(function: Elementwise, whole: Callable[..., Any]) -> Callable[..., Any]:
    """The scalar function with the master made before and written after it."""
    inner = function.fn
    if len(function.writes) == 1:

        def on_master(p: float, g: float, kept: float, *others: float) -> Any:
            p = inner(whole(p, kept), g, *others)
            return p, p

    else:

        def on_master(p: float, g: float, kept: float, *others: float) -> Any:
            made = inner(whole(p, kept), g, *others)
            return (made[0], *made)

    on_master.__name__, on_master.__module__ = function.name, inner.__module__
    return on_master
