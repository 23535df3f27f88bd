"""Containers of arrays: a single one, a list, a tuple, a dict, or a list of groups of these."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from ._hyper import ANY, Range, fixed, is_fixed, is_scheduled, value_at
from ._suggest import nearest


def are_groups(params: Any) -> bool:
    return isinstance(params, (list, tuple)) and any(isinstance(entry, Mapping) for entry in params)


class Group(MutableMapping[str, Any]):
    """A group of parameters: ``"params"``, ``"name"`` and hyperparameters, checked as they are set."""

    def __init__(self, params: Any, name: str, hyper: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
        self._items = {"params": params, "name": name} | {key: fixed(value) for key, value in hyper.items()}
        self._ranges = {key: ranges.get(key, ANY) for key in hyper}
        self._fixed: dict[str, Any] | None = None  # the values, as long as all are numbers
        self.match, self.held = matcher(params), holder(params)
        self.values_at(0)

    @property
    def constants(self) -> dict[str, Any] | None:
        """The hyperparameters, one and the same dict until one is set; None where one is a schedule."""
        return self._fixed

    def values_at(self, t: int) -> dict[str, Any]:
        """The hyperparameters after ``t`` steps, checked; computed once as long as all are numbers."""
        if self._fixed is not None:
            return self._fixed
        values = {key: value_at(t, key, self._items[key], allowed) for key, allowed in self._ranges.items()}
        if all(is_fixed(self._items[key]) for key in self._ranges):
            self._fixed = values
        return values

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
        self._items[key], self._fixed = value, None

    def __delitem__(self, key: str) -> None:
        raise TypeError(f"{key!r} cannot be deleted from group {self['name']}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


Complete = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def groups(
    params: Any, hyper: Mapping[str, Any], ranges: Mapping[str, Range], complete: Complete
) -> list[Group]:
    """The groups in ``params``; without groups, one that holds all.

    ``complete`` fills in a group's hyperparameters that follow from others.
    """
    if not are_groups(params):
        return [Group(params, "0", complete(hyper), ranges)]
    made = []
    for k, entry in enumerate(params):
        _check_group(k, entry)
        own = {key: value for key, value in entry.items() if key not in ("params", "name")}
        if unknown := sorted(own.keys() - hyper.keys()):
            raise ValueError(
                f"params[{k}] has {unknown}, expected 'params', 'name' or one of {list(hyper)}"
                f"{nearest(str(unknown[0]), [name for name in hyper if name not in own])}"
            )
        made.append(Group(entry["params"], str(entry.get("name", k)), complete({**hyper, **own}), ranges))
    names = [group["name"] for group in made]
    if len(set(names)) < len(names):
        raise ValueError(f"the groups' names are {names}, expected each once")
    return made


def named(params: Any) -> dict[str, Any]:
    """The arrays by the names that an optimizer has for them."""
    if are_groups(params):
        for k, entry in enumerate(params):
            _check_group(k, entry)
        parts = [(f"{entry.get('name', k)}/", entry["params"]) for k, entry in enumerate(params)]
    else:
        parts = [("", params)]
    pairs = [
        (f"{prefix}{key}", array)
        for prefix, part in parts
        for key, array in zip(keys_of(part), holder(part)(), strict=True)
    ]
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"params has the names {[name for name, _ in pairs]}, expected each once")
    return dict(pairs)


def containers_of(params: Any) -> list[Any]:
    """The containers that an optimizer looks at anew at each step: that of each group, or the one."""
    if not are_groups(params):
        return [params]
    return [params, *params, *(entry["params"] for entry in params)]


def _check_group(k: int, entry: Any) -> None:
    if not isinstance(entry, Mapping) or "params" not in entry:
        raise ValueError(f"params[{k}] is {outline(entry)}, expected a group: a dict with 'params'")


def keys_of(params: Any) -> list[Any]:
    """By what the container holds its arrays: names or positions."""
    if isinstance(params, Mapping):
        return list(params)
    return list(range(len(params) if isinstance(params, (list, tuple)) else 1))


def values_of(names: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """``values(mapping)``: what it has under these names, in their order."""
    if len(names) > 1:
        return operator.itemgetter(*names)
    return functools.partial(_few_values, tuple(names))


def _few_values(names: tuple[Any, ...], mapping: Any) -> tuple[Any, ...]:
    return tuple(mapping[name] for name in names)


def holder(params: Any) -> Callable[[], tuple[Any, ...]]:
    """``held()``: what the container holds by now where it held the arrays; None where it lacks one."""
    if isinstance(params, Mapping):
        return functools.partial(_held_by_names, params, tuple(params), values_of(tuple(params)))
    return functools.partial(tuple, params if isinstance(params, (list, tuple)) else (params,))


def _held_by_names(
    params: Mapping[Any, Any], names: tuple[Any, ...], values: Callable[[Any], tuple[Any, ...]]
) -> tuple[Any, ...]:
    try:
        return values(params)
    except KeyError:
        return tuple(map(params.get, names))


def matcher(params: Any) -> Callable[[str, Any], tuple[Any, ...]]:
    """``match(where, entry)``: the values of an entry built like ``params``, in the order of params."""
    if isinstance(params, Mapping):
        return functools.partial(_match_mapping, params, list(params), values_of(tuple(params)))
    if isinstance(params, (list, tuple)):
        return functools.partial(_match_sequence, params, len(params))
    return _match_single


def _match_single(where: str, entry: Any) -> tuple[Any, ...]:
    return (entry,)


def _match_sequence(params: Sequence[Any], count: int, where: str, entry: Any) -> tuple[Any, ...]:
    if len(params) != count:
        raise ValueError(f"params has {len(params)} entries by now, expected {count}, as it was given")
    if not isinstance(entry, (list, tuple)):
        raise TypeError(f"{where} is {outline(entry)}, expected a list as params is")
    if len(entry) != count:
        raise ValueError(f"{where} has {len(entry)} entries, expected one a parameter, {count}")
    return tuple(entry)


def _match_mapping(
    params: Mapping[Any, Any],
    names: list[Any],
    values: Callable[[Any], tuple[Any, ...]],
    where: str,
    entry: Any,
) -> tuple[Any, ...]:
    if len(params) != len(names):
        raise ValueError(f"params has the names {list(params)} by now, expected {names}, as it was given")
    if type(entry) is not dict and not isinstance(entry, Mapping):
        raise TypeError(f"{where} is {outline(entry)}, expected a dict as params is")
    try:
        if len(entry) == len(names):
            return values(entry)
    except KeyError:  # not suppress(), which takes as long as all the rest
        pass
    unknown, missing = [n for n in entry if n not in names], [n for n in names if n not in entry]
    raise ValueError(f"{where} has unknown names {unknown} and lacks {missing}, expected those of params")


def outline(x: Any) -> str:
    """Describe an object in a few words, for an error message."""
    if hasattr(x, "shape"):
        return f"an array of shape {tuple(x.shape)}"
    return f"a {type(x).__name__}" + (f" of {len(x)}" if hasattr(x, "__len__") else "")
