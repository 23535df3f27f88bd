"""Reports on CUDA for people: what is usable, what a kernel looks like, what there is to compile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..._rule import Elementwise
from .. import grid, normed_grid
from ..storage import alike
from . import compiler, driver


def status() -> list[str] | str:
    """Name and compute capability of every device, or why none can be used."""
    return f"not usable: {lack}" if (lack := driver.missing()) else driver.devices()


def inspected(
    function: Elementwise, dtype: np.dtype[Any], flat: bool, capability: tuple[int, int]
) -> dict[str, Any]:
    """A function's kernel for GPUs of a compute capability: see `compiler.report`."""
    _check_compiler()
    return compiler.report(_bodies(function, dtype, flat)[-1], compiler.arch_of(capability))


def compilations(
    functions: Iterable[Elementwise], dtype: np.dtype[Any], flat: bool
) -> list[Callable[[], Any]]:
    """The compilations of functions for the devices that are here."""
    _check_compiler()
    bodies = [body for function in functions for body in _bodies(function, dtype, flat)]
    return [
        functools.partial(compiler.cubin, body, arch) for arch in driver.architectures() for body in bodies
    ]


def _bodies(function: Elementwise, dtype: np.dtype[Any], flat: bool) -> list[grid.Body]:
    """The bodies that run for dense arrays, the function's own last."""
    kinds = (grid.flat,) if flat else normed_grid.BODIES if function.normed else (grid.sweep,)
    return [make(function, alike(function, dtype)) for make in kinds]


def _check_compiler() -> None:
    if lack := compiler.missing():
        raise driver.CudaError(f"target='cuda' cannot be used: {lack}")
