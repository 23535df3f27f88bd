"""NumPy's way of a step and of an activation: as one writes it, with temporaries, and with ``out=``.

Imports nothing of gnumba: the benchmarks load this file alone and compare any commit with it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["PASSES", "PASSES_OUT", "STEPS", "STEPS_OUT", "activation", "activation_out", "step", "step_out"]

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


# The same into arrays that are there; a is one to compute in.


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


# Activations: f(x) → y, and backward(dy, x, y) → dx.


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def elu(x: Array, alpha: float = 1.0, scale: float = 1.0) -> Array:
    return scale * np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def prelu_back(dy: Array, x: Array, y: Array) -> tuple[Array, Any]:
    return dy * np.where(x > 0.0, 1.0, ALPHA).astype(x.dtype), np.sum(dy * np.minimum(x, 0.0))


def selu_back(dy: Array, x: Array, y: Array) -> Array:
    return dy * np.where(y > 0.0, SELU_LAMBDA, y + SELU_LAMBDA * SELU_ALPHA)


def silu_back(dy: Array, x: Array, y: Array) -> Array:
    s = sigmoid(x)
    return dy * s * (1.0 + x * (1.0 - s))


Passes = dict[str, tuple[Callable[..., Any], Callable[..., Any]]]
PASSES: Passes = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda dy, x, y: dy * (x > 0.0)),
    "leaky_relu": (lambda x: np.maximum(x, SLOPE * x), lambda dy, x, y: np.where(x > 0.0, dy, SLOPE * dy)),
    "prelu": (lambda x: np.maximum(x, ALPHA * x), prelu_back),
    "sigmoid": (sigmoid, lambda dy, x, y: dy * y * (1.0 - y)),
    "tanh": (np.tanh, lambda dy, x, y: dy * (1.0 - y * y)),
    "elu": (elu, lambda dy, x, y: dy * np.where(y > 0.0, 1.0, y + 1.0)),
    "selu": (lambda x: elu(x, SELU_ALPHA, SELU_LAMBDA), selu_back),
    "silu": (lambda x: x * sigmoid(x), silu_back),
}


def activation(name: str, forward: bool, x: Array, dy: Array) -> Call:
    """A pass with temporaries, into a new array."""
    f, back = PASSES[name]
    if forward:
        return lambda: f(x)
    y = f(x)
    return lambda: back(dy, x, y)


# The same into arrays that are there: f(x, y, a), backward(dy, x, y, dx, a, mask), the last to compute in.


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


def activation_out(name: str, forward: bool, x: Array, dy: Array) -> Call:
    """A pass into an array that is there."""
    f, back = PASSES_OUT[name]
    y, dx, a = (np.empty_like(x) for _ in range(3))
    if forward:
        return lambda: f(x, y, a)
    f(x, y, a)
    mask = np.empty(x.shape, bool)
    return lambda: back(dy, x, y, dx, a, mask)
