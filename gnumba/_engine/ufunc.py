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
from .snapshot import current
from .specialize import OPTIONS, refuse_widening

TARGETS = (*host.TARGETS, "cuda")
DTYPES = (np.dtype("float32"), np.dtype("float64"))


def ufunc(function: Elementwise, target: str, output: int = 0) -> Any:
    """One output of the function as a ``numba.vectorize`` ufunc for float32 and float64."""
    if checked_target(target, TARGETS) == "cuda":
        driver.get()  # or what is missing, in words
    return _ufunc(current(function), target, output)


@functools.cache
def _ufunc(function: Elementwise, target: str, output: int) -> Any:
    def by_dtype(*arguments):
        """Stands for the specialised function in compiled code."""

    @overload(by_dtype, jit_options=OPTIONS)
    def choose(*arguments):
        inner = specialized(function, np.dtype(arguments[0].name)).dispatcher
        return lambda *arguments: inner(*arguments)

    # numba.vectorize counts the operands of a signature, so there has to be one.
    count = len(function.reads) + len(function.scalars)
    names = ", ".join(f"a{k}" for k in range(count))
    result = f"[{output}]" if len(function.writes) > 1 else ""
    scope: dict[str, Any] = {"by_dtype": by_dtype}
    exec(f"def {function.symbol}({names}):\n    return by_dtype({names}){result}", scope)
    signatures = [kind(*(kind,) * count) for kind in (types.float32, types.float64)]
    with host.explaining(function, *DTYPES):
        made = numba.vectorize(signatures, target=target)(scope[function.symbol])
    refuse_widening(function.title, specialized(function, DTYPES[0]))
    return made


def ufuncs(rule: Rule, target: str) -> Any:
    """Every output of an update rule as a ufunc: a named tuple ``(p, *state)``."""
    outputs: Any = collections.namedtuple(rule.symbol, rule.writes, rename=True)  # type: ignore[misc]
    return outputs(*(ufunc(rule, target, k) for k in range(len(rule.writes))))
