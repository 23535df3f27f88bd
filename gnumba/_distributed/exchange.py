"""Buffers of a flat space: gradients added up in one tree over all micro-batches, parameters gathered back.

The tree is over neighbours, ``((g0 + g1) + (g2 + g3)) + …``. A rank adds up its own micro-batches; of the
ranks' sums the owner of each part gets all, and adds these up in the same tree. So the sum is the same, to
the bit, for any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._engine.arrays import as_view, empty_like, in_kind_of
from .._engine.bfloat16 import narrow, widen
from .._engine.launch import launch
from .._engine.place import HOST, begin, place_of
from .._engine.table import Table
from .._engine.view import Array
from .._params import Parameter
from .._rule import Elementwise
from ..rules.averages import added
from .communicator import Communicator
from .flat import buffer_of
from .space import Layout

ADDED = Elementwise(added, ("p", "a"), ("p",))
NO_SCALARS = np.empty(0)


class Adding:
    """A fixed set of additions ``a += b`` of dense arrays of one dtype and place."""

    def __init__(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        self._arrays = [tuple(as_view("buffer", x) for x in pair) for pair in pairs]
        self._table = Table(ADDED, list(self._arrays)) if pairs else None

    def run(self) -> None:
        if self._table is not None:
            begin([self._table], [x for pair in self._arrays for x in pair])
            launch([(self._table, NO_SCALARS)])


class Exchange:
    """The buffers of one flat space, which are of the parameters' kind, and what is done with them."""

    def __init__(
        self, params: Sequence[Parameter], comm: Communicator, order: str, wire_dtype: str | None = None
    ) -> None:
        self.params, self._comm, self._order = list(params), comm, order
        self.dtype = params[0].array.dtype
        self.layout = Layout([p.array.size for p in params], comm.size)
        self.flat = self._buffer(self.layout.length)  # gradients on their way out, parameters on that back
        self._sent = self.flat
        self.home = self._buffer_of([p.array for p in params])  # of all parameters, if they have one
        self._seen: list[list[Array]] = []  # by depth
        self._spare: list[
            tuple[Any, Adding]
        ] = []  # for the sums of other micro-batches, by depth of the tree
        part, size = self.layout.part, comm.size
        if size == 1:
            self._parts, self._levels, self.reduced = None, [], self.flat
        elif order == "tree":
            self._parts = self._buffer(self.layout.length)
            rows = [self._parts[rank * part : (rank + 1) * part] for rank in range(size)]
            self._levels = [
                Adding([(rows[k], rows[k + step]) for k in range(0, size, 2 * step)])
                for step in map((2).__pow__, range(size.bit_length() - 1))
            ]
            self.reduced = rows[0]
        else:
            self._parts, self._levels, self.reduced = None, [], self._buffer(part)
        self._narrow: tuple[Any, Any] | None = None  # what goes over the wire, and what comes
        if wire_dtype is not None and size > 1:
            self._narrow = np.zeros(self.layout.length, np.uint16), np.zeros(self.layout.length, np.uint16)

    def _buffer(self, length: int) -> Any:
        """A flat array of zeros of the parameters' kind, in their place."""
        first = self.params[0]
        view = empty_like(first.given, first.array, (length,))
        place_of(view).copy(view, np.zeros(length, self.dtype))
        return view if isinstance(view, np.ndarray) else in_kind_of(first.given, view)

    def _buffer_of(self, arrays: Sequence[Any]) -> Any:
        return buffer_of(arrays, self.layout) if self.params[0].place is HOST else None

    @property
    def own(self) -> Any:
        """This rank's part of the flat buffer."""
        lo = self._comm.rank * self.layout.part
        return self.flat[lo : lo + self.layout.part]

    def buffers(self, depth: int) -> Any:
        """The buffer for a micro-batch whose sum is to be added at a depth of the tree; 0 is the flat one."""
        if depth == 0:
            return self.flat
        while len(self._spare) < depth:
            below = self._spare[-1][0] if self._spare else self.flat
            made = self._buffer(self.layout.length)
            self._spare.append((made, Adding([(below, made)])))
        return self._spare[depth - 1][0]

    def fold(self, depth: int) -> None:
        """Add the buffer of a depth to that of the depth above."""
        self._spare[depth - 1][1].run()

    def pack(self, gradients: Sequence[Array | None], depth: int) -> None:
        """Write gradients to the buffer of a depth, zeros for those that there are not."""
        self._sent = self.flat
        for there, g in zip(self._views(depth), gradients, strict=True):
            place_of(there).copy(there, np.zeros(there.shape, self.dtype) if g is None else g)

    def _views(self, depth: int) -> list[Array]:
        """The parameters' places in the buffer of a depth, in their shapes."""
        while len(self._seen) <= depth:
            buffer = self.buffers(len(self._seen))
            slices = (buffer[a : a + p.array.size].reshape(p.array.shape) for p, a in self._starting())
            self._seen.append([as_view("buffer", x) for x in slices])
        return self._seen[depth]

    def _starting(self) -> Iterator[tuple[Parameter, int]]:
        """Each parameter, and where in the space it begins."""
        return zip(self.params, self.layout.starts, strict=True)

    def send_from(self, gradients: Sequence[Array | None]) -> bool:
        """Send gradients from where they are, if they are in one buffer; False, and nothing done, if not."""
        adds_in_place = self._comm.size == 1 or self._order != "tree"
        home = None if adds_in_place or any(g is None for g in gradients) else self._buffer_of(gradients)
        self._sent = self.flat if home is None else home
        return home is not None

    def reduce(self, scatter: bool) -> None:
        """Make ``reduced`` this rank's part of the sum over all ranks; without ``scatter``, ``flat`` all."""
        comm = self._comm
        if comm.size == 1:
            return
        if self._order == "tree":
            self._exchange()
            for level in self._levels:
                level.run()
            if not scatter:
                self._put(self.own, self.reduced)
                comm.gather_all(self.flat)
        elif scatter:
            comm.sum_scatter(self.flat, self.reduced)
        else:
            comm.sum(self.flat)

    def _exchange(self) -> None:
        if self._narrow is None:
            self._comm.exchange(self._sent, self._parts)
            return
        sent, received = self._narrow
        narrow(self._sent, sent)
        self._comm.exchange(sent, received)
        widen(received, self._parts)  # type: ignore[arg-type]

    def broadcast(self) -> None:
        """Make the flat buffer that of rank 0."""
        self._comm.broadcast(self.flat)

    def spread(self, pieces: Sequence[tuple[Any, int, int]]) -> None:
        """Gather every rank's elements; these are this rank's: arrays, and where in its part."""
        if self.home is not None:
            self._comm.gather_all(self.home)
            return
        own = self.own
        for x, at, size in pieces:
            self._put(own[at : at + size], x)
        self._comm.gather_all(self.flat)
        self.unpack()

    def unpack(self) -> None:
        """Write the elements in ``flat`` to the parameters."""
        for p, values in zip(self.params, self._views(0), strict=True):
            p.place.copy(p.array, values)

    @staticmethod
    def _put(to: Any, values: Any) -> None:
        there = as_view("buffer", to)
        place_of(there).copy(there, as_view("buffer", values))
