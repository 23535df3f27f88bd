"""Schedules: hyperparameters and batch sizes as functions of the number of steps taken.

Each is a small object: called with t, the number of steps already taken (0 for the first step), it
gives the value of that step. It compares by value, pickles, and prints as what made it. Numbers
that are only passed on stay what they are, so whole numbers stay whole.
"""
# ruff: noqa: N801  classes that are called as functions are

from __future__ import annotations

import copy
import math
import operator
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, MISSING, Field, FrozenInstanceError, dataclass, field, fields
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, dataclass_transform

import numpy as np

from ._hyper import ANY, FINITE, FRACTION, NOT_NEGATIVE, POSITIVE, Range, load_all, number, saved, stateful
from ._suggest import module_getattr, no_attribute, suggesting

__all__ = [
    "ReduceOnPlateau",
    "alternate",
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_sqrt",
    "join",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "step",
    "warmup",
    "warmup_cosine",
]

Value = float | Callable[[int], Any]  # a number or a schedule

COUNT = Range("a whole number ≥ 0", 0.0, FINITE.highest)
SOME = Range("a whole number ≥ 1", 1.0, FINITE.highest)
FROM_ONE = Range("a finite number ≥ 1", 1.0, FINITE.highest)

LEAST_REDUCTION = 1e-8  # PyTorch's eps


# Arguments: what each name stands for, whichever schedule it belongs to.


def _whole(allowed: Range, name: str, given: Any) -> int:
    """A whole number, which may come as a float (1e5)."""
    if not number(name, given, allowed).is_integer():
        raise ValueError(f"{name} is {given!r}, expected {allowed.words}")
    return int(given)


def _float(allowed: Range, name: str, given: Any) -> float:
    return number(name, given, allowed)


def _number(allowed: Range, name: str, given: Any) -> float:
    """A plain number; integers stay integers."""
    made = number(name, given, allowed)
    try:
        return operator.index(given)
    except TypeError:
        return made


def _value(name: str, given: Any) -> Value:
    """A schedule, or a number that stands for itself."""
    return given if callable(given) else _number(FINITE, name, given)


def _values(name: str, given: Any) -> tuple[Value, ...]:
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"{name} is {given!r}, expected a list of schedules")
    return tuple(_value(f"{name}[{k}]", each) for k, each in enumerate(given))


def _factors(name: str, given: Any) -> dict[int, float]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} is {given!r}, expected a dict, step: factor")
    made = {
        _whole(COUNT, f"a step in {name}", t): _number(NOT_NEGATIVE, f"{name}[{t!r}]", factor)
        for t, factor in given.items()
    }
    return dict(sorted(made.items()))


def _boundaries(name: str, given: Any) -> tuple[int, ...]:
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"{name} is {given!r}, expected a list of steps")
    made = tuple(_whole(SOME, f"{name}[{k}]", each) for k, each in enumerate(given))
    if any(later <= earlier for earlier, later in pairwise(made)):
        raise ValueError(f"{name} is {given!r}, expected each later than the one before")
    return made


def _mode(name: str, given: Any) -> str:
    if given not in ("min", "max"):
        raise ValueError(f"{name} is {given!r}, expected 'min' or 'max'")
    return str(given)


def _flag(name: str, given: Any) -> bool:
    if not isinstance(given, (bool, np.bool_)):
        raise TypeError(f"{name} is {given!r}, expected True or False")
    return bool(given)


Check = Callable[[str, Any], Any]
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("lr", "max_lr", "peak", "min_lr", "final", "factor"), partial(_number, NOT_NEGATIVE)),
    **dict.fromkeys(("start", "end"), partial(_number, FINITE)),
    **dict.fromkeys(("decay_rate", "power", "start_factor", "end_factor"), partial(_number, POSITIVE)),
    **dict.fromkeys(("warm_fraction", "threshold"), partial(_number, FRACTION)),
    **dict.fromkeys(("steps", "every", "decay_steps", "period"), partial(_whole, SOME)),
    **dict.fromkeys(("patience", "cooldown", "warmup"), partial(_whole, COUNT)),
    **dict.fromkeys(("schedule", "a", "b"), _value),
    "schedules": _values,
    "boundaries": _boundaries,
    "factors": _factors,
    "staircase": _flag,
    "mode": _mode,
}


# What all have in common.


class Schedule(ABC):
    """The base of all schedules, dataclasses with arguments as in `CHECKS`.

    Their attributes cannot be reassigned, and none can be added.
    """

    checks: ClassVar[Mapping[str, Check]] = CHECKS  # what is special to a class replaces what is usual

    def __post_init__(self) -> None:
        for each, given in self._arguments():
            object.__setattr__(self, each.name, self.checks[each.name](each.name, given))

    def __setattr__(self, name: str, value: Any) -> None:
        self._check_known(name)
        raise FrozenInstanceError(f"{name} of {self!r} cannot be changed, expected another schedule instead")

    def __delattr__(self, name: str) -> None:
        self._check_known(name)
        raise FrozenInstanceError(f"{name} of {self!r} cannot be deleted")

    def _check_known(self, name: str) -> None:
        known = [each.name for each in fields(self)]  # type: ignore[arg-type]  # every subclass is a dataclass
        if name not in known:
            raise no_attribute(self, name, known)

    def __copy__(self) -> Any:
        """A deep copy, as what schedules within are told must not reach those of another."""
        return copy.deepcopy(self)

    def __call__(self, t: int) -> Any:
        """The value of the step that comes after ``t`` steps.

        Raises
        ------
        ValueError, TypeError
            If ``t`` is no whole number ≥ 0.
        """
        plain = type(t) is int and t >= 0  # as an optimizer asks, once a step
        return self._at(t if plain else _whole(COUNT, "t", t))

    @abstractmethod
    def _at(self, t: int) -> Any:
        """The value after ``t`` steps, a plain whole number."""

    @suggesting
    def plot(self, steps: int, ax: Any = None) -> Any:
        """Draw the values of the first ``steps`` steps. Needs matplotlib.

        Parameters
        ----------
        steps : int
            How many, at least 1.
        ax : matplotlib.axes.Axes, optional
            Where to draw; pyplot's current axes if not given.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        count = _whole(SOME, "steps", steps)
        if ax is None:
            ax = _current_axes()
        ax.plot(range(count), [self._at(t) for t in range(count)], drawstyle="steps-post", label=repr(self))
        ax.set(xlabel="step", ylabel="value")
        return ax

    def _arguments(self) -> Iterator[tuple[Field[Any], Any]]:
        """Fields of the constructor and the values passed for them."""
        for each in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            if each.init:
                yield each, getattr(self, each.name)

    def __repr__(self) -> str:
        shown = [
            repr(value) if each.default is MISSING else f"{each.name}={value!r}"
            for each, value in self._arguments()
            if value != each.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


class Nested(Schedule):
    """A schedule of schedules, whose state travels with it."""

    def observe(self, loss: float) -> None:
        """Pass a loss on to the schedules within that observe losses."""
        for schedule in self._within().values():
            if hasattr(schedule, "observe"):
                schedule.observe(loss)

    def state_dict(self) -> dict[str, Any] | None:
        """The states of the schedules within, by their position; None if none has any."""
        states = {key: saved(schedule) for key, schedule in self._within().items()}
        return states if any(state is not None for state in states.values()) else None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``; schedules without a state let it pass.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.
        """
        if self.state_dict() is None:
            return
        within = self._within()
        if not isinstance(state, Mapping) or state.keys() != within.keys():
            raise ValueError(f"the state of {self!r} is {state!r}, expected the names {list(within)}")
        load_all([pair for key, schedule in within.items() for pair in stateful(schedule, state[key])])

    def _within(self) -> dict[str, Any]:
        given = [value for _, value in self._arguments()]
        flat = [each for value in given for each in (value if isinstance(value, tuple) else (value,))]
        return {str(k): each for k, each in enumerate(filter(callable, flat))}


S = TypeVar("S", bound=Schedule)


@dataclass_transform(frozen_default=True)
def schedule_class(*, frozen: bool = True) -> Callable[[type[S]], type[S]]:
    """Make a dataclass of a schedule; a call with arguments that it does not take says which it takes."""

    def made(cls: type[S]) -> type[S]:
        setter, deleter = cls.__setattr__, cls.__delattr__
        cls = dataclass(frozen=frozen, repr=False)(cls)
        cls.__setattr__, cls.__delattr__ = setter, deleter  # type: ignore[method-assign]
        cls.__init__ = suggesting(cls.__init__)  # type: ignore[method-assign]
        return cls

    return made


def _current_axes() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("plot needs matplotlib, not installed here: pip install matplotlib") from None
    return pyplot.gca()


def _value_at(value: Value, t: int) -> Any:
    return value(t) if callable(value) else value


def _between(start: float, end: float, weight: float) -> float:
    """``start`` where its weight is 1, ``end`` where it is 0, both exactly."""
    return weight * start + (1.0 - weight) * end


def _half_wave(fraction: float) -> float:
    """From 1 down to 0 along a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


# The schedules.


@schedule_class()
class constant(Schedule):
    """One value for all steps.

    Parameters
    ----------
    lr : float
        ≥ 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.schedules.constant(0.1)(1000)
    0.1
    """

    lr: float

    def _at(self, t: int) -> float:
        return self.lr


@schedule_class()
class exponential(Schedule):
    """Exponential decay: lr · decay_rate^(t / decay_steps).

    Parameters
    ----------
    lr : float
        The first value, ≥ 0.
    decay_rate : float
        > 0: what is left of the value after ``decay_steps`` steps, usually 0.9 to 0.99.
    decay_steps : int, default 1
        ≥ 1.
    staircase : bool, default False
        Round the exponent down, so that the value falls every ``decay_steps`` steps only.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.exponential(1.0, 0.25, decay_steps=2)
    >>> [schedule(t) for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    lr: float
    decay_rate: float
    decay_steps: int = 1
    staircase: bool = False

    def _at(self, t: int) -> float:
        exponent = t // self.decay_steps if self.staircase else t / self.decay_steps
        return self.lr * _power(self.decay_rate, exponent)


@schedule_class()
class step(Schedule):
    """Stepwise decay: lr · factor^⌊t / every⌋.

    Parameters
    ----------
    lr : float
        The first value, ≥ 0.
    every : int
        Steps from one change to the next, ≥ 1.
    factor : float, default 0.1
        ≥ 0: by what the value is multiplied.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.step(1.0, every=2, factor=0.5)
    >>> [schedule(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    lr: float
    every: int
    factor: float = 0.1

    def _at(self, t: int) -> float:
        return self.lr * _power(self.factor, t // self.every)


@schedule_class()
class piecewise(Schedule):
    """Decay at chosen steps: lr times all the factors whose step has come.

    Parameters
    ----------
    lr : float
        The first value, ≥ 0.
    factors : dict
        ``{step: factor}``: from that step (≥ 0) on, the value is multiplied by that factor (≥ 0).

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or of another kind.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.piecewise(1.0, {2: 0.5, 4: 0.5})
    >>> [schedule(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    lr: float
    factors: dict[int, float]

    def _at(self, t: int) -> float:
        return math.prod((factor for start, factor in self.factors.items() if start <= t), start=self.lr)


@schedule_class()
class linear(Schedule):
    """A straight line from ``start`` to ``end``: start + (end − start) · t / steps, then ``end``.

    Parameters
    ----------
    start, end : float
        The first value and the last.
    steps : int
        After how many steps the last is reached, ≥ 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.linear(1.0, 0.0, 4)
    >>> [schedule(t) for t in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    start: float
    end: float
    steps: int

    def _at(self, t: int) -> float:
        return _between(self.start, self.end, 1.0 - min(t / self.steps, 1.0))


@schedule_class()
class polynomial(Schedule):
    """A power's curve: end + (start − end) · (1 − t / steps)^power, then ``end``.

    Parameters
    ----------
    start, end : float
        The first value and the last.
    steps : int
        After how many steps the last is reached, ≥ 1.
    power : float
        > 0; 1 is `linear`, larger ones fall faster at first.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.polynomial(1.0, 0.0, 4, power=2)
    >>> [schedule(t) for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    start: float
    end: float
    steps: int
    power: float

    def _at(self, t: int) -> float:
        return _between(self.start, self.end, (1.0 - min(t / self.steps, 1.0)) ** self.power)


@schedule_class()
class cosine(Schedule):
    """Half a cosine wave: final + (lr − final) · (1 + cos(πt / steps)) / 2, then ``final``.

    Parameters
    ----------
    lr : float
        The first value, ≥ 0.
    steps : int
        After how many steps the last is reached, ≥ 1.
    final : float, default 0.0
        The last value, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    References
    ----------
    Loshchilov & Hutter 2017, arXiv:1608.03983.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.cosine(1.0, 4, final=0.5)
    >>> [round(schedule(t), 4) for t in range(6)]
    [1.0, 0.9268, 0.75, 0.5732, 0.5, 0.5]
    """

    lr: float
    steps: int
    final: float = 0.0

    def _at(self, t: int) -> float:
        return _between(self.lr, self.final, _half_wave(t / self.steps))


@schedule_class()
class warmup(Nested):
    """A linear start: the schedule's first value · (t + 1) / steps, then the schedule from its 0.

    Parameters
    ----------
    schedule : callable or float
        What to warm up to.
    steps : int
        How long, ≥ 0; the last of these steps has the schedule's first value. 0 is the schedule itself.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    References
    ----------
    Goyal et al. 2017, arXiv:1706.02677.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.warmup(gn.schedules.linear(1.0, 0.0, 2), 4)
    >>> [schedule(t) for t in range(7)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]
    """

    checks = CHECKS | {"steps": partial(_whole, COUNT)}
    schedule: Value
    steps: int

    def _at(self, t: int) -> Any:
        if t < self.steps:
            return float(_value_at(self.schedule, 0)) * ((t + 1) / self.steps)
        return _value_at(self.schedule, t - self.steps)


@schedule_class()
class warmup_cosine(Schedule):
    """A linear start, then half a cosine wave: peak · (t + 1) / warmup, then `cosine` from ``peak``.

    ``warmup(cosine(peak, steps - warmup, final), warmup)``, with both lengths in one count.

    Parameters
    ----------
    peak : float
        The largest value, ≥ 0, which the last step of the warm-up has.
    warmup : int
        How long the linear start is, ≥ 0.
    steps : int
        After how many steps, the warm-up's included, the last value is reached; more than ``warmup``.
    final : float, default 0.0
        The last value, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    References
    ----------
    Goyal et al. 2017, arXiv:1706.02677. Loshchilov & Hutter 2017, arXiv:1608.03983.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.warmup_cosine(1.0, 2, 6)
    >>> [round(schedule(t), 4) for t in range(8)]
    [0.5, 1.0, 1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    peak: float
    warmup: int
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps <= self.warmup:
            raise ValueError(f"steps is {self.steps}, expected more than warmup, {self.warmup}")

    def _at(self, t: int) -> float:
        if t < self.warmup:
            return self.peak * ((t + 1) / self.warmup)
        return _between(self.peak, self.final, _half_wave((t - self.warmup) / (self.steps - self.warmup)))


@schedule_class()
class cosine_restarts(Schedule):
    """Half a cosine wave again and again: SGDR's warm restarts.

    Cycle k has period · factor^k steps. In each the value falls from ``lr`` towards ``final`` as in
    `cosine`, and is ``lr`` again with the first step of the next. PyTorch's
    CosineAnnealingWarmRestarts, whose T_mult is ``factor``.

    Parameters
    ----------
    lr : float
        The first value of each cycle, ≥ 0.
    period : int
        Steps of the first cycle, ≥ 1.
    factor : float, default 1.0
        ≥ 1: by what each cycle is longer than the one before. Where that is no whole number of steps,
        a cycle begins with the first step after the end of the one before, a part of a step late.
    final : float, default 0.0
        What the value falls to in each cycle, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    References
    ----------
    Loshchilov & Hutter 2017, arXiv:1608.03983.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.cosine_restarts(1.0, 2, factor=2.0)
    >>> [round(schedule(t), 4) for t in range(8)]
    [1.0, 0.5, 1.0, 0.8536, 0.5, 0.1464, 1.0, 0.9619]
    """

    checks = CHECKS | {"factor": partial(_number, FROM_ONE)}
    lr: float
    period: int
    factor: float = 1.0
    final: float = 0.0

    def _at(self, t: int) -> float:
        k = self._cycle(t)
        start = self._start(k)
        return _between(self.lr, self.final, _half_wave((t - start) / (self._start(k + 1) - start)))

    def _start(self, k: int) -> float:
        """After how many steps cycle ``k`` begins: period · (1 + factor + … + factor^(k − 1))."""
        growth = self.factor - 1.0
        if growth == 0.0:
            return self.period * k
        try:
            start = self.period * (math.expm1(k * math.log1p(growth)) / growth)
            whole = round(start)  # what rounding adds to a whole number would make a restart a step late
        except OverflowError:
            return math.inf
        return whole if math.isclose(start, whole, rel_tol=1e-12) else start

    def _cycle(self, t: int) -> int:
        """The last cycle that has begun after ``t`` steps."""
        growth = self.factor - 1.0
        if growth == 0.0:
            return t // self.period
        grown = min(t / self.period * growth, FINITE.highest)  # factor^k − 1
        k = int(math.log1p(grown) / math.log1p(growth))
        while self._start(k) > t:  # logarithms are rounded
            k -= 1
        while self._start(k + 1) <= t:
            k += 1
        return k


@schedule_class()
class inverse_sqrt(Schedule):
    """A linear start, then decay with the root of the steps: lr · min(n / warmup, √(warmup / n)), n = t + 1.

    The Transformer's, whose d^(−½) · warmup^(−½) is ``lr`` here.

    Parameters
    ----------
    lr : float
        The largest value, ≥ 0, which the last step of the warm-up has.
    warmup : int
        How long the linear start is, ≥ 1, usually 4,000.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    References
    ----------
    Vaswani et al. 2017, arXiv:1706.03762, section 5.3.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.inverse_sqrt(1.0, 4)
    >>> [round(schedule(t), 4) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 0.8944, 0.8165]
    """

    checks = CHECKS | {"warmup": partial(_whole, SOME)}
    lr: float
    warmup: int

    def _at(self, t: int) -> float:
        n = t + 1
        return self.lr * (n / self.warmup if n < self.warmup else math.sqrt(self.warmup / n))


@schedule_class()
class one_cycle(Schedule):
    """Up to ``max_lr`` and down to almost nothing, both along half a cosine wave.

    From max_lr / start_factor up to max_lr at t = warm_fraction · steps − 1, then down to
    max_lr / start_factor / end_factor at t = steps − 1. PyTorch's OneCycleLR.

    Parameters
    ----------
    max_lr : float
        The largest value, ≥ 0.
    steps : int
        How long the cycle is, ≥ 1.
    start_factor : float, default 25.0
        > 0: what the first value is smaller by.
    end_factor : float, default 1e4
        > 0: what the last value is smaller by than the first.
    warm_fraction : float, default 0.3
        In [0, 1): the part of the steps that goes up.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    References
    ----------
    Smith & Topin 2017, arXiv:1708.07120.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.one_cycle(1.0, 10, start_factor=4.0)
    >>> [round(schedule(t), 4) for t in range(11)]
    [0.25, 0.625, 1.0, 0.9505, 0.8117, 0.6113, 0.3888, 0.1883, 0.0495, 0.0, 0.0]
    """

    max_lr: float
    steps: int
    _: KW_ONLY
    start_factor: float = 25.0
    end_factor: float = 1e4
    warm_fraction: float = 0.3

    def _at(self, t: int) -> float:
        first = self.max_lr / self.start_factor
        peak, last = self.warm_fraction * self.steps - 1.0, self.steps - 1.0
        if t < peak:
            return _between(first, self.max_lr, _half_wave(t / peak))
        return _between(self.max_lr, first / self.end_factor, _half_wave((t - peak) / (last - peak)))


@schedule_class()
class join(Nested):
    """One schedule after another, each from its 0.

    Parameters
    ----------
    schedules : list of callable or float
        In their order.
    boundaries : list of int
        At which step each but the first begins: one fewer, ≥ 1, each later than the one before.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or of another kind.

    Examples
    --------
    >>> import gnumba as gn
    >>> schedule = gn.schedules.join([0.5, gn.schedules.linear(1.0, 0.0, 2)], [3])
    >>> [schedule(t) for t in range(6)]
    [0.5, 0.5, 0.5, 1.0, 0.5, 0.0]
    """

    schedules: tuple[Value, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.boundaries) != len(self.schedules) - 1:
            raise ValueError(
                f"boundaries is {self.boundaries}, expected one fewer than schedules, of which there are "
                f"{len(self.schedules)}"
            )

    def _at(self, t: int) -> Any:
        k = bisect_right(self.boundaries, t)
        return _value_at(self.schedules[k], t - self.boundaries[k - 1] if k else t)


@schedule_class()
class alternate(Nested):
    """Two values in turn: ``a`` for ``every`` steps, ``b`` for as many, ``a`` again.

    Parameters
    ----------
    a, b : float or callable
        Numbers, or schedules, which are asked for t itself.
    every : int, default 1
        Steps from one change to the next, ≥ 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    Examples
    --------
    >>> import gnumba as gn
    >>> batch_size = gn.schedules.alternate(512, 64, every=2)
    >>> [batch_size(t) for t in range(6)]
    [512, 512, 64, 64, 512, 512]
    """

    a: Value
    b: Value
    every: int = 1

    def _at(self, t: int) -> Any:
        return _value_at(self.b if t // self.every % 2 else self.a, t)


def as_loss(given: Any) -> float:
    """The loss that is observed as a float; TypeError for no number."""
    try:
        return float(given)
    except (TypeError, ValueError):
        raise TypeError(f"loss is {given!r}, expected a number") from None


def improves(loss: float, best: float, threshold: float, mode: str = "min") -> bool:
    """Whether a loss is better than the best so far by more than threshold · |best|; nan never is."""
    part = math.copysign(threshold, best)
    return loss < best * (1.0 - part) if mode == "min" else loss > best * (1.0 + part)


@schedule_class(frozen=False)
class ReduceOnPlateau(Schedule):
    """Decay when the loss stops improving; tell it each loss, or each epoch's, with ``observe``.

    An observation improves if it is below best − threshold · |best|, or above best + threshold · |best|
    where more is better. On the (patience + 1)-th running that does not, the value is multiplied by
    ``factor``. PyTorch's ReduceLROnPlateau, observation by observation: nan is no improvement, and
    a reduction by 1e-8 or less is not made. For losses below 0 PyTorch's threshold has the wrong sign,
    so that it takes a constant loss for one that improves.

    Parameters
    ----------
    lr : float
        The first value, ≥ 0.
    factor : float, default 0.1
        In [0, 1).
    patience : int, default 10
        How many observations running may be without improvement, ≥ 0.
    threshold : float, default 1e-4
        In [0, 1): by what part of the best an observation has to be better.
    cooldown : int, default 0
        How many observations after a reduction are not counted, ≥ 0.
    min_lr : float, default 0.0
        The lowest value, ≥ 0.
    mode : {"min", "max"}, default "min"
        Whether less or more is better.

    Attributes
    ----------
    rate : float
        The value by now; set it to go on from another.
    best : float
        The best observation so far.
    bad : int
        Observations running without improvement.
    cooling : int
        Observations to come that are not counted.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or of another kind.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> plateau = gn.schedules.ReduceOnPlateau(0.5, patience=1)
    >>> opt = gn.SGD(np.zeros(3), lr=plateau)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     plateau.observe(loss)
    >>> opt.lr
    0.05
    """

    checks = CHECKS | {
        "factor": partial(_number, FRACTION),
        "rate": partial(_float, NOT_NEGATIVE),
        "best": partial(_float, ANY),
        "bad": partial(_whole, COUNT),
        "cooling": partial(_whole, COUNT),
    }
    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    mode: Literal["min", "max"] = "min"
    rate: float = field(init=False)
    best: float = field(init=False)
    bad: int = field(init=False, default=0)
    cooling: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.rate, self.best = float(self.lr), math.inf if self.mode == "min" else -math.inf

    def __setattr__(self, name: str, value: Any) -> None:
        self._check_known(name)
        if name == "lr" and "rate" in self.__dict__:
            raise AttributeError("lr of ReduceOnPlateau is the first value, expected rate to be set instead")
        object.__setattr__(self, name, self.checks[name](name, value))

    def observe(self, loss: float) -> None:
        """Take note of a loss, and reduce the value if it is time to.

        Parameters
        ----------
        loss : float
            Or whatever ``mode`` is about; anything that ``float`` takes.
        """
        loss = float(loss)
        if improves(loss, self.best, self.threshold, self.mode):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling -= 1
            self.bad = 0
        if self.bad > self.patience:
            self._reduce()

    def _reduce(self) -> None:
        reduced = max(self.rate * self.factor, self.min_lr)
        if self.rate - reduced > LEAST_REDUCTION:
            self.rate = reduced
        self.bad, self.cooling = 0, self.cooldown

    def _at(self, t: int) -> float:
        return self.rate

    def state_dict(self) -> dict[str, float]:
        """The numbers that ``observe`` changes."""
        return {"rate": self.rate, "best": self.best, "bad": self.bad, "cooling": self.cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.
        """
        if not isinstance(state, Mapping) or state.keys() != self.state_dict().keys():
            raise ValueError(f"the state of {self!r} is {state!r}, expected {list(self.state_dict())}")
        try:
            checked = {name: self.checks[name](name, value) for name, value in state.items()}
        except TypeError as error:
            raise ValueError(f"the state of {self!r} does not fit: {error}") from None
        self.__dict__.update(checked)


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # for a type checker a module with this has every attribute
    __getattr__ = module_getattr(__name__, __dir__)
