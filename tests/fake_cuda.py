"""A CUDA driver made of host memory, on which kernels run natively, and arrays that claim to be on it.

All of the host's part of CUDA can be tried so where there is no GPU: what is checked, uploaded, ordered
and launched is what a GPU would be given. Every call is recorded.
"""

import contextlib
import ctypes
import types

import numpy as np

from gnumba._engine import grid


class Memory:
    """Bytes that a device would have."""

    def __init__(self, nbytes):
        self.bytes = np.full(nbytes + 16, 0xAA, np.uint8)  # what is never written must not be read
        self.address = -(-self.bytes.ctypes.data // 16) * 16


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
        words = iter(zip(arguments.words, arguments.kinds, strict=True))

        def number():
            word, kind = next(words)
            return (
                np.array([word]).view(kind)[0].item() if kind == np.int64 else np.array([word]).view(kind)[0]
            )

        values = [
            tuple(number() for _ in each.types) if hasattr(each, "types") else number()
            for each in kernel.arguments
        ]
        grid.native(kernel)(blocks, *values)

    def allocate(self, device, nbytes):
        self.calls.append(("allocate", nbytes))
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

    def later(self, device, address, stream):
        self.calls.append(("later", stream))
        return Later(ctypes.c_double.from_address(address).value)


class Later:
    def __init__(self, value):
        self._value = value

    def read(self):
        return self._value


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


CupyArray.__module__ = "cupy"
