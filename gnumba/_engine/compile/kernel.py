"""A Python function as machine code, kept on disk; a rule's scalar function as loops call it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba import types

from ..._rule import Elementwise
from ..memory import loader, pick, storer
from ..storage import Storage, Storages, computed
from . import numba_private
from .cache import KernelCache, own_symbol
from .specialize import OPTIONS, Specialized, inlined, refuse_widening, shared

TARGETS = ("cpu", "parallel")
FLOAT64_LIST = types.Array(types.float64, 1, "C")
FLOAT64_TABLE = types.Array(types.float64, 2, "C")
INT64_LIST = types.Array(types.int64, 1, "C")
INT64_TABLE = types.Array(types.int64, 2, "C")
Kernel = Callable[..., Any]


def checked_target(target: str, allowed: tuple[str, ...] = TARGETS) -> str:
    if target not in allowed:
        raise ValueError(f"target is {target!r}, expected one of {allowed}")
    return target


def compiled(
    fn: Kernel,
    signature: tuple[Any, ...],
    target: str = "cpu",
    approve: Callable[[], None] = lambda: None,
    *,
    nogil: bool = True,
) -> Any:
    """The function as machine code, from the disk, or compiled and stored if it is approved of."""
    kernel = dispatcher(fn, target, nogil=nogil)
    cache = KernelCache(kernel)
    is_parallel = target == "parallel"
    with numba_private.loops_named_apart() if is_parallel else contextlib.nullcontext() as named:
        kernel.compile(signature)
    if not cache.hit:
        approve()
        if named or not is_parallel:
            cache.save()
        else:
            numba_private.parallel_loops.fail("numba does not name them by their hash")
    numba_private.close(kernel)
    return kernel


def dispatcher(fn: Kernel, target: str, *, nogil: bool = True) -> Any:
    """numba's, for a kernel: what Python calls."""
    check_compiler()
    return numba.njit(
        own_symbol(fn),
        parallel=target == "parallel",
        nogil=nogil,
        no_cfunc_wrapper=True,
        error_model=OPTIONS["error_model"],
    )


def check_compiler() -> None:
    """Raise RuntimeError if numba has been told not to compile."""
    if numba.config.DISABLE_JIT:
        raise RuntimeError(
            "gnumba runs what numba compiles, and NUMBA_DISABLE_JIT=1 forbids it to: unset that variable. "
            "(A rule called on numbers, rule(p, g, ...), runs as plain Python either way)"
        )


@functools.cache
def specialized(function: Elementwise, dtype: np.dtype[Any]) -> Specialized:
    """The scalar function for one dtype, shared by its sweeps, walks and ufuncs."""
    return shared(function.fn, dtype)


def loop_compiled(
    loop: Kernel,
    function: Elementwise,
    storages: Storages,
    target: str,
    *arguments: Any,
    scalars: types.Type = FLOAT64_LIST,
) -> Kernel:
    """The loop as machine code, from the disk or compiled now."""
    loop.__name__ = f"{function.symbol}_{loop.__name__}_{target}"
    dtype = computed(storages)
    approve = functools.partial(refuse_widening, function.title, specialized(function, dtype))
    with explaining(function, dtype):
        return compiled(loop, (*arguments, scalars), target, approve)


@contextlib.contextmanager
def explaining(function: Elementwise, *dtypes: np.dtype[Any]) -> Iterator[None]:
    """Say of a function that the compiler refuses what is wrong with it, in one sentence."""
    check_compiler()
    try:
        yield
    except Exception:
        from . import explain  # only on the way to an error

        for dtype in dtypes:
            explain.check(function, specialized(function, dtype))
        raise  # it is not the function's fault


def scalar_of(function: Elementwise, dtype: np.dtype[Any]) -> Kernel:
    """The scalar function as loops call it: on elements and scalars, the last two its factors."""
    scalar = specialized(function, dtype).dispatcher
    if not function.scaled:
        return scalar

    @numba.njit(**inlined())  # as the function itself
    @own_symbol
    def scaled(p, g, *others):
        return scalar(p, g * others[-2] * others[-1], *others[:-2])

    return scaled


def like_scalars(function: Elementwise) -> tuple[int, ...]:
    """A tuple as long as the scalars that a kernel is given."""
    return (0,) * (len(function.scalars) + 2 * function.scaled)


def cost(function: Elementwise, storages: Storages) -> int:
    """Bytes that an element moves; an elementary function takes as long as moving four times as many.

    So do the random bits that are made of an index.
    """
    weight = 4 if function.indexed or specialized(function, computed(storages)).transcendental else 1
    width = dict(zip(function.columns, (each.itemsize for each in storages), strict=True))
    return sum(width[name] for name in function.reads + function.writes) * weight


@functools.cache
def compilable(storage: Storage) -> Storage:
    """The storage with its functions as an intrinsic has numba compile them."""
    if storage.decode is None or storage.encode is None:
        return storage
    decode, encode = (shared(fn, storage.computed).dispatcher for fn in (storage.decode, storage.encode))
    # Closures: of others numba keeps what it compiled by their code alone, whatever the names in it mean.
    return storage._replace(
        decode=own_symbol(lambda code: decode(code)), encode=own_symbol(lambda number: encode(number))
    )


def columns_of(function: Elementwise, storages: Storages) -> tuple[Storages, Any, Any]:
    """Storages for `loader` and its like, and which columns of a row are read and which written."""
    at = function.columns.index
    return tuple(map(compilable, storages)), tuple(map(at, function.reads)), tuple(map(at, function.writes))


def parts_of(function: Elementwise, storages: Storages) -> tuple[Any, Any, Any, Any]:
    """Parts of an element: the function, an intrinsic for its index, ``load`` and ``store`` of a row."""
    kept, reads, writes = columns_of(function, storages)
    scalar = scalar_of(function, computed(storages))
    return scalar, indexer(function), loader(kept, reads), storer(kept, writes)


def element_of(function: Elementwise, storages: Storages) -> Kernel:
    """``element(addresses, i, index, constants)``: the function on element i of a row, its results stored."""
    scalar, indices, load, store = parts_of(function, storages)

    @numba.njit(**inlined())
    @own_symbol
    def element(addresses, i, index, constants):
        store(addresses, i, scalar(*indices((index,)), *load(addresses, i), *constants))

    return element


def accessors(storage: Storage) -> tuple[Any, Any]:
    """``load((address,), i)[0]`` and ``store((address,), i, number)`` of an array."""
    kept = (compilable(storage),)
    return loader(kept, (0,)), storer(kept, (0,))


def number_of(storage: Storage) -> Kernel:
    """``number((address,), i)``: element i of an array, in float64."""
    load, _ = accessors(storage)

    @numba.njit(**OPTIONS)
    @own_symbol
    def number(place, i):
        return np.float64(load(place, i)[0])

    return number


def indexer(function: Elementwise) -> Any:
    """An intrinsic that takes the index from a tuple of it if the function has a use for it, else nothing."""
    return pick((0,) if function.indexed else ())
