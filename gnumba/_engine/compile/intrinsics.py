"""``numba.extending.intrinsic``, for intrinsics that the CPU's compiler and the GPU's both use, and LLVM."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba.extending
from llvmlite import ir

__all__ = ["declared", "intrinsic", "stack_slot"]


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


def declared(builder: Any, kind: Any, name: str) -> Any:
    """A function of the module that code is built in, declared if it is not yet."""
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def stack_slot(builder: Any, kind: Any) -> Any:
    """Memory on the function's stack, zeroed where the function begins."""
    with builder.goto_entry_block():
        slot = builder.alloca(kind)
        builder.store(kind(None), slot)
    return slot
