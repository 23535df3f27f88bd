"""A scalar function as ``numba.vectorize`` ufuncs: the general path for any strides and broadcasting.

For "cuda" they are a face for code that has ufuncs already: numba copies each number to the device, waits
for each foreign array and works on its own stream. Sweeps do none of that.
"""

from __future__ import annotations

import collections
import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from .._rule import Elementwise, Rule
from . import driver, host
from .host import checked_target, specialized
from .specialize import OPTIONS, refuse_widening

TARGETS = (*host.TARGETS, "cuda")


def ufunc(function: Elementwise, target: str, output: int = 0) -> Any:
    """One output of the function as a ``numba.vectorize`` ufunc for float32 and float64."""
    if checked_target(target, TARGETS) == "cuda":
        driver.get()  # or what is missing, in words
    return _ufunc(function, target, output)


@functools.cache
def _ufunc(function: Elementwise, target: str, output: int) -> Any:
    def by_dtype(*arguments):
        """Stands for the specialised function in compiled code."""

    @overload(by_dtype, jit_options=OPTIONS)
    def choose(*arguments):
        inner = specialized(function, np.dtype(arguments[0].name)).dispatcher
        return lambda *arguments: inner(*arguments)

    # numba.vectorize counts the operands of a signature, so there has to be one.
    names = ", ".join(function.reads + function.scalars)
    result = f"[{output}]" if len(function.writes) > 1 else ""
    scope: dict[str, Any] = {"by_dtype": by_dtype}
    exec(f"def {function.name}({names}):\n    return by_dtype({names}){result}", scope)
    count = len(function.reads) + len(function.scalars)
    signatures = [kind(*(kind,) * count) for kind in (types.float32, types.float64)]
    made = numba.vectorize(signatures, target=target)(scope[function.name])
    refuse_widening(function.name, specialized(function, np.dtype("float32")))
    return made


@functools.cache
def ufuncs(rule: Rule, target: str) -> Any:
    """Every output of an update rule as a ufunc: a named tuple ``(p, *state)``."""
    outputs: Any = collections.namedtuple(rule.name, rule.writes)  # type: ignore[misc]
    return outputs(*(ufunc(rule, target, k) for k in range(len(rule.writes))))
