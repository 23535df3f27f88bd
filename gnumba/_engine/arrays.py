"""Arrays of any library, seen without a copy; results in the caller's own kind.

With `libraries`, the only file that knows other libraries' arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .libraries import check_no_derivative_lost, host_view, is_tensor, library_of, tensor_of
from .storage import OF_DTYPE, narrow_storage
from .view import View, geometry_at

Array = Any  # NumPy's, or a View


def checked_dtype(dtype: Any, narrow: bool = False) -> np.dtype[Any]:
    """float32 or float64, as NumPy or PyTorch has them; float16 and bfloat16 too if ``narrow``."""
    try:
        made = np.dtype(str(dtype).removeprefix("torch.") if library_of(dtype) == "torch" else dtype)
    except TypeError:
        made = np.dtype(object)
    if made not in OF_DTYPE and not (narrow and narrow_storage(made)):
        few = " (float16, or bfloat16 of ml_dtypes)" if narrow else ""
        raise TypeError(f"dtype is {dtype!r}, expected float32 or float64{few}")
    return made


def as_view(name: str, x: Any, narrow: bool = False) -> Array:
    """View any library's array as NumPy's or, on a device, as a `View`; TypeError for other objects.

    float16 and bfloat16 are let through where they are known to be ``narrow``, in host memory.
    """
    if isinstance(x, View):
        return x
    if isinstance(x, np.ndarray):
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(f"{name} is a masked array, expected a plain array")
        return _check_dtype(name, x, narrow)
    if isinstance(x, np.generic):
        return _check_dtype(name, _as_fixed_array(x), narrow)
    given, x = x, x.detach() if hasattr(x, "detach") else x  # a PyTorch tensor that requires grad
    try:
        view = host_view(x)
        if view is None and not is_on_device(x):
            view = _exported(name, x)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{name} ({type(x).__name__}) cannot be seen as a host array: {error}") from error
    if view is None:
        return _check_aligned(name, _check_dtype(name, device_view(name, x, given)))
    return _check_dtype(name, view, narrow)


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


def device_view(name: str, x: Any, given: Any) -> View:
    """View an array on a CUDA device, without a copy."""
    from .cuda import driver, memory, place  # not before there is such an array

    try:
        driver.get()
    except driver.CudaError as error:
        raise driver.CudaError(f"{name} is a CUDA array, and {error}") from None
    if isinstance(x, memory.DeviceArray):
        return x.view()
    interface = x.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise TypeError(f"{name} is a masked array, expected a plain array")
    address, read_only = interface["data"]
    ordinal, dtype = ordinal_of(x, address), np.dtype(interface["typestr"])
    geometry = geometry_at(address, interface["shape"], interface.get("strides"), dtype, not read_only)
    return memory.DeviceView(geometry, place.of(ordinal), given, current_stream(x, ordinal))


def _check_aligned(name: str, view: View) -> View:
    """ValueError if a GPU could not load an array's elements: the process would lose the device by it."""
    steps = [stride for n, stride in zip(view.shape, view.strides, strict=True) if n > 1]
    if view.size and any(number % view.itemsize for number in (view.address, *steps)):
        raise ValueError(
            f"{name} is misaligned: it is at address {view.address:#x} with strides {view.strides}, expected "
            f"multiples of {view.itemsize}, the bytes of a {view.dtype} (a copy)"
        )
    return view


def ordinal_of(x: Any, address: int) -> int:
    """The device of an array: CuPy's and PyTorch's say so, for others the driver does."""
    about = getattr(x, "device", None)
    known = getattr(about, "id", getattr(about, "index", None))
    if isinstance(known, int):
        return known
    from .cuda import driver

    return driver.get().device_of(address) if address else 0


def current_stream(x: Any, ordinal: int) -> int:
    """The stream that an array's library works on now; 0 is the default one."""
    of_library = stream_source(x)
    if of_library is not None:
        return of_library(ordinal)
    stream = x.__cuda_array_interface__.get("stream")
    return 0 if stream in (None, 1) else int(stream)


def stream_source(x: Any) -> Callable[[int], int] | None:
    """Function for the current stream of a device in a library; None if each of its arrays names its own."""
    return {"cupy": _cupy_stream, "torch": _torch_stream}.get(library_of(x))


def _cupy_stream(ordinal: int) -> int:
    return int(sys.modules["cupy"].cuda.get_current_stream(ordinal).ptr)


def _torch_stream(ordinal: int) -> int:
    return int(sys.modules["torch"].cuda.current_stream(ordinal).cuda_stream)


def reader(x: Any) -> Callable[[Any], tuple[Any, ...]] | None:
    """Fast (< 1 µs) accessor for a CuPy array's or a PyTorch tensor's address, and how it lies there.

    None for other arrays. After the address and whether it is read-only come shape, strides, dtype and
    device, in the library's own units: compare them, do not interpret them.
    """
    return {"cupy": _read_cupy, "torch": _read_torch}.get(library_of(x))


def _read_cupy(x: Any) -> tuple[Any, ...]:
    data = x.data
    return data.ptr, False, x.shape, x.strides, x.dtype, data.device_id


def _read_torch(x: Any) -> tuple[Any, ...]:
    return x.data_ptr(), False, x.shape, x.stride(), x.dtype, x.device


def read_interface(x: Any) -> tuple[Any, ...]:
    """`reader`'s accessor for a CUDA array of a library that has none; the stream comes last."""
    interface = x.__cuda_array_interface__
    address, read_only = interface["data"]
    lies = interface["shape"], interface.get("strides"), interface["typestr"], interface.get("mask")
    return address, read_only, *lies, ordinal_of(x, address), interface.get("stream")


def _check_dtype(name: str, x: Array, narrow: bool = False) -> Array:
    if x.dtype not in OF_DTYPE:
        storage = narrow_storage(x.dtype)
        if narrow and storage:
            return x
        few = " (float16 or bfloat16 in host memory)" if narrow else ""
        raise TypeError(
            f"{name} has dtype {storage.name if storage else x.dtype}, expected float32 or float64{few}"
        )
    if not x.dtype.isnative:
        raise TypeError(f"{name} has byte-swapped dtype {x.dtype.str}, expected the machine's own order")
    return x


def is_foreign(x: Any) -> bool:
    """Whether something is an array of another library than NumPy."""
    return hasattr(x, "__dlpack__") or is_on_device(x)


def is_on_device(x: Any) -> bool:
    """Whether something is an array in memory that the host cannot read."""
    return hasattr(x, "__cuda_array_interface__")


def operand(name: str, x: Any, narrow: bool = False) -> Array:
    """View an activation's operand as an array; NumPy converts other objects, integers to float64."""
    if isinstance(x, View):
        return x
    if not isinstance(x, np.ndarray) and is_foreign(x):
        check_no_derivative_lost(name, x)
        return as_view(name, x, narrow)
    made = np.asanyarray(x)
    return as_view(name, made.astype(np.float64) if made.dtype.kind in "biu" else made, narrow)


def numbers(name: str, x: Any) -> Array:
    """A sequence of numbers of any dtype as a NumPy array; waits for a device if it lives there."""
    if isinstance(x, np.ndarray) or not is_on_device(x):
        return np.asarray(x)
    view = device_view(name, x, x)
    return view.place.read(view)


def integers(name: str, x: Any) -> Array:
    """View an array of any integers on a device, without a copy and unread."""
    return _check_aligned(name, device_view(name, x, x))


def in_kind_of(x: Any, result: Array) -> Any:
    """``result`` as the kind of array that ``x`` is; a scalar for what is no array, as in NumPy."""
    if isinstance(result, View):
        return result.owner
    if is_tensor(x):
        return tensor_of(result)
    if isinstance(x, (np.ndarray, np.generic)) or not hasattr(x, "__dlpack__"):
        return result[()] if result.ndim == 0 else result
    namespace = x.__array_namespace__() if hasattr(x, "__array_namespace__") else sys.modules[library_of(x)]
    return namespace.from_dlpack(result) if result.dtype.kind == "f" else namespace.asarray(result)


def empty_like(
    x: Any, view: Array, shape: tuple[int, ...] | None = None, dtype: np.dtype[Any] | None = None
) -> Array:
    """New memory where ``view`` lives, which is ``x`` as it is seen: laid out as it, or of another shape.

    On a device it is that of an array of x's own kind, which `in_kind_of` gives back.
    """
    dtype = dtype or view.dtype
    if isinstance(view, View):
        return as_view("result", _new_on_device(x, view, shape, dtype))
    return np.empty_like(view, subok=False) if shape is None else np.empty(shape, dtype)


def _new_on_device(x: Any, view: Any, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> Any:
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
        with cuda.gpus[view.device]:
            return cuda.device_array(shape, dtype)
    from .cuda.memory import DeviceArray

    return DeviceArray(shape, dtype, view.place, view.stream)
