"""The CUDA driver: memory, streams, events and launches, and nothing of what they are for.

`Cuda` calls libcuda through ``cuda.bindings``, which numba-cuda brings; it is imported when the first
CUDA array is seen. `Driver` says what the engine needs of it. Over a driver that does nothing a launch
takes 1.8 µs where cuda.core's takes 0.9, but that frees memory on the stream it was allocated on, which
may be gone by then, and its names differ between the versions that numba-cuda admits.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import numpy as np

from ..grid import THREADS, Body
from .compiler import CudaError as CudaError
from .compiler import arch_of, compiler_major, cubin
from .compiler import missing as lacks_compiler

Array = np.ndarray[Any, np.dtype[Any]]
Handle = Any


KEPT = 1 << 25  # bytes at least that a device's pool keeps of what is freed
SLAB, SLABS, AN_ARENA = 1 << 15, 128, 16  # page-locked memory for uploads: bytes; how many; allocated at once


class Memory(Protocol):
    """Memory of a device, freed when nothing refers to it any more."""

    address: int


class StreamOrder:
    """Order of the uses of device memory by different streams.

    Each use leaves an event on its stream, unless that is the default one. The use by another stream
    waits for the event, and so does the memory's end: a stream may have been destroyed by then.
    """

    def __init__(self, device: int, stream: int) -> None:
        self.device, self.stream, self.event = device, stream, None
        self.leave()

    def on(self, stream: int) -> Self:
        """Begin a use: later work on the stream comes after the uses before; `leave` or ``with`` ends it."""
        if stream != self.stream:
            if self.stream:
                get().wait(self.device, self.event, stream)
            else:
                get().order(self.device, 0, stream)
            self.stream = stream
        return self

    def leave(self) -> None:
        """End a use: all of it has been put on the stream."""
        if self.stream:
            self.event = get().mark(self.device, self.stream, self.event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.leave()


class Arguments:
    """Packed kernel arguments: one 8-byte word each, and the array of pointers that cuLaunchKernel takes."""

    def __init__(self, body: Body, *values: Any) -> None:
        self.kinds, self._reals, offsets, scalars_from, scalars_kind = _kinds(body)
        self.words = np.zeros(len(self.kinds), np.int64)
        self._as_reals = self.words.view(np.float64)
        pointers = self.words.ctypes.data + offsets
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


@functools.cache
def _kinds(body: Body) -> tuple[list[np.dtype[Any]], list[bool], Array, int, np.dtype[Any]]:
    """The arguments' dtypes, which are float64, their words' offsets, and where and what the scalars are."""
    kinds = [np.dtype(str(kind)) for each in body.arguments for kind in getattr(each, "types", (each,))]
    scalars = len(getattr(body.arguments[-1], "types", ()))
    offsets = 8 * np.arange(len(kinds), dtype=np.int64)
    return kinds, [kind == np.float64 for kind in kinds], offsets, len(kinds) - scalars, kinds[-1]


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

    def allocate(self, device: int, nbytes: int, order: StreamOrder | None = None) -> Memory:
        """Memory for as long as it is referred to, for the uses in this order, which its end comes after.

        Without an order its end waits for the device.
        """

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

    def number(self, device: int) -> HostNumber:
        """A float64 in page-locked host memory."""


class HostNumber(Protocol):
    """A float64 on the host that streams can copy to."""

    def copy(self, address: int, stream: int) -> None:
        """Put a copy of the device's number at an address on the stream."""

    def read(self) -> float:
        """The number; waits for the last copy."""


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
    if status == cu.CUresult.CUDA_ERROR_NOT_INITIALIZED:
        return (
            "this process was forked from one that had used CUDA, where the driver does not work; "
            "start processes by 'spawn' or 'forkserver' (multiprocessing.set_start_method)"
        )
    if status != cu.CUresult.CUDA_SUCCESS:
        return f"the NVIDIA driver finds no usable GPU ({status.name})"
    if _checked(cu.cuDeviceGetCount()) == 0:
        return "the NVIDIA driver finds no GPU"
    version, needed = _checked(cu.cuDriverGetVersion()), compiler_major()
    if version // 1000 < needed:
        return (
            f"the NVIDIA driver knows CUDA up to {version // 1000}.{version % 1000 // 10} and the compiler "
            f"makes code for CUDA {needed}: pip install 'gnumba[cuda{version // 1000}]', or a newer driver"
        )
    return ""


def _after_fork() -> None:
    """A forked child cannot use the parent's CUDA: let it ask the driver anew."""
    _current.clear()
    missing.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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


def _checked(result: tuple[Any, ...]) -> Any:
    """Unpack the result of a driver call; CudaError unless its status is success."""
    if result[0]:
        raise CudaError(f"the CUDA driver answered {result[0].name}")
    return result[1] if len(result) == 2 else result[1:]


class Cuda:
    """libcuda, in the primary contexts that CuPy, PyTorch and Numba use too."""

    def __init__(self) -> None:
        from cuda.bindings import driver as cu

        self._cu = cu
        _checked(cu.cuInit(0))
        self._contexts: dict[int, _Context] = {}
        self._multiprocessors: dict[int, int] = {}
        self._kernels: dict[tuple[int, Body], Handle] = {}
        self._pools: dict[int, bool] = {}
        self._ended = defaultdict[int, list[tuple[int, StreamOrder | None]]](list)
        self._staging: dict[int, _Staging] = {}
        self._process = os.getpid()

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

    def _at(self, device: int) -> _Context:
        """The device's context, to be the current one in a ``with`` block."""
        if device not in self._contexts:
            handle = _checked(self._cu.cuDeviceGet(device))
            context = _checked(self._cu.cuDevicePrimaryCtxRetain(handle))
            self._contexts[device] = _Context(self._cu, context)
        return self._contexts[device]

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

    def allocate(self, device: int, nbytes: int, order: StreamOrder | None = None) -> Memory:
        pooled = order is not None and self._has_pool(device)
        with self._at(device):
            self._free_ended(device)
            if pooled and order is not None:
                address = _checked(self._cu.cuMemAllocAsync(nbytes, order.stream))
            else:
                address = _checked(self._cu.cuMemAlloc(nbytes))
        return _Owned(self, device, int(address), order if pooled else None)

    def end(self, device: int, release: Callable[..., None], *what: Any) -> None:
        """Release something, for finalizers: not in a forked child; a process that ends may refuse."""
        if os.getpid() == self._process:
            with contextlib.suppress(CudaError), self._at(device):
                release(*what)

    def free(self, device: int, address: int, order: StreamOrder | None) -> None:
        """Free memory after its last use: on the default stream, which outlives all others.

        While work of another stream is captured for a graph, that would end the capture: such memory is
        freed with the next, or before the next is allocated.
        """
        self._ended[device].append((address, order))
        self._free_ended(device)

    def _free_ended(self, device: int) -> None:
        """Free all memory that has ended, unless the default stream may not be used; in the context."""
        ended = self._ended[device]
        if not ended or self._cu.cuStreamIsCapturing(0)[0]:
            return
        while ended:
            address, order = ended.pop()
            if order is None:
                _checked(self._cu.cuCtxSynchronize())
                _checked(self._cu.cuMemFree(address))
                continue
            if order.event is not None:
                _checked(self._cu.cuStreamWaitEvent(0, order.event.handle, 0))
            _checked(self._cu.cuMemFreeAsync(address, 0))

    def _has_pool(self, device: int) -> bool:
        """Whether memory can be allocated in the order of a stream, which some virtual GPUs cannot."""
        if device not in self._pools:
            kinds, cu = self._cu.CUdevice_attribute, self._cu
            has = bool(self._attribute(device, kinds.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED))
            if has:  # by default a pool gives all back whenever somebody waits for the device
                pool = _checked(cu.cuDeviceGetDefaultMemPool(_checked(cu.cuDeviceGet(device))))
                threshold = cu.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
                if int(_checked(cu.cuMemPoolGetAttribute(pool, threshold))) < KEPT:
                    _checked(cu.cuMemPoolSetAttribute(pool, threshold, cu.cuuint64_t(KEPT)))
            self._pools[device] = has
        return self._pools[device]

    @contextlib.contextmanager
    def scratch(self, device: int, nbytes: int, stream: int) -> Iterator[int]:
        if not self._has_pool(device):
            memory = self.allocate(device, nbytes)
            yield memory.address
            return
        with self._at(device):
            address = _checked(self._cu.cuMemAllocAsync(nbytes, stream))
        try:
            yield int(address)
        finally:
            with self._at(device):
                _checked(self._cu.cuMemFreeAsync(address, stream))

    def upload(self, device: int, address: int, values: Array, stream: int) -> None:
        if device not in self._staging:
            self._staging[device] = _Staging(self)
        with self._at(device):
            self._staging[device].upload(address, int(values.ctypes.data), values.nbytes, stream)

    def download(self, device: int, values: Array, address: int) -> None:
        with self._at(device):
            _checked(self._cu.cuCtxSynchronize())
            if values.nbytes:
                _checked(self._cu.cuMemcpyDtoH(int(values.ctypes.data), address, values.nbytes))

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
            mark = mark or _Event(self, device)
            _checked(self._cu.cuEventRecord(mark.handle, stream))
        return mark

    def wait(self, device: int, mark: Any, stream: int) -> None:
        with self._at(device):
            _checked(self._cu.cuStreamWaitEvent(stream, mark.handle, 0))

    def _event(self) -> Any:
        return _checked(self._cu.cuEventCreate(self._cu.CUevent_flags.CU_EVENT_DISABLE_TIMING))

    def destroy(self, event: Any) -> None:
        _checked(self._cu.cuEventDestroy(event))

    def free_on_host(self, address: int, event: _Event) -> None:
        """Free page-locked memory when nothing is copied to it any more."""
        _checked(self._cu.cuEventSynchronize(event.handle))
        _checked(self._cu.cuMemFreeHost(address))

    def number(self, device: int) -> HostNumber:
        return _HostNumber(self, device)


class _Context:
    """A context that is the current one inside ``with``; after it the caller's is again.

    Without a generator: half the time, and every driver call has one around it.
    """

    def __init__(self, cu: Any, context: Any) -> None:
        self._cu, self._context = cu, context

    def __enter__(self) -> None:
        _checked(self._cu.cuCtxPushCurrent(self._context))

    def __exit__(self, *failure: object) -> None:
        _checked(self._cu.cuCtxPopCurrent())


class _Owned:
    """Memory that is freed with the last reference to it."""

    def __init__(self, cuda: Cuda, device: int, address: int, order: StreamOrder | None) -> None:
        self.address = address
        weakref.finalize(self, cuda.end, device, cuda.free, device, address, order).atexit = False


class _Event:
    """An event that is destroyed with the last reference to it; made in the device's context."""

    def __init__(self, cuda: Cuda, device: int) -> None:
        self.handle = cuda._event()
        weakref.finalize(self, cuda.end, device, cuda.destroy, self.handle).atexit = False


class _HostNumber:
    """A float64 in page-locked memory, and the event behind the last copy to it."""

    def __init__(self, cuda: Cuda, device: int) -> None:
        self._cuda, self._device = cuda, device
        with cuda._at(device):
            self._at = int(_checked(cuda._cu.cuMemHostAlloc(8, 0)))
            self._event = _Event(cuda, device)
        weakref.finalize(self, cuda.end, device, cuda.free_on_host, self._at, self._event).atexit = False

    def copy(self, address: int, stream: int) -> None:
        cu = self._cuda._cu
        with self._cuda._at(self._device):
            _checked(cu.cuMemcpyDtoHAsync(self._at, address, 8, stream))
            _checked(cu.cuEventRecord(self._event.handle, stream))

    def read(self) -> float:
        with self._cuda._at(self._device):
            _checked(self._cuda._cu.cuEventSynchronize(self._event.handle))
        return ctypes.c_double.from_address(self._at).value


class _Staging:
    """Page-locked memory that uploads go through, so that the caller's own may change or be freed at once.

    What the driver does with pageable memory in a copy that does not wait is not documented. A slab is
    used again when the event behind its last copy has come; the oldest is waited for if there are `SLABS`.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cu, self._new_event, self._count = cuda._cu, cuda._event, 0
        self._free: list[tuple[int, Any]] = []
        self._used: deque[tuple[int, Any]] = deque()

    def upload(self, address: int, source: int, nbytes: int, stream: int) -> None:
        """Put a copy on the stream; in the device's context."""
        for done in range(0, nbytes, SLAB):
            count = min(SLAB, nbytes - done)
            slab, event = self._slab()
            ctypes.memmove(slab, source + done, count)
            _checked(self._cu.cuMemcpyHtoDAsync(address + done, slab, count, stream))
            _checked(self._cu.cuEventRecord(event, stream))
            self._used.append((slab, event))

    def _slab(self) -> tuple[int, Any]:
        """A slab that no copy reads, and its event."""
        if self._used:
            slab, event = self._used.popleft()
            may_wait = self._count >= SLABS and not self._free
            if may_wait:
                _checked(self._cu.cuEventSynchronize(event))
            if may_wait or self._cu.cuEventQuery(event)[0] == self._cu.CUresult.CUDA_SUCCESS:
                return slab, event
            self._used.appendleft((slab, event))
        if not self._free:
            arena = int(_checked(self._cu.cuMemHostAlloc(AN_ARENA * SLAB, 0)))
            self._free += [(arena + k * SLAB, self._new_event()) for k in range(AN_ARENA)]
            self._count += AN_ARENA
        return self._free.pop()
