"""NCCL, through CuPy, behind a communicator's calls: arrays go from device to device, in stream order.

What the host has to know (headers, sums of blocks, what ranks tell each other) goes over MPI.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .communicator import OverMPI

KINDS = {np.dtype(np.float32): "NCCL_FLOAT32", np.dtype(np.float64): "NCCL_FLOAT64"}


class OverNCCL(OverMPI):
    """Collectives of CuPy's arrays by NCCL, whose unique id MPI broadcasts; of NumPy's arrays by MPI."""

    takes_devices = True

    def __init__(self, comm: Any, timeout: float | None) -> None:
        import cupy
        from cupy.cuda import nccl

        super().__init__(comm, timeout)
        self._cuda, self._nccl = cupy.cuda, nccl
        unique = super().tell(list(nccl.get_unique_id()) if self.rank == 0 else None)[0]
        self._ranks = nccl.NcclCommunicator(self.size, tuple(unique), self.rank)

    def _about(self, x: Any) -> tuple[int, int, int]:
        """The address of an array, how many elements it has, and what NCCL calls their dtype."""
        return x.data.ptr, x.size, getattr(self._nccl, KINDS[np.dtype(x.dtype)])

    def _stream(self) -> int:
        """The one that CuPy works on now, so that collectives come after the work so far."""
        return int(self._cuda.get_current_stream().ptr)

    def sum(self, buffer: Any) -> None:
        if isinstance(buffer, np.ndarray):
            super().sum(buffer)
            return
        at, count, kind = self._about(buffer)
        self._ranks.allReduce(at, at, count, kind, self._nccl.NCCL_SUM, self._stream())

    def largest(self, buffer: Any) -> None:
        if isinstance(buffer, np.ndarray):
            super().largest(buffer)
            return
        at, count, kind = self._about(buffer)
        self._ranks.allReduce(at, at, count, kind, self._nccl.NCCL_MAX, self._stream())

    def sum_scatter(self, send: Any, receive: Any) -> None:
        if isinstance(send, np.ndarray):
            super().sum_scatter(send, receive)
            return
        (source, _, kind), (to, count, _) = self._about(send), self._about(receive)
        self._ranks.reduceScatter(source, to, count, kind, self._nccl.NCCL_SUM, self._stream())

    def gather_all(self, whole: Any) -> None:
        if isinstance(whole, np.ndarray):
            super().gather_all(whole)
            return
        at, count, kind = self._about(whole)
        each = count // self.size
        own = at + self.rank * each * whole.itemsize
        self._ranks.allGather(own, at, each, kind, self._stream())

    def exchange(self, send: Any, receive: Any) -> None:
        """Send and receive in a group, which NCCL makes an all-to-all of."""
        if isinstance(send, np.ndarray):
            super().exchange(send, receive)
            return
        (source, count, kind), (to, _, _) = self._about(send), self._about(receive)
        each, stream = count // self.size, self._stream()
        step = each * send.itemsize
        self._nccl.groupStart()
        try:
            for rank in range(self.size):
                self._ranks.send(source + rank * step, each, kind, rank, stream)
                self._ranks.recv(to + rank * step, each, kind, rank, stream)
        finally:
            self._nccl.groupEnd()

    def broadcast(self, buffer: Any, root: int = 0) -> None:
        if isinstance(buffer, np.ndarray):
            super().broadcast(buffer, root)
            return
        at, count, kind = self._about(buffer)
        self._ranks.broadcast(at, at, count, kind, root, self._stream())
