"""The Optimizer: parameters in groups, their state, and the step."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ._engine import place
from ._engine.binding import Binding
from ._engine.launch import launch
from ._engine.table import Table
from ._hyper import NOT_NEGATIVE, Range, load_all, restored, saved, stateful
from ._rule import Rule
from ._structure import Group, are_groups, groups, keys_of, outline, values_of

__all__ = ["Optimizer", "optimizer"]

Array = np.ndarray[Any, np.dtype[Any]]


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
        self.array, self.dtype = array, array.dtype
        self.layout = place.layout(array)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("table", "layout")}

    def check_held(self, held: Any) -> None:
        """ValueError unless the container holds the array it held, writable and where it was."""
        moved = place.layout(place.seen(self.name, self.given)) != self.layout
        if held is not self.given or moved:
            raise ValueError(
                f"parameter {self.name} is no longer the array the optimizer was given: "
                "update it in place (p[...] = other), or make a new optimizer"
            )
        if not self.array.flags.writeable:
            raise ValueError(f"parameter {self.name} is read-only by now, expected a writable array")


class Update:
    """What one launch covers: a table, or those of its rows that missed as many steps, and its scalars."""

    def __init__(self, table: Table, rows: set[int] | None, group: Group, missed: int) -> None:
        self.table, self.rows, self.group, self.missed = table, rows, group, missed
        names = table.function.scalars
        self._of, self._pack = values_of(names), struct.Struct(f"{len(names)}d").pack_into
        self._scalars = np.empty(len(names))
        self._memory = self._scalars.data

    def part(self) -> Table:
        """The table, with the gradients that are bound now."""
        return self.table if self.rows is None else self.table.only(self.rows)

    def filled(self, scalars: Mapping[str, float]) -> Array:
        """The rule's scalars as float64, in its order; TypeError for what is no number."""
        try:
            self._pack(self._memory, 0, *self._of(scalars))
        except struct.error:
            name = self.table.function.name
            raise TypeError(f"the scalars of rule {name!r} are {dict(scalars)}, expected numbers") from None
        return self._scalars


class Optimizer:
    """Parameters, their state, and a step: the base of all optimizers.

    Made by a subclass such as `Adam`, or by ``gnumba.optimizer`` for a rule of your own.

    Attributes
    ----------
    rule : Rule
        The scalar update rule.
    t : int
        Steps taken.
    lr : float
        The learning rate of the next step (the first group's); setting it sets every group and
        replaces a schedule.
    groups : list of dict
        The groups: ``"params"``, ``"name"`` and the hyperparameters, which may be changed.
    """

    ranges: Mapping[str, Range] = MappingProxyType({})
    _plan: list[Update]

    def __init__(self, rule: Rule, params: Any, hyper: Mapping[str, Any]) -> None:
        self.rule = rule
        self.t = 0
        self._names = tuple(hyper)
        self._grouped = are_groups(params)
        self.groups = groups(params, hyper, self.ranges)
        self._parameters = list(self._enumerate())
        self._see()
        for p in self._parameters:
            p.state = {name: self._first_state(name, p.array) for name in rule.state}
        self._lay_out()

    # What a kind of optimizer adds: how hyperparameters become the rule's scalars.

    def scalars(self, t: int, **hyper: Any) -> Mapping[str, float]:
        """The rule's scalars for a parameter's ``t``-th update (1, 2, …), on the host in float64."""
        return hyper

    # The step.

    def step(self, grads: Any) -> None:
        """Update every parameter once, in place.

        Parameters
        ----------
        grads : array, list, tuple or dict
            Gradients in the structure of ``params`` (for groups: a list, each entry in the
            structure of that group's ``"params"``), each of its parameter's shape and dtype.
            ``None`` leaves that parameter and its state alone. Gradients are never written.

        Raises
        ------
        ValueError
            If the structure, a name or a shape differs, a hyperparameter is out of range, the
            container no longer holds the arrays it was given, or a gradient shares memory with a
            parameter other than element for element with its own. Nothing has changed then.
        TypeError
            If a gradient is no array, or has another dtype than its parameter.
        """
        gradients = self._matched(grads)
        _views, missing = self._bind(gradients)  # both held to the end: tables know addresses only
        launch([(each.part(), self._scalars(each)) for each in self._plan])
        self.t += 1
        if missing:
            for p in missing:
                p.missed += 1
            self._plan = self._planned()

    def _bind(self, gradients: tuple[Any, ...]) -> tuple[list[Array], list[Parameter]]:
        """Check every gradient and bind it to its parameter's row.

        What is out of the ordinary is looked at here: views of those gradients, and the parameters
        that have none.
        """
        held = self._held()
        for table, _, _ in self._tables:
            table.strided.clear()  # each row is bound anew
        views, missing = [], []
        k = self._binding.bind(held, gradients, 0)
        while k < len(gradients):
            p, g = self._parameters[k], gradients[k]
            p.check_held(held[k])
            if g is None:
                p.table.leave_out(p.row)
                missing.append(p)
            else:
                g = place.check_gradient(p.name, g, p.array)
                self._memory.check_clear(p.name, g)
                p.table.bind(p.row, g)
                views.append(g)
            k = self._binding.bind(held, gradients, k + 1)
        return views, missing

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

    def _scalars(self, update: Update) -> Array:
        """The rule's scalars for this step."""
        made = self.scalars(self.t + 1 - update.missed, **update.group.values_at(self.t))
        return update.filled(made)

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

    # State.

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies: steps, hyperparameters, and each parameter's state by its name.

        Returns
        -------
        dict
            ``{"rule": name, "t": steps, "groups": {name: {hyperparameter: value}},
            "state": {parameter: {"updates": count, state name: array}}}``. A hyperparameter with
            a schedule holds the schedule's own ``state_dict()``, or None.
        """
        return {
            "rule": self.rule.name,
            "t": self.t,
            "groups": {g["name"]: {name: saved(g[name]) for name in self._names} for g in self.groups},
            "state": {
                p.name: {"updates": self.t - p.missed, **{name: s.copy() for name, s in p.state.items()}}
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
        _check_fits("state", state, self.state_dict())
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
        load_all(
            [
                pair
                for group, values in zip(self.groups, hyper, strict=True)
                for name, value in values.items()
                for pair in stateful(value, state["groups"][group["name"]][name])
            ]
        )
        for group, values in zip(self.groups, hyper, strict=True):
            group.update(values)
        for p in self._parameters:
            p.missed = int(state["t"]) - int(state["state"][p.name]["updates"])
            for name, array in p.state.items():
                array[...] = state["state"][p.name][name]
        self.t = int(state["t"])
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
        self._memory = place.check_parameters(given)
        for p in self._parameters:
            p.see(self._memory.arrays[p.name])

    def _first_state(self, name: str, array: Array) -> Array:
        return np.full_like(array, self.rule.initial.get(name, 0.0), subok=False)

    def _lay_out(self) -> None:
        """Make the tables: parameters of one group and dtype, until a step binds their gradients."""
        members: dict[tuple[int, np.dtype[Any]], list[Parameter]] = {}
        for p in self._parameters:
            members.setdefault((p.group, p.dtype), []).append(p)
        self._tables = []
        for (group, _), chosen in members.items():
            table = Table(self.rule, [(p.array, p.array, *p.state.values()) for p in chosen])
            for row, p in enumerate(chosen):
                p.table, p.row = table, row
            self._tables.append((table, group, chosen))
        self._binding = Binding([(p.table, p.row, p.array, p.given) for p in self._parameters], self._memory)
        self._plan = self._planned()

    # Copies: tables hold addresses, so a copy makes its own.

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_tables", "_plan", "_binding", "_memory")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._see()
        self._lay_out()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}(rule={self.rule.name}, t={self.t}"]
        for index, group in enumerate(self.groups):
            hyper = ", ".join(f"{name}={_shown(group[name])}" for name in self._names)
            count = sum(p.group == index for p in self._parameters)
            lines.append(f"  group {group['name']}: {count} arrays, {hyper}")
        return "\n".join(lines) + ")"


class RuleOptimizer(Optimizer):
    """An optimizer of a user's rule; see `optimizer`."""

    ranges = MappingProxyType({"lr": NOT_NEGATIVE})

    def __init__(
        self,
        rule: Rule,
        params: Any,
        scalars: Callable[..., Mapping[str, float]] | None,
        hyper: Mapping[str, Any],
    ) -> None:
        self._to_scalars = scalars
        super().__init__(rule, params, hyper)
        given = set(self.scalars(1, **self.groups[0].values_at(0)))
        if (scalars is None and given != set(rule.scalars)) or not given >= set(rule.scalars):
            raise TypeError(
                f"{'hyperparameters are' if scalars is None else 'scalars returns'} {sorted(given)}, "
                f"expected those of rule {rule.name!r}: {list(rule.scalars)}"
            )

    def scalars(self, t: int, **hyper: Any) -> Mapping[str, float]:
        return hyper if self._to_scalars is None else self._to_scalars(t, **hyper)


def optimizer(
    rule: Rule,
    params: Any,
    *,
    scalars: Callable[..., Mapping[str, float]] | None = None,
    **hyper: Any,
) -> Optimizer:
    """A full optimizer of any update rule: every target, groups, schedules, state.

    Parameters
    ----------
    rule : Rule
        Made by ``gnumba.rule``.
    params : array, list, tuple, dict, or list of groups
        What to update, in place.
    scalars : callable, optional
        ``scalars(t, **hyper) -> dict`` maps the hyperparameters to the rule's scalars, once a
        step, on the host, in float64; ``t`` is 1 for a parameter's first update. Without it the
        hyperparameters are the scalars.
    **hyper : float or callable
        Hyperparameters; a callable is a schedule of the steps taken.

    Returns
    -------
    Optimizer

    Raises
    ------
    TypeError
        If ``rule`` is no rule, or its scalars are not those that ``hyper`` and ``scalars`` give.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> @gn.rule
    ... def lion(p, g, m, /, lr, beta1, beta2):
    ...     "Lion. Chen et al. 2023, arXiv:2302.06675."
    ...     u = beta1 * m + (1.0 - beta1) * g
    ...     return p - lr * gn.elementary.sign(u), beta2 * m + (1.0 - beta2) * g
    >>> w = np.array([1.0, -1.0])
    >>> opt = gn.optimizer(lion, w, lr=0.25, beta1=0.9, beta2=0.99)
    >>> opt.step(np.array([3.0, -2.0]))
    >>> w
    array([ 0.75, -0.75])
    """
    if not isinstance(rule, Rule):
        raise TypeError(f"rule is {rule!r}, expected a rule made by gnumba.rule")
    return RuleOptimizer(rule, params, scalars, hyper)


def _check_fits(where: str, state: Any, mine: Any) -> None:
    """ValueError unless ``state`` is built as ``mine``; hyperparameters are looked at later."""
    if isinstance(mine, dict):
        if not isinstance(state, Mapping) or state.keys() != mine.keys():
            names = list(state) if isinstance(state, Mapping) else outline(state)
            raise ValueError(f"{where} has {names}, expected {list(mine)}")
        for key, value in mine.items():
            if where != "state['groups']":
                _check_fits(f"{where}[{key!r}]", state[key], value)
            elif not isinstance(state[key], Mapping) or state[key].keys() != value.keys():
                raise ValueError(f"{where}[{key!r}] is {state[key]!r}, expected the names {list(value)}")
    elif isinstance(mine, np.ndarray):
        given = (getattr(state, "dtype", type(state).__name__), getattr(state, "shape", ()))
        if given != (mine.dtype, mine.shape):
            raise ValueError(f"{where} is {given[0]} {given[1]}, expected {mine.dtype} {mine.shape}")
    elif isinstance(mine, str):
        if state != mine:
            raise ValueError(f"{where} is {state!r}, expected {mine!r}")
    elif not isinstance(state, (int, np.integer)) or state < 0:
        raise ValueError(f"{where} is {state!r}, expected a count")


def _shown(value: Any) -> str:
    """A hyperparameter for repr: functions by their name."""
    return value.__name__ if hasattr(value, "__name__") else repr(value)
