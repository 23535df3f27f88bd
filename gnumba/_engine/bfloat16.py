"""Float32 as bfloat16 and back: the upper half of its bits, rounded to nearest, ties to even."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange, types

from . import targets, threads
from .compile.kernel import Kernel, compiled

Array = np.ndarray[Any, np.dtype[Any]]
WIDE, NARROW = types.Array(types.uint32, 1, "C"), types.Array(types.uint16, 1, "C")


def narrow(x: Array, out: Array) -> None:
    """Write dense float32 to ``out`` as the bits of bfloat16, uint16."""
    _run(_narrow, x.view(np.uint32), out)


def widen(x: Array, out: Array) -> None:
    """Write bits of bfloat16 to ``out``, dense float32."""
    _run(_widen, x, out.view(np.uint32))


def _run(make: Any, x: Array, out: Array) -> None:
    target = targets.target_for(6 * x.size)
    make(target)(x, out, threads.shares(target))


@functools.cache
def _narrow(target: str) -> Kernel:
    def narrow(x, out, shares):
        for share in prange(shares):
            for i in range(x.size * share // shares, x.size * (share + 1) // shares):
                bits = np.int64(x[i])
                rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
                out[i] = (bits >> 16) | 0x40 if (bits & 0x7FFFFFFF) > 0x7F800000 else rounded

    return _made(narrow, (WIDE, NARROW, types.int64), target)


@functools.cache
def _widen(target: str) -> Kernel:
    def widen(x, out, shares):
        for share in prange(shares):
            for i in range(x.size * share // shares, x.size * (share + 1) // shares):
                out[i] = np.int64(x[i]) << 16

    return _made(widen, (NARROW, WIDE, types.int64), target)


def _made(loop: Kernel, arguments: tuple[Any, ...], target: str) -> Kernel:
    made = compiled(loop, arguments, target)
    return threads.one_caller(made) if target == "parallel" else made
