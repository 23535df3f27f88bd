"""Hyperparameters: numbers or schedules, their ranges, their values at a step."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np


class Range(NamedTuple):
    """Where a hyperparameter may lie: from ``lowest`` to ``highest``, which ``words`` says.

    For a tuple, ``items`` says how many numbers there are, or lists the range of each. ``rises``: no
    number is below the one before it. ``whole``: it is an integer, of whatever type.
    """

    words: str
    lowest: float
    highest: float
    items: int | tuple[Range, ...] | None = None
    rises: bool = False
    whole: bool = False


COUNT = Range("a whole number ≥ 1", 1.0, 2.0**53, whole=True)
NOT_NEGATIVE = Range("a finite number ≥ 0", 0.0, sys.float_info.max)
POSITIVE = Range("a finite number > 0", math.ulp(0.0), sys.float_info.max)
FINITE = Range("a finite number", -sys.float_info.max, sys.float_info.max)
FRACTION = Range("a number in [0, 1)", 0.0, math.nextafter(1.0, 0.0))
TWO_FRACTIONS = Range("two numbers in [0, 1)", *FRACTION[1:3], items=2)
THREE_FRACTIONS = Range("three numbers in [0, 1)", *FRACTION[1:3], items=3)
UNIT = Range("a number in [0, 1]", 0.0, 1.0)
LIMIT = Range("a number > 0", math.ulp(0.0), math.inf)
SHRINKING = Range("a number in (0, 1)", POSITIVE.lowest, FRACTION.highest)
GROWING = Range("a finite number > 1", math.nextafter(1.0, 2.0), sys.float_info.max)
ETAS = Range("a number in (0, 1) and a finite one > 1", *NOT_NEGATIVE[1:3], items=(SHRINKING, GROWING))
STEP_SIZES = Range("two finite numbers > 0, the smaller first", *POSITIVE[1:3], items=2, rises=True)
ANY = Range("a number", -math.inf, math.inf)


def value_at(t: int, name: str, given: Any, allowed: Range) -> Any:
    """The number, or tuple of numbers, that a hyperparameter has after ``t`` steps, checked.

    A schedule may stand for the whole or for an item. Raises TypeError for what is no number and
    ValueError for one out of range.
    """
    value = given(t) if callable(given) else given
    shown = f"{name} at step {t}" if callable(given) else name
    if allowed.items is not None or (allowed is ANY and _is_sequence(value)):
        return _tuple_at(t, shown, value, allowed)
    return number(shown, value, allowed)


def number(name: str, given: Any, allowed: Range) -> float:
    """The number given, checked: TypeError for what is none, ValueError for one out of range.

    Arrays of shape () are numbers, whatever their library and precision; bools are not.
    """
    if type(given) is not float and not is_number(given):
        raise TypeError(f"{name} is {given!r}, expected {allowed.words}")
    made = float(given)
    if not allowed.lowest <= made <= allowed.highest or (allowed.whole and made % 1.0):
        raise ValueError(f"{name} is {made!r}, expected {allowed.words}")
    return made


def integer(name: str, given: Any, least: int) -> int:
    """The integer given, of whatever type, checked; a bool is none."""
    if not isinstance(given, Integral) or isinstance(given, bool) or given < least:
        raise ValueError(f"{name} is {given!r}, expected an integer ≥ {least}")
    return int(given)


def is_number(given: Any) -> bool:
    """Whether ``given`` is a real number or an array of one, of shape (); bools are not."""
    if isinstance(given, Real):
        return not isinstance(given, bool)
    kind = getattr(given, "dtype", None)  # JAX's and PyTorch's too, which NumPy may not know
    if kind is None or getattr(given, "shape", None) != () or callable(given):
        return False
    return not any(word in str(kind) for word in ("bool", "complex", "object", "<U", "|S"))


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _tuple_at(t: int, shown: str, value: Any, allowed: Range) -> tuple[Any, ...]:
    if not _is_sequence(value):
        raise TypeError(f"{shown} is {value!r}, expected {allowed.words}")
    items = allowed.items if isinstance(allowed.items, tuple) else None
    if allowed.items is not None and len(value) != (len(items) if items else allowed.items):
        raise ValueError(f"{shown} is {value!r}, expected {allowed.words}")
    item = ANY if allowed is ANY else allowed._replace(items=None)
    made = tuple(
        value_at(t, f"{shown}[{k}]", each, items[k] if items else item) for k, each in enumerate(value)
    )
    if allowed.rises and list(made) != sorted(made):
        raise ValueError(f"{shown} is {made!r}, expected {allowed.words}")
    return made


def fixed(given: Any) -> Any:
    """A hyperparameter as it is kept: arrays of numbers as plain ones, as arrays may change unseen."""
    if _is_sequence(given):
        return tuple(map(fixed, given))
    return float(given) if type(given) not in (int, float) and is_number(given) else given


def is_fixed(given: Any) -> bool:
    """Whether a hyperparameter can only change by being replaced: a number or a tuple of numbers."""
    return all(is_number(item) for item in (given if isinstance(given, tuple) else (given,)))


def is_scheduled(given: Any) -> bool:
    """Whether a hyperparameter, or an item of it, is a function of the step."""
    return any(map(callable, given if isinstance(given, tuple) else (given,)))


def generator(rng: Any) -> np.random.Generator:
    """The generator that is given, or one from a seed."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng is {rng!r}, expected a numpy.random.Generator or a seed: {error}") from None


def saved(given: Any) -> Any:
    """Serialisable part of a hyperparameter: numbers, a schedule's own state, or None."""
    if isinstance(given, (tuple, list)):
        return tuple(map(saved, given))
    if callable(given):
        return given.state_dict() if hasattr(given, "state_dict") else None
    return float(given)


def restored(name: str, given: Any, state: Any) -> Any:
    """A hyperparameter after loading ``state``: its number, or the schedule that is there."""
    if isinstance(given, (tuple, list)) and isinstance(state, (tuple, list)) and len(given) == len(state):
        pairs = enumerate(zip(given, state, strict=True))
        return tuple(restored(f"{name}[{k}]", mine, theirs) for k, (mine, theirs) in pairs)
    if callable(given):
        if state is not None and not isinstance(state, Mapping):
            raise ValueError(f"{name} is {state!r} in the state, expected a schedule's, as here")
        return given
    if isinstance(given, (tuple, list)) or not isinstance(state, Real):
        expected = f"{len(given)} numbers" if isinstance(given, (tuple, list)) else "a number"
        raise ValueError(f"{name} is {state!r} in the state, expected {expected}, as here")
    return float(state)


def stateful(given: Any, state: Any) -> Iterator[tuple[Any, Any]]:
    """The schedules in a hyperparameter that take up a state of their own, and that state."""
    if isinstance(given, (tuple, list)):
        for mine, theirs in zip(given, state, strict=True):
            yield from stateful(mine, theirs)
    elif hasattr(given, "load_state_dict") and state is not None:
        yield given, state


def load_all(schedules: list[tuple[Any, Any]]) -> None:
    """Load every schedule's state, or that of whatever has one; none if one refuses."""
    before = [schedule.state_dict() for schedule, _ in schedules]
    try:
        for schedule, state in schedules:
            schedule.load_state_dict(state)
    except Exception:
        for (schedule, _), state in zip(schedules, before, strict=True):
            schedule.load_state_dict(state)
        raise
