"""State dicts: an optimizer's state as plain data, and whether one fits, whole or in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._engine.arrays import as_view
from .._hyper import load_all, restored, saved, stateful
from .._signals import uninterrupted
from .._tree import outline
from .groups import Group

Optimizer = Any  # of optimizer.py, which imports this


class IncompatibleKeys(NamedTuple):
    """Keys that only one of a state and an optimizer has, as paths such as ``state/w/m``.

    Attributes
    ----------
    missing_keys : list of str
        What the state lacks; it is as it was.
    unexpected_keys : list of str
        What the optimizer has no use for; it was left.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


def state_of(optimizer: Optimizer) -> dict[str, Any]:
    """The state dict of an optimizer: see `Optimizer.state_dict`."""
    names, max_norm = optimizer._names, optimizer.max_norm
    return {
        "rule": optimizer.rule.name,
        "t": optimizer.t,
        "skipped": optimizer.skipped,
        "max_norm": None if max_norm is None else saved(max_norm),
        "groups": {g["name"]: {name: saved(g[name]) for name in names} for g in optimizer.groups},
        "state": {
            p.name: {"updates": optimizer.update_count(p)}
            | {name: p.place.read(s, copy=True) for name, s in arrays.items()}
            for p, arrays in zip(optimizer._params, optimizer._state, strict=True)
        },
    }


def load(optimizer: Optimizer, state: Any, strict: bool) -> IncompatibleKeys | None:
    """Take up a state dict, all of it or nothing: see `Optimizer.load_state_dict`."""
    mine, left, names = state_of(optimizer), None, optimizer._names
    if not strict:
        state, left = completed(state, mine)
    check_fits("state", state, mine)
    guard = optimizer._guard.restored(state["max_norm"])
    for name, of_one in state["state"].items():
        if of_one["updates"] > state["t"]:
            count = of_one["updates"]
            raise ValueError(f"{name} has {count} updates in the state, expected at most t, {state['t']}")
    groups = [(group, state["groups"][group["name"]]) for group in optimizer.groups]
    hyper = [{name: restored(name, group[name], own[name]) for name in names} for group, own in groups]
    for values in hyper:
        Group((), "", values, optimizer.ranges).values_at(int(state["t"]))
    pairs = [(guard.max_norm, state["max_norm"])]
    for (_, own), values in zip(groups, hyper, strict=True):
        pairs += [(value, own[name]) for name, value in values.items()]
    with uninterrupted():
        load_all([pair for value, own in pairs for pair in stateful(value, own)])
        _take_up(optimizer, state, hyper, guard)
    return left


def _take_up(optimizer: Optimizer, state: Mapping[str, Any], hyper: list[dict[str, Any]], guard: Any) -> None:
    """Load what has been checked."""
    for group, values in zip(optimizer.groups, hyper, strict=True):
        group.update(values)
    t, updates = int(state["t"]), [int(state["state"][p.name]["updates"]) for p in optimizer._params]
    for p, arrays in zip(optimizer._params, optimizer._state, strict=True):
        for name, array in arrays.items():
            given = state["state"][p.name][name]
            p.place.copy(array, given if isinstance(given, np.ndarray) else as_view(name, given))
    optimizer._t, optimizer._skipped, optimizer._guard = t, int(state["skipped"]), guard
    optimizer._missed = tuple(t - count for count in updates)
    optimizer._updates, optimizer._fast = optimizer._plan.updates(optimizer._missed), None


def completed(state: Any, mine: Any, where: tuple[Any, ...] = ()) -> tuple[Any, IncompatibleKeys]:
    """The state, with what it lacks from ``mine`` and without what that has not; and what these are.

    A hyperparameter is taken whole: the state of a schedule is the schedule's affair.
    """
    found = IncompatibleKeys([], [])
    of_schedule = where[:1] == ("max_norm",) or (where[:1] == ("groups",) and len(where) == 3)
    if of_schedule or not isinstance(mine, dict) or not isinstance(state, Mapping):
        return state, found
    made = {}
    for key, value in mine.items():
        if key not in state:
            made[key] = value
            found.missing_keys.append(_path(*where, key))
            continue
        made[key], inner = completed(state[key], value, (*where, key))
        found.missing_keys.extend(inner.missing_keys)
        found.unexpected_keys.extend(inner.unexpected_keys)
    found.unexpected_keys.extend(_path(*where, key) for key in state if key not in mine)
    return made, found


def _path(*keys: Any) -> str:
    return "/".join(map(str, keys))


def check_fits(where: str, state: Any, mine: Any) -> None:
    """ValueError unless ``state`` is built as ``mine``; hyperparameters are looked at later."""
    if isinstance(mine, dict):
        if not isinstance(state, Mapping) or state.keys() != mine.keys():
            names = list(state) if isinstance(state, Mapping) else outline(state)
            raise ValueError(f"{where} has {names}, expected {list(mine)}")
        for key, value in mine.items():
            if where == "state" and key == "max_norm":
                continue
            if where != "state['groups']":
                check_fits(f"{where}[{key!r}]", state[key], value)
            elif not isinstance(state[key], Mapping) or state[key].keys() != value.keys():
                raise ValueError(f"{where}[{key!r}] is {state[key]!r}, expected the names {list(value)}")
    elif isinstance(mine, np.ndarray):
        given = (getattr(state, "dtype", type(state).__name__), getattr(state, "shape", ()))
        if given != (mine.dtype, mine.shape):
            raise ValueError(f"{where} is {given[0]} {given[1]}, expected {mine.dtype} {mine.shape}")
    elif isinstance(mine, str):
        if state != mine:
            raise ValueError(f"{where} is {state!r}, expected {mine!r}")
    elif not isinstance(state, (int, np.integer)) or state < 0:
        raise ValueError(f"{where} is {state!r}, expected a count")
