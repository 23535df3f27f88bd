"""``numba.extending.intrinsic``, for intrinsics that the CPU's compiler and the GPU's both use."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba.extending

__all__ = ["intrinsic"]


def intrinsic(definition: Callable[..., Any]) -> Any:
    """numba's, with one generator for one signature, whichever compiler asks.

    numba before 0.67 remembers the generator it was given last and looks for it among those of the
    compiler at hand: with a generator a compiler, whoever came first would no longer find its own.
    """
    generators: dict[Any, Any] = {}

    @functools.wraps(definition)
    def typed(typing: Any, *arguments: Any) -> Any:
        signature, generate = definition(typing, *arguments)
        return signature, generators.setdefault(signature, generate)

    return numba.extending.intrinsic(typed)
