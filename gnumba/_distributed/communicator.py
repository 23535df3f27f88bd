"""Communicators: the few collective calls that a step needs, over MPI or whatever else has them.

Buffers are contiguous arrays of one dtype. All ranks make the same calls in the same order, with buffers
of the same lengths.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from .._engine.arrays import as_view
from .._engine.place import place_of

__all__ = ["Communicator"]

CALLS = "sum", "largest", "sum_scatter", "gather_all", "exchange", "broadcast", "tell"
LAUNCHED = "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_RANK"
TRANSPORTS = None, "direct", "nccl"
SPIN, AWAKE = 2e-4, 0.1  # seconds of a wait without letting go of the core, and without sleeping
GAVE_UP = 70  # the exit status of a job whose ranks waited in vain
INSTALL = 'pip install "gnumba[mpi]" has mpi4py and an MPI'


class Communicator(Protocol):
    """The calls that a rank makes: what ``comm`` may be beside a communicator of mpi4py's."""

    rank: int
    size: int

    def sum(self, buffer: Any) -> None:
        """Replace the buffer by its sum over all ranks, the same bits on each."""

    def largest(self, buffer: Any) -> None:
        """Replace the buffer by its largest value on any rank, element by element."""

    def sum_scatter(self, send: Any, receive: Any) -> None:
        """Receive this rank's part, of as many as there are ranks, of the sum of what all send."""

    def gather_all(self, whole: Any) -> None:
        """Fill in the other ranks' parts of a buffer of which each rank has its own."""

    def exchange(self, send: Any, receive: Any) -> None:
        """Send part r to rank r, and receive from each, in their order."""

    def broadcast(self, buffer: Any, root: int = 0) -> None:
        """Replace the buffer by that of one rank."""

    def tell(self, item: Any) -> list[Any]:
        """Gather small JSON values, one a rank, in the order of ranks."""


class Alone:
    """The communicator of a process without others."""

    rank, size = 0, 1

    def sum(self, buffer: Any) -> None:
        pass

    largest = gather_all = sum

    def sum_scatter(self, send: Any, receive: Any) -> None:
        receive[...] = send

    exchange = sum_scatter

    def broadcast(self, buffer: Any, root: int = 0) -> None:
        pass

    def tell(self, item: Any) -> list[Any]:
        return [json.loads(json.dumps(item))]


class Mark:
    """Whether a call of all ranks was broken off on this one, ``by`` what, for all who speak over it.

    ``kept`` are the requests that nobody waits for any more: MPI may still write to their buffers.
    """

    def __init__(self) -> None:
        self.by: str | None = None
        self.kept: list[Any] = []


def mark_of(comm: Any) -> Mark:
    """The mark of a communicator."""
    if isinstance(comm, OverMPI):
        return comm.mark
    try:
        return _MARKS.setdefault(comm, Mark())
    except TypeError:  # one that has no hash, or cannot be referred to weakly, has one an optimizer
        return Mark()


_MARKS: weakref.WeakKeyDictionary[Any, Mark] = weakref.WeakKeyDictionary()


class OverMPI:
    """mpi4py's communicator, of which it has a duplicate: the user's messages cannot meet these.

    Every wait ends after ``timeout`` seconds: the whole job is aborted then, as a rank has died or never
    comes, and MPI knows no other way out.
    """

    def __init__(self, comm: Any, timeout: float | None) -> None:
        from mpi4py import MPI

        self._mpi, self._timeout = MPI, timeout
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._comm, self.mark = comm, Mark()
        self._comm, self._numbers, self.mark = self._duplicate(comm)

    def _duplicate(self, comm: Any) -> tuple[Any, Iterator[int], Mark]:
        """One for all optimizers over a communicator, as MPI has only so many; their numbers; its mark."""
        found: tuple[Any, Iterator[int], Mark] | None = comm.Get_attr(_keyval(self._mpi))
        if found is None:
            made, request = comm.Idup()
            found = made, itertools.count(1), self.mark
            comm.Set_attr(_keyval(self._mpi), found)
            self._wait(request)
            made.Set_errhandler(self._mpi.ERRORS_RETURN)
        return found

    def next_number(self) -> int:
        """The number of a new optimizer over this communicator, the same on all ranks."""
        return next(self._numbers)

    def _wait(self, request: Any) -> None:
        """Test until it is done, as MPI moves data only in its calls; a wait that takes long leaves the core.

        The header absorbs what ranks are apart, so that a large exchange ends before it comes to sleeping.
        """
        try:
            self._test(request)
        except BaseException as error:
            self.mark.by = type(error).__name__
            self.mark.kept.append(request)
            raise

    def _test(self, request: Any) -> None:
        if self._timeout is None:
            request.Wait()
            return
        begun, pause = time.monotonic(), 0.0
        while not request.Test():
            waited = time.monotonic() - begun
            if waited > self._timeout:
                self._give_up()
            if waited > SPIN:
                time.sleep(pause)  # 0 lets others run
                pause = 0.0 if waited < AWAKE else min(pause + 1e-6, 1e-3)

    def _give_up(self) -> None:
        sys.stdout.flush()
        sys.stderr.write(
            f"gnumba: rank {self.rank} of {self.size} had no answer for {self._timeout:g} s and ends the "
            "job: another rank has died, hangs, or makes other calls (timeout= of gnumba.distributed)\n"
        )
        sys.stderr.flush()
        self._comm.Abort(GAVE_UP)

    def sum(self, buffer: Any) -> None:
        self._wait(self._comm.Iallreduce(self._mpi.IN_PLACE, buffer))

    def largest(self, buffer: Any) -> None:
        self._wait(self._comm.Iallreduce(self._mpi.IN_PLACE, buffer, op=self._mpi.MAX))

    def sum_scatter(self, send: Any, receive: Any) -> None:
        self._wait(self._comm.Ireduce_scatter_block(send, receive))

    def gather_all(self, whole: Any) -> None:
        self._wait(self._comm.Iallgather(self._mpi.IN_PLACE, whole))

    def exchange(self, send: Any, receive: Any) -> None:
        self._wait(self._comm.Ialltoall(send, receive))

    def broadcast(self, buffer: Any, root: int = 0) -> None:
        self._wait(self._comm.Ibcast(buffer, root))

    def tell(self, item: Any) -> list[Any]:
        said = np.frombuffer(json.dumps(item).encode(), np.uint8)
        counts = np.zeros(self.size, np.int64)
        counts[self.rank] = said.size
        self.gather_all(counts)
        starts = np.cumsum(counts) - counts
        heard = np.empty(int(counts.sum()), np.uint8)
        parts = [heard, counts.tolist(), starts.tolist(), self._mpi.BYTE]
        self._wait(self._comm.Iallgatherv([said, self._mpi.BYTE], parts))
        return [
            json.loads(heard[a : a + n].tobytes())
            for a, n in zip(starts.tolist(), counts.tolist(), strict=True)
        ]


class Direct(OverMPI):
    """An MPI that takes the addresses of devices' memory: only its user knows that it does."""

    takes_devices = True

    def sum(self, buffer: Any) -> None:
        _wait_for(buffer)
        super().sum(buffer)

    def largest(self, buffer: Any) -> None:
        _wait_for(buffer)
        super().largest(buffer)

    def sum_scatter(self, send: Any, receive: Any) -> None:
        _wait_for(send, receive)
        super().sum_scatter(send, receive)

    def gather_all(self, whole: Any) -> None:
        _wait_for(whole)
        super().gather_all(whole)

    def exchange(self, send: Any, receive: Any) -> None:
        _wait_for(send, receive)
        super().exchange(send, receive)

    def broadcast(self, buffer: Any, root: int = 0) -> None:
        _wait_for(buffer)
        super().broadcast(buffer, root)


def _wait_for(*buffers: Any) -> None:
    """Wait for the work on arrays so far: MPI knows nothing of it. (Reading an element waits for it.)"""
    for x in buffers:
        if not isinstance(x, np.ndarray) and x.size:
            view = as_view("buffer", x)
            place_of(view).read(view[:1])


def _keyval(mpi: Any) -> int:
    """The key under which a communicator of mpi4py's keeps its duplicate."""
    if not _KEYVALS:
        _KEYVALS.append(mpi.Comm.Create_keyval())
    return _KEYVALS[0]


_KEYVALS: list[int] = []


class Staged:
    """A communicator of host buffers, for arrays on a device: their values travel through the host.

    The copies are the place's: through memory that the device can reach, after the work on the arrays so far.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm, self.rank, self.size, self.tell = comm, comm.rank, comm.size, comm.tell

    def sum(self, buffer: Any) -> None:
        host = _read(buffer)
        self._comm.sum(host)
        _write(buffer, host)

    def largest(self, buffer: Any) -> None:
        host = _read(buffer)
        self._comm.largest(host)
        _write(buffer, host)

    def gather_all(self, whole: Any) -> None:
        host = _read(whole)
        self._comm.gather_all(host)
        _write(whole, host)

    def sum_scatter(self, send: Any, receive: Any) -> None:
        host = np.empty(receive.shape, _read(receive).dtype)
        self._comm.sum_scatter(_read(send), host)
        _write(receive, host)

    def exchange(self, send: Any, receive: Any) -> None:
        sent = _read(send)
        host = np.empty(sent.shape, sent.dtype)
        self._comm.exchange(sent, host)
        _write(receive, host.reshape(receive.shape))

    def broadcast(self, buffer: Any, root: int = 0) -> None:
        host = _read(buffer)
        self._comm.broadcast(host, root)
        _write(buffer, host)


def _read(x: Any) -> Any:
    """The values in host memory; those of an array there are the array itself."""
    view = as_view("buffer", x) if not isinstance(x, np.ndarray) else x
    return place_of(view).read(view)


def _write(x: Any, values: Any) -> None:
    """Write host values to where they were read."""
    if x is not values:
        view = as_view("buffer", x)
        place_of(view).copy(view, values)


def communicator_of(comm: Any, timeout: float | None, transport: str | None = None) -> Communicator:
    """The calls of what was given as ``comm``; TypeError for what has none, ValueError for a wrong one."""
    if transport not in TRANSPORTS:
        raise ValueError(f"transport is {transport!r}, expected one of {TRANSPORTS}")
    if isinstance(comm, str) and comm == "self":
        return Alone()
    if comm is None:
        return _over(_world(), timeout, transport)
    if type(comm).__module__.partition(".")[0] == "mpi4py":
        return _over(_checked(comm), timeout, transport)
    missing = [name for name in ("rank", "size", *CALLS) if not hasattr(comm, name)]
    if missing:
        raise TypeError(
            f"comm is of type {type(comm).__name__} without {', '.join(missing)}, expected a communicator of "
            "mpi4py's, an object with gnumba's seven calls, or 'self' for this process alone"
        )
    made: Communicator = comm
    return made


def _over(comm: Any, timeout: float | None, transport: str | None) -> Communicator:
    """A communicator of mpi4py's, by a way for arrays on devices."""
    if transport == "nccl":
        from .nccl import OverNCCL

        return OverNCCL(comm, timeout)
    return (Direct if transport == "direct" else OverMPI)(comm, timeout)


def _world() -> Any:
    """MPI's world, of a process that an MPI has started."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # mpi4py raises either where it finds no MPI
        raise ImportError(
            f"comm is None, which is MPI.COMM_WORLD, and mpi4py cannot be imported ({error}): {INSTALL}, "
            "or comm='self' is this process alone"
        ) from error
    if MPI.COMM_WORLD.Get_size() == 1 and not any(name in os.environ for name in LAUNCHED):
        raise ValueError(
            "comm is None and no MPI has started this process: start it as 'mpiexec -n 4 python -m mpi4py "
            "script.py', or give comm=MPI.COMM_WORLD or 'self' if it is meant to be alone"
        )
    return MPI.COMM_WORLD


def _checked(comm: Any) -> Any:
    """An intracommunicator of mpi4py's."""
    from mpi4py import MPI

    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise ValueError(f"comm is {comm!r}, expected an intracommunicator, such as MPI.COMM_WORLD")
    return comm
