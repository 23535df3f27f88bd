"""State dicts: an optimizer's state as plain data, and whether one fits, whole or in part."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from .._engine.arrays import as_view
from .._engine.factor import ONE
from .._engine.place import Known, Verdict
from .._hyper import load_all, restored, saved, stateful
from .._params import Parameter
from .._signals import uninterrupted
from .._tree import outline
from .clipping import Guard
from .groups import Group, Grouped
from .plan import Plan, Update


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


class Stateful(Grouped):
    """Base of optimizers: their state as plain data, and copies of them."""

    _state: list[dict[str, Any]]
    _missed: tuple[int, ...]
    _verdict: Verdict
    _plan: Plan
    _updates: list[Update]
    _lay_out: Callable[[], None]
    _skipped: int

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies: steps, hyperparameters, and each parameter's state by its name.

        Returns
        -------
        dict
            ``{"rule": name, "t": steps, "skipped": steps, "max_norm": value,
            "groups": {name: {hyperparameter: value}},
            "state": {parameter: {"updates": count, state name: array}}}``. A hyperparameter with
            a schedule holds the schedule's own ``state_dict()``, or None.
        """
        self._settle()
        names, max_norm = self._names, self._guard.max_norm
        return {
            "rule": self._rule.name,
            "t": self._t,
            "skipped": self._skipped,
            "max_norm": None if max_norm is None else saved(max_norm),
            "groups": {g["name"]: {name: saved(g[name]) for name in names} for g in self._groups},
            "state": {
                p.name: {"updates": self.update_count(p)}
                | {name: p.place.read(s, copy=True) for name, s in arrays.items()}
                for p, arrays in zip(self._params, self._state, strict=True)
            },
        }

    def update_count(self, p: Parameter) -> int:
        """How many updates a parameter has had."""
        self._settle()
        return self._t - self._missed[p.index]

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> IncompatibleKeys | None:
        """Take up the state of ``state_dict``; the next step gives the bits it would have given.

        Parameters
        ----------
        state : dict
            From ``state_dict`` of an optimizer with the same rule, groups and parameter names.
        strict : bool, default True
            False takes up what both have, by name: parameters, their states, groups, hyperparameters.
            A parameter that the state lacks keeps its own, and the count of its updates. What both have
            must fit all the same.

        Returns
        -------
        IncompatibleKeys or None
            With ``strict=False`` the lists ``missing_keys``, of what the state lacks, and
            ``unexpected_keys``, of what was left of it; as ``"state/w"``.

        Raises
        ------
        ValueError
            If anything does not fit: rule, names, shapes, dtypes, a number where a schedule is.
            Nothing has changed then.
        """
        mine, left, names = self.state_dict(), None, self._names
        if not strict:
            state, left = completed(state, mine)
        check_fits("state", state, mine)
        guard = self._guard.restored(state["max_norm"])
        for name, of_one in state["state"].items():
            if of_one["updates"] > state["t"]:
                count = of_one["updates"]
                raise ValueError(f"{name} has {count} updates in the state, expected at most t, {state['t']}")
        groups = [(group, state["groups"][group["name"]]) for group in self._groups]
        hyper = [{name: restored(name, group[name], own[name]) for name in names} for group, own in groups]
        for values in hyper:
            Group((), "", values, self.ranges).values_at(int(state["t"]))
        pairs = [(guard.max_norm, state["max_norm"])]
        for (_, own), values in zip(groups, hyper, strict=True):
            pairs += [(value, own[name]) for name, value in values.items()]
        with uninterrupted():
            load_all([pair for value, own in pairs for pair in stateful(value, own)])
            self._take_up(state, hyper, guard)
        return left

    def _take_up(self, state: Mapping[str, Any], hyper: list[dict[str, Any]], guard: Guard) -> None:
        """Load what has been checked."""
        for group, values in zip(self._groups, hyper, strict=True):
            group.update(values)
        t, updates = int(state["t"]), [int(state["state"][p.name]["updates"]) for p in self._params]
        for p, arrays in zip(self._params, self._state, strict=True):
            for name, array in arrays.items():
                given = state["state"][p.name][name]
                p.place.copy(array, given if isinstance(given, np.ndarray) else as_view(name, given))
        self._t, self._skipped, self._guard = t, int(state["skipped"]), guard
        self._missed = tuple(t - count for count in updates)
        self._updates, self._fast = self._plan.updates(self._missed), None

    # Copies: tables hold addresses, so a copy makes its own.

    def __copy__(self) -> Self:
        """An optimizer of these very parameters, with state, counts and hyperparameters of its own."""
        return copy.deepcopy(self, {id(each): each for each in self._params.containers})

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        left = ("_plan", "_updates", "_fast", "_verdict")
        kept = {name: value for name, value in self.__dict__.items() if name not in left}
        return kept | {"_verdict": Known(ONE, self._verdict.norm())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lay_out()


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
