"""What a step updates: one parameter, and the tables of many that are launched together."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._engine import place
from ._engine.remote import Remote
from ._engine.table import Table
from ._structure import Group, values_of

Array = np.ndarray[Any, np.dtype[Any]]


SEEN_ANEW = ("table", "layout", "array", "_read", "_lies")  # what a copy of a parameter finds itself


class Parameter:
    """One array to be updated: its group, its state, and its row in a table."""

    table: Table
    row: int

    def __init__(self, name: str, given: Any, group: int) -> None:
        self.name, self.given, self.group = name, given, group
        self.state: dict[str, Array] = {}
        self.missed = 0  # steps without a gradient; all others updated it

    def see(self, array: Array) -> None:
        """Take ``array`` as the view of the memory to update."""
        self.array: Any = array
        self.dtype, self.nbytes, self.on_device = array.dtype, array.nbytes, isinstance(array, Remote)
        self.layout = place.layout(array)
        self._read = place.reader(self.given) if isinstance(array, Remote) and array.flags.forc else None
        self._lies = self._read(self.given) if self._read else ()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in SEEN_ANEW}

    def ordinary(self, held: Any, g: Any) -> int:
        """The address of a gradient on a device, if nothing about it or its parameter needs a look; else 0.

        It is dense, of the parameter's own kind and lies as that does; the parameter is where it was.
        """
        if self._read is None or held is not self.given or type(g) is not type(held):
            return 0
        address, *lies = self._read(g)
        return address if self._read(held) == self._lies and lies == [*self._lies[1:]] else 0

    def check_held(self, held: Any) -> Any:
        """The array as it is now; ValueError unless the container holds it, writable and where it was."""
        now = place.seen(self.name, self.given)
        moved = place.layout(now) != self.layout
        if held is not self.given or moved:
            raise ValueError(
                f"parameter {self.name} is no longer the array the optimizer was given: "
                "update it in place (p[...] = other), or make a new optimizer"
            )
        if not self.array.flags.writeable:
            raise ValueError(f"parameter {self.name} is read-only by now, expected a writable array")
        return now


class Update:
    """What one launch covers: a table, or those of its rows that missed as many steps, and its scalars."""

    def __init__(self, table: Table, rows: set[int] | None, group: Group, missed: int) -> None:
        self.table, self.rows, self.group, self.missed = table, rows, group, missed
        names = table.function.scalars
        self._of, self._pack = values_of(names), struct.Struct(f"{len(names) + 1}d").pack_into
        self._scalars = np.empty(len(names) + 1)
        self._memory = self._scalars.data

    def part(self) -> Table:
        """The table, with the gradients that are bound now."""
        return self.table if self.rows is None else self.table.only(self.rows)

    def filled(self, scalars: Mapping[str, float], factor: float) -> Array:
        """The rule's scalars as float64, in its order, and the gradients' factor; TypeError for no number."""
        try:
            self._pack(self._memory, 0, *self._of(scalars), factor)
        except struct.error:
            name = self.table.function.name
            raise TypeError(f"the scalars of rule {name!r} are {dict(scalars)}, expected numbers") from None
        return self._scalars
