"""A numba compiler for the functions that kernels are made of.

numba optimizes every function that it compiles, makes wrappers for Python and C, and machine code,
although whoever calls it links its LLVM code and does all that again: two thirds of the time that a
kernel takes. A part is lowered to LLVM and simplified a little (without which some loops of the kernel
come out 10 % slower); the kernel that it is linked into is optimized whole.
"""

from __future__ import annotations

import ctypes
from typing import Any

from numba._dynfunc import make_function
from numba.core import compiler
from numba.core.codegen import JITCodeLibrary

__all__ = ["PartCompiler"]

# The address of a C function that raises an error, whatever it is called with.
NOT_CALLABLE = ctypes.cast(ctypes.pythonapi.PyErr_NoMemory, ctypes.c_void_p).value


class _PartLibrary(JITCodeLibrary):
    """LLVM code to be linked into other libraries: each function simplified, nothing inlined."""

    def _optimize_final_module(self) -> None: ...

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class PartCompiler(compiler.Compiler):
    """The ``pipeline_class`` of a part: it is called from compiled code only."""

    def compile_extra(self, func: Any) -> Any:
        state = self.state
        state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = state.flags.no_compile = True
        state.library = _PartLibrary(state.targetctx.codegen(), func.__qualname__)
        result = super().compile_extra(func)
        # numba finds the code by what Python would call, and the name is all that this is for.
        name = make_function(
            result.fndesc.lookup_module(), func.__name__, "", NOT_CALLABLE, result.environment, ()
        )
        state.targetctx.insert_user_function(name, result.fndesc, [result.library])
        return result._replace(entry_point=name)
