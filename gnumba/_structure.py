"""Containers of arrays: a single one, a list, a tuple, a dict, or a list of groups of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def are_groups(params: Any) -> bool:
    return isinstance(params, (list, tuple)) and any(isinstance(entry, Mapping) for entry in params)


def groups(params: Any, hyper: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A dict a group: its parameters, its name, every hyperparameter."""
    if not are_groups(params):
        return [{"params": params, "name": "0", **hyper}]
    groups = []
    for k, entry in enumerate(params):
        if not isinstance(entry, Mapping) or "params" not in entry:
            raise ValueError(f"params[{k}] is {outline(entry)}, expected a group: a dict with 'params'")
        if unknown := sorted(set(entry) - {"params", "name", *hyper}):
            raise ValueError(f"params[{k}] has {unknown}, expected 'params', 'name' or one of {list(hyper)}")
        groups.append(
            {"params": entry["params"], "name": str(entry.get("name", k)), **hyper} | _overrides(entry)
        )
    names = [group["name"] for group in groups]
    if len(set(names)) < len(names):
        raise ValueError(f"the groups' names are {names}, expected each once")
    return groups


def _overrides(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in ("params", "name")}


def is_container(params: Any) -> bool:
    return isinstance(params, (list, tuple, Mapping))


def keys(params: Any) -> list[Any]:
    """The keys of a container of arrays."""
    return list(params) if isinstance(params, Mapping) else list(range(len(params)))


def values_like(where: str, entry: Any, params: Any) -> list[Any]:
    """The values of ``entry`` in the order of ``params``, whose structure it must have."""
    if not is_container(params):
        return [entry]
    if isinstance(params, Mapping):
        if not isinstance(entry, Mapping):
            raise TypeError(f"{where} is {outline(entry)}, expected a dict as params is")
        if entry.keys() != params.keys():
            unknown, missing = list(entry.keys() - params.keys()), list(params.keys() - entry.keys())
            raise ValueError(
                f"{where} has unknown names {unknown} and lacks {missing}, expected those of params"
            )
        return [entry[key] for key in params]
    if not isinstance(entry, (list, tuple)):
        raise TypeError(f"{where} is {outline(entry)}, expected a list as params is")
    if len(entry) != len(params):
        raise ValueError(f"{where} has {len(entry)} entries, expected one a parameter, {len(params)}")
    return list(entry)


def outline(x: Any) -> str:
    """What a thing is, in a few words, for an error message."""
    if hasattr(x, "shape"):
        return f"an array of shape {tuple(x.shape)}"
    return f"a {type(x).__name__}" + (f" of {len(x)}" if hasattr(x, "__len__") else "")
