"""The Optimizer: parameters in groups, their state, and the step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ._clipping import Guard, clip_factor, is_finite, norm_of_gradients
from ._engine import gpu, place
from ._engine.binding import Binding
from ._engine.driver import Later
from ._engine.gpu import Control
from ._engine.launch import launch
from ._engine.remote import Remote
from ._engine.table import HOST, PickedRows, Table
from ._engine.transfer import assign, filled, on_host
from ._hyper import POSITIVE, Range, load_all, restored, saved, stateful, value_at
from ._rows import Rows
from ._rule import Rule
from ._state import check_fits
from ._structure import Group, are_groups, groups, keys_of, outline
from ._update import Parameter, Update

__all__ = ["Optimizer"]

Array = np.ndarray[Any, np.dtype[Any]]


class Optimizer:
    """Parameters, their state, and a step: the base of all optimizers.

    Made by a subclass such as `Adam`, or by ``gnumba.optimizer`` for a rule of your own.

    Attributes
    ----------
    rule : Rule
        The scalar update rule.
    t : int
        Steps taken.
    skipped : int
        Steps that were not taken, for inf or nan in the gradients (``nonfinite="skip"``). On a CUDA
        device, whether the last one was is heard when this or ``t`` is read, or at the next step.
    grad_norm : float, array of shape () or None
        The last step's norm of all gradients, before clipping and after ``grad_scale``; None where
        nothing asked for it (neither ``max_norm`` nor ``nonfinite``). For CUDA arrays it stays on
        the device, an array of their kind: ``float(opt.grad_norm)`` waits for it.
    lr : float
        The learning rate of the next step (the first group's); setting it sets every group and
        replaces a schedule.
    groups : list of dict
        The groups: ``"params"``, ``"name"`` and the hyperparameters, which may be changed.
    """

    ranges: Mapping[str, Range] = MappingProxyType({})
    _plan: list[Update]
    _control: Control | None  # the norm of gradients on a device, once there was one

    def __init__(
        self,
        rule: Rule,
        params: Any,
        hyper: Mapping[str, Any],
        *,
        max_norm: Any = None,
        nonfinite: str = "apply",
    ) -> None:
        self.rule = rule
        self._t = self._skipped = 0
        self._norm: float | Control | None = None
        self._pending: tuple[Later, list[Parameter]] | None = None
        self._guard = Guard(max_norm, nonfinite)
        self._names = tuple(hyper)
        self._grouped = are_groups(params)
        self.groups = groups(params, hyper, self.ranges)
        self._parameters = list(self._enumerate())
        self._see()
        self._check_places(self._guard)
        for p in self._parameters:
            p.state = {name: self._first_state(name, p.array) for name in rule.state}
        self._lay_out()

    # What a kind of optimizer adds: how hyperparameters become the rule's scalars.

    def scalars(self, t: int, **hyper: Any) -> Mapping[str, float]:
        """The rule's scalars for a parameter's ``t``-th update (1, 2, …), on the host in float64."""
        return hyper

    # The step.

    def step(self, grads: Any, *, grad_scale: float = 1.0) -> None:
        """Update every parameter once, in place.

        Gradients are divided by ``grad_scale``; their norm is taken; they are clipped; then comes the
        rule: all but the norm in the one pass of the update.

        Parameters
        ----------
        grads : array, Rows, list, tuple or dict
            Gradients in the structure of ``params`` (for groups: a list, each entry in the
            structure of that group's ``"params"``), each of its parameter's shape and dtype.
            ``None`` leaves that parameter and its state alone, ``Rows`` all rows but those it names.
            Gradients are never written.
        grad_scale : float, default 1.0
            > 0: what the loss was multiplied by, or how many batches the gradients were summed over.

        Raises
        ------
        ValueError
            If the structure, a name or a shape differs, a hyperparameter is out of range, the
            container no longer holds the arrays it was given, or a gradient shares memory with a
            parameter other than element for element with its own. Nothing has changed then.
        TypeError
            If a gradient is no array, or has another dtype than its parameter.
        IndexError
            If ``Rows`` name a row that there is not.
        FloatingPointError
            If a gradient holds inf or nan, with ``nonfinite="raise"``. Nothing has changed then.
        """
        if self._pending:
            self._settle()
        scale = grad_scale if grad_scale == 1.0 else value_at(self._t, "grad_scale", grad_scale, POSITIVE)
        gradients = self._matched(grads)
        _views, missing, sparse = self._bind(gradients)  # held to the end: tables know addresses only
        factor, control = self._factor(gradients, sparse, scale)
        if factor is None:
            self._skipped += 1
            return
        launch([(each.part(), self._scalars(each, factor)) for each in self._plan + sparse], control)
        if self._control and control and self._guard.nonfinite == "skip":
            self._pending = self._control.later(), missing
        else:
            self._take(missing)

    def _take(self, missing: list[Parameter]) -> None:
        """Count a step that was taken, in which these parameters had no gradient."""
        self._t += 1
        if missing:
            for p in missing:
                p.missed += 1
            self._plan = self._planned()

    def _settle(self) -> None:
        """Hear from the device whether the last step was taken."""
        if self._pending:
            (go, missing), self._pending = self._pending, None
            if go.read():
                self._take(missing)
            else:
                self._skipped += 1

    @property
    def t(self) -> int:
        """Steps taken."""
        self._settle()
        return self._t

    @property
    def skipped(self) -> int:
        """Steps that were not taken, for inf or nan in the gradients."""
        self._settle()
        return self._skipped

    @property
    def grad_norm(self) -> Any:
        """The last step's norm of all gradients, or None; on a device an array there, and no waiting."""
        if not isinstance(self._norm, Control):
            return self._norm
        return self._norm.given_to(next(p.given for p in self._parameters if p.on_device))

    def _bind(self, gradients: tuple[Any, ...]) -> tuple[list[Array], list[Parameter], list[Update]]:
        """Check every gradient and bind it to its parameter's row.

        What is out of the ordinary is looked at here: views of those gradients, the parameters that
        have none, and the updates of single rows.
        """
        held = self._held()
        for table, _, _ in self._tables:
            table.strided.clear()  # each row is bound anew
        views, missing, sparse = [], [], []
        streams: dict[int, list[int]] = {}  # by device: where its arrays are being worked on
        k = self._binding.bind(held, gradients, 0)
        while k < len(gradients):
            p, g = self._parameters[k], gradients[k]
            if (
                p.on_device
                and (address := p.ordinary(held[k], g))
                and self._memory.is_clear(address, p.nbytes)
            ):
                p.table.addresses[p.row, 1] = address
                if p.array.ordinal not in streams:
                    streams[p.array.ordinal] = [place.current_stream(p.given, p.array.ordinal)]
                k += 1
                continue
            now = p.check_held(held[k])
            if p.on_device:
                streams.setdefault(now.ordinal, []).append(now.stream)
            if g is None:
                p.table.leave_out(p.row)
                missing.append(p)
            elif isinstance(g, Rows):
                p.table.leave_out(p.row)
                rows, g = g.of(p.name, p.array)
                views.append(g)
                if rows.size:
                    table = PickedRows(self.rule, (p.array, g, *p.state.values()), rows)
                    sparse.append(Update(table, None, self.groups[p.group], p.missed))
            else:
                g = place.check_gradient(p.name, g, p.array)
                self._memory.check_clear(p.name, g)
                p.table.bind(p.row, g)
                views.append(g)
            k = self._binding.bind(held, gradients, k + 1)
        if streams:
            self._put_on_streams(streams, views, sparse)
        return views, missing, sparse

    def _put_on_streams(self, streams: dict[int, list[int]], views: list[Any], sparse: list[Update]) -> None:
        """Each device's work goes on its first parameter's stream, after what makes the gradients."""
        for at in (view for view in views if isinstance(view, Remote)):
            streams[at.ordinal].append(at.stream)
        for ordinal, (stream, *others) in streams.items():
            gpu.follow(ordinal, stream, others)  # streams that their libraries name now
            for table in (*(table for table, _, _ in self._tables), *(update.table for update in sparse)):
                if table.ordinal == ordinal:
                    table.stream = stream

    def _factor(
        self, gradients: tuple[Any, ...], sparse: list[Update], scale: float
    ) -> tuple[float | None, int]:
        """What the gradients bound now are multiplied by; None if there is to be no step.

        On a device it is known there only: the address of what says so comes second, or 0.
        """
        if not self._guard.looks:
            self._norm = None
            return 1.0 / scale, 0
        limit = self._guard.limit(self._t)
        tables = [table for table, _, _ in self._tables] + [update.table for update in sparse]
        if tables[0].ordinal != HOST:
            return 1.0, self._norm_on_device(tables, gradients, scale, limit)
        found, finite = norm_of_gradients(tables, scale)
        if not finite and self._guard.nonfinite == "raise":
            raise self._not_finite(gradients, scale)
        self._norm = found
        if not finite and self._guard.nonfinite == "skip":
            return None, 0
        return (1.0 if self._guard.max_norm is None else clip_factor(found, limit)) / scale, 0

    def _norm_on_device(
        self, tables: list[Table], gradients: tuple[Any, ...], scale: float, limit: float
    ) -> int:
        """Put the norm before the step; where the step finds what follows from it."""
        guard, stream = self._guard, tables[0].stream
        if self._control is None:
            self._control = Control(tables[0].ordinal)
        limit = -1.0 if guard.max_norm is None else limit
        self._control.take(tables, 1, stream, scale, limit, guard.nonfinite == "skip")
        if guard.nonfinite == "raise" and not self._control.read()[1]:
            raise self._not_finite(gradients, scale)
        self._norm = self._control
        return int(self._control.address)

    def _not_finite(self, gradients: tuple[Any, ...], scale: float) -> FloatingPointError:
        pairs = zip(self._parameters, gradients, strict=True)
        seen = ((p.name, place.seen(p.name, getattr(g, "values", g))) for p, g in pairs if g is not None)
        values = ((name, on_host(g) if isinstance(g, Remote) else g) for name, g in seen)
        bad = next((name for name, g in values if not is_finite(g, scale)), "all parameters together")
        return FloatingPointError(f"gradient of {bad} holds inf or nan, expected finite numbers")

    def _check_places(self, guard: Guard) -> None:
        """ValueError if there is a norm to be taken of gradients in several places."""
        places = sorted({place.where(p.array) for p in self._parameters})
        if guard.looks and len(places) > 1:
            name = "nonfinite" if guard.max_norm is None else "max_norm"
            raise ValueError(f"{name} is given and parameters live in {places}, expected one place for all")

    def _held(self) -> tuple[Any, ...]:
        """What the containers hold by now, in the order of the parameters."""
        if not self._grouped:
            return self.groups[0].held()
        return tuple(x for group in self.groups for x in group.held())

    def _matched(self, grads: Any) -> tuple[Any, ...]:
        """Gradients in the order of the parameters, as they are."""
        if not self._grouped:
            return self.groups[0].match("grads", grads)
        if not isinstance(grads, (list, tuple)) or len(grads) != len(self.groups):
            raise ValueError(f"grads is {outline(grads)}, expected one entry a group, {len(self.groups)}")
        entries = zip(self.groups, grads, strict=True)
        return tuple(
            g for group, entry in entries for g in group.match(f"grads of group {group['name']}", entry)
        )

    def _planned(self) -> list[Update]:
        """What a step launches."""
        plan = []
        for table, group, members in self._tables:
            counts = sorted({p.missed for p in members})
            for missed in counts:
                rows = {p.row for p in members if p.missed == missed}
                plan.append(Update(table, rows if len(counts) > 1 else None, self.groups[group], missed))
        return plan

    def _scalars(self, update: Update, factor: float) -> Array:
        """The rule's scalars for this step, and the gradients' factor."""
        made = self.scalars(self.t + 1 - update.missed, **update.group.values_at(self.t))
        return update.filled(made, factor)

    # Hyperparameters.

    @property
    def lr(self) -> float:
        """The learning rate of the next step; setting it sets every group and replaces a schedule."""
        if "lr" not in self._names:
            raise AttributeError(f"{self.rule.name} has no lr, its hyperparameters are {self._names}")
        return float(self.groups[0].values_at(self.t)["lr"])

    @lr.setter
    def lr(self, value: Any) -> None:
        for group in self.groups:
            group["lr"] = value

    @property
    def max_norm(self) -> Any:
        """The largest norm that the gradients together may have; None for any."""
        return self._guard.max_norm

    @max_norm.setter
    def max_norm(self, value: Any) -> None:
        guard = Guard(value, self.nonfinite)
        self._check_places(guard)
        self._guard = guard

    @property
    def nonfinite(self) -> str:
        """What inf and nan in the gradients do: "apply", "skip" or "raise"."""
        return self._guard.nonfinite

    @nonfinite.setter
    def nonfinite(self, value: str) -> None:
        guard = Guard(self.max_norm, value)
        self._check_places(guard)
        self._guard = guard

    # State.

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies: steps, hyperparameters, and each parameter's state by its name.

        Returns
        -------
        dict
            ``{"rule": name, "t": steps, "skipped": steps, "max_norm": value,
            "groups": {name: {hyperparameter: value}},
            "state": {parameter: {"updates": count, state name: array}}}``. A hyperparameter with
            a schedule holds the schedule's own ``state_dict()``, or None.
        """
        return {
            "rule": self.rule.name,
            "t": self.t,
            "skipped": self.skipped,
            "max_norm": None if self.max_norm is None else saved(self.max_norm),
            "groups": {g["name"]: {name: saved(g[name]) for name in self._names} for g in self.groups},
            "state": {
                p.name: {"updates": self.t - p.missed} | {name: on_host(s) for name, s in p.state.items()}
                for p in self._parameters
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``; the next step gives the bits it would have given.

        Parameters
        ----------
        state : dict
            From ``state_dict`` of an optimizer with the same rule, groups and parameter names.

        Raises
        ------
        ValueError
            If anything does not fit: rule, names, shapes, dtypes, a number where a schedule is.
            Nothing has changed then.
        """
        check_fits("state", state, self.state_dict())
        guard = self._guard.restored(state["max_norm"])
        for name, of_one in state["state"].items():
            if of_one["updates"] > state["t"]:
                count = of_one["updates"]
                raise ValueError(f"{name} has {count} updates in the state, expected at most t, {state['t']}")
        hyper = [
            {name: restored(name, group[name], state["groups"][group["name"]][name]) for name in self._names}
            for group in self.groups
        ]
        for values in hyper:
            Group((), "", values, self.ranges).values_at(int(state["t"]))
        loaded = [(guard.max_norm, state["max_norm"])] + [
            (value, state["groups"][group["name"]][name])
            for group, values in zip(self.groups, hyper, strict=True)
            for name, value in values.items()
        ]
        load_all([pair for value, own in loaded for pair in stateful(value, own)])
        for group, values in zip(self.groups, hyper, strict=True):
            group.update(values)
        for p in self._parameters:
            p.missed = int(state["t"]) - int(state["state"][p.name]["updates"])
            for name, array in p.state.items():
                given = state["state"][p.name][name]
                assign(array, given if isinstance(given, np.ndarray) else place.seen(name, given))
        self._t, self._skipped, self._guard = int(state["t"]), int(state["skipped"]), guard
        self._plan = self._planned()

    # Parameters.

    def _enumerate(self) -> Iterator[Parameter]:
        for index, group in enumerate(self.groups):
            prefix = f"{group['name']}/" if self._grouped else ""
            for key, array in zip(keys_of(group["params"]), group.held(), strict=True):
                yield Parameter(f"{prefix}{key}", array, index)

    def _see(self) -> None:
        """Find the parameters' memory."""
        given = {p.name: p.given for p in self._parameters}
        if len(given) < len(self._parameters) or not given:
            names = [p.name for p in self._parameters]
            raise ValueError(f"params has the names {names}, expected at least one, each once")
        self._memory = place.check_updated("parameter", given)
        for p in self._parameters:
            p.see(self._memory.arrays[p.name])

    def _first_state(self, name: str, array: Array) -> Array:
        return filled(array, self.rule.initial.get(name, 0.0))

    def _lay_out(self) -> None:
        """Make the tables: parameters of one group, dtype and place, until a step binds their gradients."""
        members: dict[tuple[int, np.dtype[Any], str], list[Parameter]] = {}
        for p in self._parameters:
            members.setdefault((p.group, p.dtype, place.where(p.array)), []).append(p)
        self._tables, self._control = [], None
        for (group, _, _), chosen in members.items():
            table = Table(self.rule, [(p.array, p.array, *p.state.values()) for p in chosen])
            for row, p in enumerate(chosen):
                p.table, p.row = table, row
            self._tables.append((table, group, chosen))
        self._binding = Binding([(p.table, p.row, p.array, p.given) for p in self._parameters], self._memory)
        self._plan = self._planned()

    # Copies: tables hold addresses, so a copy makes its own.

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        norm = self._norm.read()[0] if isinstance(self._norm, Control) else self._norm
        return {
            name: norm if name == "_norm" else value
            for name, value in self.__dict__.items()
            if name not in ("_tables", "_plan", "_binding", "_memory", "_control")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._see()
        self._lay_out()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}(rule={self.rule.name}, t={self.t}{self._guard}"]
        for index, group in enumerate(self.groups):
            hyper = ", ".join(f"{name}={_shown(group[name])}" for name in self._names)
            count = sum(p.group == index for p in self._parameters)
            lines.append(f"  group {group['name']}: {count} arrays, {hyper}")
        return "\n".join(lines) + ")"


def _shown(value: Any) -> str:
    """A hyperparameter for repr: functions by their name."""
    return value.__name__ if hasattr(value, "__name__") else repr(value)
