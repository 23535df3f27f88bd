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

from ..._rule import Compilable, Elementwise, Rule
from .. import threads
from . import kernel, numba_private
from .kernel import checked_target, specialized
from .snapshot import current
from .specialize import OPTIONS, refuse_widening

TARGETS = (*kernel.TARGETS, "cuda")
DTYPES = (np.dtype("float32"), np.dtype("float64"))


def ufunc(made: Compilable, target: str, output: int = 0) -> Any:
    """One output of a rule or an activation as a ``numba.vectorize`` ufunc for float32 and float64."""
    if checked_target(target, TARGETS) == "cuda":
        from ..cuda import driver

        driver.get()  # or what is missing, in words
    kernel.check_compiler()
    return _ufunc(current(made)._kernel, threads.usable(target), output)


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
    with kernel.explaining(function, *DTYPES):
        made = numba.vectorize(signatures, target=target)(scope[function.symbol])
    refuse_widening(function.title, specialized(function, DTYPES[0]))
    return made if target == "cuda" else quiet(made)


class QuietDUFunc(numba_private.ufunc_class() or object):  # type: ignore[misc]
    """A ufunc of numba's that warns of no number: nan in, nan out, inf where a result is too large.

    NumPy warns of what the processor's flags say after a loop, and SIMD raises them for what is none of
    the result: it compares nan, and computes both branches of a conditional.
    """

    def __call__(self, *args, **named):
        with np.errstate(all="ignore"):
            return super().__call__(*args, **named)


class QuietUfunc:
    """A quiet ``numpy.ufunc``, with all its attributes and methods."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc, self.__name__, self.__doc__ = ufunc, ufunc.__name__, ufunc.__doc__

    def __call__(self, *args: Any, **named: Any) -> Any:
        with np.errstate(all="ignore"):
            return self._ufunc(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ufunc, name)

    def __repr__(self) -> str:
        return repr(self._ufunc)


def quiet(made: Any) -> Any:
    """A ufunc for the host that does not warn."""
    kind = numba_private.ufunc_class()
    if kind is None or not isinstance(made, kind):
        return QuietUfunc(made)
    made.__class__ = QuietDUFunc
    return made


def ufuncs(rule: Rule, target: str) -> Any:
    """Every output of an update rule as a ufunc: a named tuple ``(p, *state)``."""
    function = rule._kernel
    outputs: Any = collections.namedtuple(function.symbol, function.writes, rename=True)  # type: ignore[misc]
    return outputs(*(ufunc(rule, target, k) for k in range(len(function.writes))))
