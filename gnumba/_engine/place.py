"""Where arrays live, which target that makes, and every check on arrays.

With `libraries`, the only file that knows other libraries' arrays. What comes in is seen as a NumPy view
of the same memory (*seen*, never copied); what goes out is in the caller's own kind.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .._suggest import suggesting
from . import driver, remote, threads
from .compile.kernel import checked_target
from .libraries import check_no_derivative_lost, host_view, is_tensor, library_of
from .remote import DeviceArray, Remote

Array = np.ndarray[Any, np.dtype[Any]]
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

_forced: dict[int, str] = {}  # by thread; empty, and so quick to look at, but inside use_target


@suggesting
def target_of(*arrays: Any) -> str:
    """The target that work on these arrays goes to.

    Parameters
    ----------
    *arrays : array
        What one call reads and writes, together.

    Returns
    -------
    {"cpu", "parallel", "cuda"}
        ``"cuda"`` for CUDA arrays. For host arrays ``"parallel"`` from 1.25 MiB of them on (8 MiB under
        numba's workqueue threading layer, which is slow to start), ``"cpu"`` below it, or what
        ``use_target`` says. A computation with transcendental functions goes parallel from a quarter
        of that.

    Raises
    ------
    TypeError
        If the arrays live in different places.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.target_of(np.zeros(10))
    'cpu'
    """
    views = {f"array {k}": seen(f"array {k}", a) for k, a in enumerate(arrays)}
    check_together(views)
    if any(isinstance(view, Remote) for view in views.values()):
        return "cuda"
    return _chosen_for(sum(view.nbytes for view in views.values()))


def forced() -> str | None:
    """The target that `use_target` forces in this thread, if any."""
    return _forced.get(threading.get_ident()) if _forced else None


def target_for(traffic: int) -> str:
    """The target for that many bytes, a transcendental element counted four times."""
    return threads.usable(_chosen_for(traffic))


def _chosen_for(traffic: int) -> str:
    return forced() or ("parallel" if threads.pays(traffic) else "cpu")


def one_core_below() -> int:
    """Bytes of traffic below which one core works."""
    target = forced()
    if target:
        return 0 if threads.usable(target) == "parallel" else threads.NEVER
    return threads.one_core_below()


@contextlib.contextmanager
@suggesting
def use_target(target: Literal["cpu", "parallel"]) -> Iterator[None]:
    """Force the target for host arrays of every size inside the block, in this thread.

    Parameters
    ----------
    target : {"cpu", "parallel"}
        One core, or all; where there is one thread only, ``"parallel"`` runs what ``"cpu"`` does.

    Raises
    ------
    ValueError
        If ``target`` is something else.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> with gn.use_target("parallel"):
    ...     gn.target_of(np.zeros(10))
    'parallel'
    """
    thread = threading.get_ident()
    before = _forced.get(thread)
    _forced[thread] = checked_target(target)
    try:
        yield
    finally:
        if before:
            _forced[thread] = before
        else:
            del _forced[thread]


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64, as NumPy or PyTorch has them."""
    try:
        made = np.dtype(str(dtype).removeprefix("torch.") if library_of(dtype) == "torch" else dtype)
    except TypeError:
        made = np.dtype(object)
    if made not in DTYPES:
        raise TypeError(f"dtype is {dtype!r}, expected float32 or float64")
    return made


def seen(name: str, x: Any) -> Array:
    """View any library's array as a NumPy array, without a copy; TypeError for other objects."""
    if isinstance(x, np.ndarray):
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(f"{name} is a masked array, expected a plain array")
        return _check_dtype(name, x)
    if isinstance(x, np.generic):
        return _check_dtype(name, _as_fixed_array(x))
    given, x = x, x.detach() if hasattr(x, "detach") else x  # a PyTorch tensor that requires grad
    try:
        view = host_view(x)
        if view is None and not hasattr(x, "__cuda_array_interface__"):
            view = _exported(name, x)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{name} ({type(x).__name__}) cannot be seen as a host array: {error}") from error
    return _check_dtype(name, view) if view is not None else _check_aligned(name, x, given)


def _as_fixed_array(x: np.generic) -> Array:
    """A NumPy scalar as an array of shape () that is read-only, as the scalar is."""
    made = np.asarray(x)
    made.flags.writeable = False
    return made


def _exported(name: str, x: Any) -> Array:
    """A view of an array by DLPack alone; TypeError for what has none."""
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"{name} is of type {type(x).__name__}, expected an array")
    if library_of(x) == "jax":
        raise TypeError(
            f"{name} is a {type(x).__name__} of JAX, which has no values yet; "
            "expected a call outside jax.jit, jax.grad and their kin"
        )
    return np.from_dlpack(x)


def seen_on_device(name: str, x: Any, given: Any) -> Remote:
    """View an array on a CUDA device, without a copy."""
    try:
        driver.get()
    except driver.CudaError as error:
        raise driver.CudaError(f"{name} is a CUDA array, and {error}") from None
    if isinstance(x, DeviceArray):
        return x.view()
    interface = x.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise TypeError(f"{name} is a masked array, expected a plain array")
    address, read_only = interface["data"]
    ordinal = _ordinal(x, address)
    return remote.view(
        given,
        address,
        interface["shape"],
        interface.get("strides"),
        np.dtype(interface["typestr"]),
        ordinal,
        current_stream(x, ordinal),
        not read_only,
    )


def _check_aligned(name: str, x: Any, given: Any) -> Remote:
    """View an array on a CUDA device; ValueError if a GPU could not load its elements.

    A misaligned load ends the whole process's use of the device.
    """
    view = _check_dtype(name, seen_on_device(name, x, given))
    assert isinstance(view, Remote)
    address, size = x.__cuda_array_interface__["data"][0], view.itemsize
    steps = [stride for n, stride in zip(view.shape, view.strides, strict=True) if n > 1]
    if view.size and (address % size or any(step % size for step in steps)):
        raise ValueError(
            f"{name} is misaligned: it is at address {address:#x} with strides {view.strides}, expected "
            f"multiples of {size}, the bytes of a {view.dtype} (a copy)"
        )
    return view


def _ordinal(x: Any, address: int) -> int:
    """The device of an array: CuPy's and PyTorch's say so, for others the driver does."""
    about = getattr(x, "device", None)
    known = getattr(about, "id", getattr(about, "index", None))
    if isinstance(known, int):
        return known
    return driver.get().device_of(address) if address else 0


def current_stream(x: Any, ordinal: int) -> int:
    """The stream that an array's library works on now; 0 is the default one."""
    library = library_of(x)
    if library == "cupy":
        return int(sys.modules["cupy"].cuda.get_current_stream(ordinal).ptr)
    if library == "torch":
        return int(sys.modules["torch"].cuda.current_stream(ordinal).cuda_stream)
    stream = x.__cuda_array_interface__.get("stream")
    return 0 if stream in (None, 1) else int(stream)


def reader(x: Any) -> Callable[[Any], tuple[Any, ...]] | None:
    """Fast (< 1 µs) accessor for the address, shape, strides, dtype and device of a library's arrays.

    None if only ``__cuda_array_interface__`` is available. The values are in the library's own units:
    compare them, do not interpret them.
    """
    return {"cupy": _read_cupy, "torch": _read_torch}.get(library_of(x))


def _read_cupy(x: Any) -> tuple[Any, ...]:
    data = x.data
    return data.ptr, x.shape, x.strides, x.dtype, data.device_id


def _read_torch(x: Any) -> tuple[Any, ...]:
    return x.data_ptr(), x.shape, x.stride(), x.dtype, x.device


def where(x: Array) -> str:
    """Where an array lives, in words."""
    return f"CUDA device {x.ordinal}" if isinstance(x, Remote) else "host memory"


def check_together(arrays: Mapping[str, Array]) -> None:
    """TypeError unless all arrays live where the first does."""
    (first, x), *others = arrays.items() or [("", np.empty(0))]
    for name, other in others:
        if where(other) != where(x):
            raise TypeError(f"{name} is in {where(other)}, expected {first}'s place, {where(x)}")


def _check_dtype(name: str, x: Array) -> Array:
    if x.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {x.dtype}, expected float32 or float64")
    if not x.dtype.isnative:
        raise TypeError(f"{name} has byte-swapped dtype {x.dtype.str}, expected the machine's own order")
    return x


def is_foreign(x: Any) -> bool:
    """Whether something is an array of another library than NumPy."""
    return hasattr(x, "__dlpack__") or hasattr(x, "__cuda_array_interface__")


def operand(name: str, x: Any) -> Array:
    """View an activation's operand as an array; NumPy converts other objects, integers to float64."""
    if not isinstance(x, np.ndarray) and is_foreign(x):
        check_no_derivative_lost(name, x)
        return seen(name, x)
    made = np.asanyarray(x)
    return seen(name, made.astype(np.float64) if made.dtype.kind in "biu" else made)


def like(x: Any, result: Array) -> Any:
    """``result`` as the kind of array that ``x`` is; a scalar for what is no array, as in NumPy."""
    if isinstance(result, Remote):
        return result.given
    if is_tensor(x):
        return sys.modules["torch"].from_numpy(result)
    if isinstance(x, (np.ndarray, np.generic)) or not hasattr(x, "__dlpack__"):
        return result[()] if result.ndim == 0 else result
    namespace = x.__array_namespace__() if hasattr(x, "__array_namespace__") else sys.modules[library_of(x)]
    return namespace.from_dlpack(result)


def fresh(
    x: Any, view: Array, shape: tuple[int, ...] | None = None, dtype: np.dtype[Any] | None = None
) -> Array:
    """New memory where ``view`` lives, which is ``x`` as it is seen: laid out as it, or of another shape.

    On a device it is that of an array of x's own kind, which `like` gives back.
    """
    dtype = dtype or view.dtype
    if isinstance(view, Remote):
        return seen("result", _new_on_device(x, view, shape, dtype))
    return np.empty_like(view, subok=False) if shape is None else np.empty(shape, dtype)


def _new_on_device(x: Any, view: Remote, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> Any:
    library = library_of(x)
    if library == "cupy":
        with x.device:
            cupy = sys.modules["cupy"]
            return cupy.empty_like(x) if shape is None else cupy.empty(shape, dtype)
    if library == "torch":
        torch, plain = sys.modules["torch"], x.detach()
        kind = getattr(torch, dtype.name)
        return torch.empty_like(plain) if shape is None else plain.new_empty(shape, dtype=kind)
    shape = view.shape if shape is None else shape
    if library in ("numba", "numba_cuda"):
        cuda = sys.modules["numba"].cuda
        with cuda.gpus[view.ordinal]:
            return cuda.device_array(shape, dtype)
    return DeviceArray(shape, dtype, view.ordinal, view.stream)


def check_alike(arrays: Mapping[str, Array]) -> None:
    """All arrays must have the place, dtype and shape of the first."""
    check_together(arrays)
    (first, x), *others = arrays.items()
    for name, other in others:
        if other.dtype != x.dtype:
            raise TypeError(f"{name} has dtype {other.dtype}, expected {first}'s, {x.dtype}")
        if other.shape != x.shape:
            raise ValueError(f"{name} has shape {other.shape}, expected {first}'s, {x.shape}")


def check_out(name: str, out: Any, x: Array) -> Array:
    """``out`` as an array to write to: alike ``x``, writable, no element twice."""
    check_no_derivative_lost(name, out)
    made = seen(name, out)
    check_alike({"x": x, name: made})
    _check_writable(name, made)
    return made


def same_elements(x: Array, y: Array) -> bool:
    """Whether two arrays of one dtype are the same memory, element by element."""
    return layout(x) == layout(y)


def count_rows(arrays: Sequence[Any]) -> int:
    """How many rows the arrays have along their first axis, each as many; any dtype will do."""
    if not arrays:
        raise ValueError("there are no arrays, expected at least one")
    for k, x in enumerate(arrays):
        if not hasattr(x, "shape") or hasattr(x, "iloc"):  # pandas takes labels or columns for an index
            raise TypeError(f"array {k} is of type {type(x).__name__}, expected an array")
        if len(x.shape) == 0:
            raise ValueError(f"array {k} has shape (), expected rows along the first axis")
    counts = [int(x.shape[0]) for x in arrays]
    if len(set(counts)) > 1:
        raise ValueError(f"the arrays have {counts} rows, expected as many in each")
    return counts[0]


def layout(x: Array) -> tuple[Any, ...]:
    """Where an array's memory begins, 0 if it has none, and how its elements lie in it.

    Libraries give an empty array the address 0, for which NumPy's view of it has one of its own.
    """
    return x.__array_interface__["data"][0] if x.size else 0, x.shape, x.strides


def check_updated(what: str, given: Mapping[str, Any]) -> Updated:
    """Arrays to update in place (``what`` they are): writable, no element twice."""
    arrays = {}
    for name, x in given.items():
        if not (isinstance(x, np.ndarray) or is_foreign(x)):
            raise TypeError(
                f"{what} {name} is of type {type(x).__name__}, expected an array (it is updated in place)"
            )
        arrays[name] = seen(f"{what} {name}", x)
        _check_writable(f"{what} {name}", arrays[name])
    made = Updated(arrays)
    made.check_apart(what)
    return made


def check_gradient(name: str, gradient: Any, parameter: Array) -> Array:
    """The gradient of ``parameter`` as an array of its shape and dtype."""
    g = seen(f"gradient of {name}", gradient)
    check_together({f"parameter {name}": parameter, f"gradient of {name}": g})
    if g.dtype != parameter.dtype:
        raise TypeError(
            f"gradient of {name} has dtype {g.dtype}, expected its parameter's, {parameter.dtype}"
        )
    if g.shape != parameter.shape:
        raise ValueError(
            f"gradient of {name} has shape {g.shape}, expected its parameter's, {parameter.shape}"
        )
    return g


class Updated:
    """Arrays that are updated, by name, and which of them another array shares memory with."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays
        bounds = sorted((*np.lib.array_utils.byte_bounds(x), name) for name, x in arrays.items() if x.size)
        self._starts = [low for low, _, _ in bounds]
        self._names = [name for _, _, name in bounds]
        self._ends = list(itertools.accumulate((high for _, high, _ in bounds), max))  # the farthest so far
        self.bounds = self._starts, self._ends

    def is_clear(self, address: int, nbytes: int) -> bool:
        """Whether that memory is clear of them all."""
        before = bisect.bisect_left(self._starts, address + nbytes)
        return not before or self._ends[before - 1] <= address

    def check_apart(self, what: str) -> None:
        """ValueError if two of them share an element."""
        for name, x in self.arrays.items():
            for other in self._sharing(x):
                if other != name:
                    raise ValueError(
                        f"{what}s {name} and {other} share elements, expected each to be updated once"
                    )

    def check_clear(self, name: str, g: Array) -> None:
        """ValueError if a gradient shares memory with a parameter, but element for element with its own."""
        for other in self._sharing(g):
            if other != name or not same_elements(g, self.arrays[other]):
                raise ValueError(
                    f"gradient of {name} shares memory with parameter {other}, which the step changes; "
                    "expected memory of its own (a copy)"
                )

    def _sharing(self, x: Array) -> Iterator[str]:
        """The parameters that share an element with ``x``; only neighbours in memory are compared exactly."""
        low, high = np.lib.array_utils.byte_bounds(x)
        k = bisect.bisect_left(self._starts, high) - 1
        while k >= 0 and self._ends[k] > low:
            if np.shares_memory(x, self.arrays[self._names[k]]):
                yield self._names[k]
            k -= 1


def _check_writable(name: str, x: Array) -> None:
    if not x.flags.writeable:
        raise ValueError(f"{name} is read-only, expected an array that can be updated in place")
    if _overlaps_itself(x):
        raise ValueError(
            f"{name} has strides {x.strides} for shape {x.shape}: elements share memory, expected none to"
        )


def _overlaps_itself(x: Array) -> bool:
    axes = sorted((abs(s), n) for s, n in zip(x.strides, x.shape, strict=True) if n > 1)
    reach = x.itemsize
    for stride, n in axes:
        if stride < reach:
            break
        reach += stride * (n - 1)
    else:
        return False
    if x.size == 0:
        return False
    # Interleaved axes may still keep apart: count the bytes at which elements start.
    start = np.zeros(x.shape, np.int64)
    for axis, (stride, n) in enumerate(zip(x.strides, x.shape, strict=True)):
        start += stride * np.arange(n).reshape(-1, *[1] * (x.ndim - axis - 1))
    starts = np.unique(start)
    return starts.size < x.size or bool((np.diff(starts) < x.itemsize).any())
