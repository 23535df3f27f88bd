"""Hyperparameters: numbers or schedules, their ranges, their values at a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

Schedule = Callable[[int], float]


class Range(NamedTuple):
    """Where a hyperparameter may lie, in words and as a test."""

    words: str
    holds: Callable[[float], bool]


NOT_NEGATIVE = Range("a finite number ≥ 0", lambda x: 0.0 <= x < math.inf)
FRACTION = Range("a number in [0, 1)", lambda x: 0.0 <= x < 1.0)
UNIT = Range("a number in [0, 1]", lambda x: 0.0 <= x <= 1.0)
ANY = Range("a number", lambda x: True)


def value_at(t: int, name: str, given: Any, allowed: Range) -> Any:
    """The number (a tuple gives a tuple) that a hyperparameter has after ``t`` steps, checked.

    Raises TypeError for what is no number and ValueError for one out of range.
    """
    if isinstance(given, (tuple, list)):
        return tuple(value_at(t, f"{name}[{k}]", item, allowed) for k, item in enumerate(given))
    if callable(given):
        value = given(t)
        if isinstance(value, tuple):
            return value_at(t, f"{name}({t})", value, allowed)
        name = f"{name}, a schedule, at step {t}"
    else:
        value = given
    if not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}, expected {allowed.words}")
    number = float(value)
    if not allowed.holds(number):
        raise ValueError(f"{name} is {number!r}, expected {allowed.words}")
    return number


def is_fixed(given: Any) -> bool:
    """Whether a hyperparameter can only change by being replaced: a number or a tuple of numbers."""
    return all(isinstance(item, Real) for item in (given if isinstance(given, tuple) else (given,)))


def saved(given: Any) -> Any:
    """What of a hyperparameter goes into a state dict: numbers, a schedule's own state, else None."""
    if isinstance(given, (tuple, list)):
        return tuple(map(saved, given))
    if callable(given):
        return given.state_dict() if hasattr(given, "state_dict") else None
    return float(given)


def restored(name: str, given: Any, state: Any) -> Any:
    """A hyperparameter after loading ``state``: the number, or the schedule that was given."""
    if isinstance(given, (tuple, list)) and isinstance(state, (tuple, list)) and len(given) == len(state):
        pairs = enumerate(zip(given, state, strict=True))
        return tuple(restored(f"{name}[{k}]", mine, theirs) for k, (mine, theirs) in pairs)
    if callable(given):
        if isinstance(state, Real):
            raise ValueError(
                f"{name} is {state!r} in the state, expected a schedule's state: it is a schedule here"
            )
        return given
    if not isinstance(state, Real):
        raise ValueError(f"{name} is {state!r} in the state, expected a number: it is one here")
    return float(state)
