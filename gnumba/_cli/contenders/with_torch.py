"""PyTorch's way of a step, an activation and a loss."""

from __future__ import annotations

import functools
import inspect
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .with_numpy import ALPHA, BETA1, DECAY, LR, SELU_ALPHA, SELU_LAMBDA, SLOPE, WEIGHT_DECAY

__all__ = ["LOSSES", "OPTIMIZERS", "PASSES", "activation", "loss", "step"]

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
    "NAdam": ("NAdam", {}),
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


# Activations: the name under which Python finds a kernel fastest, with out= but for PReLU, which has none;
# where there is no kernel, what a user writes, and autograd.


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


def celu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    """From x, as torch.celu's is, and gnumba's."""
    return aten.elu_backward.grad_input(dy, 1.0, 1.0, 1.0, False, x, grad_input=dx)


def selu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.elu_backward.grad_input(dy, *SELU, True, y, grad_input=dx)


def silu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten.silu_backward.grad_input(dy, x, grad_input=dx)


def backward_of(kernel: str, *options: Any) -> Callable[..., Any]:
    """A pass by aten's kernel of (dy, x) and options."""

    def back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
        return getattr(aten, kernel).grad_input(dy, x, *options, grad_input=dx)

    return back


def gelu_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any, approximate: str = "none") -> Any:
    return aten.gelu_backward.grad_input(dy, x, approximate=approximate, grad_input=dx)


def gelu_tanh_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return gelu_back(aten, dy, x, y, dx, "tanh")


def softmax_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten._softmax_backward_data.out(dy, y, -1, x.dtype, grad_input=dx)


def log_softmax_back(aten: Any, dy: Any, x: Any, y: Any, dx: Any) -> Any:
    return aten._log_softmax_backward_data.out(dy, y, -1, x.dtype, out=dx)


# Forward, and backward if there is a kernel, by gnumba's name of the activation; a gated one has two inputs.
PASSES: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "relu": (lambda torch, x, y: torch.clamp_min(x, 0.0, out=y), relu_back),
    "leaky_relu": (lambda torch, x, y: torch._C._nn.leaky_relu(x, SLOPE, out=y), leaky_relu_back),
    "prelu": (lambda torch, x, y: torch.prelu(x, slope()), prelu_back),
    "sigmoid": (lambda torch, x, y: torch.sigmoid(x, out=y), sigmoid_back),
    "tanh": (lambda torch, x, y: torch.tanh(x, out=y), tanh_back),
    "elu": (lambda torch, x, y: torch._C._nn.elu(x, 1.0, out=y), elu_back),
    "celu": (lambda torch, x, y: torch._C._nn.elu(x, 1.0, out=y), celu_back),
    "selu": (lambda torch, x, y: torch.ops.aten.elu.out(x, *SELU, out=y), selu_back),
    "silu": (lambda torch, x, y: torch._C._nn.silu(x, out=y), silu_back),
    "gelu": (lambda torch, x, y: torch._C._nn.gelu(x, out=y), gelu_back),
    "gelu_tanh": (lambda torch, x, y: torch._C._nn.gelu(x, approximate="tanh", out=y), gelu_tanh_back),
    "mish": (lambda torch, x, y: torch._C._nn.mish(x, out=y), None),
    "softplus": (
        lambda torch, x, y: torch._C._nn.softplus(x, 1.0, 20.0, out=y),
        backward_of("softplus_backward", 1.0, 20.0),
    ),
    "log_sigmoid": (lambda torch, x, y: torch._C._nn.log_sigmoid(x, out=y), None),
    "softsign": (lambda torch, x, y: torch.nn.functional.softsign(x), None),
    "sine": (lambda torch, x, y: torch.sin(30.0 * x), None),
    "tanh_shrink": (lambda torch, x, y: torch.nn.functional.tanhshrink(x), None),
    "hard_sigmoid": (
        lambda torch, x, y: torch._C._nn.hardsigmoid(x, out=y),
        backward_of("hardsigmoid_backward"),
    ),
    "hard_swish": (lambda torch, x, y: torch._C._nn.hardswish(x, out=y), None),
    "hard_tanh": (
        lambda torch, x, y: torch._C._nn.hardtanh(x, -1.0, 1.0, out=y),
        backward_of("hardtanh_backward", -1.0, 1.0),
    ),
    "relu6": (
        lambda torch, x, y: torch._C._nn.hardtanh(x, 0.0, 6.0, out=y),
        backward_of("hardtanh_backward", 0.0, 6.0),
    ),
    "soft_shrink": (
        lambda torch, x, y: torch._C._nn.softshrink(x, 0.5, out=y),
        backward_of("softshrink_backward", 0.5),
    ),
    "hard_shrink": (
        lambda torch, x, y: torch.ops.aten.hardshrink.out(x, 0.5, out=y),
        backward_of("hardshrink_backward", 0.5),
    ),
    "swiglu": (lambda torch, x, gate, y: x * torch.nn.functional.silu(gate), None),
    "geglu": (lambda torch, x, gate, y: x * torch.nn.functional.gelu(gate), None),
    "reglu": (lambda torch, x, gate, y: x * torch.relu(gate), None),
    "glu": (lambda torch, x, gate, y: x * torch.sigmoid(gate), None),
    "softmax": (lambda torch, x, y: torch.ops.aten._softmax.out(x, -1, False, out=y), softmax_back),
    "log_softmax": (
        lambda torch, x, y: torch.ops.aten._log_softmax.out(x, -1, False, out=y),
        log_softmax_back,
    ),
}


def activation(name: str, forward: bool, inputs: tuple[Array, ...], dy: Array) -> Call:
    """A pass, into a tensor that is there where the kernel takes one; turns autograd off."""
    import torch

    torch.set_grad_enabled(False)
    at, grad, aten = list(map(torch.from_numpy, inputs)), torch.from_numpy(dy), torch.ops.aten
    y, dx = torch.empty_like(grad), torch.empty_like(grad)
    f, back = PASSES[name]
    if forward:
        return lambda: f(torch, *at, y)
    if back is None:
        with torch.enable_grad():
            leaves = [x.requires_grad_() for x in at]
            made = f(torch, *leaves, None)
        return lambda: torch.autograd.grad(made, leaves, grad, retain_graph=True)
    y.copy_(f(torch, *at, y))
    return lambda: back(aten, grad, *at, y, dx)


# Means by torch.nn.functional, by gnumba's name of the loss; hinge and log_cosh are not there.
LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "mse": lambda of, p, t: of.mse_loss(p, t),
    "mae": lambda of, p, t: of.l1_loss(p, t),
    "huber": lambda of, p, t: of.huber_loss(p, t),
    "sigmoid_cross_entropy": lambda of, x, t: of.binary_cross_entropy_with_logits(x, t),
    "kl_divergence": lambda of, p, t: of.kl_div(p, t, reduction="sum") / p.numel(),
    "softmax_cross_entropy": lambda of, x, labels: of.cross_entropy(x, labels),
}


def loss(name: str, prediction: Array, target: Array) -> Call:
    """A loss, and its gradient by autograd."""
    import torch

    of, functional, wanted = LOSSES[name], torch.nn.functional, torch.from_numpy(target)
    leaf = torch.from_numpy(prediction).requires_grad_()

    def call() -> Any:
        with torch.enable_grad():
            value = of(functional, leaf, wanted)
            return value, torch.autograd.grad(value, leaf)[0]

    return call
