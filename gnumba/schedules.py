"""Schedules: hyperparameters and batch sizes as functions of the number of steps taken.

Each is a small object: called with t, the number of steps already taken (0 for the first step), it
gives the value of that step. It compares by value, pickles, and prints as what made it. Numbers
that are only passed on stay what they are, so whole numbers stay whole.
"""
# ruff: noqa: N801  classes that are called as functions are

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, MISSING, Field, dataclass, field, fields
from functools import partial
from itertools import pairwise
from numbers import Integral
from typing import Any

from ._hyper import ANY, FINITE, FRACTION, NOT_NEGATIVE, POSITIVE, Range, load_all, number, saved, stateful

__all__ = [
    "ReduceOnPlateau",
    "alternate",
    "constant",
    "cosine",
    "exponential",
    "join",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "step",
    "warmup",
]

Value = float | Callable[[int], Any]  # a number or a schedule

COUNT = Range("a whole number ≥ 0", 0.0, FINITE.highest)
SOME = Range("a whole number ≥ 1", 1.0, FINITE.highest)

LEAST_REDUCTION = 1e-8  # PyTorch's eps


# Arguments: what each name stands for, whichever schedule it belongs to.


def _whole(allowed: Range, name: str, given: Any) -> int:
    """A whole number, which may come as a float (1e5)."""
    if not number(name, given, allowed).is_integer():
        raise ValueError(f"{name} is {given!r}, expected {allowed.words}")
    return int(given)


def _number(allowed: Range, name: str, given: Any) -> float:
    """A plain number; whole ones stay whole."""
    made = number(name, given, allowed)
    return int(given) if isinstance(given, Integral) else made


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
    return bool(given)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("lr", "max_lr", "min_lr", "final", "factor"), partial(_number, NOT_NEGATIVE)),
    **dict.fromkeys(("start", "end"), partial(_number, FINITE)),
    **dict.fromkeys(("decay_rate", "power", "start_factor", "end_factor"), partial(_number, POSITIVE)),
    **dict.fromkeys(("warm_fraction", "threshold"), partial(_number, FRACTION)),
    **dict.fromkeys(("steps", "every", "decay_steps"), partial(_whole, SOME)),
    **dict.fromkeys(("patience", "cooldown"), partial(_whole, COUNT)),
    **dict.fromkeys(("schedule", "a", "b"), _value),
    "schedules": _values,
    "boundaries": _boundaries,
    "factors": _factors,
    "staircase": _flag,
    "mode": _mode,
}


# What all have in common.


class Schedule(ABC):
    """The base of all schedules, dataclasses with arguments as in `CHECKS`."""

    def __post_init__(self) -> None:
        for each, given in self._arguments():
            object.__setattr__(self, each.name, CHECKS[each.name](each.name, given))

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
        """What it was made with."""
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
class warmup(Nested):
    """A linear start: the schedule's first value · (t + 1) / steps, then the schedule from its 0.

    Parameters
    ----------
    schedule : callable or float
        What to warm up to.
    steps : int
        How long, ≥ 1; the last of these steps has the schedule's first value.

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

    schedule: Value
    steps: int

    def _at(self, t: int) -> Any:
        if t < self.steps:
            return _value_at(self.schedule, 0) * ((t + 1) / self.steps)
        return _value_at(self.schedule, t - self.steps)


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(frozen=True, repr=False)
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


@dataclass(repr=False)
class ReduceOnPlateau(Schedule):
    """Decay when the loss stops improving; tell it each loss, or each epoch's, with ``observe``.

    An observation improves if it is below best · (1 − threshold), or above best · (1 + threshold)
    where more is better. On the (patience + 1)-th running that does not, the value is multiplied by
    ``factor``. PyTorch's ReduceLROnPlateau, observation by observation: nan is no improvement, and
    a reduction by 1e-8 or less is not made. As ``threshold`` is relative, it is meant for positive
    losses.

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
        The value by now.
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

    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    mode: str = "min"
    rate: float = field(init=False)
    best: float = field(init=False)
    bad: int = field(init=False, default=0)
    cooling: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        number("factor", self.factor, FRACTION)
        self.rate, self.best = float(self.lr), math.inf if self.mode == "min" else -math.inf

    def observe(self, loss: float) -> None:
        """Take note of a loss, and reduce the value if it is time to.

        Parameters
        ----------
        loss : float
            Or whatever ``mode`` is about; anything that ``float`` takes.
        """
        loss = float(loss)
        if self._improves(loss):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling -= 1
            self.bad = 0
        if self.bad > self.patience:
            self._reduce()

    def _improves(self, loss: float) -> bool:
        if self.mode == "min":
            return loss < self.best * (1.0 - self.threshold)
        return loss > self.best * (1.0 + self.threshold)

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
            rate = number("rate", state["rate"], NOT_NEGATIVE)
            best = number("best", state["best"], ANY)
            bad, cooling = (_whole(COUNT, name, state[name]) for name in ("bad", "cooling"))
        except TypeError as error:
            raise ValueError(f"the state of {self!r} does not fit: {error}") from None
        self.rate, self.best, self.bad, self.cooling = rate, best, bad, cooling
