"""optax's way of a step, and JAX's of an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .with_numpy import ALPHA, BETA1, BETA2, DECAY, EPS, LR, WEIGHT_DECAY

__all__ = ["OPTIMIZERS", "PASSES", "activation", "step"]

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

INSIDE = {"eps": 0.0, "eps_root": EPS}


def momentum(optax: Any) -> Any:
    return optax.chain(optax.ema(BETA1, debias=False), optax.scale_by_learning_rate(LR))


# The gradient transformation, by gnumba's name of the optimizer.
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda optax: optax.sgd(LR, momentum=BETA1),
    "Momentum": momentum,
    "AdaGrad": lambda optax: optax.adagrad(LR, initial_accumulator_value=0.0, eps=EPS),
    "RMSProp": lambda optax: optax.rmsprop(LR, decay=DECAY, eps=EPS),
    "Adam": lambda optax: optax.adam(LR, BETA1, BETA2, **INSIDE),
    "AdamW": lambda optax: optax.adamw(LR, BETA1, BETA2, weight_decay=WEIGHT_DECAY, **INSIDE),
    "LAMB": lambda optax: optax.lamb(LR, BETA1, BETA2),
    "RAdam": lambda optax: optax.radam(LR, BETA1, BETA2, **INSIDE),
    "Adamax": lambda optax: optax.adamax(LR, BETA1, BETA2),
    "AdaDelta": lambda optax: optax.adadelta(LR, rho=DECAY),
    "AdaBelief": lambda optax: optax.adabelief(LR, BETA1, BETA2),
    "Adan": lambda optax: optax.adan(LR),
    "Lion": lambda optax: optax.lion(LR),
}


def step(optimizer: str, params: list[Array], grads: list[Array]) -> Call:
    """Under jit, with its arrays donated: the nearest it has to in place."""
    import jax
    import optax

    made = OPTIMIZERS[optimizer](optax)

    def update(params: Any, state: Any, grads: Any) -> Any:
        updates, state = made.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    jitted = jax.jit(update, donate_argnums=(0, 1))
    on_device, slopes = ([jax.numpy.array(a) for a in given] for given in (params, grads))
    held = [on_device, made.init(on_device)]

    def call() -> Any:
        held[:] = jitted(*held, slopes)
        jax.block_until_ready(held)
        return held[0]

    return call


PASSES: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "relu": lambda nn: nn.relu,
    "leaky_relu": lambda nn: nn.leaky_relu,
    "prelu": lambda nn: lambda x: nn.leaky_relu(x, ALPHA),
    "sigmoid": lambda nn: nn.sigmoid,
    "tanh": lambda nn: nn.tanh,
    "elu": lambda nn: nn.elu,
    "selu": lambda nn: nn.selu,
    "silu": lambda nn: nn.silu,
    "celu": lambda nn: nn.celu,
    "gelu": lambda nn: lambda x: nn.gelu(x, approximate=False),
    "gelu_tanh": lambda nn: nn.gelu,
    "mish": lambda nn: nn.mish,
    "softplus": lambda nn: nn.softplus,
    "log_sigmoid": lambda nn: nn.log_sigmoid,
    "softsign": lambda nn: nn.soft_sign,
    "hard_sigmoid": lambda nn: nn.hard_sigmoid,
    "hard_swish": lambda nn: nn.hard_swish,
    "hard_tanh": lambda nn: nn.hard_tanh,
    "relu6": lambda nn: nn.relu6,
    "swiglu": lambda nn: lambda x, gate: x * nn.silu(gate),
    "geglu": lambda nn: lambda x, gate: x * nn.gelu(gate, approximate=False),
    "reglu": lambda nn: lambda x, gate: x * nn.relu(gate),
    "glu": lambda nn: lambda x, gate: x * nn.sigmoid(gate),
    "softmax": lambda nn: nn.softmax,
    "log_softmax": lambda nn: nn.log_softmax,
}


def activation(name: str, forward: bool, inputs: tuple[Array, ...], dy: Array) -> Call:
    """Under jit, into new arrays: it has no other."""
    import jax

    f = PASSES[name](jax.nn)
    at, grad = list(map(jax.numpy.array, inputs)), jax.numpy.array(dy)
    if forward:
        jitted = jax.jit(f)
        return lambda: jitted(*at).block_until_ready()
    jitted_back = jax.jit(lambda dy, *at: jax.vjp(f, *at)[1](dy))
    return lambda: jax.block_until_ready(jitted_back(grad, *at))
