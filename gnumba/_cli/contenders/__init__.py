"""The libraries that the bench compares, and their work: steps of optimizers, passes of activations, losses.

Optimizers, activations and losses are gnumba's public ones, by construction. Each peer, NumPy too, has a
module with tables of its own; NumPy's with temporaries has a row for each, in the others a row is optional:
without one there is no ratio.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Container, Iterable
from typing import Any, NamedTuple

import numpy as np

import gnumba as gn

from . import with_numpy, with_optax, with_torch

__all__ = [
    "ACTIVATIONS",
    "CONTENDERS",
    "LOSSES",
    "MODELS",
    "OPTIMIZERS",
    "ROWS",
    "SIZES",
    "Work",
    "losses",
    "passes",
    "steps",
]

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = list[Array]
Call = Callable[[], object]

MODELS: dict[str, list[tuple[int, ...]]] = {
    "4 arrays, 2.4k": [(64, 32), (32,), (32, 10), (10,)],
    "6 arrays, 235k": [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)],
    "161 arrays, 18M": [(512, 512)] * 50 + [(2048, 512)] * 5 + [(256,)] * 106,
    "1 array, 30M": [(30_000_000,)],
}
SIZES: dict[str, tuple[int, ...]] = {
    f"{n:.0e} elements".replace("e+0", "e"): (n,) for n in (1_000, 100_000, 1_000_000, 30_000_000)
}
ROWS: dict[str, tuple[int, ...]] = {f"{m} × {n}": (m, n) for m, n in ((64, 10), (4096, 1000))}
DIRECTIONS = ("forward", "backward")
LOSS = "and gradient"


def public(module: Any, kind: Any) -> dict[str, Any]:
    """A module's public names that a test holds for."""
    names = (name for name in dir(module) if not name.startswith("_"))
    return {name: thing for name in names if kind(thing := getattr(module, name))}


OPTIMIZERS: dict[str, Callable[..., gn.Optimizer]] = public(
    gn,
    lambda thing: (
        inspect.isclass(thing)
        and issubclass(thing, gn.Optimizer)
        and thing not in (gn.Optimizer, gn.Muon)  # the models have vectors too
    ),
)
ALONG_ROWS: dict[str, Any] = public(gn, lambda thing: isinstance(thing, type(gn.softmax)))
ACTIVATIONS: dict[str, Any] = {
    act.name: act for act in public(gn, lambda thing: isinstance(thing, gn.Activation)).values()
} | ALONG_ROWS
LOSSES: dict[str, Callable[..., Any]] = public(
    gn.losses, lambda thing: callable(thing) and not inspect.isclass(thing)
)
# With what differs from the defaults, in every library; the rate is `with_numpy.LR` for all.
OPTIONS: dict[str, dict[str, float]] = {
    "SGD": {"momentum": with_numpy.BETA1},
    "AdamW": {"weight_decay": with_numpy.WEIGHT_DECAY},
}
HYPER: dict[str, tuple[float, ...]] = {"prelu": (with_numpy.ALPHA,)}
# Targets of losses that do not take any number.
TARGETS: dict[str, Callable[[Array], Array]] = {
    "hinge": np.sign,
    "kl_divergence": lambda x: np.abs(x) + np.float32(0.1),
    "sigmoid_cross_entropy": lambda x: np.clip(x, 0.0, 1.0),
    "softmax_cross_entropy": lambda x: np.arange(len(x)) * 7 % x.shape[1],
}


def arrays(model: str, seed: int) -> Arrays:
    """Standard normal float32 of the model's shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in MODELS[model]]


def normal(shape: tuple[int, ...], seed: int) -> Array:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def inputs_of(name: str, on: str) -> tuple[Array, ...]:
    """Arrays that an activation is of: one, or two of a gated one."""
    count = 1 if name in ALONG_ROWS else len(ACTIVATIONS[name]._kernel.reads)
    return tuple(normal(shape_of(on), seed) for seed in range(1, count + 1))


def shape_of(on: str) -> tuple[int, ...]:
    return SIZES[on] if on in SIZES else ROWS[on]


def make(optimizer: str, params: Arrays) -> gn.Optimizer:
    """gnumba's optimizer, with the options that all libraries get."""
    return OPTIMIZERS[optimizer](params, lr=with_numpy.LR, **OPTIONS.get(optimizer, {}))


def gnumba_step(optimizer: str, params: Arrays, grads: Arrays) -> Call:
    made = make(optimizer, params)
    return lambda: made.step(grads)


def gnumba_activation(name: str, forward: bool, inputs: tuple[Array, ...], dy: Array) -> Call:
    """Into arrays that are there; from ``y`` where that is used."""
    act, hyper = ACTIVATIONS[name], HYPER.get(name, ())
    y = act(*inputs, *hyper)
    if forward:
        return lambda: act(*inputs, *hyper, out=y)
    if len(inputs) > 1:
        both = tuple(map(np.empty_like, inputs))
        return lambda: act.backward(dy, *inputs, *hyper, out=both)
    dx = np.empty_like(dy)
    if name in ALONG_ROWS:
        return lambda: act.backward(dy, y, out=dx)
    return lambda: act.backward(dy, *inputs, *hyper, y=y, out=dx)


def gnumba_loss(name: str, prediction: Array, target: Array) -> Call:
    """Into a gradient that is there."""
    of, gradient = LOSSES[name], np.empty_like(prediction)
    return lambda: of(prediction, target, out=gradient)


class Contender(NamedTuple):
    """A library: the module that has to be installed, the names it knows, and what makes a call to be timed.

    A step updates ``params`` in place, or returns them; a pass returns its result, a loss (loss, gradient).
    """

    module: str
    optimizers: Container[str]
    activations: Container[str]
    losses: Container[str]
    step: Callable[[str, Arrays, Arrays], Call]
    activation: Callable[[str, bool, tuple[Array, ...], Array], Call]
    loss: Callable[[str, Array, Array], Call]

    def knows(self, work: Work) -> bool:
        """Whether it has such an optimizer, activation or loss."""
        if work.is_loss:
            return work.name in self.losses
        return work.name in (self.activations if work.direction else self.optimizers)

    def call(self, work: Work) -> Call:
        """The work, ready to be timed."""
        if work.is_loss:
            prediction, other = (normal(shape_of(work.on), seed) for seed in (0, 1))
            return self.loss(work.name, prediction, TARGETS.get(work.name, np.asarray)(other))
        if work.direction:
            inputs, dy = inputs_of(work.name, work.on), normal(shape_of(work.on), 0)
            return self.activation(work.name, work.direction == "forward", inputs, dy)
        return self.step(work.name, arrays(work.on, 0), arrays(work.on, 1))


def no_loss(name: str, prediction: Array, target: Array) -> Call:
    raise LookupError(f"no formula for {name}")


CONTENDERS = {
    "gnumba": Contender(
        "numba", OPTIMIZERS, ACTIVATIONS, LOSSES, gnumba_step, gnumba_activation, gnumba_loss
    ),
    "NumPy": Contender(
        "numpy", with_numpy.STEPS, with_numpy.PASSES, with_numpy.LOSSES,
        with_numpy.step, with_numpy.activation, with_numpy.loss,
    ),
    "NumPy out=": Contender(
        "numpy", with_numpy.STEPS_OUT, with_numpy.PASSES_OUT, (),
        with_numpy.step_out, with_numpy.activation_out, no_loss,
    ),
    "PyTorch": Contender(
        "torch", with_torch.OPTIMIZERS, with_torch.PASSES, with_torch.LOSSES,
        with_torch.step, with_torch.activation, with_torch.loss,
    ),
    "optax": Contender(
        "optax", with_optax.OPTIMIZERS, with_optax.PASSES, (), with_optax.step, with_optax.activation, no_loss
    ),
}  # fmt: skip


class Work(NamedTuple):
    """One thing to be timed: an optimizer's step on a model, an activation's or a loss's pass over arrays."""

    name: str
    on: str
    direction: str = ""  # an activation's: "forward" or "backward"; a loss's: LOSS

    @property
    def is_loss(self) -> bool:
        return self.direction == LOSS

    @property
    def label(self) -> str:
        """The name, with the direction or the options: the head of a table's row."""
        if self.direction:
            return f"{self.name} {self.direction}"
        options = ", ".join(f"{name}={value:g}" for name, value in OPTIONS.get(self.name, {}).items())
        return f"{self.name}({options})" if options else self.name

    @property
    def nbytes(self) -> int:
        """The bytes that it reads and writes at least."""
        if not self.direction:
            size = sum(int(np.prod(shape)) for shape in MODELS[self.on])
            return 4 * size * moved(self.name)
        return 4 * math.prod(shape_of(self.on)) * passed(self.name, self.direction)


@functools.cache
def moved(optimizer: str) -> int:
    """The number of arrays that a step reads and writes; one with norms reads what they are of first."""
    rule = make(optimizer, [np.zeros((2, 2), np.float32)]).rule
    normed = set().union(*(inspect.signature(of).parameters for of in rule.normed.values()))
    return 3 + 2 * len(rule.state) + len(normed & {"p", "g", *rule.state})  # g is read only


def passed(name: str, direction: str) -> int:
    """The number of arrays that a pass reads and writes; labels are small."""
    if direction == LOSS:
        return 3 - (name == "softmax_cross_entropy")
    count = 1 if name in ALONG_ROWS else len(ACTIVATIONS[name]._kernel.reads)
    return count + 1 if direction == "forward" else 1 + 2 * count


def steps(optimizers: Iterable[str], models: Iterable[str]) -> list[Work]:
    """Every optimizer on every model."""
    return [Work(optimizer, model) for model in models for optimizer in optimizers]


def passes(activations: Iterable[str], sizes: Iterable[str]) -> list[Work]:
    """Every activation over arrays of every size, forward and backward; those along rows over `ROWS`."""
    return [Work(name, on, way) for on, name in over(activations, sizes, ALONG_ROWS) for way in DIRECTIONS]


def losses(names: Iterable[str], sizes: Iterable[str]) -> list[Work]:
    """Every loss with its gradient, over arrays of every size; the one of rows over `ROWS`."""
    return [Work(name, on, LOSS) for on, name in over(names, sizes, ["softmax_cross_entropy"])]


def over(names: Iterable[str], sizes: Iterable[str], along_rows: Container[str]) -> list[tuple[str, str]]:
    """(size or rows, name) of each."""
    named = list(names)
    elementwise = [(size, name) for size in sizes for name in named if name not in along_rows]
    return elementwise + [(rows, name) for rows in ROWS for name in named if name in along_rows]
