"""Whether a state dict is one that an optimizer can take up, whole or in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._structure import outline


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
