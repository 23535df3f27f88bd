"""The libraries that the bench compares, and their work: steps of optimizers, passes of activations.

Optimizers and activations are gnumba's public ones, by construction. Each peer, NumPy too, has a module
with tables of its own, where a row is optional: without one there is no ratio.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Iterable
from typing import Any, NamedTuple

import numpy as np

import gnumba as gn

from . import with_numpy, with_optax, with_torch

__all__ = ["ACTIVATIONS", "CONTENDERS", "MODELS", "OPTIMIZERS", "SIZES", "Work", "passes", "steps"]

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = list[Array]
Call = Callable[[], object]

MODELS: dict[str, list[tuple[int, ...]]] = {
    "4 arrays, 2.4k": [(64, 32), (32,), (32, 10), (10,)],
    "6 arrays, 235k": [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)],
    "161 arrays, 18M": [(512, 512)] * 50 + [(2048, 512)] * 5 + [(256,)] * 106,
    "1 array, 30M": [(30_000_000,)],
}
SIZES = {f"{n:.0e} elements".replace("e+0", "e"): n for n in (1_000, 100_000, 1_000_000, 30_000_000)}
DIRECTIONS = ("forward", "backward")


def public(kind: Any) -> dict[str, Any]:
    """gnumba's public names that a test holds for."""
    return {name: thing for name in dir(gn) if not name.startswith("_") if kind(thing := getattr(gn, name))}


OPTIMIZERS: dict[str, Callable[..., gn.Optimizer]] = public(
    lambda thing: (
        inspect.isclass(thing)
        and issubclass(thing, gn.Optimizer)
        and thing not in (gn.Optimizer, gn.Muon)  # the models have vectors too
    )
)
ACTIVATIONS: dict[str, gn.Activation] = {
    act.name: act
    for act in public(lambda thing: isinstance(thing, gn.Activation)).values()
    if len(act._kernel.reads) == 1  # a gated one has no peer in one call
}
# With what differs from the defaults, in every library; the rate is `with_numpy.LR` for all.
OPTIONS: dict[str, dict[str, float]] = {
    "SGD": {"momentum": with_numpy.BETA1},
    "AdamW": {"weight_decay": with_numpy.WEIGHT_DECAY},
}
HYPER: dict[str, tuple[float, ...]] = {"prelu": (with_numpy.ALPHA,)}


def arrays(model: str, seed: int) -> Arrays:
    """Standard normal float32 of the model's shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in MODELS[model]]


def normal(elements: int, seed: int) -> Array:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(elements, np.float32)


def make(optimizer: str, params: Arrays) -> gn.Optimizer:
    """gnumba's optimizer, with the options that all libraries get."""
    return OPTIMIZERS[optimizer](params, lr=with_numpy.LR, **OPTIONS.get(optimizer, {}))


def gnumba_step(optimizer: str, params: Arrays, grads: Arrays) -> Call:
    made = make(optimizer, params)
    return lambda: made.step(grads)


def gnumba_activation(name: str, forward: bool, x: Array, dy: Array) -> Call:
    """Into arrays that are there; from ``y`` where that is used."""
    act, hyper = ACTIVATIONS[name], HYPER.get(name, ())
    y = act(x, *hyper)
    if forward:
        return lambda: act(x, *hyper, out=y)
    dx = np.empty_like(x)
    return lambda: act.backward(dy, x, *hyper, y=y, out=dx)


class Contender(NamedTuple):
    """A library: the module that has to be installed, the names it knows, and what makes a call to be timed.

    A step updates ``params`` in place, or returns them; a pass returns its result.
    """

    module: str
    optimizers: Container[str]
    activations: Container[str]
    step: Callable[[str, Arrays, Arrays], Call]
    activation: Callable[[str, bool, Array, Array], Call]

    def knows(self, work: Work) -> bool:
        """Whether it has such an optimizer or activation."""
        return work.name in (self.activations if work.direction else self.optimizers)

    def call(self, work: Work) -> Call:
        """The work, ready to be timed."""
        if work.direction:
            x, dy = normal(SIZES[work.on], 0), normal(SIZES[work.on], 1)
            return self.activation(work.name, work.direction == "forward", x, dy)
        return self.step(work.name, arrays(work.on, 0), arrays(work.on, 1))


CONTENDERS = {
    "gnumba": Contender("numba", OPTIMIZERS, ACTIVATIONS, gnumba_step, gnumba_activation),
    "NumPy": Contender("numpy", with_numpy.STEPS, with_numpy.PASSES, with_numpy.step, with_numpy.activation),
    "NumPy out=": Contender(
        "numpy", with_numpy.STEPS_OUT, with_numpy.PASSES_OUT, with_numpy.step_out, with_numpy.activation_out
    ),
    "PyTorch": Contender(
        "torch", with_torch.OPTIMIZERS, with_torch.PASSES, with_torch.step, with_torch.activation
    ),
    "optax": Contender(
        "optax", with_optax.OPTIMIZERS, with_optax.PASSES, with_optax.step, with_optax.activation
    ),
}


class Work(NamedTuple):
    """One thing to be timed: a step of an optimizer on a model, or a pass of an activation over elements."""

    name: str
    on: str
    direction: str = ""  # an activation's: "forward" or "backward"

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
        return 4 * SIZES[self.on] * (2 if self.direction == "forward" else 3)


@functools.cache
def moved(optimizer: str) -> int:
    """The number of arrays that a step reads and writes."""
    rule = make(optimizer, [np.zeros((2, 2), np.float32)]).rule
    return 3 + 2 * len(rule.state)  # g is read only


def steps(optimizers: Iterable[str], models: Iterable[str]) -> list[Work]:
    """Every optimizer on every model."""
    return [Work(optimizer, model) for model in models for optimizer in optimizers]


def passes(activations: Iterable[str], sizes: Iterable[str]) -> list[Work]:
    """Every activation over arrays of every size, forward and backward."""
    return [Work(name, size, way) for size in sizes for name in activations for way in DIRECTIONS]
