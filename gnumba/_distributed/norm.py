"""The norm of gradients of which each rank has a part: the same number on every rank, for any number of them.

Sums of blocks are gathered, 8 bytes a block, and added up in the order in which one process adds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._engine.arrays import as_view
from .._engine.block_sums import block_sums, total
from .._engine.factor import ONE, SMALL, factor, largest_float
from .._engine.norm import largest
from .._engine.place import Known, place_of
from .._params import Parameter
from .communicator import Communicator
from .exchange import Exchange
from .space import Layout

Array = np.ndarray[Any, np.dtype[Any]]


class SharedNorm:
    """The norm over flat spaces, in place of `Place.judge`: of what each rank has ``reduced``, part or all.

    For gradients that every rank has all of, the communicator is that of a process alone.
    """

    def __init__(self, exchanges: Sequence[Exchange], comm: Communicator) -> None:
        self._spaces = [_Space(each, comm) for each in exchanges]
        self._decays: Sequence[bool] = ()
        self.divide([True] * sum(len(space.params) for space in self._spaces))

    def divide(self, decays: Sequence[bool]) -> None:
        """Add up by one process's tables: a group's parameters of one dtype that decay, or do not."""
        if decays != self._decays:
            self._decays = decays
            for space in self._spaces:
                space.divide(decays)
            every = [(p.index, space, _cohort(p, decays)) for space in self._spaces for p in space.params]
            every.sort(key=lambda each: each[0])
            self._cohorts = list(dict.fromkeys((space, cohort) for _, space, cohort in every))

    def judge(
        self,
        tables: Any,
        column: int,
        scale: float = 1.0,
        limit: float = -1.0,
        skip: bool = False,
        again: Any = None,
    ) -> Known:
        """The norm over ``scale``, and what follows from it: see `Place.judge`."""
        sums = {id(space): space.gathered(1.0) for space in self._spaces}
        norms = [self._norm(space, cohort, sums[id(space)]) for space, cohort in self._cohorts]
        norm = math.hypot(*norms) / scale
        finite = math.isfinite(norm) and (scale >= 1.0 or self._stays_finite(norm, scale))
        by = ONE if limit < 0.0 and scale == 1.0 else factor(norm, limit, scale)
        return Known(by, norm, finite, finite or not skip)

    def _norm(self, space: _Space, cohort: int, sums: Array) -> float:
        """The norm of a cohort's gradients; overflow and underflow are no concern."""
        found = total(sums[space.cohorts == cohort])
        if space.dtype == np.float32 or SMALL <= found < math.inf:
            return math.sqrt(found)
        top = space.top()
        if top == 0.0 or not math.isfinite(top):
            return top if found else 0.0
        scale = math.ldexp(1.0, min(-math.frexp(top)[1], 1023))
        return math.sqrt(total(space.gathered(scale)[space.cohorts == cohort])) / scale

    def _stays_finite(self, norm: float, scale: float) -> bool:
        """Whether all elements are finite when they are divided by a number below 1."""
        near = [space for space in self._spaces if norm > 0.5 * largest_float(space.dtype)]
        return all(space.top() / scale <= largest_float(space.dtype) for space in near)


def _cohort(p: Parameter, decays: Sequence[bool]) -> int:
    return 2 * p.group + decays[p.index]


class _Space:
    """Sums and largest elements of the gradients in one flat space."""

    def __init__(self, exchange: Exchange, comm: Communicator) -> None:
        self._comm, self.dtype, self.params = comm, exchange.dtype, exchange.params
        self._reduced = exchange.reduced if comm.size == exchange.layout.ranks else exchange.flat
        layout = Layout(exchange.layout.sizes, comm.size)
        counts = layout.blocks_by_rank()
        self._each = max(counts)
        self._blocks = layout.blocks(comm.rank)
        self._sums = np.zeros(self._each * comm.size)
        self._used = np.concatenate([np.arange(n) + rank * self._each for rank, n in enumerate(counts)])
        self._owners = layout.owners()

    def divide(self, decays: Sequence[bool]) -> None:
        """Note of each block the cohort."""
        self.cohorts = np.array([_cohort(p, decays) for p in self.params])[self._owners]

    def _values(self) -> Array:
        view = as_view("gradients", self._reduced)
        values: Array = place_of(view).read(view)
        return values

    def gathered(self, scale: float) -> Array:
        """Σ(scale·g)² of every block of the space, in order."""
        lo = self._comm.rank * self._each
        block_sums(self._values(), self._blocks, self._sums[lo : lo + self._each], scale)
        self._comm.gather_all(self._sums)
        made: Array = self._sums[self._used]
        return made

    def top(self) -> float:
        """The largest |g|, nan where there is one."""
        values = self._values()
        found = [largest(values[lo:hi]) for lo, hi in self._blocks.tolist()]
        known = max(found, key=lambda x: (math.isnan(x), x), default=0.0)
        both = np.array([math.isnan(known), 0.0 if math.isnan(known) else known])
        self._comm.largest(both)
        return math.nan if both[0] else float(both[1])
