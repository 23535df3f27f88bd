"""PyTorch's way of a step and of an activation."""

from __future__ import annotations

import functools
import inspect
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .with_numpy import ALPHA, BETA1, DECAY, LR, SELU_ALPHA, SELU_LAMBDA, SLOPE, WEIGHT_DECAY

__all__ = ["OPTIMIZERS", "PASSES", "activation", "step"]

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

# The class in torch.optim and its options, by gnumba's name.
OPTIMIZERS: dict[str, tuple[str, dict[str, float]]] = {
    "SGD": ("SGD", {"momentum": BETA1}),
    "Momentum": ("SGD", {"momentum": BETA1, "dampening": BETA1}),
    "AdaGrad": ("Adagrad", {}),
    "RMSProp": ("RMSprop", {"alpha": DECAY}),
    "Adam": ("Adam", {}),
    "AdamW": ("AdamW", {"weight_decay": WEIGHT_DECAY}),
    "RAdam": ("RAdam", {}),
    "Adamax": ("Adamax", {}),
    "AdaDelta": ("Adadelta", {}),
    "Rprop": ("Rprop", {}),
}


def step(optimizer: str, params: list[Array], grads: list[Array]) -> Call:
    """The fastest of ``fused=True``, ``foreach=True`` and neither, as far as the class has them."""
    import torch

    known = inspect.signature(getattr(torch.optim, OPTIMIZERS[optimizer][0])).parameters
    neither = {way: False for way in ("fused", "foreach") if way in known}
    ways = [neither, *(neither | {way: True} for way in neither)]
    copies = [p.copy() for p in params]
    fastest = min(ways, key=lambda way: quick(stepping(optimizer, copies, grads, way)))
    return stepping(optimizer, params, grads, fastest)


def stepping(optimizer: str, params: list[Array], grads: list[Array], way: dict[str, bool]) -> Call:
    """A step in one of these ways."""
    import torch

    name, options = OPTIMIZERS[optimizer]
    tensors = [torch.nn.Parameter(torch.from_numpy(p)) for p in params]
    for p, g in zip(tensors, grads, strict=True):
        p.grad = torch.from_numpy(g)
    call: Call = getattr(torch.optim, name)(tensors, lr=LR, **options, **way).step
    return call


def quick(call: Call) -> float:
    """The median time of a few calls, after some to warm up."""
    times = []
    for _ in range(8):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


# Activations: the name under which Python finds a kernel fastest, with out= but for PReLU, which has none.


@functools.cache
def slope() -> Any:
    """PReLU's α as a tensor."""
    import torch

    return torch.tensor([ALPHA])


SELU = (SELU_ALPHA, SELU_LAMBDA, 1.0)


def relu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.threshold_backward.grad_input(dy, x, 0.0, grad_input=dx)


def leaky_relu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.leaky_relu_backward.grad_input(dy, x, SLOPE, False, grad_input=dx)


def prelu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    to_x, shares = aten._prelu_kernel_backward(dy, x, slope().expand(x.shape))
    return to_x, shares.sum()


def sigmoid_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.sigmoid_backward.grad_input(dy, y, grad_input=dx)


def tanh_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.tanh_backward.grad_input(dy, y, grad_input=dx)


def elu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.elu_backward.grad_input(dy, 1.0, 1.0, 1.0, True, y, grad_input=dx)


def selu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.elu_backward.grad_input(dy, *SELU, True, y, grad_input=dx)


def silu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.silu_backward.grad_input(dy, x, grad_input=dx)


# Forward, and backward, by gnumba's name of the activation.
PASSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "relu": (lambda torch, x, y: torch.clamp_min(x, 0.0, out=y), relu_back),
    "leaky_relu": (lambda torch, x, y: torch._C._nn.leaky_relu(x, SLOPE, out=y), leaky_relu_back),
    "prelu": (lambda torch, x, y: torch.prelu(x, slope()), prelu_back),
    "sigmoid": (lambda torch, x, y: torch.sigmoid(x, out=y), sigmoid_back),
    "tanh": (lambda torch, x, y: torch.tanh(x, out=y), tanh_back),
    "elu": (lambda torch, x, y: torch._C._nn.elu(x, 1.0, out=y), elu_back),
    "selu": (lambda torch, x, y: torch.ops.aten.elu.out(x, *SELU, out=y), selu_back),
    "silu": (lambda torch, x, y: torch._C._nn.silu(x, out=y), silu_back),
}


def activation(name: str, forward: bool, x: Array, dy: Array) -> Call:
    """A pass, into a tensor that is there where the kernel takes one; turns autograd off."""
    import torch

    torch.set_grad_enabled(False)
    at, grad, aten = torch.from_numpy(x), torch.from_numpy(dy), torch.ops.aten
    y, dx = torch.empty_like(at), torch.empty_like(at)
    f, back = PASSES[name]
    if forward:
        return lambda: f(torch, at, y)
    y.copy_(f(torch, at, y))
    return lambda: back(aten, grad, at, y, dx)
