"""Training in phases: one optimizer after another on the same parameters."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

from .._hyper import integer, load_all
from .._io.batches import checked_size
from .._params import read_once
from .._rule import Rule
from .._signals import uninterrupted
from .._suggest import suggesting
from ..schedules import as_loss, improves
from .carry import check_carries, means, take_up
from .forwarding import Forwarding
from .groups import shown
from .masters import masters_of, take_over
from .optimizer import Optimizer
from .optimizers import SGD, Adam
from .own import RuleOptimizer, optimizer

__all__ = ["Phase", "Phases", "cold_start"]

CARRIES = ("reset", "momentum")
THRESHOLD = 1e-4  # an improvement is a loss below the best so far by more than this part of its size


class Phase:
    """One phase of `Phases`: an optimizer, when it ends, its batch size.

    Parameters
    ----------
    make : optimizer class, Rule or callable
        ``make(params, **hyper)`` makes the phase's optimizer: ``gnumba.Adam``, a rule of your own, or
        whatever returns an optimizer.
    steps : int, optional
        ≥ 1: the phase ends after so many steps. Skipped steps do not count.
    patience : int, optional
        ≥ 0: the phase ends with the (patience + 1)-th loss running that is not below the best so far,
        L, by more than 1e-4 · |L|, as PyTorch's ReduceLROnPlateau counts where losses are positive.
        With ``steps``: whichever comes first.
    batch_size : int, callable or None
        What ``Phases.batch_size`` is during the phase: ≥ 1, a schedule ``t -> int`` of the phase's
        own steps, or None for all rows.
    carry : {"reset", "momentum"}, optional
        What the phase takes from the one before, see `Phases`, whose ``carry`` it is by default.
    **hyper
        Hyperparameters and options for ``make``. A schedule counts the steps of its phase, from 0;
        one with a state begins the phase in the state that it is given in.

    Raises
    ------
    ValueError
        If ``steps``, ``patience`` or ``batch_size`` is out of range, or ``carry`` unknown.
    TypeError
        If ``make`` cannot be called.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.Phase(gn.Adam, steps=500, lr=1e-3, batch_size=512)
    Phase(Adam, steps=500, batch_size=512, lr=0.001)
    """

    @suggesting
    def __init__(
        self,
        make: Callable[..., Optimizer],
        *,
        steps: int | None = None,
        patience: int | None = None,
        batch_size: Any = None,
        carry: str | None = None,
        **hyper: Any,
    ) -> None:
        if not callable(make):
            raise TypeError(f"make is {make!r}, expected an optimizer class, a rule or a callable")
        self.make = make
        self.steps = None if steps is None else integer("steps", steps, 1)
        self.patience = None if patience is None else integer("patience", patience, 0)
        self.batch_size = batch_size
        self.size_at(0)
        self.carry = None if carry is None else _checked_carry(carry)
        self.hyper = hyper
        self._first_states = [(each, each.state_dict()) for each in _schedules(hyper, "load_state_dict")]

    def size_at(self, t: int) -> int | None:
        """The batch size after ``t`` steps of the phase; None for all rows."""
        if callable(self.batch_size):
            return checked_size(f"batch_size at step {t}", self.batch_size(t))
        return checked_size("batch_size", self.batch_size)

    def optimizer(self, params: Any) -> Optimizer:
        """The phase's optimizer, at its beginning."""
        load_all(self._first_states)
        make = functools.partial(optimizer, self.make) if isinstance(self.make, Rule) else self.make
        made = make(params, **self.hyper)
        if not isinstance(made, Optimizer):
            raise TypeError(f"{shown(self.make)} made a {type(made).__name__}, expected an Optimizer")
        return made

    def __repr__(self) -> str:
        own = {name: getattr(self, name) for name in ("steps", "patience", "batch_size", "carry")}
        fields = {name: value for name, value in own.items() if value is not None} | self.hyper
        return f"Phase({', '.join([shown(self.make), *(f'{k}={shown(v)}' for k, v in fields.items())])})"


class Phases(Forwarding):
    """An optimizer that is one optimizer after another: fast at the start, fine at the end.

    It is used like any optimizer. A phase ends with the step or the observed loss that ends it: ``lr``,
    ``batch_size`` and ``phase`` are the next one's from then on. The last phase goes on without end.
    Every phase is checked when the plan is made; the state of one only is held at a time.

    ``carry`` says what goes over with the parameters. "reset": nothing, the new optimizer starts
    anew. "momentum": the mean gradient m̂ = m/(1 − β₁ᵗ) of Adam and its kin (AdamW, AMSGrad, RAdam,
    NAdam, Adamax, AdaBelief, Adan), where t counts the updates that the parameter has had and β₁ is the
    last step's; Lion's with β₂. Momentum starts from v = m̂. SGD with
    momentum μ and dampening τ starts from v = m̂(1 − τ)/(1 − μ), its steady state for a constant
    gradient m̂. A parameter without an update carries 0. A rule of your own with a state called m
    does not carry, as m may be anything there.

    Each switch is logged: ``logging.getLogger("gnumba")``, level INFO.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place. A group's own hyperparameters are its own in every phase, so each
        phase's optimizer must have them.
    phases : list of Phase
        In their order; all but the last with ``steps`` or ``patience``.
    carry : {"reset", "momentum"}, default "reset"
        What every switch carries where the phase it leads to does not say.

    Attributes
    ----------
    t : int
        Steps taken in all phases.
    phase : int
        The current phase, from 0.
    phases : tuple of Phase
        The plan.
    rules : tuple of Rule
        Each phase's update rule.
    optimizer : Optimizer
        The current phase's; its ``t`` counts the steps of the phase.
    lr, weight_decay, … : float
        Every hyperparameter of the current phase's optimizer by its name; setting one is for this phase.
        ``rule``, ``groups``, ``max_norm``, ``nonfinite``, ``grad_norm`` and ``skipped``, which counts in
        all phases, are that optimizer's too.

    Raises
    ------
    ValueError
        If there is no phase, one before the last has no end, momentum is to be carried where it
        cannot be, or an optimizer refuses its parameters or hyperparameters.
    TypeError
        If a phase is no `Phase` or makes no optimizer.

    References
    ----------
    Keskar & Socher 2017, arXiv:1712.07628.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0, 2.0])
    >>> plan = gn.Phases(w, [
    ...     gn.Phase(gn.Adam, steps=2, lr=0.5, batch_size=512),
    ...     gn.Phase(gn.SGD, lr=0.25, batch_size=64),
    ... ])
    >>> for _ in range(3):
    ...     print(plan.phase, plan.lr, plan.batch_size)
    ...     plan.step(w)
    0 0.5 512
    0 0.5 512
    1 0.25 64
    """

    passed_further = frozenset({"batch_size", "observe", "phase", "phases", "rules"})

    def __init__(self, params: Any, phases: Sequence[Phase], *, carry: str = "reset") -> None:
        self._given, self._phases, self._carry = (
            read_once(params),
            _checked_phases(phases),
            _checked_carry(carry),
        )
        count = range(len(self._phases))
        self._rules = tuple(self._optimizer_of(k).rule for k in count)  # each optimizer dropped at once
        for k in filter(self._carries, count):
            check_carries(k, self.rules[k - 1], self.rules[k])
        self._enter(0, self._optimizer_of(0))
        self._before = 0  # steps in the phases before

    def _optimizer_of(self, k: int) -> Optimizer:
        try:
            return self.phases[k].optimizer(self._given)
        except Exception as error:
            error.add_note(f"in phase {k}: {self.phases[k]}")
            raise

    def _enter(self, k: int, made: Optimizer) -> None:
        self._phase, self._optimizer = k, made
        self._best, self._waited = math.inf, 0  # the best loss observed, how many since were none better

    def _carries(self, k: int) -> bool:
        """Whether phase ``k`` takes up momentum."""
        own = self.phases[k].carry
        return (self._carry if own is None and k else own) == "momentum"

    # The step.

    def step(self, grads: Any, **options: Any) -> None:
        """Update every parameter once, in place, with the current phase's optimizer.

        Parameters
        ----------
        grads : array, Rows, list, tuple or dict
            As in any optimizer.
        **options
            ``grad_scale``, as in any optimizer.

        Raises
        ------
        ValueError, TypeError, IndexError, FloatingPointError
            As in any optimizer. Nothing has changed then.
        """
        self._move_on()  # what an interrupt after the step before has kept from happening
        self._optimizer.step(grads, **options)
        self._move_on()

    def observe(self, loss: Any) -> None:
        """Tell the plan a loss, say of the validation data, for its ``patience``.

        It is passed on to those schedules of the current phase's optimizer that observe losses.

        Parameters
        ----------
        loss : float
            The lower the better; nan is no improvement.

        Raises
        ------
        TypeError
            If it is no number.
        ValueError
            If the container no longer holds the arrays it was given, of which the next phase is made.
        """
        observed = as_loss(loss)
        self._params.check_held()
        with uninterrupted():
            self._count(observed)
        self._move_on()

    def _count(self, loss: float) -> None:
        hypers = [*self.optimizer.groups, {"max_norm": self.optimizer.max_norm}]
        observing = [each for hyper in hypers for each in _schedules(hyper, "observe")]
        for schedule in {id(each): each for each in observing}.values():
            schedule.observe(loss)
        better = improves(loss, self._best, THRESHOLD)
        self._best, self._waited = (loss, 0) if better else (self._best, self._waited + 1)

    def _move_on(self) -> None:
        """Switch to the next phase if this one has ended."""
        phase, last = self.phases[self.phase], self.phase + 1 == len(self.phases)
        over = phase.steps is not None and self.optimizer.t >= phase.steps
        stuck = phase.patience is not None and self._waited > phase.patience
        if not last and (over or stuck):
            with uninterrupted():
                self._switch()

    def _switch(self) -> None:
        """Let go of the old optimizer, then make the next, so that one state is held at a time."""
        carries, left = self._carries(self.phase + 1), _title(self.optimizer)
        carried = means(self.optimizer) if carries else {}
        masters = masters_of(self.optimizer)
        self._before, skipped, verdict = self.t, self.optimizer.skipped, self.optimizer._verdict
        del self._optimizer
        made = self._optimizer_of(self.phase + 1)
        made.__dict__.update(_skipped=skipped, _verdict=verdict)
        take_up(made, carried)
        take_over(made, masters)
        self._enter(self.phase + 1, made)
        lr = f", lr {self.lr:g}" if "lr" in made.groups[0] else ""
        size = "" if self.batch_size is None else f", batch size {self.batch_size}"
        over = "momentum carried" if carries else "state reset"
        message = f"step {self.t}: {left} → {_title(made)}{lr}{size}, {over}"
        logging.getLogger("gnumba").info(message)

    # What any optimizer has.

    @property
    def t(self) -> int:
        """Steps taken in all phases."""
        return self._before + int(self.optimizer.t)

    @property
    def batch_size(self) -> int | None:
        """The batch size of the next step; None for all rows."""
        return self.phases[self.phase].size_at(self.optimizer.t)

    @property
    def phase(self) -> int:
        """The current phase, from 0."""
        return self._phase

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The plan."""
        return self._phases

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Each phase's update rule."""
        return self._rules

    def _kept(self) -> list[Any]:
        return [self._given, *super()._kept()]

    # State.

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies: the phase, how far it is, its optimizer's state.

        Returns
        -------
        dict
            ``{"t": steps, "phase": number, "best": lowest loss observed in the phase, "waited":
            losses observed since that were no improvement, "optimizer": its state_dict()}``.
        """
        return {
            "t": self.t,
            "phase": self.phase,
            "best": self._best,
            "waited": self._waited,
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``, and its phase; the next step gives the bits it would have.

        Parameters
        ----------
        state : dict
            From ``state_dict`` of a plan with the same rule in that phase, the same groups and names.

        Raises
        ------
        ValueError
            If anything does not fit. Nothing has changed then.
        """
        t, own, phase, waited = _checked_counts(state, len(self.phases))
        made = self._optimizer if phase == self._phase else self._optimizer_of(phase)
        with uninterrupted():
            made.load_state_dict(state["optimizer"])
            self._enter(phase, made)
            self._before, self._best, self._waited = t - own, float(state["best"]), waited
        self._move_on()

    def __repr__(self) -> str:
        lines = [f"{'→' if k == self.phase else ' '} {k}: {each}" for k, each in enumerate(self.phases)]
        return "\n  ".join([f"Phases(t={self.t}, carry={self._carry}", *lines]) + ")"


@suggesting
def cold_start(
    params: Any,
    steps: int,
    *,
    start: Callable[..., Optimizer] = Adam,
    start_lr: Any = 1e-2,
    start_batch: Any = 512,
    then: Callable[..., Optimizer] = SGD,
    lr: Any = 1e-3,
    batch: Any = 64,
) -> Phases:
    """Plan of two phases: an adaptive rule with a high rate and large batches, then a steadier rule.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place.
    steps : int
        ≥ 1: how many the start takes.
    start, then : optimizer class, Rule or callable
        The rule of the start, and the steadier one after it.
    start_lr, lr : float or schedule
        Their learning rates.
    start_batch, batch : int, callable or None
        Their batch sizes; None for all rows.

    Returns
    -------
    Phases

    Raises
    ------
    ValueError, TypeError
        As `Phases`.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.cold_start(np.zeros(3), 500)
    Phases(t=0, carry=reset
      → 0: Phase(Adam, steps=500, batch_size=512, lr=0.01)
        1: Phase(SGD, batch_size=64, lr=0.001))
    """
    first = Phase(start, steps=steps, batch_size=start_batch, lr=start_lr)
    return Phases(params, [first, Phase(then, batch_size=batch, lr=lr)])


def _checked_phases(phases: Any) -> tuple[Phase, ...]:
    """The phases of a plan, each with an end but the last."""
    if not isinstance(phases, (list, tuple)) or not all(isinstance(each, Phase) for each in phases):
        raise TypeError(f"phases is {phases!r}, expected a list of Phase")
    if not phases:
        raise ValueError("phases is empty, expected at least one Phase")
    for k, phase in enumerate(phases[:-1]):
        if phase.steps is None and phase.patience is None:
            raise ValueError(f"phase {k} has no end, expected steps or patience: {phase}")
    return tuple(phases)


def _checked_carry(carry: Any) -> str:
    if carry not in CARRIES:
        raise ValueError(f"carry is {carry!r}, expected one of {CARRIES}")
    return str(carry)


def _checked_counts(state: Any, phases: int) -> tuple[int, int, int, int]:
    """Of a state of `Phases`: its steps, those of its optimizer, the phase, the losses waited."""
    expected = {"t", "phase", "best", "waited", "optimizer"}
    if not isinstance(state, Mapping) or state.keys() != expected:
        names = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"state has {names}, expected {sorted(expected)}")
    own = state["optimizer"].get("t") if isinstance(state["optimizer"], Mapping) else None
    own = integer("state['optimizer']['t']", own, 0)
    t = integer("state['t']", state["t"], own)
    phase, waited = (integer(f"state[{name!r}]", state[name], 0) for name in ("phase", "waited"))
    if phase >= phases:
        raise ValueError(f"state['phase'] is {phase}, expected one of {phases} phases")
    if not isinstance(state["best"], Real):
        raise ValueError(f"state['best'] is {state['best']!r}, expected a number")
    return t, own, phase, waited


def _schedules(hyper: Mapping[str, Any], able: str) -> Iterator[Any]:
    """The schedules among hyperparameters, and in tuples of them, that have such a method."""
    for value in hyper.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(each, able):
                yield each


def _title(made: Optimizer) -> str:
    return made.rule.name if isinstance(made, RuleOptimizer) else type(made).__name__
