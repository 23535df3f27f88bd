"""Compiled kernels on disk, one file a kernel, named by the SHA-256 of everything it was made from.

Nothing is looked up by name and no time stamp is compared, so nothing can be stale: an edited rule
or callee, another constant, another version or CPU is another file. numba's own cache never hits
for a kernel that closes over compiled functions.

A cache is code. Its folder must belong to this user and be writable by nobody else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import secrets
import stat
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

from ..._rule import Compilable
from . import numba_private

LIBRARIES = ("math", "numpy", "numba", "llvmlite", "builtins", "operator")
VERSIONS = (sys.version_info[:3], np.__version__, numba.__version__, llvmlite.__version__)
SUFFIX = ".kernel"
UNREAD_FOR = 90 * 24 * 3600  # seconds after which a file that nobody read is deleted
LARGEST = 2**28  # bytes of all kernels together, some five thousand


class KernelCache:
    """The file of a dispatcher's compiled code: numba looks there before it compiles."""

    def __init__(self, dispatcher: Any) -> None:
        self._function = dispatcher.py_func
        self._made_from = fingerprint(dispatcher)
        self._compiled: tuple[Any, Any] | None = None
        self.hit = False
        numba_private.ask(self, dispatcher)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Read the code; None if it is not there."""
        body = read(self._path(signature, context.codegen()))
        result = None if body is None else numba_private.restored(context, body)
        self.hit = result is not None
        return result

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write nothing yet: a kernel is stored by `save`, once the engine has approved of it."""
        self._compiled = signature, result

    def save(self) -> None:
        """Write the code, if it can be told from that of other processes."""
        if self._compiled is None:
            numba_private.disk.fail("numba does not hand over what it compiles")
            return
        signature, result = self._compiled
        path, body = self._path(signature, result.library.codegen), numba_private.stored(result)
        if path and body and numba_private.is_in_symbol(result, token_of(self._function)):
            write(path, body)

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        machine = numba_private.machine(codegen)
        return machine and path_of(self._function.__name__, self._made_from, *machine, str(signature))


def path_of(name: str, *made_from: Any) -> Path | None:
    """The file of a kernel made from these and from this Python, NumPy and numba; None without a folder."""
    home = folder()
    digest = hashlib.sha256(repr((VERSIONS, made_from)).encode()).hexdigest()[:32]
    return home and home / f"{name}-{digest}{SUFFIX}"


def read(path: Path | None) -> bytes | None:
    """Read a kernel from its file; None if the file is missing or damaged."""
    try:
        data = path.read_bytes() if path else b""
    except OSError:
        return None
    if len(data) < 32 or hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    return data[32:]


def write(path: Path, body: bytes) -> None:
    """Keep a kernel, if the disk allows: whole or not at all."""
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
        _sweep_out(path.parent)


def own_symbol(fn: Any) -> Any:
    """The function under a qualified name that no other function of any process has.

    numba makes a compiled function's symbol of its qualified name, its argument types, which here
    are addresses for every dtype, and a counter that each process starts anew. Loaded from the
    disk, kernels of several processes meet, and of two equal symbols the linker takes either.
    """
    fn.__qualname__ = f"{fn.__qualname__}_{secrets.token_hex(8)}"
    return fn


def token_of(fn: Any) -> str:
    """The part of a qualified name that no other function has: it has no signs that symbols replace."""
    return str(fn.__qualname__.rpartition("_")[2])


def folder() -> Path | None:
    """Where kernels are kept: the first of these that is this user's own and writable, or None.

    ``$GNUMBA_CACHE_DIR``, the user's cache (``$XDG_CACHE_HOME`` or ``~/.cache``), a folder of the user's
    in the one for temporary files. Not beside the code: what is there would outlive an uninstallation.
    """
    return _first_usable(os.environ.get("GNUMBA_CACHE_DIR", ""), os.environ.get("XDG_CACHE_HOME", ""))


@functools.cache
def _first_usable(chosen: str, users: str) -> Path | None:
    refusal = _refusal(Path(chosen)) if chosen else None
    if chosen and not refusal:
        return Path(chosen)
    found = next((path for path in _default_folders(users) if not _refusal(path)), None)
    if refusal:
        used = f"They are kept in {str(found)!r}" if found else "They are not kept"
        warnings.warn(
            f"GNUMBA_CACHE_DIR is {chosen!r}, where compiled kernels cannot be kept: {refusal}. {used}",
            RuntimeWarning,
            stacklevel=2,
        )
    return found


def _default_folders(users: str) -> Iterator[Path]:
    """The user's cache and, where there is no home or it cannot be written, the temporary folder."""
    with contextlib.suppress(RuntimeError):  # neither HOME nor an entry among the system's users
        yield Path(users or Path("~/.cache").expanduser()) / "gnumba"
    with contextlib.suppress(OSError):  # no folder for temporary files either
        user = os.getuid() if hasattr(os, "getuid") else "user"
        yield Path(tempfile.gettempdir()) / f"gnumba-{user}"


def _refusal(path: Path) -> str | None:
    """Why kernels cannot be kept in a folder, which is made if it is not there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        return f"{error.strerror or error}"
    return None if _is_private(path) else "others own it or may write there, and a cache is code"


def _is_private(path: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _sweep_out(home: Path) -> None:
    """Delete what nobody has read for a long time, and what killed writers left; then the longest unread,
    until the rest is no larger than it may be."""
    files = []
    for path in home.iterdir():
        if path.suffix in (SUFFIX, ".tmp"):
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    before, left = time.time() - UNREAD_FOR, sum(size for _, size, _ in files)
    for read_at, size, path in sorted(files):
        if read_at >= before and left <= LARGEST:
            break
        left -= size
        with contextlib.suppress(OSError):
            path.unlink()


class UnknownPartError(TypeError):
    """A function uses something that no machine code can be made of and named after."""

    def __init__(self, part: Any) -> None:
        super().__init__(f"cannot tell what {part!r} is made of")
        self.part = part


def fingerprint(root: Any) -> str:
    """SHA-256 of code, constants, defaults, closure cells and named globals, callees included.

    File names and line numbers are left out, so that a comment costs nothing. Something unknown
    is an UnknownPartError, not a guess.
    """
    digest = hashlib.sha256()
    seen: dict[int, int] = {}
    keep: list[Any] = []  # ids in `seen` stay taken while it is in use

    def put(*parts: Any) -> None:
        digest.update(repr(parts).encode() + b"\0")

    def value(v: Any) -> None:
        if isinstance(v, types.CodeType):
            put(v.co_code, v.co_varnames, v.co_names, v.co_freevars, v.co_flags, v.co_exceptiontable)
            put(len(v.co_consts))
            for constant in v.co_consts:
                value(constant)
        elif isinstance(v, (tuple, list, frozenset)):
            put(type(v).__name__, len(v))
            for item in sorted(v, key=repr) if isinstance(v, frozenset) else v:
                value(item)
        elif isinstance(v, float) and not isinstance(v, np.generic):
            put("float", v.hex())
        elif isinstance(v, np.ndarray):
            put("array", v.dtype.str, v.shape, v.tobytes())
        elif v is None or isinstance(v, (bool, int, complex, str, bytes, np.generic, np.dtype)):
            put(type(v).__name__, v)
        elif id(v) in seen:
            put("seen", seen[id(v)])
        else:
            seen[id(v)] = len(seen)
            keep.append(v)
            thing(v)

    def thing(v: Any) -> None:
        definition = numba_private.definition_of(v)
        if isinstance(v, Compilable):
            value(v._kernel.fn)  # a rule or an activation in another
        elif numba_private.is_dispatcher(v):
            put("njit", numba_private.options_of(v))
            value(v.py_func)
        elif definition is not None:
            put("intrinsic")
            value(inspect.unwrap(definition))
        elif isinstance(v, types.ModuleType):
            put("module", v.__name__)
        elif isinstance(v, types.FunctionType) and _package(v) not in LIBRARIES:
            function(v)
        elif _package(v) in LIBRARIES or _package(type(v)) in LIBRARIES:
            nameless = type(v).__qualname__ if " at 0x" in repr(v) else repr(v)
            put("named", getattr(v, "__module__", ""), getattr(v, "__qualname__", nameless))
        else:
            raise UnknownPartError(v)

    def function(v: types.FunctionType) -> None:
        put("function", v.__name__)
        value(v.__code__)
        value(v.__defaults__)
        value(tuple(sorted((v.__kwdefaults__ or {}).items())))
        for cell in v.__closure__ or ():
            value(cell.cell_contents)
        names = sorted(_names(v.__code__))
        for name in (n for n in names if n in v.__globals__):
            put(name)
            attribute_of(v.__globals__[name], names, ())

    def attribute_of(v: Any, names: list[str], path: tuple[Any, ...]) -> None:
        """A value; of a module, what the code may name of it (`helpers.decay`), modules inside too."""
        value(v)
        if isinstance(v, types.ModuleType) and v not in path:
            for name in (n for n in names if hasattr(v, n)):
                put(name)
                attribute_of(getattr(v, name), names, (*path, v))

    value(root)
    return digest.hexdigest()


def _package(v: Any) -> str:
    return (getattr(v, "__module__", None) or "").partition(".")[0]


def _names(code: types.CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))
