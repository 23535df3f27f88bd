"""A shadow: one array beside each parameter, of its kind, dtype and place."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from .._engine.arrays import as_view, empty_like, in_kind_of
from .._engine.launch import launch
from .._engine.libraries import increment_versions
from .._engine.place import begin
from .._engine.table import Table
from .._engine.view import Array
from .._params import Params
from .._rule import Elementwise
from .._signals import uninterrupted
from .._suggest import Suggesting, no_attribute
from ..rules.averages import exchanged


def check_wide(params: Params) -> None:
    """TypeError if a parameter is of 16 bits, whose master nothing beside an optimizer knows."""
    for p in params:
        if p.storage.decode is not None:
            raise TypeError(
                f"parameter {p.name} has dtype {p.storage.name}, expected float32 or float64, as it is copied"
            )


EXCHANGED = Elementwise(exchanged, ("p", "shadow"), ("p", "shadow"))


class Shadow:
    """Arrays like the parameters: a copy of them when it is made.

    Copies and pickles have arrays of their own: tables hold addresses, so they are made anew.
    """

    def __init__(self, params: Params) -> None:
        check_wide(params)
        self.params = params
        self._lay_out([p.array for p in params])

    def _lay_out(self, values: Iterable[Array]) -> None:
        """New arrays with these values."""
        self._tables: dict[Elementwise, list[Table]] = {}
        self.views = [empty_like(p.given, p.array) for p in self.params]
        self.copy(values)

    @property
    def arrays(self) -> list[Any]:
        """The arrays, each of its parameter's kind."""
        return [in_kind_of(p.given, view) for p, view in zip(self.params, self.views, strict=True)]

    def copy(self, values: Iterable[Array]) -> None:
        """Copy values into the arrays."""
        for p, view, value in zip(self.params, self.views, values, strict=True):
            p.place.copy(view, value)

    def apply(
        self, function: Elementwise, scalars: tuple[float, ...], after: Mapping[Any, Any], of: Any
    ) -> None:
        """Run ``function(p, shadow, *scalars)`` over all arrays, after the work on them so far.

        ``after`` are attributes of ``of`` to be set then: an interrupt comes before all of it or after all.
        """
        if function not in self._tables:
            every = [(function, None)] * len(self.views), [(view,) for view in self.views]
            self._tables[function] = [table for table, _ in self.params.tables(*every)]
        tables = self._tables[function]
        if "p" in function.writes:
            self._count_write()
        begin(tables, [as_view(p.name, p.given) for p in self.params])
        numbers = np.array(scalars)
        launch([(table, numbers) for table in tables], after=(of.__dict__.update, after))

    def _count_write(self) -> None:
        """Tell PyTorch that the parameters are written."""
        if versioned := self.params.versioned:
            increment_versions([p.given for p in versioned])

    def restore(self) -> None:
        """Copy the arrays into the parameters."""
        self.params.check_held()
        self._count_write()
        with uninterrupted():
            for p, view in zip(self.params, self.views, strict=True):
                p.place.copy(p.array, view)

    def read(self) -> dict[str, Any]:
        """Copies of the arrays on the host, by their parameters' names."""
        pairs = zip(self.params, self.views, strict=True)
        return {p.name: p.place.read(view, copy=True) for p, view in pairs}

    def write(self, values: Mapping[str, Any]) -> None:
        """Copy values by their parameters' names, which have been checked, into the arrays."""
        self.copy(np.asarray(values[p.name]) for p in self.params)

    def __getstate__(self) -> dict[str, Any]:
        return {"params": self.params, "values": self.read()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.params = state["params"]
        self._lay_out([state["values"][p.name] for p in self.params])


class Strict(Suggesting):
    """Base of objects whose attributes are known: the nearest is named where another is asked for or set."""

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name, [each for each in dir(self) if not each.startswith("_")])

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise no_attribute(self, name, [each for each in dir(self) if not each.startswith("_")])
        super().__setattr__(name, value)


class Shadowing(Strict):
    """Base of what keeps a shadow of parameters."""

    _shadow: Shadow

    def __copy__(self) -> Self:
        """One beside these very parameters, going its own way from here."""
        return copy.deepcopy(self, {id(each): each for each in self._shadow.params.containers})
