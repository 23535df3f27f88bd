"""Python functions as bytecode: the names they look up, what no kernel can do, lines to show."""

from __future__ import annotations

import builtins
import dis
import inspect
import linecache
import types
from collections.abc import Iterator
from typing import Any

# What a loop over an array has no place for: it cannot stop halfway, and computes numbers only.
REFUSED = {
    "RAISE_VARARGS": "raises an exception, and a loop that stops halfway leaves half an array changed",
    "PUSH_EXC_INFO": "has a try or with statement, which no kernel can run",
    "IMPORT_NAME": "imports a module when it is called: import it at the top of the file",
    "STORE_GLOBAL": "assigns a global name, which no kernel can do",
    "STORE_ATTR": "assigns an attribute, which no kernel can do",
}
DELAYED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def names_of(code: types.CodeType) -> tuple[set[str], set[str]]:
    """The global names that code, and code in it, looks up; and the names of attributes."""
    used: set[str] = set()
    attributes: set[str] = set()
    for instruction in _instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            used.add(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes.add(instruction.argval)
    return used, attributes


def refusal(code: types.CodeType) -> tuple[str, int] | None:
    """Why no kernel can be made of the code, and the line; None if nothing is seen that speaks against it."""
    if code.co_flags & DELAYED:
        return "is a generator or a coroutine, expected one that returns numbers", code.co_firstlineno
    for instruction in _instructions(code):
        if instruction.opname in REFUSED:
            return REFUSED[instruction.opname], _line(code, instruction)
    return None


def line_of(code: types.CodeType, name: str) -> int:
    """The line on which code first uses a global name or an attribute of that name."""
    return next((_line(code, i) for i in _instructions(code) if i.argval == name), code.co_firstlineno)


def shown_line(file: str, line: int) -> str:
    """A line of a user's file for an error message, with its text where that is known."""
    text = linecache.getline(file, line).strip()
    return f"{file}, line {line}" + (f": {text!r}" if text else "")


def is_builtin(name: str) -> bool:
    return hasattr(builtins, name)


def _line(code: types.CodeType, instruction: Any) -> int:
    return int((instruction.positions and instruction.positions.lineno) or code.co_firstlineno)


def _instructions(code: types.CodeType) -> Iterator[Any]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)
