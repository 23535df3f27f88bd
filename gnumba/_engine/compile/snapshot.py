"""A user's function as it is now: frozen with its globals, closure cells, defaults and helpers.

In a notebook a global or a helper is redefined and the rule that uses it stays the object it was. So
what is compiled is a clone that shares nothing which can be rebound, and before each new use a look
at the names that the clone was made of says whether it still is the function.
"""

from __future__ import annotations

import builtins
import functools
import types
from typing import Any

import numpy as np

from ... import elementary
from ..._rule import Compilable
from ..._suggest import nearest
from . import cache, code

MISSING = object()
LIBRARIES = (*cache.LIBRARIES, __name__.partition(".")[0])  # nobody redefines these


def current(thing: Compilable) -> Any:
    """The rule or activation to compile: a built-in one itself, a user's as its parts are by now.

    As long as no part has changed it is one object, so kernels are found again; a part that is
    redefined as it was before leads back to the object there was.
    """
    if thing._built_in:
        return thing
    latest = thing._latest
    if latest is None or not latest[0].is_current():
        snapshot = Snapshot(thing._title, thing._parts)
        made_from = snapshot.fingerprint()
        if made_from not in thing._versions:
            thing._versions[made_from] = thing._of(*snapshot.functions)
        latest = thing._latest = snapshot, thing._versions[made_from]
    return latest[1]


class Snapshot:
    """Clones of functions, and what they were made of.

    A TypeError says what in them no kernel can be made of, as far as can be seen before compiling.
    """

    def __init__(self, title: str, functions: tuple[types.FunctionType, ...]) -> None:
        self._title = title
        self._clones: dict[Any, Any] = {}
        self._open: set[types.FunctionType] = set()  # being cloned
        self._names: list[tuple[dict[str, Any], str, Any]] = []  # (namespace, name, what it stood for)
        self._cells: list[tuple[types.CellType, Any]] = []
        self._code: list[tuple[types.FunctionType, Any, Any, Any]] = []
        self._arrays: list[tuple[np.ndarray, bytes]] = []
        self.functions = tuple(fn if is_library(fn) else self._function(fn) for fn in functions)

    def is_current(self) -> bool:
        """Whether every name, cell, default and line of code is the object that it was."""
        for namespace, name, value in self._names:
            if namespace.get(name, MISSING) is not value:
                return False
        for function, compiled, defaults, by_name in self._code:
            if (
                function.__code__ is not compiled
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not by_name
            ):
                return False
        for cell, value in self._cells:
            if _contents(cell) is not value:
                return False
        return all(array.tobytes() == values for array, values in self._arrays)

    def fingerprint(self) -> Any:
        """A name for what the clones compute."""
        try:
            return tuple(map(cache.fingerprint, self.functions))
        except cache.UnknownPartError as error:
            reason = f"uses {error.part!r}, expected numbers, arrays, functions and modules"
            raise self._refused(self.functions[0], reason) from None

    def _function(self, fn: types.FunctionType) -> types.FunctionType:
        if fn in self._open:
            raise self._refused(fn, f"calls itself in {fn.__name__!r}, which no kernel can do")
        if fn in self._clones:
            return self._clones[fn]
        self._open.add(fn)
        self._check(fn)
        attributes = code.names_of(fn.__code__)[1]
        defaults, by_name = fn.__defaults__, fn.__kwdefaults__
        self._code.append((fn, fn.__code__, defaults, by_name))
        scope = {"__name__": fn.__module__, "__builtins__": builtins, **self._globals(fn, attributes)}
        cells = tuple(types.CellType(self._value(v, attributes)) for v in self._closure(fn))
        clone = types.FunctionType(fn.__code__, scope, fn.__name__, None, cells or None)
        clone.__module__, clone.__qualname__, clone.__doc__ = fn.__module__, fn.__qualname__, fn.__doc__
        clone.__defaults__ = defaults and tuple(self._value(v, attributes) for v in defaults)
        clone.__kwdefaults__ = by_name and {k: self._value(v, attributes) for k, v in by_name.items()}
        self._open.remove(fn)
        self._clones[fn] = clone
        return clone

    def _globals(self, fn: types.FunctionType, attributes: set[str]) -> dict[str, Any]:
        """Frozen values of the global names that the function uses."""
        found = {name: fn.__globals__.get(name, MISSING) for name in code.names_of(fn.__code__)[0]}
        line = functools.partial(code.line_of, fn.__code__)
        self._names.extend((fn.__globals__, name, value) for name, value in found.items())
        for name, value in found.items():
            if value is MISSING and not code.is_builtin(name):
                ours = [f"{elementary.__name__}.{each}" for each in elementary.__all__]
                near = nearest(name, [*fn.__code__.co_varnames, *ours, *fn.__globals__])
                raise self._refused(fn, f"uses the name {name!r}, which is not defined{near}", line(name))
        if found.get("print") is MISSING:
            shown = f"prints; to look at values call it as plain Python, {fn.__name__}(...) of numbers"
            raise self._refused(fn, shown, line("print"))
        return {k: self._value(v, attributes) for k, v in sorted(found.items()) if v is not MISSING}

    def _closure(self, fn: types.FunctionType) -> list[Any]:
        """Contents of the function's closure cells."""
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            self._cells.append((cell, _contents(cell)))
            if _contents(cell) is MISSING:
                raise self._refused(fn, f"uses {name!r} of an outer function, which has no value yet")
        return [cell.cell_contents for cell in fn.__closure__ or ()]

    def _check(self, fn: types.FunctionType) -> None:
        if (found := code.refusal(fn.__code__)) is not None:
            raise self._refused(fn, *found)

    def _refused(self, fn: types.FunctionType, reason: str, line: int = 0) -> TypeError:
        shown = code.shown_line(fn.__code__.co_filename, line or fn.__code__.co_firstlineno)
        return TypeError(f"{self._title} {reason} ({shown})")

    def _value(self, value: Any, attributes: set[str]) -> Any:
        if isinstance(value, types.ModuleType):
            return self._module(value, attributes)
        if isinstance(value, np.ndarray):
            self._arrays.append((value, value.tobytes()))
            return value.copy()
        if type(value) is tuple:
            return tuple(self._value(v, attributes) for v in value)
        fn = python_function(value)
        if fn is None:
            return value
        return fn if is_library(fn) else self._function(fn)

    def _module(self, module: types.ModuleType, attributes: set[str]) -> types.ModuleType:
        """A stand-in for a user's module with those of its attributes that the code may name."""
        if module.__name__.partition(".")[0] in LIBRARIES:
            return module
        clone = self._clones.setdefault(module, types.ModuleType(module.__name__))
        for name in sorted(attributes - vars(clone).keys()):
            value = getattr(module, name, MISSING)
            self._names.append((vars(module), name, vars(module).get(name, MISSING)))
            if isinstance(value, types.ModuleType):  # before its parts, one of which may be this module
                setattr(clone, name, self._clones.setdefault(value, types.ModuleType(value.__name__)))
            if value is not MISSING:
                setattr(clone, name, self._value(value, attributes))
        return clone


def python_function(value: Any) -> types.FunctionType | None:
    """The Python function that a rule, an activation or a dispatcher was made of, or that it is."""
    value = getattr(value, "py_func", value._kernel.fn if isinstance(value, Compilable) else value)
    return value if isinstance(value, types.FunctionType) else None


def is_library(fn: Any) -> bool:
    return (fn.__module__ or "").partition(".")[0] in LIBRARIES


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return MISSING
