"""Schedules: their formulas and PyTorch's and optax's; what they have in common; stopping and going on."""

import copy
import inspect
import math
import os
import pickle
import re
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from judge import assert_same_bits, on_each
from test_errors import assert_refused

import gnumba as gn
from gnumba import schedules
from gnumba.schedules import (
    ReduceOnPlateau,
    alternate,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    inverse_sqrt,
    join,
    linear,
    one_cycle,
    piecewise,
    polynomial,
    step,
    warmup,
    warmup_cosine,
)

STEPS = 60


# The formulas, naively: a schedule, and what it is after t steps.


def one_cycle_at(t, steps=40, high=0.5, start=10.0, end=100.0, part=0.25):
    """Two half waves; the top is at step part · steps − 1."""
    top, low = part * steps - 1, high / start
    if t <= top:
        return low + (high - low) * (1 - math.cos(math.pi * t / top)) / 2
    rest = min((t - top) / (steps - 1 - top), 1)
    return low / end + (high - low / end) * (1 + math.cos(math.pi * rest)) / 2


def restarts_at(t, lr, period, factor, final):
    """Cycle after cycle."""
    length = period
    while t >= length:
        t, length = t - length, length * factor
    return final + (lr - final) * (1 + math.cos(math.pi * t / length)) / 2


CASES = [
    (constant(0.3), lambda t: 0.3),
    (exponential(0.3, 0.9), lambda t: 0.3 * 0.9**t),
    (exponential(0.3, 0.5, 10), lambda t: 0.3 * 0.5 ** (t / 10)),
    (exponential(0.3, 0.5, 10, staircase=True), lambda t: 0.3 * 0.5 ** (t // 10)),
    (exponential(1e-5, 1.1), lambda t: 1e-5 * 1.1**t),
    (step(0.3, 10), lambda t: 0.3 * 0.1 ** (t // 10)),
    (step(0.3, 7, factor=0.5), lambda t: 0.3 * 0.5 ** (t // 7)),
    (piecewise(0.3, {20: 0.1, 10: 0.5}), lambda t: 0.3 * (0.5 if t >= 10 else 1) * (0.1 if t >= 20 else 1)),
    (piecewise(0.3, {}), lambda t: 0.3),
    (linear(0.1, 0.7, 40), lambda t: 0.1 + 0.6 * min(t, 40) / 40),
    (linear(-1, 1, 8), lambda t: -1 + 2 * min(t, 8) / 8),
    (polynomial(0.7, 0.1, 40, 2), lambda t: 0.1 + 0.6 * (1 - min(t, 40) / 40) ** 2),
    (polynomial(0.1, 0.7, 40, 0.5), lambda t: 0.7 - 0.6 * math.sqrt(1 - min(t, 40) / 40)),
    (cosine(0.3, 40), lambda t: 0.3 * (1 + math.cos(math.pi * min(t, 40) / 40)) / 2),
    (cosine(0.3, 40, final=0.1), lambda t: 0.1 + 0.2 * (1 + math.cos(math.pi * min(t, 40) / 40)) / 2),
    (
        one_cycle(0.5, 40, start_factor=10, end_factor=100, warm_fraction=0.25),
        one_cycle_at,
    ),
    (warmup(0.4, 8), lambda t: 0.4 * min(t + 1, 8) / 8),
    (
        warmup(cosine(0.3, 40), 10),
        lambda t: 0.03 * (t + 1) if t < 10 else 0.15 * (1 + math.cos(math.pi * min(t - 10, 40) / 40)),
    ),
    (warmup(cosine(0.3, 40), 0), lambda t: 0.15 * (1 + math.cos(math.pi * min(t, 40) / 40))),
    (
        warmup_cosine(0.3, 10, 50, final=0.1),
        lambda t: 0.03 * (t + 1) if t < 10 else 0.2 + 0.1 * math.cos(math.pi * min(t - 10, 40) / 40),
    ),
    (warmup_cosine(0.3, 0, 40), lambda t: 0.15 * (1 + math.cos(math.pi * min(t, 40) / 40))),
    (cosine_restarts(0.3, 9), lambda t: restarts_at(t, 0.3, 9, 1, 0.0)),
    (cosine_restarts(0.3, 5, factor=2, final=0.1), lambda t: restarts_at(t, 0.3, 5, 2, 0.1)),
    (cosine_restarts(0.3, 4, factor=1.3, final=0.5), lambda t: restarts_at(t, 0.3, 4, 1.3, 0.5)),
    (inverse_sqrt(0.3, 10), lambda t: 0.3 * math.sqrt(10) * min((t + 1) ** -0.5, (t + 1) * 10**-1.5)),
    (inverse_sqrt(0.3, 1), lambda t: 0.3 / math.sqrt(t + 1)),
    (
        join([linear(0.0, 1.0, 10), 0.25, exponential(1.0, 0.5)], [10, 15]),
        lambda t: t / 10 if t < 10 else 0.25 if t < 15 else 0.5 ** (t - 15),
    ),
    (join([lambda t: t], []), lambda t: t),
    (alternate(0.1, 0.2), lambda t: (0.1, 0.2)[t % 2]),
    (alternate(linear(0, 1, 60), 5, every=3), lambda t: t / 60 if t // 3 % 2 == 0 else 5),
    (ReduceOnPlateau(0.3), lambda t: 0.3),
]
SCHEDULES = [schedule for schedule, _ in CASES]


def shown(schedule):
    """As it prints, the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(schedule))


EACH = pytest.mark.parametrize("schedule", SCHEDULES, ids=shown)
PRINTABLE = [schedule for schedule in SCHEDULES if "lambda" not in repr(schedule)]


@pytest.mark.parametrize(("schedule", "expected"), CASES, ids=map(shown, SCHEDULES))
def test_formula(schedule, expected):
    """From the first step to well past the end."""
    values = [schedule(t) for t in range(STEPS)]
    np.testing.assert_allclose(values, [expected(t) for t in range(STEPS)], rtol=1e-13, atol=1e-15)


def test_every_schedule_is_tried():
    """The table has them all."""
    for table in (SCHEDULES, FRACTIONS):
        assert {type(schedule).__name__ for schedule in table} == set(schedules.__all__)


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (linear(0.001, 0.1, 7), 0.001, 0.1),
        (polynomial(0.9, 0.2, 7, 3), 0.9, 0.2),
        (cosine(0.9, 7, final=0.2), 0.9, 0.2),
        (warmup(0.5, 4), 0.125, 0.5),
        (warmup_cosine(0.9, 2, 7, final=0.2), 0.45, 0.2),
        (join([0.3, linear(0.2, 0.1, 3)], [4]), 0.3, 0.1),
    ],
    ids=shown,
)
def test_ends_are_exact(schedule, first, last):
    """The first value and, from the last step on, the last, to the bit."""
    assert schedule(0) == first
    assert [schedule(t) for t in (7, 8, 100, 10**9)] == [last] * 4


def test_polynomial_of_power_one_is_linear():
    """To the bit."""
    straight, power = linear(0.7, 0.1, 37), polynomial(0.7, 0.1, 37, 1)
    assert [straight(t) for t in range(STEPS)] == [power(t) for t in range(STEPS)]


@pytest.mark.parametrize("final", [0.0, 0.2])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_warmup_cosine_is_a_warmed_up_cosine(steps, final):
    """To the bit, and 0 steps of warming up are none."""
    whole, parts = warmup_cosine(0.7, steps, 40, final), warmup(cosine(0.7, 40 - steps, final), steps)
    assert [whole(t) for t in range(STEPS)] == [parts(t) for t in range(STEPS)]
    assert steps or [parts(t) for t in range(STEPS)] == [cosine(0.7, 40, final)(t) for t in range(STEPS)]


@pytest.mark.parametrize("factor", [1, 2, 3, 1.0, 1.5, 1.001, 1 + 1e-9, 1e300])
@pytest.mark.parametrize("period", [1, 2, 10, 1000])
def test_every_restart_is_found(factor, period):
    """The first value comes with the first step of a cycle, wherever logarithms are rounded to."""
    schedule = cosine_restarts(0.7, period, factor, final=0.1)
    start, length = Fraction(0), Fraction(period)
    for _ in range(60):
        first = math.ceil(start)
        if first >= 10**9:
            break
        if first < start + length:  # or the cycle lies between two steps
            expected = 0.4 + 0.3 * math.cos(math.pi * (first - start) / length)
            assert schedule(first) == pytest.approx(expected, abs=1e-9)
        start, length = start + length, length * Fraction(factor)
    assert 0.1 <= schedule(10**9) <= 0.7


def test_whole_numbers_stay_whole():
    """For batch sizes."""
    made = [
        constant(64),
        alternate(64, 512, every=10),
        join([64, np.int32(128)], [5]),
        piecewise(64, {10: 2, 20: 4}),
        alternate(constant(16), join([32, 64], [30])),
    ]
    for schedule in made:
        assert {type(schedule(t)) for t in range(STEPS)} == {int}, schedule
    assert [made[1](t) for t in (0, 9, 10, 19, 20)] == [64, 64, 512, 512, 64]
    assert [made[3](t) for t in (9, 10, 19, 20)] == [64, 128, 128, 512]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("part", [0.0, 0.2, 0.25, 0.5, 0.99])
def test_short_cycles(steps, part):
    """No division by zero; at the end the last value, whatever there was room for before."""
    schedule = one_cycle(1.0, steps, warm_fraction=part)
    values = [schedule(t) for t in range(steps + 3)]
    assert all(4e-6 <= value <= 1.0 for value in values)
    assert values[steps - 1 :] == pytest.approx([4e-6] * 4, rel=1e-9)


# What they have in common.


@EACH
@on_each("kind", [(np.int8,), (np.uint8,), (np.int32,), (np.uint64,), (np.int64,), (float,)])
def test_t_of_any_kind(schedule, kind):
    """The number counts; nothing wraps around."""
    for t in (0, 1, 13, 59, 100):
        assert schedule(kind(t)) == schedule(t)
        assert type(schedule(kind(t))) in (int, float)


@EACH
def test_t_out_of_range(schedule):
    """Before the first step, or between two."""
    for t in (-1, 0.5, np.int64(-3), math.nan, math.inf):
        assert_refused(lambda t=t: schedule(t), ValueError, "t is", "whole number")
    assert_refused(lambda: schedule("1"), TypeError, "t is", "'1'")
    assert_refused(lambda: schedule(None), TypeError, "t is", "None")


@pytest.mark.parametrize("schedule", PRINTABLE, ids=shown)
def test_far_beyond_the_end(schedule):
    """A billion steps are no slower, and nothing overflows but to inf."""
    value = schedule(10**9)
    assert value == schedule(1e9)
    assert value >= 0
    assert math.isfinite(value) or schedule == exponential(1e-5, 1.1)


@pytest.mark.parametrize("schedule", PRINTABLE, ids=shown)
def test_what_it_prints_makes_it_again(schedule):
    """Equal, and no longer than it need be."""
    again = eval(repr(schedule), vars(schedules))
    assert again == schedule
    assert type(again) is type(schedule)
    assert [again(t) for t in range(STEPS)] == [schedule(t) for t in range(STEPS)]


def test_repr():
    """Arguments by name where they have a default, and only if they differ from it."""
    assert repr(cosine(0.001, 1000, final=1e-5)) == "cosine(0.001, 1000, final=1e-05)"
    assert repr(cosine(lr=np.float64(0.001), steps=np.int64(1000))) == "cosine(0.001, 1000)"
    assert repr(warmup(linear(1, 0, 10), 5)) == "warmup(linear(1, 0, 10), 5)"
    assert repr(join([0.1, 0.2], [1e3])) == "join((0.1, 0.2), (1000,))"
    assert repr(piecewise(0.1, {20: 0.1, 10: 0.5})) == "piecewise(0.1, {10: 0.5, 20: 0.1})"
    assert repr(ReduceOnPlateau(0.1, patience=3)) == "ReduceOnPlateau(0.1, patience=3)"


@pytest.mark.parametrize("schedule", PRINTABLE, ids=shown)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_equal(schedule, duplicate):
    """By value, nested ones too."""
    again = duplicate(schedule)
    assert again == schedule
    assert [again(t) for t in range(STEPS)] == [schedule(t) for t in range(STEPS)]


def test_different_schedules_are_not_equal():
    """Neither other numbers nor another kind."""
    assert cosine(0.1, 10) != cosine(0.1, 11)
    assert constant(0.1) != constant(0.2)
    assert warmup(cosine(0.1, 10), 5) != warmup(cosine(0.2, 10), 5)
    assert linear(1, 0, 10) != polynomial(1, 0, 10, 1)
    assert len({cosine(0.1, 10), cosine(0.1, 10), cosine(0.1, 10, final=0.1)}) == 2


@pytest.mark.parametrize("schedule", [s for s in PRINTABLE if type(s) is not ReduceOnPlateau], ids=shown)
def test_arguments_cannot_be_reassigned(schedule):
    """A schedule is a value."""
    name = next(iter(schedule.__dataclass_fields__))
    with pytest.raises(AttributeError):
        setattr(schedule, name, 1.0)


def test_the_lists_given_are_not_kept():
    """Later changes to the lists make no difference."""
    parts, boundaries, factors = [0.1, 0.2], [5], {3: 0.5}
    joined, decayed = join(parts, boundaries), piecewise(1.0, factors)
    parts[1], boundaries[0], factors[3] = 0.9, 1, 0.9
    assert (joined(3), joined(5), decayed(3)) == (0.1, 0.2, 0.5)


# Wrong arguments.

NUMBERS = {
    "lr": [-0.1, math.nan, math.inf],
    "finite": [math.nan, math.inf, -math.inf],
    "positive": [0.0, -1.0, math.nan, math.inf],
    "fraction": [1.0, -0.1, math.nan],
    "count": [0, -1, 2.5, math.nan, math.inf],
    "from 0": [-1, 2.5, math.nan, math.inf],
    "from 1": [0.9, -1.0, math.nan, math.inf],
}
ARGUMENTS = [
    (constant, {"lr": 0.1}, {"lr": "lr"}),
    (
        exponential,
        {"lr": 0.1, "decay_rate": 0.9},
        {"lr": "lr", "decay_rate": "positive", "decay_steps": "count"},
    ),
    (step, {"lr": 0.1, "every": 10}, {"lr": "lr", "every": "count", "factor": "lr"}),
    (piecewise, {"lr": 0.1, "factors": {}}, {"lr": "lr"}),
    (
        linear,
        {"start": 1.0, "end": 0.0, "steps": 10},
        {"start": "finite", "end": "finite", "steps": "count"},
    ),
    (
        polynomial,
        {"start": 1.0, "end": 0.0, "steps": 10, "power": 2.0},
        {"start": "finite", "end": "finite", "steps": "count", "power": "positive"},
    ),
    (cosine, {"lr": 0.1, "steps": 10}, {"lr": "lr", "steps": "count", "final": "lr"}),
    (warmup, {"schedule": 0.1, "steps": 10}, {"schedule": "finite", "steps": "from 0"}),
    (
        warmup_cosine,
        {"peak": 0.1, "warmup": 2, "steps": 10},
        {"peak": "lr", "warmup": "from 0", "steps": "count", "final": "lr"},
    ),
    (
        cosine_restarts,
        {"lr": 0.1, "period": 10},
        {"lr": "lr", "period": "count", "factor": "from 1", "final": "lr"},
    ),
    (inverse_sqrt, {"lr": 0.1, "warmup": 10}, {"lr": "lr", "warmup": "count"}),
    (
        one_cycle,
        {"max_lr": 0.1, "steps": 10},
        {
            "max_lr": "lr",
            "steps": "count",
            "start_factor": "positive",
            "end_factor": "positive",
            "warm_fraction": "fraction",
        },
    ),
    (alternate, {"a": 0.1, "b": 0.2}, {"a": "finite", "b": "finite", "every": "count"}),
    (
        ReduceOnPlateau,
        {"lr": 0.1},
        {
            "lr": "lr",
            "factor": "fraction",
            "patience": "from 0",
            "threshold": "fraction",
            "cooldown": "from 0",
            "min_lr": "lr",
        },
    ),
]


WRONG_KINDS = ("0.1", None, [0.1], True, np.bool_(True), np.array([0.1]), np.array(True), 1j)
WRONG_ARGUMENTS = [
    pytest.param(make, right | {name: value}, name, value, error, id=f"{make.__name__} {name} {value!r}")
    for make, right, ranges in ARGUMENTS
    for name, kind in ranges.items()
    for values, error in ((NUMBERS[kind], ValueError), (WRONG_KINDS, TypeError))
    for value in values
]


@on_each("make, given, name, value, error", WRONG_ARGUMENTS)
def test_arguments_out_of_range(make, given, name, value, error):
    """Refused when it is made, by name and value."""
    shown = f"{name} is {float(value) if error is ValueError else value!r}"
    assert_refused(lambda: make(**given), error, shown, "expected")


@pytest.mark.parametrize("kind", ["numpy", "float32", "torch", "jax"])
@pytest.mark.parametrize(
    ("make", "given", "ranges"), ARGUMENTS, ids=[make.__name__ for make, *_ in ARGUMENTS]
)
def test_numbers_of_shape_0(make, given, ranges, kind):
    """Whatever library's: the schedule is that of the plain numbers."""
    of = {
        "numpy": lambda: np.array,
        "float32": lambda: lambda x: np.float32(x) if isinstance(x, float) else np.int64(x),
        "torch": lambda: pytest.importorskip("torch").tensor,
        "jax": lambda: pytest.importorskip("jax.numpy").asarray,
    }[kind]()
    made = make(**{name: of(value) if name in ranges else value for name, value in given.items()})
    right = make(**given)
    assert [type(value) for _, value in made._arguments()] == [type(value) for _, value in right._arguments()]
    assert [made(t) for t in range(STEPS)] == pytest.approx([right(t) for t in range(STEPS)], rel=2e-6)
    assert type(made(0)) is type(right(0))


def test_every_argument_is_tried():
    """The tables start from what is right, and know every number there is."""
    assert {make.__name__ for make, *_ in ARGUMENTS} | {"join"} == set(schedules.__all__)
    for make, right, ranges in ARGUMENTS:
        make(**right)
        assert set(inspect.signature(make).parameters) - set(ranges) <= {"factors", "staircase", "mode"}


WRONG = {
    "a factor below 0": (lambda: piecewise(0.1, {10: -0.5}), ValueError, ["factors[10] is -0.5"]),
    "a step below 0": (lambda: piecewise(0.1, {-1: 0.5}), ValueError, ["a step in factors is -1"]),
    "half a step": (lambda: piecewise(0.1, {1.5: 0.5}), ValueError, ["a step in factors is 1.5"]),
    "pairs": (lambda: piecewise(0.1, [(10, 0.5)]), TypeError, ["factors is [(10, 0.5)]", "dict"]),
    "no schedule": (lambda: join([], []), ValueError, ["boundaries is ()", "one fewer"]),
    "a boundary too many": (lambda: join([0.1, 0.2], [1, 2]), ValueError, ["boundaries is (1, 2)", "2"]),
    "a boundary too few": (lambda: join([0.1, 0.2], []), ValueError, ["boundaries is ()"]),
    "a boundary at 0": (lambda: join([0.1, 0.2], [0]), ValueError, ["boundaries[0] is 0"]),
    "boundaries going back": (lambda: join([0.1] * 3, [5, 3]), ValueError, ["boundaries is [5, 3]"]),
    "boundaries that are one": (lambda: join([0.1] * 3, [5, 5]), ValueError, ["boundaries is [5, 5]"]),
    "a boundary alone": (lambda: join([0.1, 0.2], 5), TypeError, ["boundaries is 5"]),
    "one schedule": (lambda: join(cosine(0.1, 5), []), TypeError, ["schedules is cosine(0.1, 5)"]),
    "a name as a schedule": (lambda: join(["cosine"], []), TypeError, ["schedules[0] is 'cosine'"]),
    "a word for a flag": (
        lambda: exponential(0.1, 0.5, staircase="no"),
        TypeError,
        ["staircase is 'no'", "True or False"],
    ),
    "no room for a cosine": (lambda: warmup_cosine(0.1, 10, 10), ValueError, ["steps is 10", "warmup, 10"]),
    "another mode": (lambda: ReduceOnPlateau(0.1, mode="mean"), ValueError, ["mode is 'mean'", "'min'"]),
}


@pytest.mark.parametrize(("make", "kind", "words"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(make, kind, words):
    """Each in a sentence."""
    assert_refused(make, kind, *words, "expected")


# Wrong names.


@pytest.mark.parametrize("schedule", SCHEDULES, ids=shown)
def test_a_misspelled_attribute_is_refused(schedule):
    """With the nearest there is; nothing is added to a schedule."""
    names = [name for name in schedule.__dataclass_fields__ if not name.startswith("_")]
    before = dict(vars(schedule))
    for name in names:
        wrong = name + "s" if name + "s" not in names else name + "x"
        with pytest.raises(AttributeError) as caught:
            setattr(schedule, wrong, 0.5)
        kind = type(schedule).__name__
        assert str(caught.value) == f"{kind} has no attribute {wrong!r}; did you mean {name!r}?"
        with pytest.raises(AttributeError, match=wrong):
            delattr(schedule, wrong)
    assert vars(schedule) == before


def test_arguments_of_other_libraries():
    """By their names here."""
    for call, name in [
        (lambda: cosine(0.1, T_max=10), "steps"),
        (lambda: cosine(0.1, 10, eta_min=0.0), "final"),
        (lambda: step(0.1, 10, gamma=0.5), "factor"),
        (lambda: step(0.1, step_size=10), "every"),
        (lambda: exponential(0.1, gamma=0.5), "decay_rate"),
        (lambda: constant(learning_rate=0.1), "lr"),
        (lambda: one_cycle(0.1, 10, pct_start=0.3), "warm_fraction"),
        (lambda: warmup_cosine(0.1, warmup_steps=5, steps=10), "warmup"),
        (lambda: warmup_cosine(peak_value=0.1, warmup=5, steps=10), "peak"),
        (lambda: cosine_restarts(0.1, T_0=5), "period"),
        (lambda: cosine_restarts(0.1, 5, T_mult=2), "factor"),
        (lambda: piecewise(0.1, boundaries_and_scales={}), "factors"),
        (lambda: join([0.1], milestones=[]), "boundaries"),
        (lambda: ReduceOnPlateau(0.1, min_delta=0.1), "threshold"),
    ]:
        assert_refused(call, TypeError, "has no argument", f"did you mean {name!r}?")


def test_what_can_be_set_on_a_plateau():
    """Its numbers, checked as when it is made; the first rate has had its effect."""
    plateau = ReduceOnPlateau(0.5, factor=0.5, patience=1)
    plateau.rate, plateau.patience = np.float32(0.25), 0
    plateau.observe(1.0)
    plateau.observe(1.0)
    assert (plateau(0), type(plateau.rate)) == (0.125, float)
    for name, value in [
        ("rate", -1.0),
        ("patience", 0.5),
        ("factor", 1.0),
        ("mode", "mean"),
        ("best", math.nan),
    ]:
        assert_refused(lambda n=name, v=value: setattr(plateau, n, v), ValueError, name, "expected")
    assert_refused(lambda: setattr(plateau, "lr", 0.1), AttributeError, "lr", "rate")
    assert (plateau.lr, plateau(0), plateau.patience) == (0.5, 0.125, 0)


# PyTorch and optax.


def torch_rates(torch, lr, make, steps=STEPS):
    """The rates that a PyTorch scheduler sets for each step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR calls its parts as they are not to be called
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


TORCH = [
    (constant(0.3), lambda s, o: s.ConstantLR(o, 1.0)),
    (exponential(0.3, 0.9), lambda s, o: s.ExponentialLR(o, 0.9)),
    (step(0.3, 7), lambda s, o: s.StepLR(o, 7)),
    (piecewise(0.3, {10: 0.5, 20: 0.5}), lambda s, o: s.MultiStepLR(o, [10, 20], 0.5)),
    (linear(0.3, 0.03, 40), lambda s, o: s.LinearLR(o, 1.0, 0.1, 40)),
    (polynomial(0.3, 0.0, 40, 2), lambda s, o: s.PolynomialLR(o, 40, 2)),
    (cosine_restarts(0.3, 8), lambda s, o: s.CosineAnnealingWarmRestarts(o, 8)),
    (
        cosine_restarts(0.3, 4, factor=2, final=0.01),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, T_mult=2, eta_min=0.01),
    ),
    (
        warmup_cosine(0.3, 10, 69, final=0.01),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 9), s.CosineAnnealingLR(o, 59, 0.01)], [10]),
    ),
    (inverse_sqrt(0.3, 8), lambda s, o: s.LambdaLR(o, lambda t: min((t + 1) / 8, (8 / (t + 1)) ** 0.5))),
    (cosine(0.3, 59, final=0.01), lambda s, o: s.CosineAnnealingLR(o, 59, 0.01)),
    (one_cycle(0.3, 60), lambda s, o: s.OneCycleLR(o, 0.3, 60, cycle_momentum=False)),
    (
        one_cycle(0.3, 60, start_factor=5.0, end_factor=20.0, warm_fraction=0.41),
        lambda s, o: s.OneCycleLR(
            o, 0.3, 60, div_factor=5.0, final_div_factor=20.0, pct_start=0.41, cycle_momentum=False
        ),
    ),
    (
        one_cycle(0.3, 60, warm_fraction=0.0),
        lambda s, o: s.OneCycleLR(o, 0.3, 60, pct_start=0.0, cycle_momentum=False),
    ),
    (
        warmup(exponential(0.3, 0.9), 10),
        lambda s, o: s.SequentialLR(
            o, [s.LambdaLR(o, lambda t: (t + 1) / 10), s.ExponentialLR(o, 0.9)], milestones=[10]
        ),
    ),
]


@pytest.mark.parametrize(("schedule", "make"), TORCH, ids=[repr(schedule) for schedule, _ in TORCH])
def test_torch_step_by_step(schedule, make):
    """To rounding: PyTorch computes most of them from the rate before."""
    torch = pytest.importorskip("torch")
    theirs = torch_rates(torch, 0.3, make)
    np.testing.assert_allclose([schedule(t) for t in range(STEPS)], theirs, rtol=1e-11, atol=1e-16)


OPTAX = [
    (exponential(0.3, 0.7, 9), lambda o: o.exponential_decay(0.3, 9, 0.7)),
    (exponential(0.3, 0.7, 9, staircase=True), lambda o: o.exponential_decay(0.3, 9, 0.7, staircase=True)),
    (
        piecewise(0.3, {10: 0.5, 20: 0.1}),
        lambda o: o.piecewise_constant_schedule(0.3, {10: 0.5, 20: 0.1}),
    ),
    (linear(0.3, 0.7, 40), lambda o: o.linear_schedule(0.3, 0.7, 40)),
    (polynomial(0.3, 0.1, 40, 3), lambda o: o.polynomial_schedule(0.3, 0.1, 3, 40)),
    (cosine(0.3, 40, final=0.03), lambda o: o.cosine_decay_schedule(0.3, 40, alpha=0.1)),
    (
        one_cycle(0.3, 51, warm_fraction=16 / 51),  # optax has its top at a fraction of the last step
        lambda o: o.cosine_onecycle_schedule(50, 0.3, pct_start=0.3),
    ),
    (
        cosine_restarts(0.3, 8),
        lambda o: o.sgdr_schedule(
            [{"init_value": 0.3, "peak_value": 0.3, "warmup_steps": 0, "decay_steps": 8, "end_value": 0.0}]
            * 8
        ),
    ),
    (
        warmup_cosine(0.3, 10, 50, final=0.03),
        lambda o: o.join_schedules(
            [o.linear_schedule(0.03, 0.3, 9), o.cosine_decay_schedule(0.3, 40, alpha=0.1)], [10]
        ),
    ),
    (
        join([linear(0.0, 1.0, 10), cosine(1.0, 30)], [10]),
        lambda o: o.warmup_cosine_decay_schedule(0.0, 1.0, 10, 40),
    ),
    (
        join([exponential(0.3, 0.9), constant(0.1), linear(1.0, 0.0, 10)], [7, 21]),
        lambda o: o.join_schedules(
            [
                o.exponential_decay(0.3, 1, 0.9),
                o.constant_schedule(0.1),
                o.linear_schedule(1.0, 0.0, 10),
            ],
            [7, 21],
        ),
    ),
]


@pytest.mark.parametrize(("schedule", "make"), OPTAX, ids=[repr(schedule) for schedule, _ in OPTAX])
def test_optax_step_by_step(schedule, make):
    """To float32's rounding, in which optax computes."""
    optax = pytest.importorskip("optax")
    theirs = make(optax)
    expected = [float(theirs(t)) for t in range(STEPS)]
    np.testing.assert_allclose([schedule(t) for t in range(STEPS)], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("nest", [lambda s: s, lambda s: warmup(s, 3), lambda s: join([0.1, s], [2])])
def test_optax_schedules_as_hyperparameters(nest):
    """Callables that return JAX's arrays of shape ()."""
    optax = pytest.importorskip("optax")
    theirs, ours = optax.cosine_decay_schedule(0.3, 10), cosine(0.3, 10)
    first, second = np.ones(3), np.ones(3)
    for p, schedule in ((first, nest(theirs)), (second, nest(ours))):
        optimizer = gn.Adam(p, lr=schedule)
        for _ in range(12):
            optimizer.step(np.ones(3))
    np.testing.assert_allclose(first, second, rtol=1e-6)


# ReduceOnPlateau.


def losses(rng, mode, count=400):
    """Falling by jumps to plateaus, with noise about the threshold, and now and then nan or inf."""
    made = 2.0 + np.repeat(rng.random(count // 20).cumsum()[::-1], 20) / 8
    made *= 1.0 + 2e-4 * rng.standard_normal(count)
    made[rng.integers(count, size=8)] = np.nan
    made[rng.integers(count, size=4)] = np.inf
    made[rng.integers(count, size=20)] *= -1.0 if mode == "max" else 1.5
    return (made if mode == "min" else -np.abs(made) + 9.0).tolist()


PLATEAUS = [
    {},
    {"patience": 0},
    {"patience": 2, "factor": 0.5},
    {"patience": 3, "factor": 0.7, "cooldown": 4},
    {"patience": 1, "cooldown": 1, "threshold": 0.05},
    {"patience": 2, "threshold": 0.0},
    {"patience": 2, "min_lr": 0.003},
    {"patience": 0, "min_lr": 1.0},
    {"patience": 0, "factor": 0.0},
]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("given", PLATEAUS, ids=shown)
def test_torch_plateau_observation_by_observation(given, mode, rng):
    """Equal to PyTorch's scheduler bit for bit, with nan, inf and vanishing reductions."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, **given)
    ours = ReduceOnPlateau(0.3, mode=mode, **given)
    rates = set()
    for k, loss in enumerate(losses(rng, mode)):
        theirs.step(loss)
        ours.observe(loss)
        rates.add(ours(k))
        assert ours(k) == optimizer.param_groups[0]["lr"]
        assert (ours.best, ours.bad) == (theirs.best, theirs.num_bad_epochs)
        assert ours.cooling == theirs.cooldown_counter
    assert len(rates) > 1 or given.get("min_lr") == 1.0


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau_counts(patience):
    """It acts on the (patience + 1)-th observation running without improvement, and again as much later."""
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=patience)
    plateau.observe(2.0)
    rates = []
    for _ in range(2 * (patience + 1)):
        plateau.observe(2.0)
        rates.append(plateau(0))
    assert rates == [1.0] * patience + [0.5] * (patience + 1) + [0.25]


@pytest.mark.parametrize(
    ("mode", "first", "enough", "too_little"), [("min", 1.0, 0.89, 0.91), ("max", 1.0, 1.11, 1.09)]
)
def test_plateau_threshold_is_relative(mode, first, enough, too_little):
    """To the best so far."""
    plateau = ReduceOnPlateau(1.0, patience=5, threshold=0.1, mode=mode)
    plateau.observe(first)
    plateau.observe(too_little)
    assert (plateau.best, plateau.bad) == (first, 1)
    plateau.observe(enough)
    assert (plateau.best, plateau.bad) == (enough, 0)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("best", [-1.0, -1e-3, -1e300, 0.0, 1.0, 1e300])
def test_a_loss_that_stays_is_no_improvement(best, mode):
    """Whatever its sign: it counts, and so does less than the threshold's part; more than it does not."""
    part, sign = 1e-4 * abs(best), -1.0 if mode == "min" else 1.0
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=2, mode=mode)
    for loss in (best, best, best + 0.9 * sign * part, best - sign * part):
        assert plateau(0) == 1.0
        plateau.observe(loss)
    assert (plateau(0), plateau.best) == (0.5, best)
    better = best + sign * (1.1 * part or 1e-9)
    plateau.observe(better)
    assert plateau.best == better


@pytest.mark.parametrize("shift", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_of_losses_around_0(shift, mode, rng):
    """Observation by observation as the definition says it."""
    sign = 1.0 if mode == "min" else -1.0
    plateau, best, bad, rate = (
        ReduceOnPlateau(1.0, 0.5, patience=3, threshold=0.05, mode=mode),
        math.inf,
        0,
        1.0,
    )
    for loss in sign * (rng.standard_normal(300).cumsum() / 10 - shift):
        plateau.observe(loss)
        better = best == math.inf or sign * loss < best - 0.05 * abs(best)
        best, bad = (sign * loss, 0) if better else (best, bad + 1)
        if bad > 3:
            rate, bad = max(rate * 0.5, 0.0) if rate * 0.5 > 1e-8 else rate, 0
        assert (sign * plateau.best, plateau.bad, plateau.rate) == (best, bad, rate)


def test_plateau_cooldown():
    """Observations are not counted for as long."""
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=0, cooldown=3)
    rates = []
    for loss in (1.0, *[2.0] * 5):
        plateau.observe(loss)
        rates.append(plateau(0))
    assert rates == [1.0, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_plateau_takes_what_float_takes():
    """NumPy's numbers and arrays without axes; nothing is changed by others."""
    plateau = ReduceOnPlateau(1.0)
    for loss in (np.float32(2.0), np.array(1.5), 1, True):
        plateau.observe(loss)
    before = plateau.state_dict()
    for loss in ("high", None, [1.0]):
        with pytest.raises((TypeError, ValueError)):
            plateau.observe(loss)
    assert plateau.state_dict() == before


def test_plateau_in_an_optimizer():
    """The next step has the reduced rate."""
    p, plateau = np.zeros(1), ReduceOnPlateau(0.5, factor=0.5, patience=0)
    optimizer = gn.SGD(p, lr=plateau)
    optimizer.step(np.ones(1))
    plateau.observe(1.0)
    plateau.observe(1.0)
    optimizer.step(np.ones(1))
    assert (optimizer.lr, p[0]) == (0.25, -0.75)


# State.


def observed(count=3, **given):
    """A plateau that has been told something: after three losses reduced once."""
    plateau = ReduceOnPlateau(0.5, factor=0.5, patience=1, cooldown=2, **given)
    for _ in range(count):
        plateau.observe(1.0)
    return plateau


def test_plateau_state_is_plain_numbers():
    """All that it was told."""
    state = observed().state_dict()
    assert state == {"rate": 0.25, "best": 1.0, "bad": 0, "cooling": 2}
    assert [type(value) for value in state.values()] == [float, float, int, int]
    fresh = observed(0)
    fresh.load_state_dict({name: np.array(value)[()] for name, value in state.items()})
    assert fresh == observed()
    assert fresh.state_dict() == state
    assert fresh != observed(0)
    assert [type(value) for value in fresh.state_dict().values()] == [float, float, int, int]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_state_before_the_first_observation(mode):
    """The best is ±inf."""
    plateau = observed(mode=mode)
    plateau.load_state_dict(observed(0, mode=mode).state_dict())
    assert plateau == observed(0, mode=mode)


WRONG_STATES = [
    None,
    0.5,
    {},
    {"rate": 0.5},
    *(
        {"rate": 0.25, "best": 1.0, "bad": 0, "cooling": 2} | wrong
        for wrong in (
            {"rate": -1.0},
            {"rate": math.nan},
            {"rate": "0.1"},
            {"best": math.nan},
            {"best": None},
            {"bad": -1},
            {"bad": 0.5},
            {"cooling": -1},
            {"cooling": "2"},
            {"more": 1},
        )
    ),
]


@pytest.mark.parametrize("state", WRONG_STATES, ids=shown)
def test_plateau_state_that_does_not_fit(state):
    """Nothing is loaded, by itself or inside another."""
    plateau = observed()
    before = plateau.state_dict()
    with pytest.raises(ValueError, match="expected"):
        plateau.load_state_dict(state)
    assert plateau.state_dict() == before
    if state is not None:
        other = observed(0)
        joined = join([other, plateau], [5])
        with pytest.raises(ValueError, match="expected"):
            joined.load_state_dict({"0": before, "1": state})
        assert (plateau.state_dict(), other) == (before, observed(0))


def test_copies_of_a_plateau_go_their_own_way():
    """With what it was told."""
    for twin in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        for nest in (lambda plateau: plateau, *NESTED):
            plateau = observed()
            outer = nest(plateau)
            again = twin(outer)
            assert again == outer
            for _ in range(4):
                again.observe(1.0)
            assert again != outer
            assert plateau == observed()


NESTED = [
    lambda plateau: warmup(plateau, 2),
    lambda plateau: join([0.1, plateau, cosine(0.1, 5)], [1, 50]),
    lambda plateau: alternate(0.1, plateau),
    lambda plateau: alternate(plateau, observed(0)),
    lambda plateau: warmup(join([alternate(cosine(0.1, 5), plateau), 0.1], [50]), 2),
]


@pytest.mark.parametrize("nest", NESTED)
def test_a_state_travels_from_within(nest):
    """However deep; the state is dicts and numbers."""
    first, second = nest(observed()), nest(observed(0))
    assert first != second
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert first == second
    assert [first(t) for t in range(STEPS)] == [second(t) for t in range(STEPS)]


def test_a_state_within_that_does_not_fit():
    """Another structure."""
    schedule = join([observed(0), observed(0)], [5])
    for state in (observed().state_dict(), {}, {"0": observed().state_dict()}, 0.5, None):
        with pytest.raises(ValueError, match="expected the names"):
            schedule.load_state_dict(state)
    assert schedule == join([observed(0), observed(0)], [5])


PURE = [schedule for schedule in SCHEDULES if type(schedule) is not ReduceOnPlateau]


@pytest.mark.parametrize("schedule", PURE, ids=shown)
def test_a_function_of_t_has_no_state(schedule):
    """In a state dict it is None, nested or not, and any other may go on in its place."""
    state = gn.SGD(np.zeros(1), lr=warmup(observed(), 2)).state_dict()
    optimizer = gn.SGD(np.zeros(1), lr=schedule if schedule(0) >= 0 else constant(0.1))
    assert optimizer.state_dict()["groups"]["0"]["lr"] is None
    optimizer.load_state_dict(state)
    other = gn.SGD(np.zeros(1), lr=warmup(observed(), 2))
    other.load_state_dict(optimizer.state_dict())
    assert other.groups[0]["lr"] == warmup(observed(), 2)


# In an optimizer.


FRACTIONS = [schedule for schedule in PRINTABLE if all(0.0 <= schedule(t) < 1.0 for t in range(STEPS))] + [
    join([cosine(0.3, 5), linear(0.1, 0.9, 10)], [8]),
    alternate(0.3, exponential(0.9, 0.9), every=3),
]


@pytest.mark.parametrize("schedule", FRACTIONS, ids=shown)
@pytest.mark.parametrize("where", ["lr", "betas", "weight_decay"])
def test_resuming_gives_the_same_bits(schedule, where, rng):
    """Half-way, in a new optimizer with a new schedule."""

    def made(p):
        own = copy.deepcopy(schedule)
        return gn.AdamW(p, **{where: (own, 0.99) if where == "betas" else own}), own

    start, grads = rng.standard_normal(6), rng.standard_normal((20, 6))
    whole, parts = start.copy(), start.copy()
    (through, told), (first, also_told) = made(whole), made(parts)
    for t, g in enumerate(grads):
        if t == 10:
            state = first.state_dict()
            first, also_told = made(parts)
            first.load_state_dict(state)
        through.step(g)
        first.step(g)
        for each in (told, also_told):
            if hasattr(each, "observe"):
                each.observe(1.0)
    assert_same_bits(parts, whole)
    assert not np.array_equal(whole, start)


@pytest.mark.parametrize("nest", NESTED)
def test_a_loss_is_passed_on_to_schedules_within(nest):
    """To those that observe losses."""
    plateau = observed(0)
    schedule = nest(plateau)
    for _ in range(3):
        schedule.observe(1.0)
    assert plateau == observed(3)


@pytest.mark.parametrize(("lr", "after"), [(1e-8, 1e-8), (1.0005e-8, 0.0)])
def test_the_least_reduction_that_is_made(lr, after):
    """Is more than 1e-8, as PyTorch's."""
    plateau = ReduceOnPlateau(lr, factor=0.0, patience=0)
    plateau.observe(1.0)
    plateau.observe(1.0)
    assert plateau(0) == after


@pytest.mark.parametrize("nest", [lambda plateau: plateau, *NESTED])
@pytest.mark.parametrize("carry", ["state_dict", "deepcopy", "pickle"])
def test_resuming_with_a_plateau(nest, carry, rng):
    """A plateau's observations are saved and copied with the optimizer, also inside another schedule."""

    def train(optimizer, told, grads):
        for g in grads:
            optimizer.step({"w": g})
            told.observe(1.0)

    start, grads = rng.standard_normal(6), rng.standard_normal((20, 6))
    params, whole = {"w": start.copy()}, {"w": start.copy()}
    plateau, told = observed(0), observed(0)
    optimizer = gn.Adam(params, betas=(0.9, nest(plateau)))
    train(optimizer, plateau, grads[:8])
    if carry == "state_dict":
        state, plateau = optimizer.state_dict(), observed(0)
        optimizer = gn.Adam(params, betas=(0.9, nest(plateau)))
        optimizer.load_state_dict(state)
    else:
        both = params, optimizer, plateau
        params, optimizer, plateau = (
            copy.deepcopy(both) if carry == "deepcopy" else pickle.loads(pickle.dumps(both))
        )
    train(optimizer, plateau, grads[8:])
    train(gn.Adam(whole, betas=(0.9, nest(told))), told, grads)
    assert told.rate < 0.25
    assert_same_bits(params["w"], whole["w"])


def test_an_optimizer_refuses_what_a_schedule_gives():
    """At the step where it is out of range."""
    optimizer = gn.SGD(np.zeros(1), lr=linear(0.1, -0.1, 2))
    optimizer.step(np.ones(1))
    optimizer.step(np.ones(1))
    assert_refused(lambda: optimizer.step(np.ones(1)), ValueError, "lr at step 2 is -0.1")
    assert_refused(lambda: gn.Adam(np.zeros(1), betas=(constant(1.0), 0.9)), ValueError, "betas[0]", "1.0")


# Pictures.


@pytest.fixture
def axes():
    """Axes that need no screen."""
    figure = pytest.importorskip("matplotlib.figure")
    return figure.Figure().add_subplot()


@EACH
def test_plot(schedule, axes):
    """A value a step, on the axes given, which it returns."""
    assert schedule.plot(steps=20, ax=axes) is axes
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(20))
    np.testing.assert_array_equal(line.get_ydata(), [schedule(t) for t in range(20)])
    assert line.get_label() == repr(schedule)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "value")


def test_plot_on_axes_of_its_own(tmp_path):
    """pyplot's current ones, so that two calls make one picture; without a screen too."""
    pytest.importorskip("matplotlib")
    code = """
import gnumba as gn
from matplotlib import pyplot
first = gn.schedules.cosine(0.1, 100).plot(steps=100)
assert gn.schedules.linear(0.1, 0.0, 100).plot(100) is first is pyplot.gca()
assert len(first.lines) == 2
"""
    environment = {
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(tmp_path),
        "PYTHONPATH": str(Path(gn.__file__).parents[1]),
    }
    subprocess.run([sys.executable, "-c", code], env=os.environ | environment, check=True)


def test_plot_without_matplotlib(monkeypatch):
    """One sentence."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert_refused(lambda: constant(0.1).plot(10), ImportError, "plot needs matplotlib")


def test_plot_of_no_steps(axes):
    """Refused before anything is drawn."""
    assert_refused(lambda: constant(0.1).plot(0, ax=axes), ValueError, "steps is 0", "expected")
    assert not axes.lines
