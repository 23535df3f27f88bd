"""A scalar function for one dtype: its constants and callees take that dtype; widening is refused.

In numba's typing ``1 - b``, ``0.5 * x`` and ``x if x > 0 else 0`` on float32 compute in float64:
three times slower on a CPU, up to 64 times on a GPU. So a float32 kernel is made from a clone of
the function in which every float constant, its own, a module's or a callee's, is a float32; what
still widens is refused with the line that did it.
"""

from __future__ import annotations

import functools
import math
import types as python
from typing import Any

import numba
import numpy as np
from numba import types

from ... import elementary
from ..._rule import Compilable
from . import numba_private
from .cache import LIBRARIES, own_symbol
from .code import names_of, shown_line
from .primitives import INTRINSICS

# Options of the functions that a kernel is made of.
OPTIONS: dict[str, Any] = {"error_model": "numpy"}
if numba_private.parts():
    OPTIONS["pipeline_class"] = numba_private.parts()
# In a rule math.exp and np.exp mean gnumba's own, which vectorise.
OWN = {
    getattr(library, name): getattr(elementary, name)
    for library in (math, np)
    for name in elementary.__all__
    if hasattr(library, name)
}
# Whose functions stay what they are: each is compiled once a dtype for all that call it.
FIXED = (elementary.__name__, f"{elementary.__package__}.rules.")


def inlined() -> dict[str, Any]:
    """Options of a function that is inlined whatever its size: a loop with a call left in it is no SIMD."""
    return OPTIONS | (numba_private.inlining() or {})


class Specialized:
    """``fn`` compiled for ``dtype``: the dispatcher to call, and those of all its callees."""

    def __init__(self, fn: Any, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.made: dict[Any, Any] = {}
        self.dispatcher = self._clone(fn)

    @property
    def transcendental(self) -> bool:
        """Whether an elementary function is computed, which costs about as much as four arrays."""
        return elementary.horner in self.made

    def _function(self, fn: Any) -> Any:
        """The function to be called by this one."""
        if fn not in self.made and (fn.__module__ or "").startswith(FIXED):
            self.made |= shared(fn, self.dtype).made
        return self.made[fn] if fn in self.made else self._clone(fn)

    def _clone(self, fn: Any) -> Any:
        if fn in INTRINSICS:
            self.made[fn] = INTRINSICS[fn]
            return self.made[fn]
        code = fn.__code__
        used, names = names_of(code)
        scope = {k: self._value(fn.__globals__[k], names) for k in sorted(used & fn.__globals__.keys())}
        cells = tuple(python.CellType(self._value(c.cell_contents, names)) for c in fn.__closure__ or ())
        defaults = tuple(self._value(v, names) for v in fn.__defaults__ or ()) or None
        clone = python.FunctionType(self._code(code), scope, fn.__name__, defaults, cells or None)
        clone.__module__ = fn.__module__
        clone.__globals__["__name__"] = fn.__module__
        self.made[fn] = numba.njit(own_symbol(clone), **inlined())
        return self.made[fn]

    def _code(self, code: python.CodeType) -> python.CodeType:
        constants = tuple(
            self._code(k) if isinstance(k, python.CodeType) else self._constant(k) for k in code.co_consts
        )
        return code.replace(co_consts=constants)

    def _constant(self, value: Any) -> Any:
        """A float, a tuple or an array of floats, as this dtype; anything else as it is."""
        if isinstance(value, elementary.PerDtype) and self.dtype == np.float32:
            value = value.float32
        if isinstance(value, tuple):
            return tuple(self._constant(v) for v in value)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return value.astype(self.dtype)
        return self.dtype.type(value) if isinstance(value, (float, np.floating)) else value

    def _value(self, value: Any, names: set[str]) -> Any:
        """Specialised form of the value of a global name or of a closure's cell."""
        if isinstance(value, python.ModuleType):
            return self._module(value, names)
        if isinstance(value, Compilable):
            value = value._kernel.fn
        elif numba_private.is_dispatcher(value):
            value = value.py_func
        elif callable(value):
            value = OWN.get(value, value)
        if isinstance(value, python.FunctionType) and not _from_library(value):
            return self._function(value)
        return self._constant(value)

    def _module(self, module: python.ModuleType, names: set[str]) -> python.ModuleType:
        """A stand-in for ``module`` whose attributes that the code names are specialised."""
        made = self.made.setdefault(module, python.ModuleType(module.__name__))
        for name in sorted(names - vars(made).keys()):
            if not hasattr(module, name):
                continue
            value = getattr(module, name)
            if isinstance(value, python.ModuleType):  # before its parts, one of which may be this module
                setattr(made, name, self.made.setdefault(value, python.ModuleType(value.__name__)))
            setattr(made, name, self._value(value, names))
        return made


@functools.cache
def shared(fn: Any, dtype: np.dtype[Any]) -> Specialized:
    """The function for a dtype, compiled once for all that use it."""
    return Specialized(fn, dtype)


def _from_library(fn: python.FunctionType) -> bool:
    return (fn.__module__ or "").partition(".")[0] in LIBRARIES


def refuse_widening(title: str, specialized: Specialized) -> None:
    """Raise TypeError if a float32 rule, as compiled, computes anything in float64."""
    if specialized.dtype != np.float32:
        return
    found = [
        assigned
        for dispatcher in filter(numba_private.is_dispatcher, specialized.made.values())
        for assigned in numba_private.assignments(dispatcher, types.float64) or ()
    ]
    computed = [(each.file, each.line) for each in found if each.result == types.float64]
    if not computed:
        return
    born = [(each.file, each.line) for each in found if each.type == types.float64 and _is_born(each)]
    raise TypeError(
        f"{title} would compute in float64 for float32 arrays: {shown_line(*min(born or computed))}. "
        "Write number literals as floats (1.0 - b, not 1 - b; 0.0, not 0), and import constants by name"
    )


def _is_born(assigned: numba_private.Assignment) -> bool:
    """Whether a float64 comes from operands none of which is one."""
    return "float64" not in " ".join(map(str, assigned.operands()))
