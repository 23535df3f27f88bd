"""State dicts: an optimizer's state as plain data, and whether one fits, whole or in part."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from .._engine.arrays import as_view, numbers
from .._engine.factor import ONE
from .._engine.place import Known, Verdict
from .._hyper import ANY, load_all, number, restored, saved, stateful
from .._params import Parameter
from .._rule import Rule
from .._signals import uninterrupted
from .._tree import outline
from .clipping import Guard
from .groups import Group, Grouped
from .plan import Memory, Plan, Update


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

    memory: Mapping[str, float]
    _compiled_rule: Rule
    _state: list[dict[str, Any]]
    _missed: tuple[int, ...]
    _memory: list[Memory]  # one of each launch in _updates
    _verdict: Verdict
    _plan: Plan
    _updates: list[Update]
    _skipped: int

    def _lay_out(self, memories: Sequence[Memory]) -> None:
        """Make the tables anew, for parameters with these memories."""
        self._plan = Plan(self._compiled_rule._kernel, self._params, self._columns(), self._decays)
        self.__dict__.update(self._launched(self._missed, memories), _fast=None)

    def _columns(self) -> Sequence[Mapping[str, Any]]:
        """The arrays of each parameter that the rule has beside it and its gradient."""
        return self._state

    def _launched(self, missed: tuple[int, ...], memories: Sequence[Memory]) -> dict[str, Any]:
        """Attributes for parameters that have missed so many steps and have these memories."""
        updates = self._plan.updates(missed, memories)
        memory = [memories[min(update.members)] for update in updates]
        return {"_missed": missed, "_updates": updates, "_memory": memory}

    def _first_memories(self, count: int) -> list[Memory]:
        """Those of so many parameters that have had no update."""
        return [{name: float(first) for name, first in self.memory.items()}] * count

    def _memories(self, of_launches: Sequence[Memory]) -> list[Memory]:
        """The memory of each parameter."""
        pairs = zip(self._updates, of_launches, strict=True)
        found = {index: memory for update, memory in pairs for index in update.members}
        return [found[index] for index in range(len(self._params))]

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies: steps, hyperparameters, and each parameter's state by its name.

        Returns
        -------
        dict
            ``{"rule": name, "t": steps, "skipped": steps, "max_norm": value,
            "groups": {name: {hyperparameter: value}},
            "state": {parameter: {"updates": count, memory name: number, state name: array}}}``. A
            hyperparameter with a schedule holds the schedule's own ``state_dict()``, or None.
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
                | memory
                | {name: p.place.read(s, copy=True) for name, s in arrays.items()}
                for p, arrays, memory in zip(
                    self._params, self._state, self._memories(self._memory), strict=True
                )
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
                if not isinstance(given, np.ndarray):
                    given = (as_view if array.dtype.kind == "f" else numbers)(name, given)
                p.place.copy(array, given)
        memories = [
            {name: float(state["state"][p.name][name]) for name in memory}
            for p, memory in zip(self._params, self._memories(self._memory), strict=True)
        ]
        self._t, self._skipped, self._guard, self._fast = t, int(state["skipped"]), guard, None
        self.__dict__.update(self._launched(tuple(t - count for count in updates), memories))

    # Copies: tables hold addresses, so a copy makes its own.

    def __copy__(self) -> Self:
        """An optimizer of these very parameters, with state, counts and hyperparameters of its own."""
        return copy.deepcopy(self, {id(each): each for each in self._params.containers})

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        left = ("_plan", "_updates", "_fast", "_verdict")
        kept = {name: value for name, value in self.__dict__.items() if name not in left}
        memories = self._memories(self._memory)
        return kept | {"_verdict": Known(ONE, self._verdict.norm()), "_memory": memories}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lay_out(self._memory)


def remembered(memory: Memory, scalars: Mapping[str, Any]) -> Memory:
    """The new values among the scalars; ValueError or TypeError if one is missing or no number."""
    if missing := [name for name in memory if name not in scalars]:
        raise ValueError(f"scalars are {list(scalars)}, expected the new {missing[0]} too, which is a memory")
    return {name: number(f"the new {name}", scalars[name], ANY) for name in memory}


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
    elif isinstance(mine, float):
        number(where, state, ANY)
    elif not isinstance(state, (int, np.integer)) or state < 0:
        raise ValueError(f"{where} is {state!r}, expected a count")
