"""A CUDA driver made of host memory, on which kernels run natively, and arrays that claim to be on it.

All of the host's part of CUDA can be tried so where there is no GPU: what is checked, uploaded, ordered
and launched is what a GPU would be given. Every call is recorded.
"""

import collections
import contextlib
import ctypes
import enum
import os
import types

import numpy as np

from gnumba._engine import grid


class Memory:
    """Bytes that a device would have."""

    def __init__(self, nbytes):
        self.bytes = np.full(nbytes + 16, 0xAA, np.uint8)  # what is never written must not be read
        self.address = -(-self.bytes.ctypes.data // 16) * 16


def values_at(body, pointers_at):
    """A kernel's arguments, read as cuLaunchKernel reads them: each from where its pointer says."""
    count = sum(len(getattr(each, "types", (each,))) for each in body.arguments)
    where = iter((ctypes.c_uint64 * count).from_address(pointers_at))

    def number(kind):
        kind = np.dtype(str(kind))
        value = np.frombuffer(ctypes.string_at(next(where), kind.itemsize), kind)[0]
        return value.item() if kind == np.int64 else value

    return [
        tuple(map(number, each.types)) if hasattr(each, "types") else number(each) for each in body.arguments
    ]


class FakeCuda:
    """The `Driver` protocol; work is done at once, in the order in which it is given."""

    def __init__(self):
        self.calls = []

    def names(self, *, without=("allocate", "zero")):
        """Names of the calls in order, since `forget`."""
        return [name for name, *_ in self.calls if name not in without]

    def launched(self):
        """The kernels that were launched, and on which streams."""
        return [(call[1].name, call[2]) for call in self.calls if call[0] == "launch"]

    def forget(self):
        self.calls.clear()

    def device_of(self, address):
        return 0

    def multiprocessors(self, device):
        return 2

    def load(self, device, body):
        grid.native(body)
        return body

    def launch(self, device, kernel, blocks, stream, arguments):
        self.calls.append(("launch", kernel, stream))
        grid.native(kernel)(blocks, *values_at(kernel, arguments.pointers_at))

    def allocate(self, device, nbytes, order=None):
        self.calls.append(("allocate", nbytes, order))
        return Memory(nbytes)

    @contextlib.contextmanager
    def scratch(self, device, nbytes, stream):
        memory = Memory(nbytes)
        yield memory.address
        memory.bytes[...] = 0xAA

    def upload(self, device, address, values, stream):
        self.calls.append(("upload", values.nbytes, stream))
        assert values.flags.forc
        ctypes.memmove(address, values.ctypes.data, values.nbytes)

    def download(self, device, values, address):
        self.calls.append(("download", values.nbytes))
        ctypes.memmove(values.ctypes.data, address, values.nbytes)

    def zero(self, device, address, nbytes, stream):
        self.calls.append(("zero", nbytes))
        ctypes.memset(address, 0, nbytes)

    def order(self, device, before, after):
        self.calls.append(("order", before, after))

    def finish(self, device):
        self.calls.append(("finish",))

    def mark(self, device, stream, mark):
        assert stream, "the default stream needs no mark"
        self.calls.append(("mark", stream))
        return mark or object()

    def wait(self, device, mark, stream):
        assert mark is not None
        self.calls.append(("wait", stream))

    def number(self, device):
        self.calls.append(("number",))
        return HostNumber(self)


class HostNumber:
    def __init__(self, cuda):
        self._cuda = cuda

    def copy(self, address, stream):
        self._cuda.calls.append(("copy", stream))
        self._value = ctypes.c_double.from_address(address).value

    def read(self):
        return self._value


class Status(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906


class Event:
    """An event's handle: where it was recorded last."""

    stream = behind = 0


class Libcuda(types.ModuleType):
    """``cuda.bindings.driver`` with queues: work on a stream is done when somebody waits for it.

    Streams overtake one another wherever no event orders them. Every call is counted by its name.
    """

    CUresult = Status
    CUdevice_attribute = types.SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor",
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT="multiprocessors",
        CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED="pools",
    )
    CUpointer_attribute = types.SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL=0)
    CUevent_flags = types.SimpleNamespace(CU_EVENT_DISABLE_TIMING=2)
    CUmemPool_attribute = types.SimpleNamespace(CU_MEMPOOL_ATTR_RELEASE_THRESHOLD=4)
    cuuint64_t = int

    def __init__(self, version=13000, pools=1, seed=0):
        super().__init__("driver")
        self.version, self.process, self.threshold = version, os.getpid(), 0
        self.attributes = {"major": 9, "minor": 0, "multiprocessors": 2, "pools": pools}
        self.calls = collections.Counter()
        self.memory, self.pinned, self.events, self.contexts = {}, {}, set(), 0
        self.graveyard, self.dead, self.captured = [], set(), False
        self.queues, self.done = collections.defaultdict(collections.deque), collections.Counter()
        self.given = collections.Counter()
        self.random = np.random.default_rng(seed)

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if not name.startswith("cu") or name == "cuuint64_t":
            return found

        def call(*arguments):
            self.calls[name] += 1
            result = found(*arguments)
            return (
                result
                if isinstance(result, tuple)
                else (Status.CUDA_SUCCESS, *([] if result is None else [result]))
            )

        return call

    def live(self):
        """How much there is of what must be freed."""
        return len(self.memory), len(self.pinned), len(self.events)

    def put(self, stream, work, after=(0, 0)):
        assert stream not in self.dead, f"work is put on stream {stream}, which is gone"
        assert stream or not self.captured, "the default stream is used, which ends another stream's capture"
        self.queues[stream].append((work, after))
        self.given[stream] += 1

    def run(self, enough=None):
        """Do work in any order that is allowed, until enough is done or all of it."""
        while not (enough() if enough else not any(self.queues.values())):
            ready = [s for s, q in self.queues.items() if q and self.done[q[0][1][0]] >= q[0][1][1]]
            stream = ready[self.random.integers(len(ready))]
            work, _ = self.queues[stream].popleft()
            work()
            self.done[stream] += 1

    # What the driver class calls.

    def cuInit(self, flags):
        return (Status.CUDA_SUCCESS if os.getpid() == self.process else Status.CUDA_ERROR_NOT_INITIALIZED,)

    def cuDeviceGetCount(self):
        return 1

    def cuDriverGetVersion(self):
        return self.version

    def cuDeviceGet(self, device):
        return device

    def cuDeviceGetName(self, length, device):
        return b"Fake\0"

    def cuDeviceGetAttribute(self, kind, device):
        return self.attributes[kind]

    def cuDevicePrimaryCtxRetain(self, device):
        return device

    def cuCtxPushCurrent(self, context):
        self.contexts += 1

    def cuCtxPopCurrent(self):
        self.contexts -= 1

    def cuStreamIsCapturing(self, stream):
        implicit = self.captured and not stream
        return (Status.CUDA_ERROR_STREAM_CAPTURE_IMPLICIT if implicit else Status.CUDA_SUCCESS, 0)

    def cuCtxSynchronize(self):
        assert not self.captured, "the device is waited for, which ends the capture"
        self.run()

    def cuPointerGetAttribute(self, kind, address):
        return 0

    def cuModuleLoadData(self, code):
        return code

    def cuModuleGetFunction(self, module, symbol):
        return module

    def cuLaunchKernel(self, body, blocks, a, b, threads, c, d, shared, stream, pointers_at, extra):
        values = values_at(body, pointers_at)
        self.put(stream, lambda: grid.native(body)(blocks, *values))

    def _new(self, kept, nbytes):
        made = Memory(nbytes)
        kept[made.address] = made
        return made.address

    def _drop(self, kept, address):
        memory = kept.pop(address)
        memory.bytes[...] = 0xAA
        self.graveyard.append(memory)

    def cuMemAlloc(self, nbytes):
        return self._new(self.memory, nbytes)

    def cuMemAllocAsync(self, nbytes, stream):
        return self._new(self.memory, nbytes)

    def cuMemHostAlloc(self, nbytes, flags):
        return self._new(self.pinned, nbytes)

    def cuMemFree(self, address):
        self._drop(self.memory, address)

    def cuMemFreeAsync(self, address, stream):
        self.put(stream, lambda: self._drop(self.memory, address))

    def cuMemFreeHost(self, address):
        self._drop(self.pinned, address)

    def cuDeviceGetDefaultMemPool(self, device):
        return "the pool"

    def cuMemPoolGetAttribute(self, pool, kind):
        return self.threshold

    def cuMemPoolSetAttribute(self, pool, kind, value):
        self.threshold = value

    def cuMemcpyHtoDAsync(self, address, source, nbytes, stream):
        self.put(stream, lambda: ctypes.memmove(address, source, nbytes))

    def cuMemcpyDtoHAsync(self, to, address, nbytes, stream):
        self.put(stream, lambda: ctypes.memmove(to, address, nbytes))

    def cuMemcpyDtoH(self, to, address, nbytes):
        ctypes.memmove(to, address, nbytes)

    def cuMemsetD8Async(self, address, value, nbytes, stream):
        self.put(stream, lambda: ctypes.memset(address, value, nbytes))

    def cuEventCreate(self, flags):
        made = Event()
        self.events.add(made)
        return made

    def cuEventRecord(self, event, stream):
        assert event in self.events
        self.put(stream, lambda: None)
        event.stream, event.behind = stream, self.given[stream]

    def cuEventQuery(self, event):
        is_done = self.done[event.stream] >= event.behind
        return (Status.CUDA_SUCCESS if is_done else Status.CUDA_ERROR_NOT_READY,)

    def cuEventSynchronize(self, event):
        stream, behind = event.stream, event.behind
        self.run(lambda: self.done[stream] >= behind)

    def cuEventDestroy(self, event):
        self.events.remove(event)

    def cuStreamWaitEvent(self, stream, event, flags):
        assert event in self.events
        self.put(stream, lambda: None, (event.stream, event.behind))


class FakeCupy(types.ModuleType):
    """Part of CuPy that the engine uses."""

    def __init__(self):
        super().__init__("cupy")
        self.stream = 5
        self.cuda = types.SimpleNamespace(get_current_stream=self._current_stream)

    def _current_stream(self, device_id=-1):
        """Each device has a current stream; without an argument the current device's, 0's."""
        return types.SimpleNamespace(ptr=self.stream + 100 * max(device_id, 0))

    def empty_like(self, x):
        return CupyArray(np.empty_like(x.values))

    def empty(self, shape, dtype):
        return CupyArray(np.empty(shape, dtype))

    def stack(self, arrays):
        return np.stack([x.values for x in arrays])

    def __getattr__(self, name):
        """NumPy's functions, of NumPy's arrays: what is computed between kernels."""
        if name in ("amax", "clip", "matmul", "sqrt"):
            return getattr(np, name)
        raise AttributeError(name)


class Device(contextlib.nullcontext):
    def __init__(self, id):
        super().__init__()
        self.id = id


class FakeArray:
    """Array with ``__cuda_array_interface__`` only; ``.values`` is for the test's eyes."""

    def __init__(self, values, device=0, stream=None, read_only=False, null=True):
        self.null = null  # the address of an empty array is 0
        self.values, self.device, self.stream, self.read_only = values, Device(device), stream, read_only
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def _address(self):
        return self.values.__array_interface__["data"][0] if self.values.size or not self.null else 0

    @property
    def __cuda_array_interface__(self):
        contiguous = self.values.flags.c_contiguous
        return {
            "shape": self.values.shape,
            "typestr": self.values.dtype.str,
            "data": (self._address(), self.read_only),
            "strides": None if contiguous else self.values.strides,
            "version": 3,
            "stream": self.stream,
        }


class CupyArray(FakeArray):
    """Fake array with the attributes of CuPy's arrays."""

    def __init__(self, values, device=0):
        super().__init__(values, device)
        self.data = types.SimpleNamespace(ptr=self._address(), device_id=device)
        self.strides = values.strides

    @property
    def T(self):
        return CupyArray(self.values.T)

    def __getitem__(self, index):
        return self.values[index]

    def __setitem__(self, index, values):
        self.values[index] = values


CupyArray.__module__ = "cupy"
