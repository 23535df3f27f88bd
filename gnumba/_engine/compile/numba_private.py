"""numba's private names, all that gnumba uses, and for each a way to work without it.

A private name may change with any release. So all are in this file, behind functions named for what they
do. A `Feature` looks for the names when they are first needed; where they are gone, or fail in use, gnumba
does without, and ``gn.info()["numba"]`` says what that costs.

The rest of numba that gnumba uses is documented: ``njit``, ``vectorize``, ``types``, ``from_dtype``,
``config``, ``extending``; a dispatcher's ``py_func``, ``compile``, ``nopython_signatures``, ``inspect_llvm``
and ``inspect_asm``; for intrinsics a context's ``make_tuple``, ``make_array``, ``cast``, ``get_dummy_value``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import inspect
import pickle
import secrets
from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import numba

TypingError: type[Exception] = getattr(numba, "TypingError", TypeError)  # what intrinsics refuse types with


class Feature:
    """Something that numba does under private names: called, it gives these, or None without them."""

    def __init__(self, find: Callable[[], Any], cost: str) -> None:
        self.find, self.cost, self.lack = find, cost, ""
        self._found: Any = None

    def __call__(self) -> Any:
        if self._found is None and not self.lack:
            try:
                self._found = self.find()
            except Exception as error:
                self.fail(error)
        return self._found

    def fail(self, reason: Exception | str) -> None:
        """Do without it from here on; the first reason is kept."""
        self._found = None
        self.lack = self.lack or (reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}")

    def use(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Make a function that takes the names first return None without them, or where they fail."""

        @functools.wraps(fn)
        def call(*arguments: Any) -> Any:
            names = self()
            try:
                return None if names is None else fn(names, *arguments)
            except Exception as error:
                self.fail(error)
                return None

        return call


FEATURES: dict[str, Feature] = {}


def feature(cost: str) -> Callable[[Callable[[], Any]], Feature]:
    """Make a `Feature` of the function that finds its names; ``cost`` is what is lost without it."""

    def made(find: Callable[[], Any]) -> Feature:
        return FEATURES.setdefault(find.__name__, Feature(find, cost))

    return made


def missing() -> dict[str, str]:
    """Features that this numba lacks, with the cost of each and the reason; all of them are looked for."""
    return {name: f"{each.cost} ({each.lack})" for name, each in FEATURES.items() if each() is None}


@functools.cache
def _sample() -> Any:
    """A dispatcher to look at."""
    return numba.njit(lambda: None)


def _having(thing: Any, *names: str) -> Any:
    """The thing itself; AttributeError if it lacks one of these attributes."""
    for name in names:
        getattr(thing, name)
    return thing


# Machine code on disk.


@feature("no kernel is kept on disk: each process compiles what it uses, half a second for a first step")
def disk() -> Any:
    from numba.core.compiler import CompileResult
    from numba.core.runtime import rtsys
    from numba.core.serialize import dumps

    _having(_sample(), "_cache", "targetoptions")
    _having(CompileResult, "_reduce", "_rebuild", "library", "fndesc")
    return SimpleNamespace(dumps=dumps, rebuild=CompileResult._rebuild, start=rtsys.initialize)


@disk.use
def ask(_: Any, store: Any, dispatcher: Any) -> None:
    """Make numba ask ``store.load_overload(signature, context)`` for code before it compiles any.

    The code that it compiles it hands to ``store.save_overload(signature, result)``.
    """
    dispatcher._cache = store


@disk.use
def machine(_: Any, codegen: Any) -> Any:
    """The processor and the optimization that code is made for."""
    return codegen.magic_tuple(), numba.config.OPT


@disk.use
def stored(names: Any, result: Any) -> Any:
    """Compiled code as bytes; None if it holds addresses of this process."""
    return None if result.library.has_dynamic_globals else names.dumps(result._reduce())


@disk.use
def restored(names: Any, context: Any, body: bytes) -> Any:
    """The compiled code that `stored` made bytes of; None if a module or a name in it has moved since."""
    try:
        parts = pickle.loads(body)
    except (ImportError, AttributeError):
        return None
    # Not numba's refresh(), which imports its whole library: 60 ms that machine code needs none of.
    names.start(context)
    return names.rebuild(context, *parts)


def is_dispatcher(value: Any) -> bool:
    return callable(value) and isinstance(getattr(value, "py_func", None), FunctionType)


def options_of(dispatcher: Any) -> Any:
    """The options that a dispatcher was made with; unknown, they are like no other's."""
    options = getattr(dispatcher, "targetoptions", None)
    if options is None:
        return secrets.token_hex(8)
    return sorted((name, repr(value)) for name, value in options.items())


def definition_of(value: Any) -> Any:
    """The Python function of an intrinsic, None for anything else; unknown, it is like no other's."""
    if type(value) is not _intrinsics():
        return None
    return getattr(value, "_defn", None) or secrets.token_hex(8)


@functools.cache
def _intrinsics() -> Any:
    return type(numba.extending.intrinsic(lambda typing: None))


# Names that no two processes give.


@feature("no kernel is kept on disk, as kernels of several processes could take each other's functions")
def symbols() -> Any:
    from numba.core.funcdesc import FunctionDescriptor

    return _having(FunctionDescriptor, "mangled_name")


@symbols.use
def is_in_symbol(_: Any, result: Any, token: str) -> bool:
    """Whether compiled code has this part of its function's qualified name in its symbol."""
    if token not in result.fndesc.mangled_name:
        raise LookupError("numba does not make a symbol of the qualified name")
    return True


@feature("kernels for all cores are not kept on disk: each process compiles those that it uses")
def parallel_loops() -> Any:
    from numba.core.compiler_lock import global_compiler_lock
    from numba.parfors.parfor import Parfor

    return SimpleNamespace(lock=global_compiler_lock, Loop=Parfor)


@contextlib.contextmanager
def loops_named_apart() -> Iterator[list[Any]]:
    """Name the parallel loops that this thread compiles as no other process does: gives those named.

    numba names them by their hash, an address where nothing else is said. While another one is said no
    other thread compiles, so other code's loops keep theirs.
    """
    found, named = parallel_loops(), list[Any]()
    if found is None:
        yield named
        return

    def token(loop: Any) -> int:
        named.append(loop)
        return id(loop) ^ _PROCESS

    with found.lock:
        before = vars(found.Loop).get("__hash__")
        found.Loop.__hash__ = token
        try:
            yield named
        finally:
            if before is None:
                del found.Loop.__hash__
            else:
                found.Loop.__hash__ = before


_PROCESS = secrets.randbits(60)


# How kernels are compiled.


@feature("every function of a kernel is optimized by itself too: compiling takes three times as long")
def parts() -> Any:
    """A compiler for the functions that kernels are made of.

    numba optimizes every function that it compiles, makes wrappers for Python and C, and machine code,
    although whoever calls it links its LLVM code and does all that again: two thirds of the time that a
    kernel takes. A part is lowered to LLVM and simplified a little (without which some loops of the kernel
    come out 10 % slower); the kernel that it is linked into is optimized whole.
    """
    from numba._dynfunc import make_function
    from numba.core import compiler
    from numba.core.codegen import JITCodeLibrary
    from numba.core.cpu import CPUContext

    # The address of a C function that raises an error, whatever it is called with.
    not_callable = ctypes.cast(ctypes.pythonapi.PyErr_NoMemory, ctypes.c_void_p).value

    class PartLibrary(JITCodeLibrary):
        """LLVM code to be linked into other libraries: each function simplified, nothing inlined."""

        def _optimize_final_module(self) -> None: ...

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()
            self._finalized = True

    class PartCompiler(compiler.Compiler):
        """The ``pipeline_class`` of a part: it is called from compiled code only."""

        def compile_extra(self, func: Any) -> Any:
            flags, context = self.state.flags, self.state.targetctx
            flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
            self.state.library = PartLibrary(context.codegen(), func.__qualname__)
            result = super().compile_extra(func)
            # numba finds the code by what Python would call, and the name is all that this is for.
            module, environment = result.fndesc.lookup_module(), result.environment
            name = make_function(module, func.__name__, "", not_callable, environment, ())
            context.insert_user_function(name, result.fndesc, [result.library])
            return result._replace(entry_point=name)

    _having(compiler.Flags(), "no_cpython_wrapper", "no_cfunc_wrapper", "no_compile")
    _having(JITCodeLibrary, "_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals")
    _having(CPUContext, "insert_user_function", "codegen")
    return PartCompiler


@feature("a rule's function may be left as a call within its loop, and such a loop uses no SIMD")
def inlining() -> Any:
    _having(_sample().targetdescr.options, "forceinline")
    return {"forceinline": True}


@feature("a kernel called with other types than its own would be compiled again for these")
def closing() -> Any:
    return type(_having(_sample(), "disable_compile")).disable_compile


@closing.use
def close(disable: Any, dispatcher: Any) -> None:
    """Let a kernel take no types but its own: numba's C dispatcher is the check of them from here on."""
    disable(dispatcher)


@feature("numba's own compiled functions cannot call an activation's or a rule's ufunc")
def ufunc_class() -> Any:
    from numba.np.ufunc.dufunc import DUFunc

    return DUFunc


# What numba found out about a function.


class Assignment(NamedTuple):
    """A statement of a function, with types as numba infers them."""

    file: str
    line: int
    type: Any  # of the name that is assigned
    result: Any  # of the operation or the call, None if there is none
    operands: Callable[[], tuple[Any, ...]]


@feature("a float32 rule that computes in float64 is not refused: it runs, several times slower")
def inference() -> Any:
    from numba.core import ir
    from numba.core.compiler import CompileResult

    _having(_sample(), "overloads")
    _having(CompileResult, "type_annotation")
    return SimpleNamespace(Assign=ir.Assign, Expr=_having(ir.Expr, "list_vars"))


@inference.use
def assignments(names: Any, dispatcher: Any, kind: Any) -> list[Assignment]:
    """The assignments of a function as compiled in which something is of that type."""
    results = list(dispatcher.overloads.values())
    found = [
        (result.type_annotation, each)
        for result in results
        for block in result.type_annotation.blocks.values()
        for each in block.body
        if isinstance(each, names.Assign)
    ]
    if results and not found:
        raise LookupError("numba shows no statements of a function")
    typed = [_assigned(names, *each) for each in found]
    return [each for each in typed if kind in (each.type, each.result)]


def _assigned(names: Any, known: Any, statement: Any) -> Assignment:
    value, loc, signature = statement.value, statement.loc, None
    is_expression = isinstance(value, names.Expr)
    if is_expression and value.op in ("binop", "inplace_binop", "unary", "call"):
        signature = known.calltypes.get(value)

    def operands() -> tuple[Any, ...]:
        used = value.list_vars() if is_expression else [value]
        return tuple(known.typemap.get(getattr(each, "name", None)) for each in used)

    kind = known.typemap.get(statement.target.name)
    return Assignment(loc.filename, loc.line, kind, signature and signature.return_type, operands)


@feature("a derivative that returns no number is refused in numba's words, without its line")
def folding() -> Any:
    return type(_having(_sample(), "get_call_template")).get_call_template


def return_type(dispatcher: Any, arguments: tuple[Any, ...]) -> Any:
    """The type that a function returns for arguments of these types, compiled for them; None if unknown."""
    if folded := folding():  # those of *args become one
        arguments = tuple(folded(dispatcher, arguments, {})[2])
    elif dispatcher.py_func.__code__.co_flags & inspect.CO_VARARGS:
        return None
    dispatcher.compile(arguments)
    return next(each.return_type for each in dispatcher.nopython_signatures if each.args == arguments)


@feature("a function that cannot be compiled is reported without the helper and the line that are at fault")
def compilations() -> Any:
    from numba.core import event

    return _having(event, "install_listener", "Listener")


@contextlib.contextmanager
def watching(ended: Callable[[Any, Exception | None], None]) -> Iterator[None]:
    """Call ``ended(dispatcher, error)`` whenever numba has compiled a function, or failed to."""
    event = compilations()
    if event is None:
        yield
        return

    class Listener(event.Listener):  # type: ignore[name-defined]
        def on_start(self, event: Any) -> None: ...

        def on_end(self, event: Any) -> None:
            error = (getattr(event, "_exc_details", None) or (None, None))[1]
            if "dispatcher" in (event.data or ()):
                ended(event.data["dispatcher"], error)

    with event.install_listener("numba:compile", Listener()):
        yield
