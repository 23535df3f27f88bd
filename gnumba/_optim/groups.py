"""Groups of parameters: their hyperparameters, which are an optimizer's attributes too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from .._hyper import ANY, Range, fixed, is_fixed, is_scheduled, value_at
from .._params import Parameter, Params, Part
from .._rule import Rule
from .._signals import uninterrupted
from .._suggest import Suggesting, nearest, no_attribute
from .clipping import Guard

DECAY = "weight_decay"


class Group(MutableMapping[str, Any]):
    """A group of parameters: ``"params"``, ``"name"`` and hyperparameters, checked as they are set."""

    def __init__(self, params: Any, name: str, hyper: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
        self._items = {"params": params, "name": name} | {key: fixed(value) for key, value in hyper.items()}
        self._ranges = {key: ranges.get(key, ANY) for key in hyper}
        self.constants: dict[str, Any] | None = None  # the values, one dict as long as all are numbers
        self._spared: tuple[Any, dict[str, Any]] = (None, {})  # values, and these without decay
        self.values_at(0)

    def values_at(self, t: int) -> dict[str, Any]:
        """The hyperparameters after ``t`` steps, checked; computed once as long as all are numbers."""
        if self.constants is not None:
            return self.constants
        values = {key: value_at(t, key, self._items[key], allowed) for key, allowed in self._ranges.items()}
        if all(is_fixed(self._items[key]) for key in self._ranges):
            self.constants = values
        return values

    def taken(self, values: dict[str, Any], decays: bool) -> dict[str, Any]:
        """These values as parameters take them that decay or do not; for one dict one and the same."""
        if decays:
            return values
        if self._spared[0] is not values:
            self._spared = values, values | {DECAY: 0.0}
        return self._spared[1]

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._ranges:
            names = list(self._ranges)
            raise ValueError(
                f"group {self['name']} has no hyperparameter {key!r}, expected one of {names}"
                f"{nearest(str(key), names)}"
            )
        value = fixed(value)
        if not is_scheduled(value):
            value_at(0, key, value, self._ranges[key])
        self._items[key], self.constants = value, None

    def __delitem__(self, key: str) -> None:
        raise TypeError(f"{key!r} cannot be deleted from group {self['name']}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


class Grouped(Suggesting):
    """Base of optimizers: hyperparameters by groups, and by name as attributes of the first group.

    A subclass sets ``_names``, of hyperparameters, ``_flags``, which are fixed, ``_given``, what groups have
    that do not say, and whatever else stands here.
    """

    ranges: Mapping[str, Range]
    _names: tuple[str, ...]
    _flags: Mapping[str, bool]
    _rule: Rule
    _given: Mapping[str, Any]
    _groups: list[Group]
    _params: Params
    _guard: Guard
    _decay_mask: Any
    _decays: tuple[bool, ...]
    _fast: Any
    _t: int
    _settle: Callable[[], None]
    _grow: Callable[[Params, list[Parameter], tuple[bool, ...]], None]
    complete: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    @property
    def t(self) -> int:
        """Steps taken."""
        self._settle()
        return self._t

    @property
    def rule(self) -> Rule:
        """The scalar update rule."""
        return self._rule

    @property
    def groups(self) -> list[Group]:
        """The groups of parameters, mappings whose hyperparameters may be changed."""
        return self._groups

    def _group(self, k: int, part: Part, hyper: Mapping[str, Any]) -> Group:
        """The group of a part, with these hyperparameters where it has none of its own."""
        if unknown := sorted(part.hyper.keys() - hyper.keys()):
            raise ValueError(
                f"params[{k}] has {unknown}, expected 'params', 'name' or one of {list(hyper)}"
                f"{nearest(str(unknown[0]), [name for name in hyper if name not in part.hyper])}"
            )
        return Group(part.container, part.name, self.complete({**hyper, **part.hyper}), self.ranges)

    def add_group(self, group: Mapping[str, Any]) -> None:
        """Add a group of parameters, whose first update is the next step's.

        Parameters
        ----------
        group : dict
            ``"params"`` and, as in the groups that the optimizer was made with, ``"name"`` and
            hyperparameters; those that it lacks are the ones that were given for all groups.

        Raises
        ------
        ValueError, TypeError
            If the optimizer was made without groups, or the group would not have done when it was made:
            a name that there is, arrays that share elements with others. Nothing has changed then.
        """
        if not self._params.is_grouped:
            raise ValueError(
                "params was given without groups, expected a list of groups to add one to, "
                "as gradients then come in a list: [{'params': ...}]"
            )
        self._check_groups()
        params = self._params.with_group(group)
        added = [*params][len(self._params) :]
        made = self._group(len(self._groups), params.parts[-1], self._given)
        decays = decaying(added, self._decay_mask, self._names)
        self._guard.check_places(params)
        with uninterrupted():
            self._grow(params, added, decays)
            self._groups.append(made)

    def _check_groups(self) -> None:
        if len(self._groups) != len(self._params.parts):
            raise ValueError(
                f"groups has {len(self._groups)} entries by now, expected {len(self._params.parts)}: "
                "add_group adds one"
            )

    @property
    def max_norm(self) -> Any:
        """The largest norm that the gradients together may have; None for any."""
        return self._guard.max_norm

    @max_norm.setter
    def max_norm(self, value: Any) -> None:
        self._set_guard(Guard(value, self.nonfinite))

    @property
    def nonfinite(self) -> str:
        """Policy for inf and nan in the gradients: "apply", "skip" or "raise"."""
        return self._guard.nonfinite

    @nonfinite.setter
    def nonfinite(self, value: str) -> None:
        self._set_guard(Guard(self.max_norm, value))

    def _set_guard(self, guard: Guard) -> None:
        guard.check_places(self._params)
        self._guard, self._fast = guard, None

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if name in own.get("_names", ()):
            return self._groups[0].values_at(self.t)[name]
        if name in own.get("_flags", ()):
            return self._flags[name]
        raise no_attribute(self, name, self._public())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_names", ()):
            for group in self._groups:
                group[name] = value
        elif name in self.__dict__.get("_flags", ()):
            raise AttributeError(f"{name} is fixed when the optimizer is made, it cannot be set")
        elif name.startswith("_") or hasattr(type(self), name) or name in _declared(type(self)):
            super().__setattr__(name, value)
        else:
            raise no_attribute(self, name, self._public())

    def _public(self) -> list[str]:
        return [name for name in dir(self) if not name.startswith("_")]

    def __dir__(self) -> list[str]:
        own = self.__dict__
        return sorted({*super().__dir__(), *own.get("_names", ()), *own.get("_flags", ())})

    def __repr__(self) -> str:
        flags = "".join(f", {name}=True" for name, flag in self._flags.items() if flag)
        lines = [f"{type(self).__name__}(rule={self.rule.name}, t={self.t}{flags}{self._guard}"]
        for index, group in enumerate(self.groups):
            hyper = ", ".join(f"{name}={shown(group[name])}" for name in self._names)
            count = sum(p.group == index for p in self._params)
            lines.append(f"  group {group['name']}: {count} arrays, {hyper}")
        return "\n".join(lines) + ")"


def checked_flag(name: str, flag: Any) -> bool:
    """True or False; TypeError for what is neither."""
    if not isinstance(flag, (bool, np.bool_)):
        raise TypeError(f"{name} is {flag!r}, expected True or False")
    return bool(flag)


def decaying(params: list[Parameter], mask: Any, names: tuple[str, ...]) -> tuple[bool, ...]:
    """Which parameters ``decay_mask`` lets decay; all without one."""
    if mask is None:
        return (True,) * len(params)
    if DECAY not in names:
        raise ValueError(f"decay_mask is {mask!r}, expected none, as there is no {DECAY}")
    if not callable(mask):
        raise TypeError(f"decay_mask is {mask!r}, expected a function of a name and an array")
    return tuple(checked_flag(f"decay_mask of parameter {p.name}", mask(p.name, p.whole)) for p in params)


def _declared(kind: type) -> set[str]:
    """Attributes that a class or its bases annotate: those that a subclass of a user adds."""
    return {name for each in kind.__mro__ for name in inspect.get_annotations(each)}


def shown(value: Any) -> str:
    """A hyperparameter for repr: functions by their name."""
    return value.__name__ if hasattr(value, "__name__") else repr(value)
