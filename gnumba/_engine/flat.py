"""The short way of a function over dense NumPy arrays of one layout: one compiled call, which checks them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._rule import Elementwise
from . import host, objects, targets, threads
from .compile.kernel import Kernel
from .host import DONE, TOO_LARGE, UNFIT
from .storage import OF_DTYPE, alike
from .view import Scalars


def launch_flat(function: Elementwise, arrays: tuple[Any, ...], scalars: Scalars) -> Any:
    """The short way for dense NumPy arrays of one layout; False, and nothing done, for all others.

    A function with ``summed`` gets all arrays but the one to be summed, and returns (done, sum).
    """
    known = _SHORT.get(arrays[0].dtype) if type(arrays[0]) is np.ndarray else None
    if known is None:
        return False
    model, kernels = known
    kernel = kernels.get(function)
    if kernel is None:
        if not arrays[0].flags.forc:
            return False  # before a kernel is made to say so
        kernel = kernels[function] = host.flat(function, alike(function, arrays[0].dtype))
    result = kernel(id(arrays), model, targets.one_core_below(), scalars)
    if result == DONE:
        return True
    if result == TOO_LARGE:
        _on_all_cores(function, arrays, scalars)
        return True
    if not function.summed:
        return False
    state, total = result
    return state != UNFIT, _on_all_cores(function, arrays, scalars) if state == TOO_LARGE else total


def _on_all_cores(function: Elementwise, arrays: tuple[Any, ...], scalars: Scalars) -> Any:
    """Run a function on all cores, over arrays that are checked and too large for one core."""
    kernel = host.shared_flat(function, alike(function, arrays[0].dtype))
    return kernel(id(arrays), threads.shares("parallel"), scalars)


# By dtype: the id of an array of it, and the kernels that there are.
_MODELS = [np.empty(0, dtype) for dtype in OF_DTYPE]
_SHORT: dict[Any, tuple[int, dict[Elementwise, Kernel]]] = (
    {model.dtype: (id(model), {}) for model in _MODELS} if objects.READABLE else {}
)
