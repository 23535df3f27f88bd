"""PyTorch's and JAX's arrays: NumPy views of host memory, and what autograd has to be told.

Neither library is imported here: whoever holds such an array has imported it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .view import BFLOAT16

Array = np.ndarray[Any, np.dtype[Any]]
KNOWN = ("cupy", "jax", "jaxlib", "numba", "numba_cuda", "torch")
class_of: Callable[[Any], Any] = type  # which mypy does not take for hashable


def library_of(x: Any) -> str:
    """The name of the package that an array comes from, also of a subclass that is a user's own."""
    return _library(class_of(x))


@functools.cache
def _library(kind: Any) -> str:
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    return next((package for package in packages if package in KNOWN), packages[0])


def host_view(x: Any) -> Array | None:
    """A NumPy view of a PyTorch or JAX array in host memory; None for what lives or comes from elsewhere.

    The memory is the array's own, and lives as long as that. A third of the time of ``np.from_dlpack``,
    which asks in Python where the array lives.

    Raises
    ------
    BufferError, RuntimeError, TypeError, ValueError
        If NumPy has no such dtype or layout.
    """
    viewer = _viewer(class_of(x))
    return viewer(x) if viewer else None


def viewer_of(x: Any) -> Callable[[Any], Array | None] | None:
    """`host_view` of objects of the type that something has; None for a type that it does not know."""
    return _viewer(class_of(x))


def has_host_view(x: Any) -> bool:
    """Whether `host_view` may know more of something than NumPy."""
    return _viewer(class_of(x)) is not None


@functools.cache
def _viewer(kind: Any) -> Callable[[Any], Array | None] | None:
    if _is_tensor(kind):
        return _view_torch
    return _view_jax if is_jax(kind) else None


@functools.cache
def is_jax(kind: Any) -> bool:
    """Whether a type is that of JAX's arrays; tracers come from jax itself, and have no values."""
    return _library(kind) == "jaxlib" and issubclass(kind, sys.modules["jax"].Array)


def is_tensor(x: Any) -> bool:
    """Whether something is a PyTorch tensor."""
    return _is_tensor(class_of(x))


@functools.cache
def _is_tensor(kind: Any) -> bool:
    return _library(kind) == "torch" and issubclass(kind, sys.modules["torch"].Tensor)


def _view_torch(x: Any) -> Array | None:
    if x.is_neg():
        raise BufferError("its negative bit is set, expected .resolve_neg() of it")
    if not x.is_cpu:
        return None
    torch, export = sys.modules["torch"], _torch_export()
    if x.dtype is torch.bfloat16:  # which NumPy has not
        return _exported(x.view(torch.int16), export).view(BFLOAT16)
    return _exported(x, export)


def _exported(x: Any, export: Callable[[Any], Any] | None) -> Array:
    return np.from_dlpack(_Exported(export(x)) if export else x)


def tensor_of(x: Array) -> Any:
    """A PyTorch tensor of an array's memory."""
    torch = sys.modules["torch"]
    if x.dtype == BFLOAT16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


@functools.cache
def _torch_export() -> Callable[[Any], Any] | None:
    """PyTorch's maker of capsules that say whether memory may be written; None before it had one."""
    return getattr(sys.modules["torch"]._C, "_to_dlpack_versioned", None)


class _Exported:
    """A DLPack capsule of host memory, as ``np.from_dlpack`` takes it.

    ``x.numpy()`` is as fast, but from then on PyTorch refuses to resize ``x``.
    """

    __slots__ = ("capsule",)

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # kDLCPU


def _view_jax(x: Any) -> Array | None:
    if x.is_deleted() or x.platform() != "cpu":  # of a deleted one, platform() ends Python
        return None
    view = np.asarray(x)
    return None if view.flags.owndata else view  # gathered from several devices


def check_no_derivative_lost(name: str, x: Any) -> None:
    """TypeError for a PyTorch tensor that is being differentiated: no result made here has a derivative."""
    if not is_tensor(x):
        return
    torch = sys.modules["torch"]
    if (x.requires_grad and torch.is_grad_enabled()) or _has_tangent(torch, x):
        raise TypeError(
            f"{name} is a tensor that requires grad, and the result would have none; expected "
            f"{name}.detach(), a call under torch.no_grad(), or gnumba.torch_function(...) of the function"
        )


def _has_tangent(torch: Any, x: Any) -> bool:
    """Whether a tensor is one of forward-mode differentiation."""
    forward = torch.autograd.forward_ad
    return getattr(forward, "_current_level", 0) >= 0 and forward.unpack_dual(x).tangent is not None


def has_version(x: Any) -> bool:
    """Whether autograd counts what is written to an array: a PyTorch tensor, but none of inference mode."""
    return is_tensor(x) and not x.is_inference()


def increment_versions(tensors: Iterable[Any]) -> None:
    """Tell autograd that tensors with a version are written to, so that it refuses a graph that saved them.

    Called before the write: an interrupt between the two must not leave a write uncounted.
    """
    increment = sys.modules["torch"].autograd.graph.increment_version
    try:
        increment(tensors)
    except TypeError:  # PyTorch before 2.6 takes one at a time
        for x in tensors:
            increment(x)


def count_writes(arrays: Iterable[Any]) -> None:
    """`increment_versions` of those among any arrays that have one."""
    tensors = [x for x in arrays if type(x) is not np.ndarray and has_version(x)]
    if tensors:
        increment_versions(tensors)
