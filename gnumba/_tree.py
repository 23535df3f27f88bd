"""Containers of arrays, nested to any depth: the arrays' names, and what else is built like them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

DEEPEST = 100  # levels


def read(params: Any) -> Any:
    """A container as it is; any other iterable as a list, or as a dict if it is of (name, array) pairs."""
    if isinstance(params, (list, tuple, Mapping, str, bytes)) or hasattr(params, "shape"):
        return params
    if not isinstance(params, Iterable):
        return params
    entries = list(params)
    if not entries or not all(map(_is_named, entries)):
        return entries
    names = [name for name, _ in entries]
    if len(set(names)) < len(names):
        raise ValueError(f"params has the names {names}, expected each once")
    return dict(entries)


def _is_named(entry: Any) -> bool:
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)


class Structure(Protocol):
    """How a container is built, or that there is a single array."""

    paths: list[tuple[Any, ...]]  # keys on the way to each array
    at: str  # where it is in params, as Python would say it
    kind: str  # in words

    def fits(self, entry: Any) -> bool:
        """Whether an entry is of the kind that was here."""

    def held(self, entry: Any) -> tuple[Any, ...]:
        """Arrays in a container where they were when it was read; ValueError if it has others too."""

    def match(self, where: str, entry: Any) -> tuple[Any, ...]:
        """Values of an entry that is built alike; ValueError or TypeError for one that is not."""

    def build(self, values: Iterator[Any]) -> Any:
        """A container that is built alike, of the next values."""


class Leaf:
    """Structure of a single array."""

    kind, at = "an array", ""

    def __init__(self, path: tuple[Any, ...]) -> None:
        self.paths = [path]

    def fits(self, entry: Any) -> bool:
        return True

    def held(self, entry: Any) -> tuple[Any, ...]:
        return (entry,)

    def match(self, where: str, entry: Any) -> tuple[Any, ...]:
        return (entry,)

    def build(self, values: Iterator[Any]) -> Any:
        return next(values)


class Branch:
    """Structure of a container, of arrays or of containers."""

    def __init__(self, path: tuple[Any, ...], keys: Sequence[Any], entries: Iterable[Any]) -> None:
        self.keys = list(keys)
        self.at = "".join(f"[{key!r}]" for key in path)
        self.children = [structure(e, (*path, key)) for key, e in zip(self.keys, entries, strict=True)]
        self.is_flat = all(type(child) is Leaf for child in self.children)
        self.paths = [path for child in self.children for path in child.paths]

    def _held_below(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        for child, entry in zip(self.children, entries, strict=True):
            if not child.fits(entry):
                raise ValueError(
                    f"params{child.at} is {outline(entry)} by now, expected {child.kind}, as it was given"
                )
        held = (child.held(entry) for child, entry in zip(self.children, entries, strict=True))
        return tuple(chain.from_iterable(held))

    def _match_below(self, where: str, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        matched = (child.match(where, e) for child, e in zip(self.children, entries, strict=True))
        return tuple(chain.from_iterable(matched))


class ListOf(Branch):
    """Structure of a list or a tuple."""

    kind = "a list"

    def __init__(self, path: tuple[Any, ...], container: Sequence[Any]) -> None:
        kind: Any = type(container)
        fields = getattr(kind, "_fields", None)  # of a named tuple
        self.make = kind._make if fields else tuple if isinstance(container, tuple) else list
        super().__init__(path, fields or range(len(container)), container)

    def fits(self, entry: Any) -> bool:
        return isinstance(entry, (list, tuple))

    def held(self, entry: Any) -> tuple[Any, ...]:
        if len(entry) != len(self.keys):
            raise ValueError(
                f"params{self.at} has {len(entry)} entries by now, expected {len(self.keys)}, as it was given"
            )
        return tuple(entry) if self.is_flat else self._held_below(entry)

    def match(self, where: str, entry: Any) -> tuple[Any, ...]:
        if not isinstance(entry, (list, tuple)):
            if not isinstance(entry, Iterator):
                raise TypeError(f"{where}{self.at} is {outline(entry)}, expected a list as params is")
            entry = tuple(entry)
        if len(entry) != len(self.keys):
            raise ValueError(
                f"{where}{self.at} has {len(entry)} entries, expected one a parameter, {len(self.keys)}"
            )
        return tuple(entry) if self.is_flat else self._match_below(where, entry)

    def build(self, values: Iterator[Any]) -> Any:
        return self.make([child.build(values) for child in self.children])


class DictOf(Branch):
    """Structure of a dict or another mapping."""

    kind = "a dict"

    def __init__(self, path: tuple[Any, ...], container: Mapping[Any, Any]) -> None:
        super().__init__(path, list(container), container.values())
        self._values = values_of(self.keys)

    def fits(self, entry: Any) -> bool:
        return isinstance(entry, Mapping)

    def held(self, entry: Any) -> tuple[Any, ...]:
        try:
            values = self._values(entry)
        except KeyError:  # not suppress(), which takes as long as all the rest
            values = None
        if values is None or len(entry) != len(self.keys):
            raise ValueError(
                f"params{self.at} has the names {list(entry)} by now, expected {self.keys}, as it was given"
            )
        return values if self.is_flat else self._held_below(values)

    def match(self, where: str, entry: Any) -> tuple[Any, ...]:
        if type(entry) is not dict and not isinstance(entry, Mapping):
            raise TypeError(f"{where}{self.at} is {outline(entry)}, expected a dict as params is")
        try:
            values = self._values(entry) if len(entry) == len(self.keys) else None
        except KeyError:
            values = None
        if values is None:
            raise unlike(f"{where}{self.at}", entry, self.keys)
        return values if self.is_flat else self._match_below(where, values)

    def build(self, values: Iterator[Any]) -> Any:
        return {key: child.build(values) for key, child in zip(self.keys, self.children, strict=True)}


def structure(container: Any, path: tuple[Any, ...] = ()) -> Structure:
    """The structure of a container, or of a single array, that is found along a path of keys."""
    if len(path) > DEEPEST:
        raise ValueError(f"params is nested over {DEEPEST} deep or contains itself: {path[:3]} and so on")
    if isinstance(container, Mapping):
        return DictOf(path, container)
    if isinstance(container, (list, tuple)):
        return ListOf(path, container)
    return Leaf(path)


def unlike(where: str, entry: Mapping[Any, Any], names: Sequence[Any]) -> ValueError:
    """The error for a mapping with other names than these."""
    unknown, missing = [n for n in entry if n not in names], [n for n in names if n not in entry]
    return ValueError(f"{where} has unknown names {unknown} and lacks {missing}, expected those of params")


def values_of(names: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """``values(mapping)``: what it has under these names, in their order."""
    if len(names) > 1:
        return operator.itemgetter(*names)
    return functools.partial(_few_values, tuple(names))


def _few_values(names: tuple[Any, ...], mapping: Any) -> tuple[Any, ...]:
    return tuple(mapping[name] for name in names)


def outline(x: Any) -> str:
    """Describe an object in a few words, for an error message."""
    if hasattr(x, "shape"):
        return f"an array of shape {tuple(x.shape)}"
    return f"a {type(x).__name__}" + (f" of {len(x)}" if hasattr(x, "__len__") else "")
