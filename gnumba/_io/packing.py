"""Nested values as JSON and tensors, and back: equal, of the same types, arrays to the bit.

What JSON lacks is a dict with one key that begins with "$"; an array is the name of its tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._engine.arrays import as_view, is_foreign
from .._engine.place import place_of

Array = np.ndarray[Any, np.dtype[Any]]

DEPTH = 100  # of what users add; far below what any reader of JSON takes


def packed(path: str, value: Any, tensors: dict[str, Array]) -> Any:
    """A value as JSON; its arrays go to ``tensors`` by their path. TypeError for what cannot."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: packed(below(path, key), item, tensors) for key, item in value.items()}
        return {"$dict": packed(path, [list(pair) for pair in value.items()], tensors)}
    if isinstance(value, (list, tuple)):
        items = [packed(below(path, k), item, tensors) for k, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, np.ndarray) or is_foreign(value):
        tensors[path] = dense(path, value if isinstance(value, np.ndarray) else as_view(path, value))
        return {"$array": path}
    if isinstance(value, np.generic):
        tensors[path] = dense(path, np.asarray(value))
        return {"$number": path}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{path} is of type {type(value).__name__}, "
        "expected a dict, list, tuple, array, number, string or None"
    )


def unpacked(value: Any, tensors: Mapping[str, Array]) -> Any:
    """Inverse of `packed`: the value from its JSON form and its tensors."""
    match value:
        case {"$dict": pairs}:
            return {unpacked(key, tensors): unpacked(item, tensors) for key, item in pairs}
        case {"$tuple": items}:
            return tuple(unpacked(item, tensors) for item in items)
        case {"$array": name}:
            return tensors[name]
        case {"$number": name}:
            return tensors[name][()]
        case dict():
            return {key: unpacked(item, tensors) for key, item in value.items()}
        case list():
            return [unpacked(item, tensors) for item in value]
    return value


def dense(path: str, array: Array) -> Array:
    """An array as safetensors takes it: without gaps, copied if need be; TypeError for other kinds."""
    if array.dtype.kind not in "biuf" or array.itemsize > 8:
        raise TypeError(f"{path} has dtype {array.dtype}, expected bools, integers or floats up to 64 bits")
    return np.asarray(place_of(array).read(array), order="C")


def as_json(where: str, value: Any, depth: int = DEPTH) -> Any:
    """A value, NumPy's scalars in it as Python's; TypeError or ValueError unless JSON gives back the rest."""
    if isinstance(value, (dict, list)) and not depth:
        raise ValueError(f"{where} is more than {DEPTH} dicts and lists deep, or holds itself")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, expected strings, as JSON has them")
        return {key: as_json(f"{where}[{key!r}]", item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(f"{where}[{key}]", item, depth - 1) for key, item in enumerate(value)]
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()  # of a longdouble itself
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise TypeError(
            f"{where} is of type {type(value).__name__}, "
            "expected what JSON has: a dict, list, string, number, bool or None"
        )
    return value


def below(path: str, key: Any) -> str:
    """The path of an item; a slash in a key is escaped, as in a JSON pointer, so that no two meet."""
    return f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
