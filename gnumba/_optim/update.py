"""Parameters to update, and launches that update the rows of one table together."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._engine import place
from .._engine.remote import Remote
from .._engine.table import Table
from .._structure import values_of

Array = np.ndarray[Any, np.dtype[Any]]


SEEN_ANEW = ("table", "layout", "array", "_read", "_lies")  # recomputed in a copy of a parameter


class Parameter:
    """One array to be updated: its group, its state, and its row in a table."""

    table: Table
    row: int

    def __init__(self, index: int, name: str, given: Any, group: int) -> None:
        self.index, self.name, self.given, self.group = index, name, given, group
        self.state: dict[str, Array] = {}

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
        """Fast path for a gradient on a device: the address of ``g``, or 0 if ``g`` needs the full checks.

        It applies to a dense ``g`` of the parameter's own kind and layout if the parameter has not moved.
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
    """One launch: a table, or the subset of its rows that have missed as many steps, and its scalars.

    Bias correction differs between parameters that have had different numbers of updates.
    """

    def __init__(self, table: Table, rows: set[int] | None, group: int, missed: int) -> None:
        self.table, self.rows, self.group, self.missed = table, rows, group, missed
        names = table.function.scalars
        self._of, self._pack = values_of(names), struct.Struct(f"{len(names) + 2}d").pack_into
        self.scalars = np.empty(len(names) + 2)
        self._memory: Any = self.scalars.data  # quicker to write to than the array
        self._index = {name: k for k, name in enumerate(names)}
        self.filled_from: Any = None

    def part(self) -> Table:
        """The table, with the gradients that are bound now."""
        return self.table if self.rows is None else self.table.only(self.rows)

    def filled(self, hyper: Any, scalars: Mapping[str, float], factors: tuple[float, float]) -> Array:
        """The rule's scalars as float64, in its order, and the gradients' factors; TypeError for no number.

        ``hyper`` is what they follow from: while it is the same dict, `corrected` will do.
        """
        try:
            self._pack(self._memory, 0, *self._of(scalars), *factors)
        except struct.error:
            raise self._no_numbers(scalars) from None
        self.filled_from = hyper
        return self.scalars

    def corrected(self, scalars: Mapping[str, float], factors: tuple[float, float]) -> Array:
        """All scalars, some of them and the factors replaced; TypeError for no number."""
        memory, index = self._memory, self._index
        try:
            for name, value in scalars.items():
                if name in index:
                    memory[index[name]] = value
        except (TypeError, ValueError):
            raise self._no_numbers(scalars) from None
        memory[-2], memory[-1] = factors
        return self.scalars

    def _no_numbers(self, scalars: Mapping[str, float]) -> TypeError:
        name = self.table.function.name
        return TypeError(f"the scalars of rule {name!r} are {dict(scalars)}, expected numbers")
