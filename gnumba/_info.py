"""Information on versions and the machine; inspection and ahead-of-time compilation of kernels."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import llvmlite.binding

from ._engine import binding, host, normed, threads
from ._engine.arrays import checked_dtype
from ._engine.compile import cache, kernel, numba_private
from ._engine.compile.snapshot import current
from ._engine.compile.ufunc import TARGETS
from ._engine.storage import alike
from ._nn.activation import Activation
from ._nn.dropout import Dropout
from ._optim.optimizer import Optimizer
from ._optim.phases import Phases
from ._rule import Compilable, Elementwise
from ._suggest import suggesting
from ._version import __version__

__all__ = ["info", "inspect", "precompile"]

PACKAGES = ("numpy", "numba", "llvmlite", "tbb", "numba-cuda", "cupy")


@suggesting
def info() -> dict[str, Any]:
    """Versions, threads, SIMD width, CUDA, cache folder, and from what size work goes parallel.

    Returns
    -------
    dict
        Plain values by name; ``python -m gnumba info`` prints it. ``"numba"``: what gnumba does without, as
        this release of numba lacks the names for it, and what each costs. ``"threads"``: numba's, but no more
        than this process has CPUs by its affinity mask and its container's quota. ``"cache_folder"``:
        where kernels are kept, the first that is the user's own and writable of ``$GNUMBA_CACHE_DIR``,
        ``$XDG_CACHE_HOME/gnumba`` or ``~/.cache/gnumba``, and a folder among the temporary files.
        Kernels that nobody has read for 90 days are deleted, and the longest unread beyond 256 MiB.
        ``"cuda"``: looking for devices initialises the driver, where there is one, so that a process forked
        afterwards cannot use CUDA.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.info()["threads"] >= 1
    True
    """
    from ._engine.cuda import report

    return {
        "versions": {
            "gnumba": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
        "numba": numba_private.missing() or "has all that gnumba uses",
        "cpu": llvmlite.binding.get_host_cpu_name(),
        "simd_bits": _simd_bits(),
        "threads": threads.count(),
        "threading_layer": _layer(),
        "cuda": report.status(),
        "cache_folder": str(cache.folder() or "none: no folder is private and writable"),
        "parallel_from_bytes": threads.parallel_from(),
        "parallel_from_bytes_transcendental": threads.parallel_from() // 4,
    }


@suggesting
def inspect(
    rule: Compilable, target: str = "cpu", dtype: Any = "float32", cc: tuple[int, int] = (9, 0)
) -> dict[str, Any]:
    """The kernel that runs for a rule or activation, as compiled.

    Parameters
    ----------
    rule : Rule or Activation
        An activation shows its forward kernel for dense arrays, a rule the one for all its parameters.
    target : {"cpu", "parallel", "cuda"}
        What it is compiled for; ``"cuda"`` needs no GPU, only the extras ``gnumba[cuda13,inspect]``.
    dtype : {"float32", "float64"}
        The arrays' dtype.
    cc : tuple of int
        The compute capability of the GPU to compile for.

    Returns
    -------
    dict
        ``"llvm"`` and ``"asm"``: text. For ``"cuda"`` ``"ptx"`` and ``"sass"``, text, and a thread's
        ``"registers"`` and bytes of ``"stack"``.

    Raises
    ------
    RuntimeError
        If numba-cuda or a disassembler is missing; it says how to get it.

    Examples
    --------
    >>> import gnumba as gn
    >>> sorted(gn.inspect(gn.relu))
    ['asm', 'llvm']
    """
    function, made = _function(rule), checked_dtype(dtype)
    flat = isinstance(rule, (Activation, Dropout))
    if kernel.checked_target(target, TARGETS) != "cuda":
        target = threads.usable(target)
        return host.inspect(function, alike(function, made), target, flat=flat)
    from ._engine.cuda import report

    return report.inspected(function, made, flat, cc)


@suggesting
def precompile(optimizer_or_activation: Any, dtype: Any = "float32", target: str | None = None) -> None:
    """Compile ahead of time what a loop will need.

    Parameters
    ----------
    optimizer_or_activation : Optimizer, Phases, Rule or Activation
        Of an activation, forward, derivative and backward are compiled; of phases, every rule.
    dtype : {"float32", "float64"}
        The arrays' dtype.
    target : {"cpu", "parallel", "cuda"}, optional
        ``"cpu"`` and ``"parallel"`` by default; where there is one thread only, both are ``"cpu"``.
        ``"cuda"`` is for the GPUs that are here; where there are none, for compute capability 9.0.

    See Also
    --------
    python -m gnumba precompile : everything that gnumba has, for images of containers.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.precompile(gn.relu, target="cpu")
    """
    for make in kernels(optimizer_or_activation, dtype, target):
        make()


def kernels(thing: Any, dtype: Any = "float32", target: str | None = None) -> list[Callable[[], Any]]:
    """Compilations that `precompile` runs, one callable per kernel."""
    made = checked_dtype(dtype)
    flat = isinstance(thing, (Activation, Dropout))
    thing = current(thing) if isinstance(thing, Activation) else thing
    functions = thing._functions if flat else _functions(thing)
    if target == "cuda":
        from ._engine.cuda import report

        return report.compilations(
            thing._functions_on_device if isinstance(thing, Activation) else functions, made, flat
        )
    asked = kernel.TARGETS if target is None else (kernel.checked_target(target, TARGETS),)
    targets = dict.fromkeys(map(threads.usable, asked))
    if not flat:
        makers = [(make, f) for f in functions for make in normed.makers(f)]
        sweeps = [functools.partial(make, f, alike(f, made), each) for make, f in makers for each in targets]
        return [*sweeps, binding.binder]
    flats = {"cpu": host.flat, "parallel": host.shared_flat}
    return [functools.partial(flats[each], f, alike(f, made)) for f in functions for each in targets]


def _function(thing: Any) -> Elementwise:
    made = thing.rule if isinstance(thing, Phases) else thing
    if isinstance(thing, Optimizer):
        made = thing._compiled_rule
    if not isinstance(made, Compilable):
        raise TypeError(f"rule is {thing!r}, expected a rule, an optimizer or an activation")
    return current(made)._kernel  # type: ignore[no-any-return]


def _functions(thing: Any) -> tuple[Elementwise, ...]:
    made = tuple(map(_function, thing.rules if isinstance(thing, Phases) else (thing,)))
    return made + tuple(before for function in made for before in function.lent.values())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _layer() -> str:
    if threads.count() == 1:
        return "none: one thread"
    later = "tbb, when first needed" if threads.load_tbb() else "chosen by numba when first needed"
    return threads.layer() or later


def _simd_bits() -> int:
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 512
    return 256 if features.get("avx2") else 128
