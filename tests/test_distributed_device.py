"""gn.distributed for arrays on a device, which is made of host memory here: see `fake_cuda`."""

import ctypes
import itertools
import sys
import threading
import types

import numpy as np
import pytest
from fake_cuda import CupyArray, FakeCuda, FakeCupy
from ranks import Rank, World
from test_distributed import GUARDED, MICRO, assert_same, gradients, model, raised

import gnumba as gn
from gnumba._distributed import communicator
from gnumba._distributed.communicator import Direct
from gnumba._distributed.nccl import OverNCCL
from gnumba._engine.cuda import driver


class Sliced(CupyArray):
    """Slices and reshapes as CuPy makes them: views."""

    @property
    def size(self):
        return self.values.size

    @property
    def itemsize(self):
        return self.values.itemsize

    def __getitem__(self, index):
        return Sliced(self.values[index])

    def reshape(self, *shape):
        return Sliced(self.values.reshape(*shape))


Sliced.__module__ = "cupy"


class Cupy(FakeCupy):
    def empty_like(self, x):
        return Sliced(np.empty_like(x.values))

    def empty(self, shape, dtype):
        return Sliced(np.empty(shape, dtype))


class OneAtATime(FakeCuda):
    """A driver that several threads may use."""

    lock = threading.RLock()

    def launch(self, *arguments):
        with self.lock:
            super().launch(*arguments)


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    monkeypatch.setattr(driver, "_current", [OneAtATime()])
    monkeypatch.setitem(sys.modules, "cupy", Cupy())
    return sys.modules["cupy"]


def on_device(arrays):
    return {name: Sliced(x.copy()) for name, x in arrays.items()}


def course(comm, zero, place, **options):
    """Values after three steps, state and norm."""
    params = place(model(comm.rank))
    opt = gn.distributed(gn.Adam, params, comm=comm, zero=zero, lr=1e-2, **GUARDED, **options)
    count = MICRO // comm.size
    for t in range(3):
        host = model(0)
        opt.step(place(gradients(t, comm.rank * count + k, host)) for k in range(count))
    return {name: getattr(x, "values", x) for name, x in params.items()}, opt.state_dict(), opt.grad_norm


@pytest.mark.parametrize("order", ["tree", "any"])
@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_through_the_host(size, zero, order):
    """The bits of arrays on the host."""
    expected = World(size).run(lambda comm: course(comm, zero, dict, order=order))
    found = raised(World(size).run(lambda comm: course(comm, zero, on_device, order=order)))
    for (params, state, norm), (there, its_state, its_norm) in zip(expected, found, strict=True):
        assert_same(params, there)
        assert_same(state, its_state)
        assert norm == its_norm


def test_a_checkpoint(tmp_path):
    def work(comm):
        params = on_device(model(comm.rank))
        opt = gn.distributed(gn.Adam, params, comm=comm, lr=1e-2)
        opt.step(on_device(gradients(0, 0, model(0))))
        gn.save_checkpoint(tmp_path / "run", params, opt)
        other = on_device(model(5))
        second = gn.distributed(gn.Adam, other, comm=comm, lr=1.0)
        gn.load_checkpoint(tmp_path / "run", other, second)
        for name, x in params.items():
            assert_same(x.values, other[name].values)
        assert_same(opt.state_dict(), second.state_dict())

    assert raised(World(2).run(work)) == [None] * 2


def memory(at, count, kind):
    """Elements at an address, as NCCL is given them."""
    dtype = np.dtype(kind)
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(at), dtype)


class Nccl(types.ModuleType):
    """cupy.cuda.nccl over ranks that are threads."""

    NCCL_FLOAT32, NCCL_FLOAT64, NCCL_SUM, NCCL_MAX = "float32", "float64", "sum", "max"

    def __init__(self):
        super().__init__("nccl")
        self.here = threading.local()
        self.streams = set()

    def get_unique_id(self):
        return (1, 2, 3)

    def groupStart(self):
        self.here.sends, self.here.receives = [], []

    def groupEnd(self):
        comm, sends, receives = self.here.comm, self.here.sends, self.here.receives
        sent, got = np.concatenate(sends), np.empty(sum(x.size for x in receives), sends[0].dtype)
        comm.exchange(sent, got)
        for x, part in zip(receives, np.split(got, len(receives)), strict=True):
            x[...] = part

    def NcclCommunicator(self, size, unique, rank):
        assert unique == (1, 2, 3)
        comm = self.here.comm
        assert (size, rank) == (comm.size, comm.rank)
        note = self.streams.add

        def allReduce(source, to, count, kind, how, stream):
            note(stream)
            assert source == to
            (comm.sum if how == "sum" else comm.largest)(memory(to, count, kind))

        def reduceScatter(source, to, count, kind, how, stream):
            note(stream)
            comm.sum_scatter(memory(source, count * size, kind), memory(to, count, kind))

        def allGather(source, to, count, kind, stream):
            note(stream)
            assert source == to + rank * count * np.dtype(kind).itemsize
            comm.gather_all(memory(to, count * size, kind))

        def send(at, count, kind, peer, stream):
            note(stream)
            assert peer == len(self.here.sends)
            self.here.sends.append(memory(at, count, kind))

        def recv(at, count, kind, peer, stream):
            assert peer == len(self.here.receives)
            self.here.receives.append(memory(at, count, kind))

        def broadcast(source, to, count, kind, root, stream):
            note(stream)
            comm.broadcast(memory(to, count, kind), root)

        calls = dict(locals())
        return types.SimpleNamespace(**{name: call for name, call in calls.items() if callable(call)})


@pytest.mark.parametrize("order", ["tree", "any"])
@pytest.mark.parametrize("zero", [0, 1])
def test_by_nccl(zero, order, cupy, monkeypatch):
    """Every call of it, in CuPy's stream, with the addresses and lengths that it should have."""
    nccl = cupy.cuda.nccl = Nccl()
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    for name in ("sum", "largest", "sum_scatter", "gather_all", "exchange", "broadcast", "tell"):
        monkeypatch.setattr(communicator.OverMPI, name, getattr(Rank, name))
    monkeypatch.setattr(communicator.OverMPI, "_meet", Rank._meet, raising=False)

    def begin(self, comm, timeout):
        self.rank, self.size, self._world = comm.rank, comm.size, comm._world
        self._numbers, self.mark = itertools.count(1), communicator.Mark()
        nccl.here.comm = comm

    monkeypatch.setattr(communicator.OverMPI, "__init__", begin)

    def work(comm):
        return course(OverNCCL(comm, None), zero, on_device, order=order)

    expected = World(2).run(lambda comm: course(comm, zero, dict, order=order))
    for (params, state, norm), found in zip(expected, raised(World(2).run(work)), strict=True):
        assert_same(params, found[0])
        assert_same(state, found[1])
        assert norm == found[2]
    assert nccl.streams == {cupy.stream}


def test_a_direct_mpi_waits_for_the_arrays(cupy, monkeypatch):
    """Before each call: MPI knows nothing of the work on them."""
    calls = []
    monkeypatch.setattr(communicator.OverMPI, "exchange", lambda self, *buffers: calls.append("MPI"))
    fake = driver._current[0]
    monkeypatch.setattr(fake, "download", lambda *_: calls.append("wait"))
    direct = object.__new__(Direct)
    direct.exchange(Sliced(np.ones(4)), Sliced(np.ones(4)))
    assert calls == ["wait", "wait", "MPI"]
