"""NumPy's way of a step, an activation and a loss: as one writes it, with temporaries, and with ``out=``.

With temporaries there is a row for everything that gnumba has, which a test holds; with ``out=`` for some.

Imports nothing of gnumba: the benchmarks load this file alone and compare any commit with it.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = [
    "LOSSES",
    "PASSES",
    "PASSES_OUT",
    "STEPS",
    "STEPS_OUT",
    "activation",
    "activation_out",
    "loss",
    "step",
    "step_out",
]

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

LR, EPS = 1e-3, 1e-8
BETA1, BETA2, DECAY = 0.9, 0.999, 0.9  # momentum is BETA1 too
WEIGHT_DECAY = 0.01
SLOPE, ALPHA = 0.01, 0.25  # leaky_relu's, prelu's
SELU_ALPHA, SELU_LAMBDA = 1.6732632423543772, 1.0507009873554805


def keep_pages() -> None:
    """Have glibc's malloc keep the memory that is freed, for the rest of this process.

    By default it returns large arrays to the system, and each temporary's pages are faulted in anew: whether
    a loop takes thirty times as long depends on what happens to lie at the end of its heap.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    trim_threshold, mmap_max, arena_max = -1, -4, -8
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(mmap_max, 0)
    mallopt(arena_max, 1)


# A step: t is its number, from 1.


def sgd(t: int, p: Array, g: Array, v: Array) -> None:
    v[...] = BETA1 * v + g
    p -= LR * v


def momentum(t: int, p: Array, g: Array, v: Array) -> None:
    v[...] = BETA1 * v + (1.0 - BETA1) * g
    p -= LR * v


def adagrad(t: int, p: Array, g: Array, total: Array) -> None:
    total += g * g
    p -= LR * g / np.sqrt(total + EPS)


def rmsprop(t: int, p: Array, g: Array, mean: Array) -> None:
    mean[...] = DECAY * mean + (1.0 - DECAY) * g**2
    p -= LR * g / np.sqrt(mean + EPS)


def adam(t: int, p: Array, g: Array, m: Array, v: Array) -> None:
    m[...] = BETA1 * m + (1.0 - BETA1) * g
    v[...] = BETA2 * v + (1.0 - BETA2) * g**2
    p -= LR / (1.0 - BETA1**t) * m / np.sqrt(v / (1.0 - BETA2**t) + EPS)


def adamw(t: int, p: Array, g: Array, m: Array, v: Array) -> None:
    p *= 1.0 - LR * WEIGHT_DECAY
    adam(t, p, g, m, v)


def adabelief(t: int, p: Array, g: Array, m: Array, v: Array) -> None:
    m[...] = BETA1 * m + (1.0 - BETA1) * g
    v[...] = BETA2 * v + (1.0 - BETA2) * (g - m) ** 2 + 1e-16
    p -= LR / (1.0 - BETA1**t) * m / (np.sqrt(v / (1.0 - BETA2**t)) + 1e-16)


def adadelta(t: int, p: Array, g: Array, mean: Array, steps: Array) -> None:
    mean[...] = DECAY * mean + (1.0 - DECAY) * g**2
    update = g * np.sqrt(steps + 1e-6) / np.sqrt(mean + 1e-6)
    p -= LR * update
    steps[...] = DECAY * steps + (1.0 - DECAY) * update**2


def adamax(t: int, p: Array, g: Array, m: Array, u: Array) -> None:
    m[...] = BETA1 * m + (1.0 - BETA1) * g
    u[...] = np.maximum(BETA2 * u, np.abs(g) + EPS)
    p -= LR / (1.0 - BETA1**t) * m / u


def adan(t: int, p: Array, g: Array, m: Array, n: Array, v: Array, before: Array) -> None:
    beta1, beta2, beta3 = 0.98, 0.92, 0.99
    change = g - before if t > 1 else np.zeros_like(g)
    m[...] = beta1 * m + (1.0 - beta1) * g
    n[...] = beta2 * n + (1.0 - beta2) * change
    v[...] = beta3 * v + (1.0 - beta3) * (g + beta2 * change) ** 2
    ahead = m / (1.0 - beta1**t) + beta2 / (1.0 - beta2**t) * n
    p -= LR * ahead / (np.sqrt(v / (1.0 - beta3**t) + EPS) + EPS)
    before[...] = g


def trust(of: Array, by: Array) -> Any:
    above, below = float(np.linalg.norm(of)), float(np.linalg.norm(by))
    return above / below if above and below else 1.0


def lamb(t: int, p: Array, g: Array, m: Array, v: Array) -> None:
    m[...] = BETA1 * m + (1.0 - BETA1) * g
    v[...] = BETA2 * v + (1.0 - BETA2) * g**2
    u = m / (1.0 - BETA1**t) / (np.sqrt(v / (1.0 - BETA2**t)) + 1e-6)
    p -= LR * trust(p, u) * u


def lars(t: int, p: Array, g: Array, v: Array) -> None:
    v[...] = BETA1 * v + LR * 1e-3 * trust(p, g) * g
    p -= v


def lion(t: int, p: Array, g: Array, m: Array) -> None:
    p -= LR * (np.sign(0.9 * m + 0.1 * g) + 1e-3 * p)
    m[...] = 0.99 * m + 0.01 * g


@functools.cache
def nadam_product(t: int) -> float:
    return nadam_product(t - 1) * nadam_mu(t) if t else 1.0


def nadam_mu(t: int) -> float:
    return BETA1 * (1.0 - 0.5 * math.pow(0.96, 4e-3 * t))


def nadam(t: int, p: Array, g: Array, m: Array, v: Array) -> None:
    m[...] = BETA1 * m + (1.0 - BETA1) * g
    v[...] = BETA2 * v + (1.0 - BETA2) * g**2
    product, mu, mu_next = nadam_product(t), nadam_mu(t), nadam_mu(t + 1)
    mean = (1.0 - mu) / (1.0 - product) * g + mu_next / (1.0 - product * mu_next) * m
    p -= LR * mean / np.sqrt(v / (1.0 - BETA2**t) + EPS)


def radam(t: int, p: Array, g: Array, m: Array, v: Array) -> None:
    m[...] = BETA1 * m + (1.0 - BETA1) * g
    v[...] = BETA2 * v + (1.0 - BETA2) * g**2
    longest = 2.0 / (1.0 - BETA2) - 1.0
    length = longest - 2.0 * t * BETA2**t / (1.0 - BETA2**t)
    step = LR / (1.0 - BETA1**t) * m
    if length > 5.0:
        squared = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
        step = squared**0.5 * step / np.sqrt(v / (1.0 - BETA2**t) + EPS)
    p -= step


def rprop(t: int, p: Array, g: Array, before: Array, size: Array) -> None:
    turn = np.sign(g * before)
    tried = np.where(size, size, LR)
    size[...] = np.clip(np.where(turn > 0, 1.2 * tried, np.where(turn < 0, 0.5 * tried, tried)), 1e-6, 50.0)
    before[...] = np.where(turn < 0, 0.0, g)
    p -= np.sign(before) * size


def schedule_free(t: int, p: Array, step: Array, ahead: Array) -> None:
    """p is y, ahead is z − x, both of which move by their share."""
    moved = ahead - step
    p += moved / t - (1.0 - BETA1) * ahead
    ahead[...] = (1.0 - 1.0 / t) * moved
    p += (1.0 - BETA1) * ahead


def schedule_free_sgd(t: int, p: Array, g: Array, ahead: Array) -> None:
    schedule_free(t, p, LR * g, ahead)


def schedule_free_adamw(t: int, p: Array, g: Array, ahead: Array, v: Array) -> None:
    v[...] = BETA2 * v + (1.0 - BETA2) * g**2
    schedule_free(t, p, LR * g / np.sqrt(v / (1.0 - BETA2**t) + EPS), ahead)


# Some of them into arrays that are there; a is one to compute in.


def sgd_out(t: int, p: Array, g: Array, v: Array, a: Array) -> None:
    v *= BETA1
    v += g
    np.multiply(v, LR, out=a)
    p -= a


def momentum_out(t: int, p: Array, g: Array, v: Array, a: Array) -> None:
    np.multiply(g, 1.0 - BETA1, out=a)
    v *= BETA1
    v += a
    np.multiply(v, LR, out=a)
    p -= a


def divided_out(p: Array, u: Array, v: Array, lr: float, a: Array) -> None:
    """p ← p − lr·u / √(v + ε); v may be a."""
    np.add(v, EPS, out=a)
    np.sqrt(a, out=a)
    np.divide(u, a, out=a)
    a *= lr
    p -= a


def adagrad_out(t: int, p: Array, g: Array, total: Array, a: Array) -> None:
    np.multiply(g, g, out=a)
    total += a
    divided_out(p, g, total, LR, a)


def rmsprop_out(t: int, p: Array, g: Array, mean: Array, a: Array) -> None:
    np.multiply(g, g, out=a)
    a *= 1.0 - DECAY
    mean *= DECAY
    mean += a
    divided_out(p, g, mean, LR, a)


def adam_out(t: int, p: Array, g: Array, m: Array, v: Array, a: Array) -> None:
    np.multiply(g, 1.0 - BETA1, out=a)
    m *= BETA1
    m += a
    np.multiply(g, g, out=a)
    a *= 1.0 - BETA2
    v *= BETA2
    v += a
    np.multiply(v, 1.0 / (1.0 - BETA2**t), out=a)
    divided_out(p, m, a, LR / (1.0 - BETA1**t), a)


def adamw_out(t: int, p: Array, g: Array, m: Array, v: Array, a: Array) -> None:
    p *= 1.0 - LR * WEIGHT_DECAY
    adam_out(t, p, g, m, v, a)


# An update and its number of states, by gnumba's name of the optimizer.
Steps = dict[str, tuple[Callable[..., None], int]]
STEPS: Steps = {
    "SGD": (sgd, 1),
    "Momentum": (momentum, 1),
    "AdaGrad": (adagrad, 1),
    "RMSProp": (rmsprop, 1),
    "Adam": (adam, 2),
    "AdamW": (adamw, 2),
    "AdaBelief": (adabelief, 2),
    "AdaDelta": (adadelta, 2),
    "Adamax": (adamax, 2),
    "Adan": (adan, 4),
    "LAMB": (lamb, 2),
    "LARS": (lars, 1),
    "Lion": (lion, 1),
    "NAdam": (nadam, 2),
    "RAdam": (radam, 2),
    "Rprop": (rprop, 2),
    "ScheduleFreeAdamW": (schedule_free_adamw, 2),
    "ScheduleFreeSGD": (schedule_free_sgd, 1),
}
STEPS_OUT: Steps = {
    "SGD": (sgd_out, 1),
    "Momentum": (momentum_out, 1),
    "AdaGrad": (adagrad_out, 1),
    "RMSProp": (rmsprop_out, 1),
    "Adam": (adam_out, 2),
    "AdamW": (adamw_out, 2),
}


def step(optimizer: str, params: list[Array], grads: list[Array]) -> Call:
    """A step with temporaries."""
    return stepping(*STEPS[optimizer], params, grads, [()] * len(params))


def step_out(optimizer: str, params: list[Array], grads: list[Array]) -> Call:
    """A step with ``out=``; all parameters share the array to compute in, so that it stays in the cache."""
    room = np.empty(max(p.size for p in params), params[0].dtype)
    return stepping(
        *STEPS_OUT[optimizer], params, grads, [(room[: p.size].reshape(p.shape),) for p in params]
    )


def stepping(
    update: Callable[..., None],
    states: int,
    params: list[Array],
    grads: list[Array],
    rooms: list[tuple[Array, ...]],
) -> Call:
    """The loop over the parameters."""
    kept = [[np.zeros_like(p) for _ in range(states)] for p in params]
    t = 0

    def call() -> None:
        nonlocal t
        t += 1
        for p, g, state, room in zip(params, grads, kept, rooms, strict=True):
            update(t, p, g, *state, *room)

    return call


# Activations: f(x) → y, and backward(dy, x, y) → dx; gated ones f(x, gate), backward(dy, x, gate, y).


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def elu(x: Array, alpha: float = 1.0, scale: float = 1.0) -> Array:
    return scale * np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def elu_back(dy: Array, x: Array, y: Array) -> Array:
    return dy * np.where(y > 0.0, 1.0, y + 1.0)


def prelu_back(dy: Array, x: Array, y: Array) -> tuple[Array, Any]:
    return dy * np.where(x > 0.0, 1.0, ALPHA).astype(x.dtype), np.sum(dy * np.minimum(x, 0.0))


def selu_back(dy: Array, x: Array, y: Array) -> Array:
    return dy * np.where(y > 0.0, SELU_LAMBDA, y + SELU_LAMBDA * SELU_ALPHA)


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def silu_slope(x: Array) -> Array:
    s = sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def bell(x: Array) -> Array:
    """φ(x), the normal density."""
    return np.exp(-0.5 * x * x) * 0.3989422804014327


def below(x: Array) -> Any:
    """Φ(x), as NumPy has no erf by Abramowitz & Stegun 26.2.17, to 7.5e-8."""
    a = np.abs(x)
    t = 1.0 / (1.0 + 0.2316419 * a)
    terms = ((((1.330274429 * t - 1.821255978) * t + 1.781477937) * t - 0.356563782) * t + 0.319381530) * t
    tail = bell(a) * terms
    return np.where(x > 0.0, 1.0 - tail, tail)


def gelu_slope(x: Array) -> Any:
    return below(x) + x * bell(x)


def gate_of(x: Array) -> Any:
    return np.tanh(0.7978845608028654 * (x + 0.044715 * x**3))


def gelu_tanh_back(dy: Array, x: Array, y: Array) -> Any:
    gate = gate_of(x)
    inner = 0.7978845608028654 * (1.0 + 0.134145 * x * x)
    return 0.5 * dy * (1.0 + gate + x * (1.0 - gate * gate) * inner)


def mish_back(dy: Array, x: Array, y: Array) -> Array:
    gate = np.tanh(np.logaddexp(x, 0.0))
    return dy * (gate + x * sigmoid(x) * (1.0 - gate * gate))


def hard_sigmoid(x: Array) -> Array:
    return np.clip(x + 3.0, 0.0, 6.0) / 6.0


def hard_swish_back(dy: Array, x: Array, y: Array) -> Array:
    return dy * np.where(x < -3.0, 0.0, np.where(x < 3.0, x / 3.0 + 0.5, 1.0))


def within(dy: Array, x: Array, low: float, high: float) -> Array:
    return dy * ((x > low) & (x < high))


def softmax(x: Array) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x: Array) -> Any:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


Passes = dict[str, tuple[Callable[..., Any], Callable[..., Any]]]
PASSES: Passes = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda dy, x, y: dy * (x > 0.0)),
    "leaky_relu": (lambda x: np.maximum(x, SLOPE * x), lambda dy, x, y: np.where(x > 0.0, dy, SLOPE * dy)),
    "prelu": (lambda x: np.maximum(x, ALPHA * x), prelu_back),
    "sigmoid": (sigmoid, lambda dy, x, y: dy * y * (1.0 - y)),
    "tanh": (np.tanh, lambda dy, x, y: dy * (1.0 - y * y)),
    "elu": (elu, elu_back),
    "celu": (elu, elu_back),
    "selu": (lambda x: elu(x, SELU_ALPHA, SELU_LAMBDA), selu_back),
    "silu": (silu, lambda dy, x, y: dy * silu_slope(x)),
    "gelu": (lambda x: x * below(x), lambda dy, x, y: dy * gelu_slope(x)),
    "gelu_tanh": (lambda x: 0.5 * x * (1.0 + gate_of(x)), gelu_tanh_back),
    "mish": (lambda x: x * np.tanh(np.logaddexp(x, 0.0)), mish_back),
    "softplus": (lambda x: np.logaddexp(x, 0.0), lambda dy, x, y: dy * sigmoid(x)),
    "log_sigmoid": (lambda x: -np.logaddexp(-x, 0.0), lambda dy, x, y: dy * sigmoid(-x)),
    "softsign": (lambda x: x / (1.0 + np.abs(x)), lambda dy, x, y: dy / (1.0 + np.abs(x)) ** 2),
    "sine": (lambda x: np.sin(30.0 * x), lambda dy, x, y: 30.0 * dy * np.cos(30.0 * x)),
    "tanh_shrink": (lambda x: x - np.tanh(x), lambda dy, x, y: dy * np.tanh(x) ** 2),
    "hard_sigmoid": (hard_sigmoid, lambda dy, x, y: within(dy, x, -3.0, 3.0) / 6.0),
    "hard_swish": (lambda x: x * hard_sigmoid(x), hard_swish_back),
    "hard_tanh": (lambda x: np.clip(x, -1.0, 1.0), lambda dy, x, y: within(dy, x, -1.0, 1.0)),
    "relu6": (lambda x: np.clip(x, 0.0, 6.0), lambda dy, x, y: within(dy, x, 0.0, 6.0)),
    "soft_shrink": (lambda x: x - np.clip(x, -0.5, 0.5), lambda dy, x, y: dy * (np.abs(x) > 0.5)),
    "hard_shrink": (lambda x: x * (np.abs(x) > 0.5), lambda dy, x, y: dy * (np.abs(x) > 0.5)),
    "swiglu": (
        lambda x, gate: x * silu(gate),
        lambda dy, x, gate, y: (dy * silu(gate), dy * x * silu_slope(gate)),
    ),
    "geglu": (
        lambda x, gate: x * (gate * below(gate)),
        lambda dy, x, gate, y: (dy * (gate * below(gate)), dy * x * gelu_slope(gate)),
    ),
    "reglu": (
        lambda x, gate: x * np.maximum(gate, 0.0),
        lambda dy, x, gate, y: (dy * np.maximum(gate, 0.0), dy * x * (gate > 0.0)),
    ),
    "glu": (lambda x, gate: x * sigmoid(gate), lambda dy, x, gate, y: glu_back(dy, x, sigmoid(gate))),
    "softmax": (softmax, lambda dy, x, y: y * (dy - (dy * y).sum(axis=-1, keepdims=True))),
    "log_softmax": (log_softmax, lambda dy, x, y: dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)),
}


def glu_back(dy: Array, x: Array, s: Array) -> tuple[Array, Array]:
    return dy * s, dy * x * s * (1.0 - s)


def activation(name: str, forward: bool, inputs: tuple[Array, ...], dy: Array) -> Call:
    """A pass with temporaries, into a new array."""
    f, back = PASSES[name]
    if forward:
        return lambda: f(*inputs)
    y = f(*inputs)
    return lambda: back(dy, *inputs, y)


# Losses: the mean and its gradient, (loss, gradient).


def sigmoid_cross_entropy(x: Array, t: Array) -> tuple[Any, Array]:
    return np.mean(np.logaddexp(x, 0.0) - t * x), (sigmoid(x) - t) / x.size


def softmax_cross_entropy(x: Array, labels: Array) -> tuple[Any, Array]:
    rows = np.arange(len(labels))
    shifted = x - x.max(axis=-1, keepdims=True)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=-1, keepdims=True)
    value = np.mean(np.log(total[:, 0]) - shifted[rows, labels])
    gradient /= total
    gradient[rows, labels] -= 1.0
    gradient /= len(labels)
    return value, gradient


def huber(p: Array, t: Array) -> tuple[Any, Array]:
    d = p - t
    a = np.abs(d)
    return np.mean(np.where(a <= 1.0, 0.5 * d * d, a - 0.5)), np.clip(d, -1.0, 1.0) / p.size


def log_cosh(p: Array, t: Array) -> tuple[Any, Array]:
    d = p - t
    return np.mean(np.logaddexp(d, -d)) - 0.6931471805599453, np.tanh(d) / p.size


def hinge(p: Array, t: Array) -> tuple[Any, Array]:
    margin = np.maximum(0.0, 1.0 - t * p)
    return np.mean(margin), np.where(margin > 0.0, -t, 0.0) / p.size


LOSSES: dict[str, Callable[[Array, Array], tuple[Any, Array]]] = {
    "mse": lambda p, t: (np.mean((p - t) ** 2), 2.0 / p.size * (p - t)),
    "mae": lambda p, t: (np.mean(np.abs(p - t)), np.sign(p - t) / p.size),
    "huber": huber,
    "log_cosh": log_cosh,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "hinge": hinge,
    "kl_divergence": lambda p, t: (np.mean(t * (np.log(t) - p)), -t / p.size),
    "softmax_cross_entropy": softmax_cross_entropy,
}


def loss(name: str, prediction: Array, target: Array) -> Call:
    """A loss and its gradient, with temporaries."""
    of = LOSSES[name]
    return lambda: of(prediction, target)


# Some of them into arrays that are there: f(x, y, a), backward(dy, x, y, dx, a, mask), the last for room.


def leaky_relu_out(x: Array, y: Array, a: Array, slope: float = SLOPE) -> Array:
    np.multiply(x, slope, out=a)
    return np.maximum(x, a, out=y)


def relu_back_out(dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array) -> Array:
    np.greater(x, 0.0, out=mask)
    return np.multiply(dy, mask, out=dx)


def leaky_relu_back_out(
    dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array, slope: float = SLOPE
) -> Array:
    np.multiply(dy, slope, out=dx)
    np.greater(x, 0.0, out=mask)
    np.copyto(dx, dy, where=mask)
    return dx


def prelu_back_out(dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array) -> tuple[Array, Any]:
    leaky_relu_back_out(dy, x, y, dx, a, mask, ALPHA)
    np.minimum(x, 0.0, out=a)
    a *= dy
    return dx, a.sum()


def sigmoid_out(x: Array, y: Array, a: Array) -> Array:
    np.negative(x, out=y)
    np.exp(y, out=y)
    y += 1.0
    return np.reciprocal(y, out=y)


def sigmoid_back_out(dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array) -> Array:
    np.subtract(1.0, y, out=dx)
    dx *= y
    dx *= dy
    return dx


def tanh_back_out(dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array) -> Array:
    np.multiply(y, y, out=dx)
    np.subtract(1.0, dx, out=dx)
    dx *= dy
    return dx


def elu_out(x: Array, y: Array, a: Array, alpha: float = 1.0, scale: float = 1.0) -> Array:
    np.minimum(x, 0.0, out=a)
    np.expm1(a, out=a)
    a *= alpha
    np.maximum(x, 0.0, out=y)
    y += a
    y *= scale
    return y


def elu_back_out(dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array) -> Array:
    np.minimum(y, 0.0, out=dx)
    dx += 1.0
    dx *= dy
    return dx


def selu_back_out(dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array) -> Array:
    np.add(y, SELU_LAMBDA * SELU_ALPHA, out=dx)
    np.greater(y, 0.0, out=mask)
    np.copyto(dx, SELU_LAMBDA, where=mask)
    dx *= dy
    return dx


def silu_out(x: Array, y: Array, a: Array) -> Array:
    sigmoid_out(x, y, a)
    y *= x
    return y


def silu_back_out(dy: Array, x: Array, y: Array, dx: Array, a: Array, mask: Array) -> Array:
    sigmoid_out(x, a, a)
    np.subtract(1.0, a, out=dx)
    dx *= x
    dx += 1.0
    dx *= a
    dx *= dy
    return dx


PASSES_OUT: Passes = {
    "relu": (lambda x, y, a: np.maximum(x, 0.0, out=y), relu_back_out),
    "leaky_relu": (leaky_relu_out, leaky_relu_back_out),
    "prelu": (lambda x, y, a: leaky_relu_out(x, y, a, ALPHA), prelu_back_out),
    "sigmoid": (sigmoid_out, sigmoid_back_out),
    "tanh": (lambda x, y, a: np.tanh(x, out=y), tanh_back_out),
    "elu": (elu_out, elu_back_out),
    "selu": (lambda x, y, a: elu_out(x, y, a, SELU_ALPHA, SELU_LAMBDA), selu_back_out),
    "silu": (silu_out, silu_back_out),
}


def activation_out(name: str, forward: bool, inputs: tuple[Array, ...], dy: Array) -> Call:
    """A pass into an array that is there."""
    (x,), (f, back) = inputs, PASSES_OUT[name]
    y, dx, a = (np.empty_like(x) for _ in range(3))
    if forward:
        return lambda: f(x, y, a)
    f(x, y, a)
    mask = np.empty(x.shape, bool)
    return lambda: back(dy, x, y, dx, a, mask)
