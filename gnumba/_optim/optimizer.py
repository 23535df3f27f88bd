"""The Optimizer: parameters in groups, their state, and the step."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from .._engine import gpu, place
from .._engine.binding import Binding
from .._engine.compile.snapshot import current
from .._engine.driver import Later
from .._engine.factor import ONE, Factor, factor
from .._engine.gpu import Control
from .._engine.launch import launch
from .._engine.libraries import has_version, increment_versions
from .._engine.remote import Remote
from .._engine.table import HOST, PickedRows, Table
from .._engine.transfer import assign, filled, on_host
from .._hyper import POSITIVE, Range, load_all, restored, saved, stateful, value_at
from .._rule import Rule
from .._signals import uninterrupted
from .._structure import Group, are_groups, groups, keys_of, outline
from .._suggest import Suggesting, no_attribute
from .._typing import Grads, Nonfinite, Number
from .clipping import Guard, is_finite, norm_of_gradients
from .fastpath import fast_step
from .rows import Rows
from .state import IncompatibleKeys, check_fits, completed
from .update import Parameter, Update

__all__ = ["Optimizer"]

Array = np.ndarray[Any, np.dtype[Any]]


class Optimizer(Suggesting):
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
    groups : list of dict
        The groups: ``"params"``, ``"name"`` and the hyperparameters, which may be changed.
    lr, weight_decay, … : float
        Every hyperparameter by its name: its value in the next step (the first group's). Setting one
        sets every group and replaces a schedule. Attributes that there are not cannot be set.
    maximize : bool
        Whether the steps ascend. It is fixed when the optimizer is made, as ``nesterov`` and
        ``decoupled`` are.
    """

    ranges: Mapping[str, Range] = MappingProxyType({})
    is_corrected = False  # whether there are `corrections`
    _plan: list[Update]
    _control: Control | None  # the norm of gradients on a device, once there was one

    def __init__(
        self,
        rule: Rule,
        params: Any,
        hyper: Mapping[str, Any],
        *,
        max_norm: Any = None,
        nonfinite: Nonfinite = "apply",
        **flags: bool,
    ) -> None:
        self._rule = rule
        self._compiled_rule = current(rule)  # as its parts are now; kept whatever becomes of them
        self._flags = {name: _checked_flag(name, flag) for name, flag in flags.items()}
        self._t = self._skipped = 0
        self._norm: float | Control | None = None
        self._pending: tuple[Later, list[Parameter]] | None = None
        self._guard = Guard(max_norm, nonfinite)
        self._names = tuple(hyper)
        self._grouped = are_groups(params)
        self._groups = groups(params, hyper, self.ranges, self.complete)
        self._group_count = len(self._groups)
        self._parameters = list(self._enumerate())
        self._see()
        self._check_places(self._guard)
        for p in self._parameters:
            p.state = {name: self._first_state(name, p.array) for name in rule.state}
        self._missed = (0,) * len(self._parameters)  # steps in which a parameter had no gradient
        self._lay_out()

    # What a kind of optimizer adds.

    def complete(self, hyper: Mapping[str, Any]) -> Mapping[str, Any]:
        """The hyperparameters of a group, those that follow from others filled in."""
        return hyper

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        """The rule's scalars that follow from the hyperparameters alone."""
        return hyper

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        """Those that depend on ``t`` too, the number of the update: bias corrections."""
        return {}

    def scalars(self, t: int, /, **hyper: Any) -> Mapping[str, float]:
        """The rule's scalars for a parameter's ``t``-th update (1, 2, …), on the host in float64."""
        return {**self.constants(hyper), **self.corrections(t, hyper)}

    # The step.

    def step(self, grads: Grads, *, grad_scale: Number = 1.0) -> None:
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
        fast, self.__dict__["_fast"] = self._fast, None
        scaled = type(grad_scale) is not float or grad_scale != 1.0
        if fast is not None and not scaled and fast(self, grads):
            self.__dict__["_fast"] = fast
            return
        if self._pending:
            self._settle()
        scale = value_at(self._t, "grad_scale", grad_scale, POSITIVE) if scaled else 1.0
        gradients = self._matched(grads)
        views, missing, sparse = self._bind(gradients)  # held to the end: tables know addresses only
        hyper = [group.values_at(self._t) for group in self._groups]
        by, control, norm = self._factor(gradients, sparse, scale)
        if by is None:
            self.__dict__.update(_norm=norm, _skipped=self._skipped + 1)
            return
        work = [(each.part(), self._scalars(each, hyper[each.group], by)) for each in self._plan + sparse]
        if self._versioned:
            increment_versions([p.given for p in self._versioned if p not in missing])
        launch(work, control, (self.__dict__.update, self._after(missing, norm, control)))
        if not (views or missing or sparse or scaled or self._guard.looks):
            self.__dict__["_fast"] = fast_step(self)

    def _after(self, missing: list[Parameter], norm: Any, control: int) -> dict[str, Any]:
        """Attributes after a step in which these parameters have no gradient.

        Where a device says whether the step is taken, that is heard later: see `_settle`.
        """
        if control and self._guard.nonfinite == "skip":
            assert isinstance(norm, Control)
            return {"_norm": norm, "_pending": (norm.later(), missing)}
        return {"_norm": norm} | self._taken(missing)

    def _taken(self, missing: list[Parameter]) -> dict[str, Any]:
        """Attributes that count a step."""
        if not missing:
            return {"_t": self._t + 1}
        without = {p.index for p in missing}
        missed = tuple(count + (k in without) for k, count in enumerate(self._missed))
        return {"_t": self._t + 1, "_missed": missed, "_plan": self._planned(missed)}

    def _settle(self) -> None:
        """Wait for the device's word on the previous step, and count it as taken or skipped."""
        if self._pending:
            go, missing = self._pending
            counted = self._taken(missing) if go.read() else {"_skipped": self._skipped + 1}
            self.__dict__.update(counted, _pending=None)

    @property
    def rule(self) -> Rule:
        """The scalar update rule."""
        return self._rule

    @property
    def groups(self) -> list[Group]:
        """The groups of parameters, mappings whose hyperparameters may be changed."""
        return self._groups

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

        Dense gradients laid out like their parameter are bound by the fast paths; all others are
        checked here. Returns the views to keep alive, the parameters without a gradient, and the
        updates of single rows.
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
                    table = PickedRows(self._compiled_rule, (p.array, g, *p.state.values()), rows)
                    sparse.append(Update(table, None, p.group, self._missed[p.index]))
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
    ) -> tuple[Factor | None, int, Any]:
        """The gradients' factor, None for no step; where a device's is; and their norm if asked for.

        On a device the factor is not known to the host: the second value is then the address of the
        gradients' status there, else 0.
        """
        if not self._guard.looks:
            return self._turned(ONE if scale == 1.0 else factor(0.0, -1.0, scale)), 0, None
        limit = self._guard.limit(self._t)
        tables = [table for table, _, _ in self._tables] + [update.table for update in sparse]
        if tables[0].ordinal != HOST:
            control = self._norm_on_device(tables, gradients, scale, limit)
            return self._turned(ONE), int(control.address), control
        found, finite = norm_of_gradients(tables, scale)
        if not finite and self._guard.nonfinite == "raise":
            raise self._not_finite(gradients, scale)
        if not finite and self._guard.nonfinite == "skip":
            return None, 0, found
        by = factor(found, -1.0 if self._guard.max_norm is None else limit, scale)
        return self._turned(by), 0, found

    def _turned(self, by: Factor) -> Factor:
        """A factor with the sign for ascent."""
        return -by if self._flags.get("maximize") else by

    def _norm_on_device(
        self, tables: list[Table], gradients: tuple[Any, ...], scale: float, limit: float
    ) -> Control:
        """Put the norm before the step, which then finds on the device what follows from it."""
        guard, stream = self._guard, tables[0].stream
        if self._control is None:
            self._control = Control(tables[0].ordinal)
        limit = -1.0 if guard.max_norm is None else limit
        self._control.take(tables, 1, stream, scale, limit, guard.nonfinite == "skip")
        if guard.nonfinite == "raise" and not self._control.read()[1]:
            raise self._not_finite(gradients, scale)
        return self._control

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
        """Arrays that the containers hold at present, in the order of the parameters."""
        if not self._grouped:
            return self.groups[0].held()
        return tuple(x for group in self.groups for x in group.held())

    def _matched(self, grads: Any) -> tuple[Any, ...]:
        """Gradients in the order of the parameters, as they are."""
        if len(self._groups) != self._group_count:
            raise ValueError(
                f"groups has {len(self._groups)} entries by now, expected {self._group_count}, as it was made"
            )
        if not self._grouped:
            return self.groups[0].match("grads", grads)
        if not isinstance(grads, (list, tuple)) or len(grads) != len(self._groups):
            raise ValueError(f"grads is {outline(grads)}, expected one entry a group, {len(self._groups)}")
        entries = zip(self.groups, grads, strict=True)
        return tuple(
            g for group, entry in entries for g in group.match(f"grads of group {group['name']}", entry)
        )

    def _planned(self, missed: tuple[int, ...]) -> list[Update]:
        """The launches of a step, given how many steps each parameter has missed."""
        plan = []
        for table, group, members in self._tables:
            counts = sorted({missed[p.index] for p in members})
            for count in counts:
                rows = {p.row for p in members if missed[p.index] == count}
                plan.append(Update(table, rows if len(counts) > 1 else None, group, count))
        return plan

    def _scalars(self, update: Update, hyper: dict[str, Any], by: Factor) -> Array:
        """The rule's scalars for this step, and the gradients' factors."""
        corrections = self.corrections(self._t + 1 - update.missed, hyper)
        pair = by.split(update.table.dtype)
        if update.filled_from is hyper:
            return update.corrected(corrections, pair)
        return update.filled(hyper, {**self.constants(hyper), **corrections}, pair)

    def _updates(self, p: Parameter) -> int:
        """How many updates a parameter has had."""
        return self.t - self._missed[p.index]

    # Hyperparameters.

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if name in own.get("_names", ()):
            return self._groups[0].values_at(self.t)[name]
        if name in own.get("_flags", ()):
            return self._flags[name]
        raise no_attribute(self, name, self._public())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_names", ()):
            for group in self._groups:
                group[name] = value
        elif name in self.__dict__.get("_flags", ()):
            raise AttributeError(f"{name} is fixed when the optimizer is made, it cannot be set")
        elif name.startswith("_") or hasattr(type(self), name) or name in _declared(type(self)):
            super().__setattr__(name, value)
        else:
            raise no_attribute(self, name, self._public())

    def _public(self) -> list[str]:
        return [name for name in dir(self) if not name.startswith("_")]

    def __dir__(self) -> list[str]:
        own = self.__dict__
        return sorted({*super().__dir__(), *own.get("_names", ()), *own.get("_flags", ())})

    @property
    def max_norm(self) -> Any:
        """The largest norm that the gradients together may have; None for any."""
        return self._guard.max_norm

    @max_norm.setter
    def max_norm(self, value: Any) -> None:
        self._set_guard(Guard(value, self.nonfinite))

    @property
    def nonfinite(self) -> str:
        """Policy for inf and nan in the gradients: "apply", "skip" or "raise"."""
        return self._guard.nonfinite

    @nonfinite.setter
    def nonfinite(self, value: str) -> None:
        self._set_guard(Guard(self.max_norm, value))

    def _set_guard(self, guard: Guard) -> None:
        self._check_places(guard)
        self._guard, self._fast = guard, None

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
                p.name: {"updates": self._updates(p)} | {name: on_host(s) for name, s in p.state.items()}
                for p in self._parameters
            },
        }

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> IncompatibleKeys | None:
        """Take up the state of ``state_dict``; the next step gives the bits it would have given.

        Parameters
        ----------
        state : dict
            From ``state_dict`` of an optimizer with the same rule, groups and parameter names.
        strict : bool, default True
            False takes up what both have, by name: parameters, their states, groups, hyperparameters.
            A parameter that the state lacks keeps its own, and the count of its updates. What both have
            must fit all the same.

        Returns
        -------
        IncompatibleKeys or None
            With ``strict=False`` the lists ``missing_keys``, of what the state lacks, and
            ``unexpected_keys``, of what was left of it; as ``"state/w"``.

        Raises
        ------
        ValueError
            If anything does not fit: rule, names, shapes, dtypes, a number where a schedule is.
            Nothing has changed then.
        """
        mine, left = self.state_dict(), None
        if not strict:
            state, left = completed(state, mine)
        check_fits("state", state, mine)
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
        with uninterrupted():
            load_all([pair for value, own in loaded for pair in stateful(value, own)])
            self._take_up(state, hyper, guard)
        return left

    def _take_up(self, state: Mapping[str, Any], hyper: list[dict[str, Any]], guard: Guard) -> None:
        """Load what has been checked."""
        for group, values in zip(self.groups, hyper, strict=True):
            group.update(values)
        t, updates = int(state["t"]), [int(state["state"][p.name]["updates"]) for p in self._parameters]
        for p in self._parameters:
            for name, array in p.state.items():
                given = state["state"][p.name][name]
                assign(array, given if isinstance(given, np.ndarray) else place.seen(name, given))
        self._t, self._skipped, self._guard = t, int(state["skipped"]), guard
        self._missed = tuple(t - count for count in updates)
        self._plan, self._fast = self._planned(self._missed), None

    # Parameters.

    def _enumerate(self) -> Iterator[Parameter]:
        count = itertools.count()
        for index, group in enumerate(self._groups):
            prefix = f"{group['name']}/" if self._grouped else ""
            for key, array in zip(keys_of(group["params"]), group.held(), strict=True):
                yield Parameter(next(count), f"{prefix}{key}", array, index)

    def _see(self) -> None:
        """Find the parameters' memory."""
        names = [p.name for p in self._parameters]
        given = dict(zip(names, (p.given for p in self._parameters), strict=True))
        if not given:
            raise ValueError("params has no arrays, expected at least one")
        if len(given) < len(names):
            raise ValueError(f"params has the names {names}, expected each once")
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
            table = Table(self._compiled_rule, [(p.array, p.array, *p.state.values()) for p in chosen])
            for row, p in enumerate(chosen):
                p.table, p.row = table, row
            self._tables.append((table, group, chosen))
        self._binding = Binding([(p.table, p.row, p.array, p.given) for p in self._parameters], self._memory)
        self._versioned = [p for p in self._parameters if has_version(p.given)]
        self._plan, self._fast = self._planned(self._missed), None

    # Copies: tables hold addresses, so a copy makes its own.

    def __copy__(self) -> Self:
        """An optimizer of these very parameters, with state, counts and hyperparameters of its own."""
        kept = (*(group["params"] for group in self._groups), *(p.given for p in self._parameters))
        return copy.deepcopy(self, {id(each): each for each in kept})

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        norm = self._norm.read()[0] if isinstance(self._norm, Control) else self._norm
        return {
            name: norm if name == "_norm" else value
            for name, value in self.__dict__.items()
            if name not in ("_tables", "_plan", "_fast", "_binding", "_memory", "_control", "_versioned")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._see()
        self._lay_out()

    def __repr__(self) -> str:
        flags = "".join(f", {name}=True" for name, flag in self._flags.items() if flag)
        lines = [f"{type(self).__name__}(rule={self.rule.name}, t={self.t}{flags}{self._guard}"]
        for index, group in enumerate(self.groups):
            hyper = ", ".join(f"{name}={_shown(group[name])}" for name in self._names)
            count = sum(p.group == index for p in self._parameters)
            lines.append(f"  group {group['name']}: {count} arrays, {hyper}")
        return "\n".join(lines) + ")"


def _checked_flag(name: str, flag: Any) -> bool:
    if not isinstance(flag, (bool, np.bool_)):
        raise TypeError(f"{name} is {flag!r}, expected True or False")
    return bool(flag)


def _declared(kind: type) -> set[str]:
    """Attributes that a class or its bases annotate: those that a subclass of a user adds."""
    return {name for each in kind.__mro__ for name in inspect.get_annotations(each)}


def _shown(value: Any) -> str:
    """A hyperparameter for repr: functions by their name."""
    return value.__name__ if hasattr(value, "__name__") else repr(value)
