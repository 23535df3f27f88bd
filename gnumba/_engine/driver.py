"""The CUDA driver: memory, streams, events and launches, and nothing of what they are for.

`Cuda` calls libcuda through ``cuda.bindings``, which numba-cuda brings; it is imported when the first
CUDA array is seen. `Driver` says what the engine needs of it.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from .device import CudaError as CudaError
from .device import arch_of, cubin
from .device import missing as lacks_compiler
from .grid import THREADS, Body

Array = np.ndarray[Any, np.dtype[Any]]
Handle = Any


class Memory(Protocol):
    """Memory of a device, freed when nothing refers to it any more."""

    address: int


class Arguments:
    """Packed kernel arguments: one 8-byte word each, and the array of pointers that cuLaunchKernel takes."""

    def __init__(self, body: Body, *values: Any) -> None:
        self.kinds, self._reals, scalars_from, scalars_kind = _kinds(body)
        self.words = np.zeros(len(self.kinds), np.int64)
        self._as_reals = self.words.view(np.float64)
        pointers = self.words.ctypes.data + _OFFSETS[: len(self.kinds)]
        self._pointers, self.pointers_at = pointers, int(pointers.ctypes.data)
        self._scalars = self.words[scalars_from:].view(scalars_kind)[:: 8 // scalars_kind.itemsize]
        k = 0
        for value in values:
            for item in value if isinstance(value, tuple) else (value,):
                self.set(k, item)
                k += 1

    def set(self, k: int, value: Any) -> None:
        """Make a number, an int64 or float64, the k-th argument."""
        (self._as_reals if self._reals[k] else self.words)[k] = value

    def set_scalars(self, scalars: Array) -> None:
        """Make float64 numbers the last arguments, each rounded to its dtype."""
        self._scalars[: scalars.size] = scalars


_OFFSETS = 8 * np.arange(256, dtype=np.int64)


@functools.cache
def _kinds(body: Body) -> tuple[list[np.dtype[Any]], list[bool], int, np.dtype[Any]]:
    """The arguments' dtypes, which are float64, where the scalars begin, and what these are."""
    kinds = [np.dtype(str(kind)) for each in body.arguments for kind in getattr(each, "types", (each,))]
    scalars = len(getattr(body.arguments[-1], "types", ()))
    return kinds, [kind == np.float64 for kind in kinds], len(kinds) - scalars, kinds[-1]


class Driver(Protocol):
    """Interface of a CUDA driver to the engine. Work on one stream is done in the order of submission."""

    def device_of(self, address: int) -> int:
        """The device whose memory an address belongs to."""

    def multiprocessors(self, device: int) -> int:
        """How many processors a device has that take blocks."""

    def load(self, device: int, body: Body) -> Handle:
        """A kernel, ready to be launched."""

    def launch(self, device: int, kernel: Handle, blocks: int, stream: int, arguments: Arguments) -> None:
        """Put a kernel on a stream."""

    def allocate(self, device: int, nbytes: int) -> Memory:
        """Memory for as long as it is referred to."""

    def scratch(self, device: int, nbytes: int, stream: int) -> contextlib.AbstractContextManager[int]:
        """The address of memory for work put on the stream inside the block."""

    def upload(self, device: int, address: int, values: Array, stream: int) -> None:
        """Copy dense host memory, which may change once this returns."""

    def download(self, device: int, values: Array, address: int) -> None:
        """Copy to dense host memory, after all that was put on the device's streams."""

    def finish(self, device: int) -> None:
        """Wait for all that was put on the device's streams."""

    def zero(self, device: int, address: int, nbytes: int, stream: int) -> None:
        """Fill with zeros."""

    def order(self, device: int, before: int, after: int) -> None:
        """Make later work on stream ``after`` wait for all work submitted so far to stream ``before``."""

    def mark(self, device: int, stream: int, mark: Any) -> Any:
        """Record an event on the stream, ``mark`` again if given; the event outlives the stream."""

    def wait(self, device: int, mark: Any, stream: int) -> None:
        """Make later work on the stream wait for the work before the event ``mark``."""

    def later(self, device: int, address: int, stream: int) -> Later:
        """A float64 at that address, to be read once the stream has come so far."""


class Later(Protocol):
    """A number on its way from a device."""

    def read(self) -> float:
        """The number; waits until it is there."""


_current: list[Driver] = []


def get() -> Driver:
    """The driver; CudaError that says in words what is missing if there is none."""
    if not _current:
        if lack := missing():
            raise CudaError(f"CUDA cannot be used: {lack}")
        _current.append(Cuda())
    return _current[0]


@functools.cache
def missing() -> str:
    """Reason why CUDA is not usable, with the remedy if there is one; "" if CUDA is usable."""
    if lack := lacks_compiler():
        return lack
    from cuda.bindings import driver as cu

    try:
        status = cu.cuInit(0)[0]
    except (RuntimeError, OSError, ImportError) as error:
        return f"no NVIDIA driver is found ({error}); install the one of your GPU"
    if status != cu.CUresult.CUDA_SUCCESS:
        return f"the NVIDIA driver finds no usable GPU ({status.name})"
    if _checked(cu.cuDeviceGetCount()) == 0:
        return "the NVIDIA driver finds no GPU"
    return ""


def devices() -> list[str]:
    """Name and compute capability of every device."""
    driver = get()
    if not isinstance(driver, Cuda):
        return []
    return [driver.name(k) for k in range(driver.count())]


def architectures() -> list[str]:
    """Architectures of the devices here; "sm_90" if there are none."""
    if missing():
        return ["sm_90"]
    cuda = get()
    return sorted({cuda.arch(k) for k in range(cuda.count())}) if isinstance(cuda, Cuda) else []


def _checked(result: Any) -> Any:
    """Unpack the result of a driver call; CudaError unless its status is success."""
    status, *rest = result
    if int(status):
        raise CudaError(f"the CUDA driver answered {status.name}")
    return rest[0] if len(rest) == 1 else rest


class Cuda:
    """libcuda, in the primary contexts that CuPy, PyTorch and Numba use too."""

    def __init__(self) -> None:
        from cuda.bindings import driver as cu

        self._cu = cu
        _checked(cu.cuInit(0))
        self._contexts: dict[int, Any] = {}
        self._multiprocessors: dict[int, int] = {}
        self._kernels: dict[tuple[int, Body], Handle] = {}

    def count(self) -> int:
        return int(_checked(self._cu.cuDeviceGetCount()))

    def name(self, device: int) -> str:
        handle = _checked(self._cu.cuDeviceGet(device))
        name = _checked(self._cu.cuDeviceGetName(100, handle)).rstrip(b"\0").decode()
        major, minor = self._capability(device)
        return f"{name} (compute capability {major}.{minor})"

    def arch(self, device: int) -> str:
        return arch_of(self._capability(device))

    def _capability(self, device: int) -> tuple[int, int]:
        kinds = self._cu.CUdevice_attribute
        return (
            self._attribute(device, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(device, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )

    def _attribute(self, device: int, kind: Any) -> int:
        return int(_checked(self._cu.cuDeviceGetAttribute(kind, _checked(self._cu.cuDeviceGet(device)))))

    @contextlib.contextmanager
    def _at(self, device: int) -> Iterator[None]:
        """The device's context is the current one; after it, the caller's is again."""
        context = self._contexts.get(device)
        if context is None:
            handle = _checked(self._cu.cuDeviceGet(device))
            context = self._contexts[device] = _checked(self._cu.cuDevicePrimaryCtxRetain(handle))
        _checked(self._cu.cuCtxPushCurrent(context))
        try:
            yield
        finally:
            _checked(self._cu.cuCtxPopCurrent())

    def device_of(self, address: int) -> int:
        kind = self._cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(_checked(self._cu.cuPointerGetAttribute(kind, address)))

    def multiprocessors(self, device: int) -> int:
        if device not in self._multiprocessors:
            kind = self._cu.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
            self._multiprocessors[device] = self._attribute(device, kind)
        return self._multiprocessors[device]

    def load(self, device: int, body: Body) -> Handle:
        found = self._kernels.get((device, body))
        if found is None:
            found = self._kernels[device, body] = self._loaded(device, body)
        return found

    def _loaded(self, device: int, body: Body) -> Handle:
        made = cubin(body, self.arch(device))
        with self._at(device):
            module = _checked(self._cu.cuModuleLoadData(made.code))
            return _checked(self._cu.cuModuleGetFunction(module, made.symbol.encode()))

    def launch(self, device: int, kernel: Handle, blocks: int, stream: int, arguments: Arguments) -> None:
        with self._at(device):
            _checked(
                self._cu.cuLaunchKernel(
                    kernel, blocks, 1, 1, THREADS, 1, 1, 0, stream, arguments.pointers_at, 0
                )
            )

    def allocate(self, device: int, nbytes: int) -> Memory:
        with self._at(device):
            return _Owned(self, device, int(_checked(self._cu.cuMemAlloc(nbytes))))

    def _free(self, device: int, address: int) -> None:
        with contextlib.suppress(CudaError), self._at(device):  # the process may be ending
            self._cu.cuMemFree(address)

    @contextlib.contextmanager
    def scratch(self, device: int, nbytes: int, stream: int) -> Iterator[int]:
        with self._at(device):
            address = _checked(self._cu.cuMemAllocAsync(nbytes, stream))
        try:
            yield int(address)
        finally:
            with self._at(device):
                _checked(self._cu.cuMemFreeAsync(address, stream))

    def upload(self, device: int, address: int, values: Array, stream: int) -> None:
        if values.nbytes:  # pageable: the driver has taken its copy when the call returns
            with self._at(device):
                _checked(self._cu.cuMemcpyHtoDAsync(address, int(values.ctypes.data), values.nbytes, stream))

    def download(self, device: int, values: Array, address: int) -> None:
        with self._at(device):
            _checked(self._cu.cuCtxSynchronize())
            if values.nbytes:
                _checked(self._cu.cuMemcpyDtoHAsync(int(values.ctypes.data), address, values.nbytes, 0))
                _checked(self._cu.cuStreamSynchronize(0))

    def finish(self, device: int) -> None:
        with self._at(device):
            _checked(self._cu.cuCtxSynchronize())

    def zero(self, device: int, address: int, nbytes: int, stream: int) -> None:
        with self._at(device):
            _checked(self._cu.cuMemsetD8Async(address, 0, nbytes, stream))

    def order(self, device: int, before: int, after: int) -> None:
        with self._at(device):
            event = self._event()
            _checked(self._cu.cuEventRecord(event, before))
            _checked(self._cu.cuStreamWaitEvent(after, event, 0))
            _checked(self._cu.cuEventDestroy(event))  # which the driver does when the wait is over

    def mark(self, device: int, stream: int, mark: Any) -> Any:
        with self._at(device):
            mark = mark or self._event()
            _checked(self._cu.cuEventRecord(mark, stream))
        return mark

    def wait(self, device: int, mark: Any, stream: int) -> None:
        with self._at(device):
            _checked(self._cu.cuStreamWaitEvent(stream, mark, 0))

    def _event(self) -> Any:
        return _checked(self._cu.cuEventCreate(self._cu.CUevent_flags.CU_EVENT_DISABLE_TIMING))

    def later(self, device: int, address: int, stream: int) -> Later:
        return _Pending(self, device, address, stream)


class _Owned:
    """Memory that is freed with the last reference to it."""

    def __init__(self, cuda: Cuda, device: int, address: int) -> None:
        self.address = address
        weakref.finalize(self, cuda._free, device, address).atexit = False


class _Pending:
    """A number copied to page-locked memory, and the event that says it is there."""

    def __init__(self, cuda: Cuda, device: int, address: int, stream: int) -> None:
        self._cuda, self._device = cuda, device
        cu = cuda._cu
        with cuda._at(device):
            self._at = int(_checked(cu.cuMemHostAlloc(8, 0)))
            self._event = cuda._event()
            _checked(cu.cuMemcpyDtoHAsync(self._at, address, 8, stream))
            _checked(cu.cuEventRecord(self._event, stream))

    def read(self) -> float:
        import ctypes

        cu = self._cuda._cu
        with self._cuda._at(self._device):
            _checked(cu.cuEventSynchronize(self._event))
            value = ctypes.c_double.from_address(self._at).value
            _checked(cu.cuEventDestroy(self._event))
            _checked(cu.cuMemFreeHost(self._at))
        return value
