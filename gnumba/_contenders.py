"""What the bench compares: the same step, and the same activation, by gnumba, NumPy, PyTorch and optax.

Each is done as fast as its library's user can: in place, with ``out=``, fused or jitted where there is that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

MODELS: dict[str, list[tuple[int, ...]]] = {
    "4 arrays, 2.4k": [(64, 32), (32,), (32, 10), (10,)],
    "6 arrays, 235k": [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)],
    "161 arrays, 18M": [(512, 512)] * 50 + [(2048, 512)] * 5 + [(256,)] * 106,
    "1 array, 30M": [(30_000_000,)],
}
SIZES = {f"{n:.0e} elements".replace("e+0", "e"): n for n in (1_000, 100_000, 1_000_000, 30_000_000)}
# Hyperparameters, and how many arrays a step reads and writes.
OPTIMIZERS: dict[str, tuple[dict[str, Any], int]] = {
    "SGD": ({"lr": 1e-3, "momentum": 0.9}, 5),
    "Momentum": ({"lr": 1e-3, "momentum": 0.9}, 5),
    "AdaGrad": ({"lr": 1e-3}, 5),
    "RMSProp": ({"lr": 1e-3}, 5),
    "Adam": ({"lr": 1e-3}, 7),
    "AdamW": ({"lr": 1e-3, "weight_decay": 1e-2}, 7),
}
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu", "silu", "prelu")
DIRECTIONS = ("forward", "backward")
EPS = 1e-8
SLOPE, ALPHA = 0.01, 0.25  # leaky_relu's, prelu's
SELU_ALPHA, SELU_LAMBDA = 1.6732632423543772, 1.0507009873554805


def arrays(model: str, seed: int) -> list[Array]:
    """Standard normal float32 of the model's shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in MODELS[model]]


def normal(elements: int, seed: int) -> Array:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(elements, np.float32)


# gnumba.


def gnumba_step(optimizer: str, model: str) -> Call:
    """What this is about."""
    import gnumba as gn

    made = getattr(gn, optimizer)(arrays(model, 0), **OPTIMIZERS[optimizer][0])
    grads = arrays(model, 1)
    return lambda: made.step(grads)


def gnumba_activation(name: str, forward: bool, elements: int) -> Call:
    """Into arrays that are there; from ``y`` where that is used."""
    import gnumba as gn

    act, hyper = getattr(gn, name), (ALPHA,) if name == "prelu" else ()
    x, dy = normal(elements, 0), normal(elements, 1)
    y = act(x, *hyper)
    dx = np.empty_like(x)
    if forward:
        return lambda: act(x, *hyper, out=y)
    return lambda: act.backward(dy, x, *hyper, y=y, out=dx)


# NumPy: the formula as one writes it, temporaries and all, results in place.


def numpy_step(optimizer: str, model: str) -> Call:
    params, grads = arrays(model, 0), arrays(model, 1)
    update, states = NUMPY_STEPS[optimizer]
    state = [[np.zeros_like(p) for _ in range(states)] for p in params]

    def step() -> None:
        for p, g, s in zip(params, grads, state, strict=True):
            update(p, g, *s)

    return step


def _sgd(p: Array, g: Array, v: Array) -> None:
    v[...] = 0.9 * v + g
    p -= 1e-3 * v


def _momentum(p: Array, g: Array, v: Array) -> None:
    v[...] = 0.9 * v + 0.1 * g
    p -= 1e-3 * v


def _adagrad(p: Array, g: Array, total: Array) -> None:
    total += g * g
    p -= 1e-3 * g / np.sqrt(total + EPS)


def _rmsprop(p: Array, g: Array, mean: Array) -> None:
    mean[...] = 0.9 * mean + 0.1 * (g * g)
    p -= 1e-3 * g / np.sqrt(mean + EPS)


def _adam(p: Array, g: Array, m: Array, v: Array) -> None:
    m[...] = 0.9 * m + 0.1 * g
    v[...] = 0.999 * v + 0.001 * (g * g)
    p -= 1e-2 * m / np.sqrt(1e3 * v + EPS)


def _adamw(p: Array, g: Array, m: Array, v: Array) -> None:
    p *= 1.0 - 1e-5
    _adam(p, g, m, v)


NUMPY_STEPS: dict[str, tuple[Callable[..., None], int]] = {
    "SGD": (_sgd, 1),
    "Momentum": (_momentum, 1),
    "AdaGrad": (_adagrad, 1),
    "RMSProp": (_rmsprop, 1),
    "Adam": (_adam, 2),
    "AdamW": (_adamw, 2),
}


def numpy_activation(name: str, forward: bool, elements: int) -> Call:
    x, dy = normal(elements, 0), normal(elements, 1)
    f, derivative = NUMPY_ACTIVATIONS[name]
    y = f(x)
    dx = np.empty_like(x)
    if forward:
        return lambda: np.copyto(y, f(x))
    if name == "prelu":
        return lambda: (np.multiply(dy, derivative(x, y), out=dx), np.sum(dy * np.minimum(x, 0.0)))
    return lambda: np.multiply(dy, derivative(x, y), out=dx)


def _sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def _elu(x: Array, alpha: float, scale: float) -> Array:
    return scale * np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _silu_derivative(x: Array, y: Array) -> Array:
    s = _sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


NUMPY_ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda x, y: x > 0.0),
    "leaky_relu": (lambda x: np.maximum(x, SLOPE * x), lambda x, y: np.where(x > 0.0, 1.0, SLOPE)),
    "prelu": (lambda x: np.maximum(x, ALPHA * x), lambda x, y: np.where(x > 0.0, 1.0, ALPHA)),
    "sigmoid": (_sigmoid, lambda x, y: y * (1.0 - y)),
    "tanh": (np.tanh, lambda x, y: 1.0 - y * y),
    "elu": (lambda x: _elu(x, 1.0, 1.0), lambda x, y: np.where(y > 0.0, 1.0, y + 1.0)),
    "selu": (
        lambda x: _elu(x, SELU_ALPHA, SELU_LAMBDA),
        lambda x, y: np.where(y > 0.0, SELU_LAMBDA, y + SELU_LAMBDA * SELU_ALPHA),
    ),
    "silu": (lambda x: x * _sigmoid(x), _silu_derivative),
}


# PyTorch.


def torch_step(optimizer: str, model: str) -> Call:
    """torch.optim, fused where it has that; its RMSprop has not."""
    import torch

    optim = torch.optim
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "SGD": (optim.SGD, {"momentum": 0.9, "fused": True}),
        "Momentum": (optim.SGD, {"momentum": 0.9, "dampening": 0.1, "fused": True}),
        "AdaGrad": (optim.Adagrad, {"fused": True}),
        "RMSProp": (optim.RMSprop, {"alpha": 0.9}),
        "Adam": (optim.Adam, {"fused": True}),
        "AdamW": (optim.AdamW, {"weight_decay": 1e-2, "fused": True}),
    }
    params = [torch.nn.Parameter(torch.from_numpy(p)) for p in arrays(model, 0)]
    for p, g in zip(params, arrays(model, 1), strict=True):
        p.grad = torch.from_numpy(g)
    kind, options = kinds[optimizer]
    return kind(params, lr=1e-3, **options).step  # type: ignore[no-any-return]


def torch_activation(name: str, forward: bool, elements: int) -> Call:
    """The fastest name under which Python finds the kernel, with ``out=`` but for PReLU, which has none."""
    import torch

    torch.set_grad_enabled(False)
    nn, aten = torch._C._nn, torch.ops.aten
    x, dy = (torch.from_numpy(normal(elements, seed)) for seed in (0, 1))
    y, dx, slope = torch.empty_like(x), torch.empty_like(x), torch.tensor([ALPHA])
    selu = (SELU_ALPHA, SELU_LAMBDA, 1.0)
    calls: dict[str, Call] = {
        "relu": lambda: torch.clamp_min(x, 0.0, out=y),
        "leaky_relu": lambda: nn.leaky_relu(x, SLOPE, out=y),
        "prelu": lambda: torch.prelu(x, slope),
        "sigmoid": lambda: torch.sigmoid(x, out=y),
        "tanh": lambda: torch.tanh(x, out=y),
        "elu": lambda: nn.elu(x, 1.0, out=y),
        "selu": lambda: aten.elu.out(x, *selu, out=y),
        "silu": lambda: nn.silu(x, out=y),
    }

    def prelu_backward() -> object:
        to_x, shares = aten._prelu_kernel_backward(dy, x, slope.expand(elements))
        return to_x, shares.sum()

    back: dict[str, Call] = {
        "relu": lambda: aten.threshold_backward.grad_input(dy, x, 0.0, grad_input=dx),
        "leaky_relu": lambda: aten.leaky_relu_backward.grad_input(dy, x, SLOPE, False, grad_input=dx),
        "prelu": prelu_backward,
        "sigmoid": lambda: aten.sigmoid_backward.grad_input(dy, y, grad_input=dx),
        "tanh": lambda: aten.tanh_backward.grad_input(dy, y, grad_input=dx),
        "elu": lambda: aten.elu_backward.grad_input(dy, 1.0, 1.0, 1.0, True, y, grad_input=dx),
        "selu": lambda: aten.elu_backward.grad_input(dy, *selu, True, y, grad_input=dx),
        "silu": lambda: aten.silu_backward.grad_input(dy, x, grad_input=dx),
    }
    calls[name]()
    return calls[name] if forward else back[name]


# optax, and JAX's activations.


def optax_step(optimizer: str, model: str) -> Call:
    """Under jit, with its arrays donated: the nearest it has to in place."""
    import jax
    import optax

    inside = {"eps": 0.0, "eps_root": EPS}
    made = {
        "SGD": optax.sgd(1e-3, momentum=0.9),
        "Momentum": optax.chain(optax.ema(0.9, debias=False), optax.scale_by_learning_rate(1e-3)),
        "AdaGrad": optax.adagrad(1e-3, initial_accumulator_value=0.0, eps=EPS),
        "RMSProp": optax.rmsprop(1e-3, decay=0.9, eps=EPS),
        "Adam": optax.adam(1e-3, **inside),
        "AdamW": optax.adamw(1e-3, weight_decay=1e-2, **inside),
    }[optimizer]

    def update(params: Any, state: Any, grads: Any) -> Any:
        updates, state = made.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    jitted = jax.jit(update, donate_argnums=(0, 1))
    params, grads = [[jax.numpy.asarray(a) for a in arrays(model, seed)] for seed in (0, 1)]
    held = [params, made.init(params)]

    def step() -> None:
        held[:] = jitted(*held, grads)
        jax.block_until_ready(held)

    return step


def jax_activation(name: str, forward: bool, elements: int) -> Call:
    """Under jit, into new arrays: it has no other."""
    import jax

    known: dict[str, Callable[[Any], Any]] = {"prelu": lambda x: jax.nn.leaky_relu(x, ALPHA)}
    f = known.get(name) or getattr(jax.nn, name)
    x, dy = (jax.numpy.asarray(normal(elements, seed)) for seed in (0, 1))
    if forward:
        jitted = jax.jit(f)
        return lambda: jitted(x).block_until_ready()
    jitted_back = jax.jit(lambda dy, x: jax.vjp(f, x)[1](dy)[0])
    return lambda: jitted_back(dy, x).block_until_ready()


class Contender(NamedTuple):
    """The module that has to be installed, and what makes a call to be timed."""

    module: str
    step: Callable[[str, str], Call]
    activation: Callable[[str, bool, int], Call]


CONTENDERS = {
    "gnumba": Contender("numba", gnumba_step, gnumba_activation),
    "NumPy": Contender("numpy", numpy_step, numpy_activation),
    "PyTorch": Contender("torch", torch_step, torch_activation),
    "optax": Contender("optax", optax_step, jax_activation),
}


class Work(NamedTuple):
    """One thing to be timed: a step of an optimizer on a model, or a pass of an activation over elements."""

    name: str
    on: str
    direction: str = ""  # an activation's: "forward" or "backward"

    @property
    def label(self) -> str:
        """What a row of a table calls it."""
        return f"{self.name} {self.direction}".strip()

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes at least."""
        if not self.direction:
            size = sum(int(np.prod(shape)) for shape in MODELS[self.on])
            return 4 * size * OPTIMIZERS[self.name][1]
        return 4 * SIZES[self.on] * (2 if self.direction == "forward" else 3)

    def of(self, contender: str) -> Call:
        """The call that does it."""
        if not self.direction:
            return CONTENDERS[contender].step(self.name, self.on)
        return CONTENDERS[contender].activation(self.name, self.direction == "forward", SIZES[self.on])


def steps(optimizers: Iterable[str], models: Iterable[str]) -> list[Work]:
    """Every optimizer on every model."""
    return [Work(optimizer, model) for model in models for optimizer in optimizers]


def passes(activations: Iterable[str], sizes: Iterable[str]) -> list[Work]:
    """Every activation over arrays of every size, forward and backward."""
    return [Work(name, size, way) for size in sizes for name in activations for way in DIRECTIONS]
