"""A compiler's refusal of a user's function as one sentence with the line of the user's file.

An error's ``msg`` and ``loc`` are numba's: without them a sentence has all of its text, and the function's
first line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import numba
from numba import types

from ..._rule import Elementwise
from ..._suggest import nearest
from . import numba_private
from .code import line_of, shown_line
from .specialize import Specialized

OURS = __name__.partition(".")[0]
PIPELINE = re.compile(r"\x1b\[[0-9;]*m|^(Failed in \w+ mode pipeline.*\n)+", re.MULTILINE)
END = re.compile(r"\s*(\n\s*File |\nThere are |\nDuring|\nReturn of|\n\s*- |Raised from|$)", re.DOTALL)
SPECIFIC = re.compile(r"raised a specific error:\s*(?:\w+Error: )(.+)")  # last: of the types as they are
NO_SUCH = re.compile(r"No implementation of function .* found for signature: (.*)", re.DOTALL)


def check(function: Elementwise, specialized: Specialized) -> None:
    """Compile the scalar function alone; TypeError if that fails or it does not return its outputs.

    The error that numba gave for the innermost function at fault is the cause.
    """
    try:
        result = _result(function, specialized)
    except Exception:
        _refuse(function, specialized.dtype)
        raise
    if result is not None and not _is_made_of(result, len(function.writes)):
        raise TypeError(_returned(function, specialized.dispatcher.py_func, result)) from None


def _refuse(function: Elementwise, dtype: Any) -> None:
    """Compile it anew, as dispatchers remember failures but not of what, and say what fails."""
    specialized, failures = Specialized(function.fn, dtype), _Failures()
    try:
        with numba_private.watching(failures.ended):
            _result(function, specialized)
    except Exception as error:
        sentence, cause = _explained(function, failures.first, error, specialized)
        raise TypeError(sentence) from cause


def _result(function: Elementwise, specialized: Specialized) -> Any:
    """The type that the function returns for elements and scalars of its dtype; None if it is not known."""
    kind, dispatcher = numba.from_dtype(specialized.dtype), specialized.dispatcher
    elements = (kind,) * (len(function.reads) + len(function.scalars))
    return numba_private.return_type(dispatcher, (types.int64,) * function.indexed + elements)


class _Failures:
    """The first compilation that failed, of those within one another the innermost."""

    def __init__(self) -> None:
        self.first: tuple[Any, Exception] | None = None

    def ended(self, dispatcher: Any, error: Exception | None) -> None:
        if error is None:
            if self.first and self.first[0] is dispatcher:  # tried again with other types
                self.first = None
        elif self.first is None:
            self.first = dispatcher, error


def _explained(
    function: Elementwise, failure: tuple[Any, Exception] | None, error: Exception, specialized: Specialized
) -> tuple[str, Exception]:
    fn = specialized.dispatcher.py_func
    if failure is not None:
        fn, error = failure[0].py_func, failure[1]
    if _is_ours(fn):  # it was handed something that no derivative should return
        for user, result in _results(specialized):
            if not _is_made_of(result, 1):
                return _returned(function, user, result), _alone(error)
    file, line = fn.__code__.co_filename, fn.__code__.co_firstlineno
    loc = getattr(error, "loc", None)
    if loc is not None and loc.filename == file:
        line = loc.line
    elif isinstance(error, AttributeError):
        line = line_of(fn.__code__, str(error.name))
    return f"{function.title} cannot be compiled: {_reason(error)} ({shown_line(file, line)})", _alone(error)


def _reason(error: Exception) -> str:
    """The line of numba's message that says why."""
    if isinstance(error, AttributeError):  # of the stand-in for a module
        module = sys.modules.get(getattr(error.obj, "__name__", ""))
        return f"{error}{nearest(str(error.name), dir(module))}"
    text = PIPELINE.sub("", str(getattr(error, "msg", None) or error)).strip()
    specific = SPECIFIC.findall(text)
    text = " ".join(END.split(text, maxsplit=1)[0].replace(">>>", "").split())
    if found := NO_SUCH.match(text):
        text = specific[-1] if specific else f"there is no {found[1]}"
    return (text or type(error).__name__).rstrip(".:")


def _alone(error: Exception) -> Exception:
    """The error without numba's frames and the errors that it came of."""
    error.__cause__, error.__suppress_context__ = None, True
    return error.with_traceback(None)


def _results(specialized: Specialized) -> Iterator[tuple[Any, Any]]:
    """The user's functions that were compiled, the outermost first, and what each returns."""
    for dispatcher in reversed(specialized.made.values()):
        if hasattr(dispatcher, "py_func") and not _is_ours(dispatcher.py_func):
            for signature in dispatcher.nopython_signatures:
                yield dispatcher.py_func, signature.return_type


def _returned(function: Elementwise, fn: Any, result: Any) -> str:
    count, expected = len(result) if isinstance(result, types.BaseTuple) else 1, len(function.writes)
    values = f"{expected} {'numbers' if expected > 1 else 'number'}: {', '.join(function.writes)}"
    given = f"{count} values" if count != expected else "None" if result == types.none else f"a {result}"
    return (
        f"{function.title} returns {given}, expected {values} "
        f"({shown_line(fn.__code__.co_filename, fn.__code__.co_firstlineno)})"
    )


def _is_made_of(result: Any, count: int) -> bool:
    """Whether a type is that of so many real numbers."""
    parts = tuple(result) if isinstance(result, types.BaseTuple) else (result,)
    return len(parts) == count and all(
        isinstance(p, (types.Float, types.Integer, types.Boolean)) for p in parts
    )


def _is_ours(fn: Any) -> bool:
    return (fn.__module__ or "").partition(".")[0] == OURS
