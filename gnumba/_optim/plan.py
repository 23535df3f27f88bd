"""The launches of a step: tables of parameters with their states, and the gradients bound to their rows."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._engine import checks
from .._engine.binding import Binding
from .._engine.place import HOST, Verdict, begin
from .._engine.storage import Storages, storage_of
from .._engine.table import PickedRows, Table
from .._params import Parameter, Params
from .._rule import Elementwise, Rule
from .._tree import values_of
from .masters import first_masters, kernel_for
from .rows import Rows

Array = np.ndarray[Any, np.dtype[Any]]
State = Mapping[str, Array]
Memory = dict[str, float]  # what a parameter's last update left for the scalars of its next


class Update:
    """One launch: a table, or the subset of its rows whose scalars are the same, and these.

    Bias correction differs between parameters that have had different numbers of updates, what scalars
    remember between those with other pasts, decay between those that ``decay_mask`` lets decay and others.
    """

    def __init__(
        self, table: Table, members: set[int], rows: set[int] | None, group: int, decays: bool, missed: int
    ) -> None:
        self.table, self.members, self.rows = table, members, rows  # members: indices of parameters
        self.group, self.decays, self.missed = group, decays, missed
        names = table.function.scalars
        self._of, self._pack = _values_of(table.function), struct.Struct(f"{len(names) + 2}d").pack_into
        self.scalars = np.empty(len(names) + 2)
        self._memory: Any = self.scalars.data  # quicker to write to than the array
        self._index = {name: k for k, name in enumerate(names)}
        self._count, self._places = -1, list[tuple[str, int]]()
        self.filled_from: Any = None

    def part(self) -> Table:
        """The table, with the gradients that are bound now."""
        return self.table if self.rows is None else self.table.only(self.rows)

    def fill(self, hyper: Any, scalars: Mapping[str, float], factors: tuple[float, float]) -> None:
        """Set the rule's scalars, in its order, and the gradients' factors; TypeError for no number.

        ``hyper`` is what they follow from: while it is the same dict, `correct` will do.
        """
        try:
            self._pack(self._memory, 0, *self._of(scalars), *factors)
        except struct.error:
            raise self._no_numbers(scalars) from None
        self.filled_from = hyper

    def correct(self, scalars: Mapping[str, float]) -> None:
        """Replace some of the scalars; TypeError for no number."""
        memory = self._memory
        try:
            if len(scalars) != self._count:
                self._find(scalars)
            for name, k in self._places:
                memory[k] = scalars[name]
        except KeyError:  # as many, but others than before
            self._find(scalars)
            self.correct(scalars)
        except (TypeError, ValueError):
            raise self._no_numbers(scalars) from None

    def _find(self, scalars: Mapping[str, float]) -> None:
        """Look up where scalars of these names stand, which are the same from step to step."""
        index = self._index
        self._places = [(name, index[name]) for name in scalars if name in index]
        self._count = len(scalars)  # last: an interrupt before it has them looked up again

    def scale(self, factors: tuple[float, float]) -> None:
        """Set the gradients' factors."""
        self._memory[-2], self._memory[-1] = factors

    def _no_numbers(self, scalars: Mapping[str, float]) -> TypeError:
        name = self.table.function.name
        return TypeError(f"the scalars of rule {name!r} are {dict(scalars)}, expected numbers")


def _values_of(function: Elementwise) -> Callable[[Mapping[str, float]], tuple[Any, ...]]:
    """A function for the scalars in their order; 0 for those that are norms, which a step finds."""
    of = values_of(function.scalars)
    norms = dict.fromkeys(function.normed, 0.0)
    return (lambda scalars: of({**scalars, **norms})) if norms else of


class Bound(NamedTuple):
    """Gradients of a step, bound to their parameters' rows."""

    views: list[Array]  # to be held to the end: tables know addresses only
    missing: list[Parameter]  # those without a gradient
    sparse: list[Update]  # of single rows, or with gradients of another dtype than the table's


def first_states(rule: Rule, params: Iterable[Parameter]) -> list[dict[str, Any]]:
    """New state of each parameter, where it lives."""
    return [
        first_masters(rule, p)
        | {
            name: p.place.full(p.array, rule.initial.get(name, 0.0), p.storage.computed)
            for name in rule.state
        }
        for p in params
    ]


NOTHING = Bound([], [], [])


class Plan:
    """Tables of parameters and their states, by group, decay, storage and place."""

    verdict: Verdict | None = None  # on the step before, whose memory the next one may use

    def __init__(
        self, function: Elementwise, params: Params, states: Sequence[State], decays: Sequence[bool]
    ) -> None:
        self.params, self._states, self._decays = params, states, decays
        kernels = [kernel_for(function, p.storage) for p in params]
        columns = [self._columns(p, own, p.array) for p, (own, _) in zip(params, kernels, strict=True)]
        self._tables = params.tables(kernels, columns, [(p.group, decays[p.index]) for p in params])
        self.tables = [table for table, _ in self._tables]
        self._rows = {p.index: (table, row) for table, of in self._tables for row, p in enumerate(of)}
        self.binding = Binding([(*self._rows[p.index], p.array, p.given) for p in params], params.memory)
        self._binders = [
            p.place.binder(*self._rows[p.index], p.array, p.given, params.memory) for p in params
        ]
        self.judge = params.judge  # of all, where something looks at all
        self.elsewhere = any(p.place is not HOST for p in params)
        self._alone: dict[int, Update] = {}  # of parameters that have had gradients of another storage

    def _columns(self, p: Parameter, function: Elementwise, gradient: Array) -> list[Array]:
        """A parameter's row but for itself; until a step binds a gradient, any array will do for it."""
        return [gradient, *(self._states[p.index][name] for name in function.columns[2:])]

    def updates(self, missed: Sequence[int], memories: Sequence[Memory]) -> list[Update]:
        """The launches of a step, given how many steps each parameter has missed, and its memory."""
        made = []
        for table, members in self._tables:
            alike: dict[Any, set[int]] = {}
            for row, p in enumerate(members):
                alike.setdefault((missed[p.index], *memories[p.index].values()), set()).add(row)
            for (count, *_), rows in sorted(alike.items()):
                indices, first = {members[row].index for row in rows}, members[0]
                chosen = rows if len(alike) > 1 else None
                made.append(Update(table, indices, chosen, first.group, self._decays[first.index], count))
        return made

    def bind(self, held: tuple[Any, ...], gradients: tuple[Any, ...], missed: Sequence[int]) -> Bound:
        """Check every gradient and bind it to its parameter's row.

        Dense gradients laid out like their parameter are bound by the fast paths; all others are
        checked here.
        """
        for table in self.tables:
            table.strided.clear()  # each row is bound anew
        bound = Bound([], [], [])
        told: dict[Any, None] = {}  # by the binders
        k = 0
        while k < len(gradients):
            binder = self._binders[k]
            if binder is None:
                if (reached := self.binding.bind(held, gradients, k)) > k:
                    k = reached
                    continue
            elif said := binder.bind(held[k], gradients[k]):
                told[said] = None
                k += 1
                continue
            p = self.params[k]
            bound.views.append(p.check_held(held[k]))
            self._bind_one(p, gradients[k], missed[k], bound)
            k += 1
        if self.elsewhere:
            begin(self.tables + [update.table for update in bound.sparse], bound.views, told)
        return bound

    def _bind_one(self, p: Parameter, g: Any, missed: int, bound: Bound) -> None:
        """Check a gradient that is out of the ordinary, and bind it."""
        table, row = self._rows[p.index]
        function = table.function
        if g is None:
            table.leave_out(row)
            bound.missing.append(p)
        elif isinstance(g, Rows):
            if function.normed or function.lent:
                found = "norms" if function.normed else "directions"
                raise TypeError(
                    f"gradient of {p.name} is {g!r}, expected an array, as {function.title} has "
                    f"{found} of whole parameters"
                )
            table.leave_out(row)
            rows, g = g.of(p.name, p.array)
            bound.views.append(g)
            if rows.size:
                whole = p.array, *self._columns(p, function, g)
                picked = PickedRows(function, whole, rows, _with_gradients(table.storages, g))
                bound.sparse.append(Update(picked, {p.index}, None, p.group, self._decays[p.index], missed))
        else:
            g = checks.check_gradient(p.name, g, p.array)
            self.params.memory.check_clear(p.name, g)
            bound.views.append(g)
            if storage_of(g) is table.storages[1]:
                table.bind(row, g)
                return
            table.leave_out(row)
            bound.sparse.append(self._beside(p, table, g, missed))

    def _beside(self, p: Parameter, table: Table, g: Array, missed: int) -> Update:
        """The launch of a parameter alone, for gradients of another storage than its table's."""
        if p.index not in self._alone:
            row = p.array, *self._columns(p, table.function, p.array)
            other = Table(table.function, [row], _with_gradients(table.storages, g))
            self._alone[p.index] = Update(other, {p.index}, None, p.group, self._decays[p.index], missed)
        update = self._alone[p.index]
        update.table.bind(0, g)
        update.missed = missed
        return update


def _with_gradients(storages: Storages, g: Array) -> Storages:
    """A row's storages with those of a gradient that may be wider than its parameter."""
    return storages[0], storage_of(g), *storages[2:]
