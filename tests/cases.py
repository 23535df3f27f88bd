"""THE table: every optimizer in every variant, every activation, each beside its naive formula."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

import gnumba as gn
from gnumba._nn import activations
from gnumba._optim import optimizers

try:
    import mpmath
except ImportError:  # where kernels are only compiled for GPUs; exact values are asked for elsewhere
    mpmath = None


def assert_exported(module):
    """Require in ``__all__`` all that a module defines for others; a base of some takes no parameters."""
    own = {
        name
        for name, thing in vars(module).items()
        if isinstance(thing, (gn.Rule, gn.Activation))
        or (
            isinstance(thing, type)
            and thing.__module__ == module.__name__
            and "Parameters\n" in (thing.__doc__ or "")
        )
    }
    left = ", ".join(sorted(own - set(module.__all__)))
    assert not left, f"{left}: expected in __all__ of {Path(module.__file__).relative_to(ROOT)}"


ROOT = Path(gn.__file__).parents[1]
for _module in (
    *gn.rules.UPDATES,
    activations,
    *(sys.modules[getattr(gn, name).__module__] for name in optimizers.__all__),
):
    assert_exported(_module)


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer with these arguments is this formula with these arguments."""

    name: str
    make: type[gn.Optimizer]
    formula: Callable[..., Any]
    state: tuple[str, ...]
    hyper: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.make.__name__}-{self.name}"

    def expected(self, p, gradients):
        """{"p": ..., state: ...} after these gradients, in float64; None is no update."""
        p, state, t = np.array(p, np.float64), {}, 0
        arrays = {name: np.zeros_like(p) for name in self.state}
        for g in gradients:
            if g is not None:
                t += 1
                p, state = self.formula(p, np.asarray(g, np.float64), state, t, **self.hyper)
                arrays = {name: state[name] for name in self.state}
        return {"p": p} | arrays


@dataclass(frozen=True)
class ActivationCase:
    """An activation, arguments for it, its formula and that of its derivative.

    All but the first three say what is true of the function beyond that; tests of these things pass over a
    case that leaves them out.
    """

    act: gn.Activation
    formula: Callable[..., Any]
    derivative: Callable[..., Any]
    hyper: dict[str, float] = field(default_factory=dict)
    limits: tuple[float, ...] | None = None  # f(−∞), f(0), f(∞); f′(−∞), f′(0), f′(∞)
    exact: Callable[..., Any] | None = None  # f of an mpmath number, for an accuracy in ulp
    max_ulp: float | None = None  # f's, against `exact`
    scale: float = 0.0  # f is right to roundings of such numbers; 0 says to roundings of f itself
    within: float = math.inf  # where f is a number
    from_y: bool = False  # backward has a way of its own from y = f(x)

    def __str__(self) -> str:
        return "-".join([self.act.name, *map(str, self.hyper.values())])


SGD, ADAPTIVE = {"lr": 0.1}, {"lr": 0.01}
L2, OUTSIDE, BOTH = {"weight_decay": 0.05}, {"eps": 1e-3}, {"eps": 1e-3, "eps_root": 1e-6}
DECOUPLED = L2 | {"decoupled": True}
ROLLING = {"momentum": 0.9}
AMSGRAD, CENTERED = {"amsgrad": True}, {"centered": True}
QUICK = {"betas": (0.8, 0.9)}  # RAdam's fifth step is rectified already

OPTIMIZERS = [
    OptimizerCase("plain", gn.SGD, reference.sgd, (), SGD),
    OptimizerCase("l2", gn.SGD, reference.sgd, (), SGD | L2),
    OptimizerCase("decoupled", gn.SGD, reference.sgd, (), SGD | DECOUPLED),
    OptimizerCase("dampening only", gn.SGD, reference.sgd, (), SGD | {"dampening": 0.25}),
    OptimizerCase("damped decoupled", gn.SGD, reference.sgd, (), SGD | DECOUPLED | {"dampening": 0.25}),
    OptimizerCase("momentum", gn.SGD, reference.sgd, ("v",), SGD | ROLLING),
    OptimizerCase("momentum l2", gn.SGD, reference.sgd, ("v",), SGD | ROLLING | L2),
    OptimizerCase("momentum dampening", gn.SGD, reference.sgd, ("v",), SGD | ROLLING | {"dampening": 0.25}),
    OptimizerCase("nesterov", gn.SGD, reference.sgd, ("v",), SGD | ROLLING | {"nesterov": True}),
    OptimizerCase(
        "nesterov l2",
        gn.SGD,
        reference.sgd,
        ("v",),
        SGD | ROLLING | L2 | {"nesterov": True},
    ),
    OptimizerCase(
        "nesterov decoupled", gn.SGD, reference.sgd, ("v",), SGD | ROLLING | DECOUPLED | {"nesterov": True}
    ),
    OptimizerCase("plain", gn.Momentum, reference.momentum, ("v",), SGD),
    OptimizerCase("l2", gn.Momentum, reference.momentum, ("v",), SGD | L2 | {"momentum": 0.8}),
    OptimizerCase("decoupled", gn.Momentum, reference.momentum, ("v",), SGD | DECOUPLED),
    OptimizerCase("plain", gn.AdaGrad, reference.adagrad, ("G",), SGD),
    OptimizerCase("eps outside", gn.AdaGrad, reference.adagrad, ("G",), SGD | OUTSIDE),
    OptimizerCase("eps both", gn.AdaGrad, reference.adagrad, ("G",), SGD | BOTH),
    OptimizerCase("l2", gn.AdaGrad, reference.adagrad, ("G",), SGD | L2),
    OptimizerCase("plain", gn.RMSProp, reference.rmsprop, ("E",), ADAPTIVE),
    OptimizerCase("eps outside", gn.RMSProp, reference.rmsprop, ("E",), ADAPTIVE | OUTSIDE | {"decay": 0.8}),
    OptimizerCase("eps both", gn.RMSProp, reference.rmsprop, ("E",), ADAPTIVE | BOTH),
    OptimizerCase("l2", gn.RMSProp, reference.rmsprop, ("E",), ADAPTIVE | L2),
    OptimizerCase("momentum", gn.RMSProp, reference.rmsprop, ("E", "b"), ADAPTIVE | ROLLING | L2),
    OptimizerCase("centered", gn.RMSProp, reference.rmsprop, ("E", "a"), ADAPTIVE | CENTERED | L2 | BOTH),
    OptimizerCase(
        "centered momentum",
        gn.RMSProp,
        reference.rmsprop,
        ("E", "a", "b"),
        ADAPTIVE | CENTERED | ROLLING | OUTSIDE,
    ),
    OptimizerCase("plain", gn.Adam, reference.adam, ("m", "v"), ADAPTIVE),
    OptimizerCase("eps outside", gn.Adam, reference.adam, ("m", "v"), ADAPTIVE | OUTSIDE),
    OptimizerCase("eps both", gn.Adam, reference.adam, ("m", "v"), ADAPTIVE | BOTH | {"betas": (0.8, 0.95)}),
    OptimizerCase("l2", gn.Adam, reference.adam, ("m", "v"), ADAPTIVE | L2),
    OptimizerCase("amsgrad", gn.Adam, reference.adam, ("m", "v", "v_max"), ADAPTIVE | L2 | BOTH | AMSGRAD),
    OptimizerCase("plain", gn.AdamW, reference.adamw, ("m", "v"), ADAPTIVE),
    OptimizerCase("decay", gn.AdamW, reference.adamw, ("m", "v"), ADAPTIVE | L2),
    OptimizerCase("eps both", gn.AdamW, reference.adamw, ("m", "v"), ADAPTIVE | L2 | BOTH),
    OptimizerCase("amsgrad", gn.AdamW, reference.adamw, ("m", "v", "v_max"), ADAPTIVE | L2 | BOTH | AMSGRAD),
    OptimizerCase("plain", gn.RAdam, reference.radam, ("m", "v"), ADAPTIVE | QUICK),
    OptimizerCase("never rectified", gn.RAdam, reference.radam, ("m", "v"), ADAPTIVE | {"betas": (0.8, 0.6)}),
    OptimizerCase("l2", gn.RAdam, reference.radam, ("m", "v"), ADAPTIVE | QUICK | L2 | BOTH),
    OptimizerCase("decoupled", gn.RAdam, reference.radam, ("m", "v"), ADAPTIVE | QUICK | DECOUPLED | OUTSIDE),
    OptimizerCase("plain", gn.NAdam, reference.nadam, ("m", "v"), ADAPTIVE),
    OptimizerCase(
        "l2", gn.NAdam, reference.nadam, ("m", "v"), ADAPTIVE | L2 | BOTH | {"momentum_decay": 0.5}
    ),
    OptimizerCase("decoupled", gn.NAdam, reference.nadam, ("m", "v"), ADAPTIVE | DECOUPLED | OUTSIDE | QUICK),
    OptimizerCase("plain", gn.Adamax, reference.adamax, ("m", "u"), ADAPTIVE),
    OptimizerCase(
        "l2", gn.Adamax, reference.adamax, ("m", "u"), ADAPTIVE | L2 | OUTSIDE | {"betas": (0.8, 0.6)}
    ),
    OptimizerCase("plain", gn.AdaDelta, reference.adadelta, ("E", "D"), {"lr": 1.0}),
    OptimizerCase(
        "l2", gn.AdaDelta, reference.adadelta, ("E", "D"), ADAPTIVE | L2 | {"decay": 0.8, "eps_root": 1e-2}
    ),
    OptimizerCase("plain", gn.AdaBelief, reference.adabelief, ("m", "s"), ADAPTIVE),
    OptimizerCase("l2", gn.AdaBelief, reference.adabelief, ("m", "s"), ADAPTIVE | L2 | BOTH),
    OptimizerCase("decoupled", gn.AdaBelief, reference.adabelief, ("m", "s"), ADAPTIVE | DECOUPLED | BOTH),
    OptimizerCase("plain", gn.Adan, reference.adan, ("m", "n", "v", "g_before"), ADAPTIVE),
    OptimizerCase(
        "proximal decay",
        gn.Adan,
        reference.adan,
        ("m", "n", "v", "g_before"),
        ADAPTIVE | L2 | BOTH | {"betas": (0.9, 0.7, 0.8)},
    ),
    OptimizerCase("plain", gn.Lion, reference.lion, ("m",), ADAPTIVE),
    OptimizerCase("decay", gn.Lion, reference.lion, ("m",), ADAPTIVE | L2 | {"betas": (0.8, 0.7)}),
    OptimizerCase("plain", gn.LAMB, reference.lamb, ("m", "v"), ADAPTIVE),
    OptimizerCase(
        "decay", gn.LAMB, reference.lamb, ("m", "v"), ADAPTIVE | L2 | BOTH | {"betas": (0.8, 0.95)}
    ),
    OptimizerCase("plain", gn.LARS, reference.lars, ("v",), SGD | {"momentum": 0.5}),
    OptimizerCase(
        "l2", gn.LARS, reference.lars, ("v",), SGD | L2 | {"momentum": 0.5, "trust_coefficient": 0.1}
    ),
    OptimizerCase(
        "nesterov", gn.LARS, reference.lars, ("v",), SGD | L2 | {"nesterov": True, "momentum": 0.8}
    ),
    OptimizerCase("plain", gn.ScheduleFreeSGD, reference.schedule_free_sgd, ("d",), SGD),
    OptimizerCase(
        "l2",
        gn.ScheduleFreeSGD,
        reference.schedule_free_sgd,
        ("d",),
        SGD | L2 | {"beta": 0.6, "warmup_steps": 3},
    ),
    OptimizerCase("plain", gn.ScheduleFreeAdamW, reference.schedule_free_adamw, ("d", "v"), ADAPTIVE),
    OptimizerCase(
        "decay",
        gn.ScheduleFreeAdamW,
        reference.schedule_free_adamw,
        ("d", "v"),
        ADAPTIVE | L2 | BOTH | {"betas": (0.6, 0.9), "warmup_steps": 3},
    ),
    OptimizerCase("plain", gn.Rprop, reference.rprop, ("g_before", "size"), SGD),
    OptimizerCase(
        "bounds",
        gn.Rprop,
        reference.rprop,
        ("g_before", "size"),
        SGD | {"etas": (0.3, 1.5), "step_sizes": (0.05, 0.12)},
    ),
]

# All of whose parameters are matrices.
OF_MATRICES = [
    OptimizerCase("plain", gn.Muon, reference.muon, ("m",), {}),
    OptimizerCase("momentum alone", gn.Muon, reference.muon, ("m",), SGD | {"nesterov": False}),
    OptimizerCase("few steps", gn.Muon, reference.muon, ("m",), SGD | L2 | {"momentum": 0.8, "ns_steps": 2}),
    OptimizerCase("gradient alone", gn.Muon, reference.muon, ("m",), {"momentum": 0.0, "weight_decay": 0.0}),
]


def exact_sigmoid(x):
    """1/(1 + e⁻ˣ)."""
    return 1 / (1 + mpmath.exp(-x))


def exact_elu(x, alpha=1.0):
    """x, or α(eˣ − 1)."""
    return x if x > 0 else alpha * mpmath.expm1(x)


def exact_selu(x):
    """λ·ELU, with more digits than λ and α have in float64."""
    scale, alpha = map(mpmath.mpf, ("1.0507009873554804934193349852946", "1.6732632423543772848170429916717"))
    return scale * exact_elu(x, alpha)


def exact_gelu(x):
    """xΦ(x)."""
    return x * mpmath.erfc(-max(min(x, 100), -100) / mpmath.sqrt(2)) / 2


def exact_gelu_tanh(x):
    """xσ(z) with z twice the argument of its tanh."""
    return x * exact_sigmoid(mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))


INF, SELU_LOW = math.inf, -reference.SELU_LAMBDA * reference.SELU_ALPHA

ACTIVATIONS = [
    ActivationCase(
        gn.sigmoid,
        reference.sigmoid,
        reference.sigmoid_derivative,
        limits=(0, 0.5, 1, 0, 0.25, 0),
        exact=exact_sigmoid,
        max_ulp=3,
        from_y=True,
    ),
    ActivationCase(
        gn.tanh,
        reference.tanh,
        reference.tanh_derivative,
        limits=(-1, 0, 1, 0, 1, 0),
        exact=lambda x: mpmath.tanh(x),
        max_ulp=3,
        from_y=True,
    ),
    ActivationCase(gn.relu, reference.relu, reference.relu_derivative, limits=(0, 0, INF, 0, 0, 1)),
    ActivationCase(
        gn.leaky_relu,
        reference.leaky_relu,
        reference.leaky_relu_derivative,
        limits=(-INF, 0, INF, 0.01, 0.01, 1),
    ),
    ActivationCase(
        gn.leaky_relu,
        reference.leaky_relu,
        reference.leaky_relu_derivative,
        {"negative_slope": 0.3},
        limits=(-INF, 0, INF, 0.3, 0.3, 1),
    ),
    ActivationCase(
        gn.prelu,
        reference.prelu,
        reference.prelu_derivative,
        {"alpha": 0.25},
        limits=(-INF, 0, INF, 0.25, 0.25, 1),
    ),
    *(
        ActivationCase(
            gn.elu,
            reference.elu,
            reference.elu_derivative,
            hyper,
            limits=(-alpha, 0, INF, 0, alpha, 1),
            exact=exact_elu,
            max_ulp=3,
            from_y=True,
        )
        for hyper, alpha in [({}, 1.0), ({"alpha": 0.7}, 0.7), ({"alpha": -0.5}, -0.5)]
    ),
    ActivationCase(
        gn.selu,
        reference.selu,
        reference.selu_derivative,
        limits=(SELU_LOW, 0, INF, 0, -SELU_LOW, reference.SELU_LAMBDA),
        exact=exact_selu,
        max_ulp=3,
        from_y=True,
    ),
    ActivationCase(
        gn.silu,
        reference.silu,
        reference.silu_derivative,
        limits=(0, 0, INF, 0, 0.5, 1),
        exact=lambda x: x * exact_sigmoid(x),
        max_ulp=3,
    ),
    ActivationCase(
        gn.gelu,
        reference.gelu,
        reference.gelu_derivative,
        limits=(0, 0, INF, 0, 0.5, 1),
        exact=exact_gelu,
        max_ulp=4,
        scale=1e-3,  # the reference's x/√2 is rounded
    ),
    ActivationCase(
        gn.gelu_tanh,
        reference.gelu_tanh,
        reference.gelu_tanh_derivative,
        limits=(0, 0, INF, 0, 0.5, 1),
        exact=exact_gelu_tanh,
        max_ulp=3,
        scale=1e-3,  # the reference's z is rounded
    ),
    *(
        ActivationCase(
            gn.softplus,
            reference.softplus,
            reference.softplus_derivative,
            hyper,
            limits=(0, math.log(2.0) / hyper["beta"], INF, 0, 0.5, 1),
            exact=lambda x, beta: mpmath.log1p(mpmath.exp(beta * x)) / beta,
            max_ulp=3,
            scale=1e-3,  # the reference's βx is rounded
        )
        for hyper in ({"beta": 1.0}, {"beta": 0.3})
    ),
    ActivationCase(
        gn.mish,
        reference.mish,
        reference.mish_derivative,
        limits=(0, 0, INF, 0, 0.6, 1),
        exact=lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
        max_ulp=3,
    ),
    ActivationCase(
        gn.hard_sigmoid,
        reference.hard_sigmoid,
        reference.hard_sigmoid_derivative,
        limits=(0, 0.5, 1, 0, 1 / 6, 0),
    ),
    ActivationCase(
        gn.hard_swish,
        reference.hard_swish,
        reference.hard_swish_derivative,
        limits=(0, 0, INF, 0, 0.5, 1),
    ),
    *(
        ActivationCase(
            gn.hard_tanh,
            reference.hard_tanh,
            reference.hard_tanh_derivative,
            hyper,
            limits=(hyper["low"], 0, hyper["high"], 0, 1, 0),
        )
        for hyper in ({"low": -1.0, "high": 1.0}, {"low": -2.5, "high": 0.25})
    ),
    ActivationCase(gn.relu6, reference.relu6, reference.relu6_derivative, limits=(0, 0, 6, 0, 0, 0)),
    *(
        ActivationCase(
            gn.celu,
            reference.celu,
            reference.celu_derivative,
            hyper,
            limits=(-hyper["alpha"], 0, INF, 0, 1, 1),
            exact=lambda x, alpha: x if x > 0 else alpha * mpmath.expm1(x / alpha),
            max_ulp=3,
        )
        for hyper in ({"alpha": 1.0}, {"alpha": 0.7})
    ),
    ActivationCase(
        gn.softsign,
        reference.softsign,
        reference.softsign_derivative,
        limits=(-1, 0, 1, 0, 1, 0),
        exact=lambda x: x / (1 + abs(x)),
        max_ulp=1.5,
    ),
    ActivationCase(
        gn.log_sigmoid,
        reference.log_sigmoid,
        reference.log_sigmoid_derivative,
        limits=(-INF, -math.log(2.0), 0, 1, 0.5, 0),
        exact=lambda x: -mpmath.log1p(mpmath.exp(-x)),
        max_ulp=3,
    ),
    *(
        ActivationCase(
            act, formula, reference.shrink_derivative, {"threshold": 0.5}, limits=(-INF, 0, INF, 1, 0, 1)
        )
        for act, formula in ((gn.soft_shrink, reference.soft_shrink), (gn.hard_shrink, reference.hard_shrink))
    ),
    ActivationCase(
        gn.tanh_shrink,
        reference.tanh_shrink,
        reference.tanh_shrink_derivative,
        limits=(-INF, 0, INF, 1, 0, 1),
        exact=lambda x: x - mpmath.tanh(x),
        max_ulp=3,
        scale=1.0,  # the reference cancels near 0
    ),
    *(
        ActivationCase(
            gn.sine,
            reference.sine,
            reference.sine_derivative,
            {"omega": omega},
            exact=lambda x, omega: mpmath.sin(omega * x),
            max_ulp=3,
            scale=omega * omega,  # the reference's ωx is rounded
            within=8.0,
        )
        for omega in (2.0, 30.0)
    ),
]


@dataclass(frozen=True)
class GatedCase:
    """An activation of two arrays, its formula in NumPy and PyTorch's for it."""

    act: gn.Activation
    formula: Callable[..., Any]
    derivative: Callable[..., Any]  # (∂f/∂x, ∂f/∂gate)
    in_torch: Callable[..., Any]  # torch.nn.functional, x, gate

    def __str__(self) -> str:
        return self.act.name


def gated(act, f, slope, in_torch):
    """The case of x·f(gate)."""
    return GatedCase(act, lambda x, gate: x * f(gate), lambda x, gate: (f(gate), x * slope(gate)), in_torch)


GATED = [
    gated(gn.swiglu, reference.silu, reference.silu_derivative, lambda nn, x, gate: x * nn.silu(gate)),
    gated(gn.geglu, reference.gelu, reference.gelu_derivative, lambda nn, x, gate: x * nn.gelu(gate)),
    gated(gn.reglu, reference.relu, reference.relu_derivative, lambda nn, x, gate: x * nn.relu(gate)),
    gated(gn.glu, reference.sigmoid, reference.sigmoid_derivative, lambda nn, x, gate: x * nn.sigmoid(gate)),
]


def one_each(cases, key):
    """The first case of each kind."""
    return list({key(case): case for case in reversed(cases)}.values())[::-1]


def one_a_rule():
    """The first case of each update rule."""
    return one_each(OPTIMIZERS, rule_of)


def one_a_class():
    """The first case of each optimizer class."""
    return one_each(OPTIMIZERS, lambda case: case.make)


def one_an_activation():
    """The first case of each activation."""
    return one_each(ACTIVATIONS, lambda case: case.act.name)


def kernel_shape(function):
    """All of a function that the templates of kernels look at; what they compute is no part of it."""
    at = function.columns.index
    columns = len(function.columns), tuple(map(at, function.reads)), tuple(map(at, function.writes))
    return *columns, bool(function.scalars), function.scaled, function.indexed, bool(function.normed)


def one_a_kernel_shape():
    """The first case of each kind of update rule that is another kernel but for what it computes.

    For tests of what the templates do: layouts, alignment, shares of the work. A kernel takes a second
    to compile, and each rule's formula has its own tests. Rules with norms have theirs in test_normed.py.
    """
    return one_each(by_element(one_a_rule()), lambda case: kernel_shape(rule_of(case)._kernel))


DTYPES = [np.dtype("float32"), np.dtype("float64")]


def in_turns(things):
    """Pairs of a thing and a dtype that it is tried in, where another thing is tried in the other."""
    return [(thing, DTYPES[k % 2]) for k, thing in enumerate(things)]


def on_each_target(cases, dtypes=DTYPES):
    """Parameters ``case``, ``dtype``, ``target``: every case on one core, on all cores one a kernel's shape.

    A rule's kernels for one core and for all have the same inner loop; how the work is dealt to the cores
    does not depend on what that computes. The shapes take turns with the dtypes there.
    """
    shared = dict(in_turns(map(rule_of, one_a_kernel_shape())))
    shared |= [*in_turns([case.act for case in one_an_activation_shape()]), (GATED[-1].act, DTYPES[0])]
    ways = [(case, dtype, "cpu") for case in cases for dtype in dtypes]
    for case in cases:
        kind = rule_of(case) if isinstance(case, OptimizerCase) else case.act
        if kind in shared:
            ways.append((case, shared[kind] if shared[kind] in dtypes else dtypes[0], "parallel"))
    return pytest.mark.parametrize(("case", "dtype", "target"), ways, ids=str)


def one_an_activation_shape():
    """The first case of each kind of activation: by its kernels' shapes, and by ways back from y."""
    return one_each(
        one_an_activation(), lambda case: (*map(kernel_shape, functions_of("", case.act).values()),)
    )


def by_element(cases):
    """The optimizers that can update some rows alone: those whose rule has no norms of whole parameters."""
    return [case for case in cases if not rule_of(case).normed]


def rule_of(case):
    """The update rule that the optimizer of a case uses."""
    return case.make(np.zeros(1), **case.hyper).rule


def functions_of(name, thing):
    """Every function that is compiled for an activation, PReLU's and dropout's kinds included, by name."""
    made = [*thing._functions]
    if thing is gn.prelu:
        made = [*thing._by_number, *thing._by_array]
    return {f"{name}-{k}-{function.name}": function for k, function in enumerate(made)}


FUNCTIONS = {str(rule_of(case).name): rule_of(case)._kernel for case in one_a_rule()}
for _case in one_an_activation():
    FUNCTIONS |= functions_of(_case.act.name, _case.act)
FUNCTIONS |= functions_of("glu", gn.glu)
for _kind in (gn.dropout, gn.alpha_dropout):
    FUNCTIONS |= functions_of(_kind.name, _kind)
# One of each kernel's shape.
_each = one_each(FUNCTIONS.items(), lambda pair: kernel_shape(pair[1]))
SHAPED = {name: function for name, function in _each if not function.normed}  # see test_normed.py
