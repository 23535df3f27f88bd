"""Params: named arrays that are updated in place, checked to be those that their containers hold."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._engine import checks
from ._engine.arrays import as_view
from ._engine.libraries import has_version
from ._engine.place import place_of
from ._engine.storage import Storages, storage_of
from ._engine.table import Table
from ._engine.view import layout
from ._rule import Elementwise
from ._tree import Structure, outline, read, structure, unlike, values_of

Array = np.ndarray[Any, np.dtype[Any]]
Kernel = tuple[Elementwise, Storages | None]  # None: as the arrays say
SEEN_ANEW = ("layout", "array")  # recomputed in a copy of a parameter


class Part(NamedTuple):
    """A group of parameters, or all where there are no groups: as it was given."""

    name: str
    container: Any
    structure: Structure
    hyper: dict[str, Any]  # of its own
    prefix: str

    @property
    def names(self) -> list[str]:
        """The arrays' names: their paths in the container, 0 for a single array."""
        return [f"{self.prefix}{'/'.join(map(str, path or (0,)))}" for path in self.structure.paths]

    def held(self) -> tuple[Any, ...]:
        """The arrays that the container holds at present; ValueError if it has others too."""
        return self.structure.held(self.container)

    def wholes(self) -> tuple[Any, ...]:
        """The arrays that those of the container are parts of, if not they themselves."""
        return tuple(self.container.wholes.values()) if isinstance(self.container, Slices) else self.held()


class Slices(dict[str, Any]):
    """Flat parts of parameters, by their names, of which others hold the rest.

    ``wholes`` are the parameters; ``judge`` takes the place of `Place.judge`, for the norm of them all.
    """

    def __init__(self, slices: Mapping[str, Any], wholes: Mapping[str, Any], judge: Any) -> None:
        super().__init__(slices)
        self.wholes, self.judge = wholes, judge


def are_groups(params: Any) -> bool:
    """Whether params is a list of groups: some entry says which are its parameters."""
    return isinstance(params, (list, tuple)) and any(
        isinstance(entry, Mapping) and "params" in entry for entry in params
    )


def read_once(params: Any) -> Any:
    """Params with containers in place of what can be iterated over only once."""
    params = read(params)
    if not are_groups(params):
        return params
    made = [_read_group(entry) for entry in params]
    return params if all(map(operator.is_, made, params)) else made


def _read_group(entry: Any) -> Any:
    """A group with a container in place of what can be iterated over only once."""
    if not isinstance(entry, Mapping) or "params" not in entry:
        return entry
    container = read(entry["params"])
    return entry if container is entry["params"] else {**entry, "params": container}


def parts(params: Any) -> list[Part]:
    """The groups in ``params``, or all of it as one part."""
    params = read_once(params)
    if not are_groups(params):
        return [Part("0", params, structure(params), {}, "")]
    made = [_part(k, entry) for k, entry in enumerate(params)]
    _check_unique("the groups' names are", [part.name for part in made])
    return made


def _part(k: int, entry: Any) -> Part:
    if not isinstance(entry, Mapping) or "params" not in entry:
        raise ValueError(f"params[{k}] is {outline(entry)}, expected a group: a dict with 'params'")
    container, name = entry["params"], str(entry.get("name", k))
    hyper = {key: value for key, value in entry.items() if key not in ("params", "name")}
    return Part(name, container, structure(container), hyper, f"{name}/")


def _check_unique(what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"{what} {names}, expected each once")


def named(params: Any) -> dict[str, Any]:
    """The arrays by the names that an optimizer has for them."""
    found = parts(params)
    names = [name for part in found for name in part.names]
    _check_unique("params has the names", names)
    return dict(zip(names, (x for part in found for x in part.held()), strict=True))


class Params:
    """Arrays to update in place: nested, named by their paths, in groups.

    The containers are looked at anew at each step: an array that is no longer in its container would be
    trained for nobody.
    """

    def __init__(self, params: Any, narrow: bool = False) -> None:
        params, self.narrow = read_once(params), narrow
        self.is_grouped = are_groups(params)
        self.parts = parts(params)
        self._containers = [params, *params] if self.is_grouped else []
        self._enumerate()

    def _enumerate(self) -> None:
        count = itertools.count()
        self._all = [
            Parameter(next(count), name, array, k, whole)
            for k, part in enumerate(self.parts)
            for name, array, whole in zip(part.names, part.held(), part.wholes(), strict=True)
        ]
        if not self._all:
            raise ValueError("params has no arrays, expected at least one")
        self._names = [p.name for p in self._all]
        _check_unique("params has the names", self._names)
        self._values = values_of(self._names)
        self._see()

    def _see(self) -> None:
        """Find the arrays' memory."""
        self.memory = checks.check_updated("parameter", {p.name: p.given for p in self._all}, self.narrow)
        for p in self._all:
            p.see(self.memory.arrays[p.name])
        self.versioned = [p for p in self._all if has_version(p.given)]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: int) -> Parameter:
        return self._all[index]

    @property
    def judge(self) -> Any:
        """The function for the norm of gradients: see `Place.judge`."""
        container = self.parts[0].container
        return container.judge if isinstance(container, Slices) else self[0].place.judge

    @property
    def containers(self) -> list[Any]:
        """Containers and arrays as they were given, which a shallow copy has in common with its original."""
        return [*self._containers, *(part.container for part in self.parts), *(p.given for p in self._all)]

    def with_group(self, entry: Any) -> Params:
        """These arrays and those of another group."""
        made, entry = object.__new__(type(self)), _read_group(entry)
        made.is_grouped, made.narrow = True, self.narrow
        made.parts = [*self.parts, _part(len(self.parts), entry)]
        _check_unique("the groups' names are", [part.name for part in made.parts])
        made._containers = [*self._containers, entry]
        made._enumerate()
        return made

    # What the containers hold, and what is built like them.

    def held(self) -> tuple[Any, ...]:
        """The arrays that the containers hold at present; ValueError if they have others too."""
        if not self.is_grouped:
            return self.parts[0].held()
        return tuple(x for part in self.parts for x in part.held())

    def check_held(self) -> None:
        """ValueError unless the containers hold the arrays that they were given with."""
        for p, x in zip(self._all, self.held(), strict=True):
            p.check_held(x)

    def match(self, name: str, entry: Any) -> tuple[Any, ...]:
        """The values of an entry built like params, in order: a list for groups, or a dict by all names."""
        if not self.is_grouped:
            return self.parts[0].structure.match(name, entry)
        if isinstance(entry, Mapping):
            if entry.keys() != set(self._names):
                raise unlike(name, entry, self._names)
            return self._values(entry)
        if not isinstance(entry, (list, tuple)) or len(entry) != len(self.parts):
            raise ValueError(f"{name} is {outline(entry)}, expected one entry a group, {len(self.parts)}")
        pairs = zip(self.parts, entry, strict=True)
        return tuple(
            x for part, each in pairs for x in part.structure.match(f"{name} of group {part.name}", each)
        )

    def built(self, values: Sequence[Any]) -> Any:
        """Values, one a parameter, in the structure of params; in groups each group's."""
        left = iter(values)
        made = [part.structure.build(left) for part in self.parts]
        return made if self.is_grouped else made[0]

    # Tables.

    def tables(
        self, kernels: Sequence[Kernel], columns: Sequence[Sequence[Any]], cohorts: Sequence[Hashable] = ()
    ) -> list[tuple[Table, list[Parameter]]]:
        """Tables of rows (p, *columns of p): one a storage, a place and a cohort, and whose rows they are.

        ``kernels`` are each parameter's function and the storages of its columns: for one storage the same.
        """
        members: dict[Hashable, list[Parameter]] = {}
        for p in self._all:
            key = (*cohorts[p.index : p.index + 1], p.storage, p.place)
            members.setdefault(key, []).append(p)
        made = []
        for chosen in members.values():
            function, storages = kernels[chosen[0].index]
            rows = [(p.array, *columns[p.index]) for p in chosen]
            made.append((Table(function, rows, storages), chosen))
        return made

    # Copies: addresses are found anew.

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("memory", "versioned")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._see()


class Parameter:
    """One array to be updated, and which one it is a part of, if any."""

    def __init__(self, index: int, name: str, given: Any, group: int, whole: Any) -> None:
        self.index, self.name, self.given, self.group, self.whole = index, name, given, group, whole

    def see(self, array: Array) -> None:
        """Take ``array`` as the view of the memory to update."""
        self.array: Any = array
        self.storage, self.place = storage_of(array), place_of(array)
        self.layout = layout(array)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in SEEN_ANEW}

    def check_held(self, held: Any) -> Any:
        """The array as it is now; ValueError unless the container holds it, writable and where it was."""
        now = as_view(self.name, self.given, narrow=True)
        moved = layout(now) != self.layout
        if held is not self.given or moved:
            raise ValueError(
                f"parameter {self.name} is no longer the array the optimizer was given: "
                "update it in place (p[...] = other), or make a new optimizer"
            )
        if not now.flags.writeable:
            raise ValueError(f"parameter {self.name} is read-only by now, expected a writable array")
        return now
