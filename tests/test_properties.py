"""Any sequence of calls: an optimizer beside a naive one that shares no code with it."""

import contextlib
import copy
import operator
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from cases import OPTIMIZERS, OptimizerCase, by_element
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from judge import assert_same_bits
from layouts import WRITABLE
from naive import NaiveOptimizer, value

import gnumba as gn

CHOSEN = {str(case): case for case in OPTIMIZERS}
CASES = [  # those without a memory whose update does not jump where a gradient's sign does
    CHOSEN[name]
    for name in (
        "SGD-damped decoupled",
        "SGD-momentum dampening",
        "SGD-nesterov decoupled",
        "Momentum-l2",
        "AdaGrad-eps outside",
        "RMSProp-eps both",
        "AdaDelta-l2",
        "Adam-l2",
        "Adam-amsgrad",
        "AdamW-decay",
        "RAdam-decoupled",
        "Adamax-l2",
        "AdaBelief-l2",
        "LAMB-decay",
    )
]
ON_ALL_CORES = CHOSEN["SGD-momentum dampening"]  # one: a kernel takes a second to compile

# Containers: templates whose leaves are positions in a list of arrays.

CONTAINERS = {
    "single": 0,
    "list": [0, 1, 2],
    "tuple": (0, 1),
    "dict": {"w": 0, "b": 1, "c": 2},
    "groups": [{"w": 0, "b": 1}, [2, 3]],
}
OF_GROUPS = [{"lr": 0.03}, {"name": "rest"}]  # what they are given beside their arrays


def filled(template, arrays):
    """The container that a template is of, with these arrays."""
    if isinstance(template, dict):
        return {name: filled(each, arrays) for name, each in template.items()}
    if isinstance(template, (list, tuple)):
        return type(template)(filled(each, arrays) for each in template)
    return arrays[template]


def leaves(container):
    """Leaves of a container, in order."""
    if isinstance(container, dict):
        return [x for each in container.values() for x in leaves(each)]
    if isinstance(container, (list, tuple)):
        return [x for each in container for x in leaves(each)]
    return [container]


def names(template, prefix=""):
    """By what names an optimizer has the leaves."""
    if isinstance(template, dict):
        pairs = template.items()
    elif isinstance(template, (list, tuple)):
        pairs = enumerate(template)
    else:
        return [prefix or "0"]
    return [name for key, each in pairs for name in names(each, f"{prefix}/{key}" if prefix else f"{key}")]


@dataclass(frozen=True)
class Falling:
    """A schedule that can be copied, pickled and compared: ``first`` times a power."""

    first: float
    rate: float = 0.75

    def __call__(self, t):
        return self.first * self.rate**t


RATES = [0.0, 0.5, 0.1, 1e-3, Falling(0.5), np.float32(0.25)]
HYPER = {
    "lr": RATES,
    "weight_decay": [0.0, 0.01, 0.1, Falling(0.1)],
    "momentum": [0.9, 0.5, Falling(0.9, 0.99)],
    "dampening": [0.0, 0.25, 1.0],
    "betas": [(0.9, 0.999), (0.8, 0.95), (0.0, 0.5), (Falling(0.9, 0.99), 0.999)],
    "decay": [0.9, 0.5, Falling(0.99, 0.9)],
    "eps": [1e-3, 1e-8],
    "eps_root": [0.0, 1e-6],
}
OUT_OF_RANGE = {
    "lr": [-0.1, np.nan, np.inf, "0.1", None, True],
    "weight_decay": [-1.0, np.nan],
    "momentum": [1.0, -0.1],
    "dampening": [1.5, -0.5],
    "betas": [(0.9, 1.0), 0.9, (0.9,), (np.nan, 0.5)],
    "decay": [1.0, -0.5],
    "eps": [-1e-8, np.nan],
    "eps_root": [-1.0],
}
OPTIONS = {"max_norm": [None, 0.5, 20.0, Falling(10.0)], "nonfinite": ["apply", "skip", "raise"]}
NOT_OPTIONS = [("max_norm", 0.0), ("max_norm", np.nan), ("max_norm", "1"), ("nonfinite", "ignore")]
FIXED = ["learning_rate", "t", "rule", "maximize", "state"]  # or misspelt
WRONG_STEPS = ["shape", "dtype", "structure", "row", "a list", "a parameter", "scale", "held"]
WRONG_STATES = ["rule", "t", "name", "shape", "group", "updates", "no dict"]
SHAPES = [(), (3,), (0,), (6, 4), (2, 0), (9, 5)]
TWO_AXES = [shape for shape in SHAPES if len(shape) == 2 and shape[0]]


def numbers(seed, shape, dtype, sizes=(-5, 2)):
    """Random numbers of many magnitudes, some of them 0."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * 10.0 ** rng.uniform(*sizes, shape)
    return np.asarray(np.where(rng.random(shape) < 0.1, 0.0, values), dtype)


def laid_out(layout, values, keep=None):
    """The numbers in another order in memory, if their shape has one."""
    made = WRITABLE[layout](values) if layout and values.ndim == 2 and values.size else np.array(values)
    return made if keep is None or made.shape == keep else np.array(values)


class AnySequence(RuleBasedStateMachine):
    """Calls in any order: each does what it says, and those that fail change nothing."""

    case: OptimizerCase

    @initialize(
        container=st.sampled_from([*CONTAINERS]),
        dtypes=st.lists(st.sampled_from(["float32", "float64"]), min_size=4, max_size=4),
        shapes=st.lists(st.sampled_from(SHAPES), min_size=4, max_size=4),
        layouts=st.lists(st.sampled_from([None, None, *WRITABLE]), min_size=4, max_size=4),
        max_norm=st.sampled_from([None, None, 1.0]),
        nonfinite=st.sampled_from(["apply", "skip", "raise"]),
        maximize=st.sampled_from([False, False, True]),
    )
    def begin(self, container, dtypes, shapes, layouts, max_norm, nonfinite, maximize):
        """Make both."""
        self.template, grouped = CONTAINERS[container], container == "groups"
        trees = self.template if grouped else [self.template]
        self.group_of = [k for k, tree in enumerate(trees) for _ in leaves(tree)]
        given = zip(dtypes, shapes, layouts, self.group_of, strict=False)
        arrays = [
            laid_out(layout, numbers(k, shape, dtype, (-1, 1)))
            for k, (dtype, shape, layout, _) in enumerate(given)
        ]
        options = {"max_norm": max_norm, "nonfinite": nonfinite, "maximize": maximize}
        params, case = filled(self.template, arrays), self.case
        hyper, self.names = [dict(case.hyper) for _ in trees], names(self.template)
        if grouped:
            params = [{"params": tree, **given} for tree, given in zip(params, OF_GROUPS, strict=True)]
            hyper[0]["lr"] = 0.03
            self.names = [*names(trees[0], "0"), *names(trees[1], "rest")]
        self.opt = case.make(params, **case.hyper, **options)
        self.naive = NaiveOptimizer(case.formula, case.state, arrays, self.group_of, hyper, **options)
        self.saved = None
        self.apart = []

    # What there is to see of an optimizer.

    @property
    def arrays(self):
        """The real one's parameters, in order."""
        return [x for group in self.opt.groups for x in leaves(group["params"])]

    def found(self, opt=None):
        """Everything about an optimizer that a call may change, as bytes."""
        opt = opt or self.opt
        arrays = [x.tobytes() for group in opt.groups for x in leaves(group["params"])]
        state = opt.state_dict()
        states = {
            name: {key: s.tobytes() if key != "updates" else s for key, s in each.items()}
            for name, each in state.pop("state").items()
        }
        given = [{key: each[key] for key in each if key != "params"} for each in opt.groups]
        return (
            arrays,
            states,
            state,
            given,
            (opt.t, opt.skipped, repr(opt.grad_norm), opt.max_norm, opt.nonfinite),
        )

    @invariant()
    def nothing_else_has_changed(self):
        """Between calls both hold the same bits, and those that went their own way keep theirs."""
        state = self.opt.state_dict()
        assert list(state["state"]) == self.names
        for k, (name, p) in enumerate(zip(self.names, self.arrays, strict=True)):
            mine = state["state"][name]
            assert_same_bits(p, self.naive.p[k], name)
            assert mine.pop("updates") == self.naive.updates[k]
            assert mine.keys() == self.naive.state[k].keys()
            for key, s in mine.items():
                assert_same_bits(s, self.naive.state[k][key], f"{name}: {key}")
        assert (self.opt.t, self.opt.skipped) == (self.naive.t, self.naive.skipped)
        assert self.opt.lr == pytest.approx(value(self.naive.groups[0]["lr"], self.naive.t), rel=1e-15)
        norm = self.naive.norm
        assert self.opt.grad_norm == (norm if norm is None else pytest.approx(norm, rel=1e-12, nan_ok=True))
        for each, before in self.apart:
            assert self.found(each)[-len(before) :] == before

    # Steps.

    def gradient(self, p, kind, seed, layout):
        """None, an array, or rows: for gnumba, and for the naive one."""
        if kind == "none":
            return None, None
        if kind == "rows" and p.ndim and len(p) and by_element([self.case]):
            indices = np.random.default_rng(seed).integers(-len(p), len(p), seed % 5)
            values = numbers(seed, (len(indices), *p.shape[1:]), p.dtype)
            return gn.Rows(indices, values), (indices, values)
        g = numbers(seed, p.shape, p.dtype)
        if kind == "bad" and g.size:
            g.flat[seed % g.size] = [np.nan, np.inf, -np.inf][seed % 3]
        return laid_out(layout, g, p.shape), g

    @rule(
        kinds=st.lists(st.sampled_from(["dense"] * 5 + ["none", "rows"]), min_size=4, max_size=4),
        bad=st.sampled_from([None] * 6 + [0, 1]),
        seed=st.integers(0, 999),
        layout=st.sampled_from([None, None, None, *WRITABLE]),
        scale=st.sampled_from([1.0, 1.0, 1.0, 2.0, 0.3, 1000]),
        forced=st.sampled_from([None, None, "cpu", "parallel"]),
        count=st.integers(1, 3),
    )
    def steps(self, kinds, bad, seed, layout, scale, forced, count):
        """By the formula, to a few roundings; skipped or refused where that was asked."""
        if bad is not None and self.opt.nonfinite != "apply":
            kinds[bad] = "bad"
        if forced == "parallel" and self.case is not ON_ALL_CORES:
            forced = "cpu"
        with gn.use_target(forced) if forced else contextlib.nullcontext():
            for k in range(count):
                self.step(kinds, seed + 4 * k, layout, scale)

    def step(self, kinds, seed, layout, scale):
        """One, judged; what was found is what is."""
        before = self.found()
        made = [self.gradient(p, kinds[k], seed + k, layout) for k, p in enumerate(self.arrays)]
        expected = self.naive.step([mine for _, mine in made], scale)
        call = operator.methodcaller("step", filled(self.template, [g for g, _ in made]), grad_scale=scale)
        if expected is None and self.opt.nonfinite == "raise":
            with pytest.raises(FloatingPointError):
                call(self.opt)
            assert self.found() == before
            return
        call(self.opt)
        if expected is None:
            assert self.found()[0] == before[0]
            return
        found = self.opt.state_dict()["state"]
        states = [{key: s for key, s in found[name].items() if key != "updates"} for name in self.names]
        for name, p, state, (new, after) in zip(self.names, self.arrays, states, expected, strict=True):
            assert_near(p, new, name)
            for key, s in state.items():
                assert_near(s, after[key], f"{name}: {key}")
        self.naive.adopt(self.arrays, states)

    # Hyperparameters.

    @rule(data=st.data(), where=st.sampled_from(["group", "group", "all", "max_norm", "nonfinite"]))
    def set(self, data, where):
        """The next step has it: one group's, all groups', or what is done about large gradients."""
        if where in OPTIONS:
            given = data.draw(st.sampled_from(OPTIONS[where]))
            setattr(self.opt, where, given)
            setattr(self.naive, where, given)
            return
        k = data.draw(st.integers(0, len(self.opt.groups) - 1))
        name = data.draw(st.sampled_from([*self.naive.groups[k]]).filter(HYPER.__contains__))
        given = data.draw(st.sampled_from(HYPER[name]))
        if where == "group":
            self.opt.groups[k][name] = self.naive.groups[k][name] = given
            return
        setattr(self.opt, name, given)
        for each in self.naive.groups:
            each[name] = given
        assert getattr(self.opt, name) == pytest.approx(value(given, self.naive.t), rel=1e-15)

    # State.

    @rule()
    def save(self):
        """Keep a state dict; what comes after does not change it."""
        naive = copy.deepcopy(self.naive)
        self.saved = self.opt.state_dict(), pickle.dumps(self.opt.state_dict()), naive

    @precondition(lambda self: self.saved)
    @rule(by_bytes=st.booleans())
    def load(self, by_bytes):
        """State, counts and numbers are those saved, parameters stay; a number for a schedule is refused."""
        state, pickled, then = self.saved
        assert pickle.dumps(state) == pickled
        self.take_up(lambda: self.opt.load_state_dict(pickle.loads(pickled) if by_bytes else state), then)

    def take_up(self, load, then, params=False):
        before = self.found()
        fits = then.max_norm is None or callable(then.max_norm) or not callable(self.naive.max_norm)
        for mine, theirs in zip(self.naive.groups, then.groups, strict=True):
            fits &= all(shape_of(mine[name]) == shape_of(theirs[name]) for name in mine)
        if not fits:
            with pytest.raises(ValueError, match="in the state"):
                load()
            assert self.found() == before
            return
        load()
        now = self.naive
        now.t, now.skipped, now.updates = then.t, then.skipped, [*then.updates]
        now.state = copy.deepcopy(then.state)
        if then.max_norm is not None and not callable(then.max_norm):
            now.max_norm = then.max_norm
        if params:
            now.p = copy.deepcopy(then.p)
        for mine, theirs in zip(now.groups, then.groups, strict=True):
            for name in mine:
                mine[name] = restored(mine[name], theirs[name])

    # Copies.

    @rule(duplicate=st.sampled_from([copy.copy, copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))]))
    def go_on_with_a_copy(self, duplicate):
        """The original stays as it is, whatever the copy does; only a shallow one has its parameters."""
        before, arrays = self.found(), self.arrays
        self.opt, original = duplicate(self.opt), self.opt
        assert self.found() == before
        shared = [np.shares_memory(x, y) for x, y in zip(self.arrays, arrays, strict=True) if x.size]
        assert shared == [duplicate is copy.copy] * len(shared)
        self.apart = [*self.apart, (original, before[duplicate is copy.copy :])][-3:]

    # Calls that fail.

    def refused(self, call, *errors):
        """Raises one of these, and changes nothing."""
        before = self.found()
        with pytest.raises(errors):
            call(self.opt)
        assert self.found() == before

    @rule(data=st.data(), what=st.sampled_from(["hyper", "option", "attribute", "step", "step", "load"]))
    def fail(self, data, what):
        """Nothing has changed."""
        getattr(self, f"fail_{what}")(data)

    def fail_hyper(self, data):
        """A number out of range, for a group or for all."""
        k = data.draw(st.integers(0, len(self.opt.groups) - 1))
        name = data.draw(st.sampled_from([*self.naive.groups[k]]).filter(OUT_OF_RANGE.__contains__))
        given = data.draw(st.sampled_from(OUT_OF_RANGE[name]))
        self.refused(lambda opt: opt.groups[k].__setitem__(name, given), ValueError, TypeError)
        self.refused(lambda opt: setattr(opt, name, given), ValueError, TypeError)

    def fail_option(self, data):
        """A bad limit or policy."""
        name, given = data.draw(st.sampled_from(NOT_OPTIONS))
        self.refused(lambda opt: setattr(opt, name, given), ValueError, TypeError)

    def fail_attribute(self, data):
        """A misspelling, or what is fixed when the optimizer is made."""
        name = data.draw(st.sampled_from(FIXED))
        self.refused(lambda opt: setattr(opt, name, 1.0), AttributeError)

    def fail_step(self, data):
        """At the last parameter as at the first."""
        wrong, where = data.draw(st.sampled_from(WRONG_STEPS)), data.draw(st.integers(0, 3))
        seed = data.draw(st.integers(0, 999))
        arrays = self.arrays
        grads = [numbers(seed + k, p.shape, p.dtype) for k, p in enumerate(arrays)]
        k = where % len(arrays)
        p, scale = arrays[k], 1.0
        if wrong == "shape":
            grads[k] = np.zeros((*p.shape, 2), p.dtype)
        elif wrong == "dtype":
            grads[k] = grads[k].astype("float32" if p.dtype == "float64" else "float64")
        elif wrong == "row":
            grads[k] = gn.Rows([len(p) if p.ndim else 0], np.zeros((1, *p.shape[1:]), p.dtype))
        elif wrong == "a list":
            grads[k] = grads[k].tolist()
        elif wrong == "a parameter":  # of which another part is to be updated
            same = [x for x in arrays if x is not p and x.size and x.shape == p.shape and x.dtype == p.dtype]
            if not same:
                return
            grads[k] = same[0]
        elif wrong == "scale":
            scale = [0.0, -1.0, np.nan, np.inf, "1"][seed % 5]
        wrapped = [grads] * 5 if wrong == "structure" else filled(self.template, grads)
        if wrong == "held":
            self.with_another_array(k, lambda opt: opt.step(wrapped))
            return
        errors = (ValueError, TypeError, IndexError)
        self.refused(lambda opt: opt.step(wrapped, grad_scale=scale), *errors)

    def with_another_array(self, k, call):
        """A container that no longer holds what it was given: ValueError, until it does again."""
        group = self.opt.groups[self.group_of[k]]["params"]
        if not isinstance(group, (list, dict)):
            return
        key = [*group][k - self.group_of.index(self.group_of[k])] if isinstance(group, dict) else None
        key = k - self.group_of.index(self.group_of[k]) if key is None else key
        mine, group[key] = group[key], group[key].copy()
        try:
            with pytest.raises(ValueError, match="no longer"):
                call(self.opt)
        finally:
            group[key] = mine

    def fail_load(self, data):
        """A state dict that somebody edited."""
        wrong = data.draw(st.sampled_from(WRONG_STATES))
        state = copy.deepcopy(self.opt.state_dict())
        name = self.names[-1]
        if wrong == "rule":
            state["rule"] = "another"
        elif wrong == "t":
            state["t"] = -1
        elif wrong == "name":
            state["state"]["another"] = state["state"].pop(name)
        elif wrong == "shape":
            for key in self.case.state:
                state["state"][name][key] = np.zeros(7)
            if not self.case.state:
                state["state"][name]["v"] = np.zeros(7)
        elif wrong == "group":
            state["groups"].popitem()
        elif wrong == "updates":
            state["state"][name]["updates"] = state["t"] + 1
        self.refused(
            lambda opt: opt.load_state_dict(None if wrong == "no dict" else state), ValueError, TypeError
        )


def shape_of(given):
    """Where a hyperparameter is a number and where a schedule."""
    return tuple(map(callable, given)) if isinstance(given, (tuple, list)) else callable(given)


def restored(mine, theirs):
    """A hyperparameter after loading: the number saved, the schedule that was here."""
    if isinstance(mine, (tuple, list)):
        return tuple(map(restored, mine, theirs))
    return mine if callable(mine) else float(theirs)


def assert_near(found, expected, what):
    """To a few roundings of the largest number there is; nan where it is to be."""
    eps = np.finfo(found.dtype).eps
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=64 * eps, atol=64 * eps * scale, err_msg=what)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_sequence_of_calls(case):
    """Sequences are equal in every run; Phase.shrink, which takes minutes, makes a failing one shorter."""
    run_state_machine_as_test(
        type("AnySequence", (AnySequence,), {"case": case}),
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=8,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=[Phase.generate],
        ),
    )
