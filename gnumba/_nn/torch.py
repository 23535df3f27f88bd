"""Activations and dropout as differentiable functions of PyTorch tensors; PyTorch is imported when used."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .._suggest import suggesting
from .activation import Activation
from .dropout import Dropout
from .gated import Gated
from .prelu import PReLU

__all__ = ["torch_function"]

Tensor = Any


@functools.cache
@suggesting
def torch_function(act: Activation | Dropout) -> Callable[..., Any]:
    """Make a differentiable PyTorch function of an activation or of dropout.

    Its backward pass is ``act.backward``, in one pass over the gradient; what is kept between the passes
    is one tensor: the input, or the result where that suffices (sigmoid, tanh, ELU with α ≥ 0, SELU).
    Dropout keeps none. An activation is differentiable once: a second derivative is refused (RuntimeError).

    Parameters
    ----------
    act : activation or dropout
        ``gnumba.relu`` and its kin, ``gnumba.dropout``, ``gnumba.alpha_dropout``, or an activation of your
        own.

    Returns
    -------
    callable
        ``function(x, *hyperparameters)``, with the hyperparameters of ``act`` by position or name. ``x`` is
        a tensor of float32 or float64, on the CPU or a CUDA device. PReLU's ``alpha`` may be a tensor that
        broadcasts against ``x``, and gets a gradient then; a gated activation takes two tensors.

    Raises
    ------
    TypeError
        If ``act`` is neither.
    ImportError
        If PyTorch is not installed.

    Examples
    --------
    >>> import pytest
    >>> torch = pytest.importorskip("torch")
    >>> import gnumba as gn
    >>> silu = gn.torch_function(gn.silu)
    >>> x = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> silu(x).sum().backward()
    >>> x.grad
    tensor([0.5000, 0.9277])
    """
    if not isinstance(act, (Activation, Dropout)):
        raise TypeError(f"act is of type {type(act).__name__}, expected an activation or dropout")
    kind: Callable[[Any], Any] = _of_activation
    if isinstance(act, PReLU):
        kind = _of_prelu
    elif isinstance(act, Gated):
        kind = _of_gated
    elif isinstance(act, Dropout):
        kind = _of_dropout
    first, *others = [p for p in inspect.signature(act).parameters.values() if p.name != "out"]
    hyper = inspect.Signature(others)
    made = kind(act)
    others_read = act._kernel.reads[1:] if isinstance(act, Gated) else ()

    def function(x: Tensor, *values: Any, **named: Any) -> Tensor:
        _check_tensor(act.name, x)
        try:
            bound = hyper.bind(*values, **named)
        except TypeError as error:
            raise TypeError(f"{act.name}: {error}; it takes {signature}") from None
        bound.apply_defaults()
        for name in others_read:
            _check_tensor(act.name, bound.arguments[name], name)
        return made.apply(x, *bound.args)

    signature = inspect.Signature([first, *others])
    function.__name__ = function.__qualname__ = act.name
    function.__doc__, function.__module__ = act.__doc__, "gnumba"
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _check_tensor(name: str, x: Any, argument: str = "x") -> None:
    import torch

    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name}: {argument} is of type {type(x).__name__}, expected a torch.Tensor")


def _of_activation(act: Activation) -> Any:
    import torch

    class Forward(torch.autograd.Function):  # type: ignore[misc]
        """y = f(x)."""

        @staticmethod
        def forward(x: Tensor, *hyper: Any) -> Tensor:
            return act(x, *hyper)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], y: Tensor) -> None:
            x, *ctx.hyper = inputs
            # y of 16 bits has lost the slope where the function saturates
            ctx.from_y = x.element_size() > 2 and act.takes_y(*ctx.hyper)
            ctx.save_for_backward(y if ctx.from_y else x)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
            dx = Backward.apply(dy, *ctx.saved_tensors, ctx.from_y, *ctx.hyper)
            return dx, *(None for _ in ctx.hyper)

    class Backward(torch.autograd.Function):  # type: ignore[misc]
        """dL/dx of dL/dy, and of x or y."""

        @staticmethod
        def forward(dy: Tensor, kept: Tensor, from_y: bool, *hyper: Any) -> Tensor:
            x, y = (None, kept) if from_y else (kept, None)
            return act.backward(_laid_out(dy, kept), x, *hyper, y=y)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], dx: Tensor) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *_: Tensor) -> None:
            raise _no_second_derivative(act)

    return Forward


def _of_prelu(act: PReLU) -> Any:
    import torch

    class Forward(torch.autograd.Function):  # type: ignore[misc]
        """y = f(x, α)."""

        @staticmethod
        def forward(x: Tensor, alpha: Any) -> Tensor:
            return act(x, alpha)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], y: Tensor) -> None:
            x, alpha = inputs
            learned = isinstance(alpha, torch.Tensor)
            ctx.alpha = None if learned else alpha
            ctx.save_for_backward(x, *((alpha,) if learned else ()))

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
            x, *learned = ctx.saved_tensors
            dx, dalpha = Backward.apply(dy, x, *(learned or (ctx.alpha,)))
            return dx, dalpha if learned else None

    class Backward(torch.autograd.Function):  # type: ignore[misc]
        """dL/dx and dL/dα of dL/dy, x and α."""

        @staticmethod
        def forward(dy: Tensor, x: Tensor, alpha: Any) -> tuple[Tensor, Any]:
            return act.backward(_laid_out(dy, x), x, alpha)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *_: Tensor) -> None:
            raise _no_second_derivative(act)

    return Forward


def _of_gated(act: Gated) -> Any:
    import torch

    class Forward(torch.autograd.Function):  # type: ignore[misc]
        """y = f(x, gate)."""

        @staticmethod
        def forward(x: Tensor, gate: Tensor, *hyper: Any) -> Tensor:
            return act(x, gate, *hyper)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], y: Tensor) -> None:
            x, gate, *ctx.hyper = inputs
            ctx.save_for_backward(x, gate)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
            gradients = Backward.apply(dy, *ctx.saved_tensors, *ctx.hyper)
            return *gradients, *(None for _ in ctx.hyper)

    class Backward(torch.autograd.Function):  # type: ignore[misc]
        """dL/dx and dL/dgate of dL/dy, x and the gate."""

        @staticmethod
        def forward(dy: Tensor, x: Tensor, gate: Tensor, *hyper: Any) -> Any:
            return act.backward(_laid_out(dy, x), x, gate, *hyper)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *_: Tensor) -> None:
            raise _no_second_derivative(act)

    return Forward


def _of_dropout(act: Dropout) -> Any:
    import torch

    class Forward(torch.autograd.Function):  # type: ignore[misc]
        """y under the mask of a key."""

        @staticmethod
        def forward(x: Tensor, rate: float, key: Any) -> Tensor:
            return act(x, rate, key)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], y: Tensor) -> None:
            _, ctx.rate, ctx.key = inputs

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
            return Backward.apply(dy, ctx.rate, ctx.key), None, None

    class Backward(torch.autograd.Function):  # type: ignore[misc]
        """dL/dx of dL/dy, and of what is linear in it again."""

        @staticmethod
        def forward(dy: Tensor, rate: float, key: Any) -> Tensor:
            return act.backward(dy.contiguous(), rate, key)

        setup_context = Forward.setup_context
        backward = Forward.backward

    return Forward


def _no_second_derivative(act: Activation) -> RuntimeError:
    return RuntimeError(
        f"{act.name}: a second derivative was asked for, and gnumba.torch_function has the first one only"
    )


def _laid_out(dy: Tensor, x: Tensor) -> Tensor:
    """A gradient laid out as a tensor of its shape: that of a sum comes as one number and strides of 0."""
    import torch

    return dy if dy.stride() == x.stride() else torch.empty_like(x).copy_(dy)
