"""The flat index space of the parameters of one dtype, and which part of it is whose.

Parts are equally long and end at multiples of a block. A parameter begins at such a multiple, or lies
between two of them: it is cut at multiples of a block of its own, and its blocks are the same for any
number of ranks.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._engine.table import BLOCK

Array = np.ndarray[Any, np.dtype[Any]]
LINE = 16  # elements: a parameter begins at a multiple, 64 bytes of float32


class Piece(NamedTuple):
    """Elements lo to hi of a parameter, in C order, and where they are in a rank's part."""

    lo: int
    hi: int
    at: int

    @property
    def size(self) -> int:
        return self.hi - self.lo


def starts(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Where each parameter begins, in their order, and where the last one's last block ends.

    Small ones share a block, so that many of them are no more than they hold.
    """
    found, at = [], 0
    for size in sizes:
        left = -at % BLOCK
        if size > left:
            at += left
        found.append(at)
        at += -(-size // LINE) * LINE
    return found, at + -at % BLOCK


class Layout:
    """How the space is cut into as many parts as there are ranks."""

    def __init__(self, sizes: Sequence[int], ranks: int) -> None:
        self.sizes, self.ranks = list(sizes), ranks
        self.starts, self.total = starts(sizes)
        self.part = -(-self.total // (ranks * BLOCK)) * BLOCK
        self.length = self.part * ranks  # of a buffer of the whole space

    def pieces(self, rank: int) -> list[Piece]:
        """Each parameter's elements in the part of a rank, of some none."""
        lo = rank * self.part
        made = []
        for start, size in zip(self.starts, self.sizes, strict=True):
            a, b = max(lo, start), min(lo + self.part, start + size)
            made.append(Piece(a - start, b - start, a - lo) if a < b else Piece(0, 0, 0))
        return made

    @functools.cached_property
    def all_blocks(self) -> Array:
        """The parameters' blocks (lo, hi) in the whole space, in order."""
        counts = self._counts
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        lows = np.repeat(self.starts, counts) + BLOCK * within
        ends = np.repeat(np.add(self.starts, self.sizes), counts)
        return np.stack([lows, np.minimum(lows + BLOCK, ends)], axis=1)

    def blocks(self, rank: int) -> Array:
        """Those in the part of a rank, as its elements are counted."""
        return np.ascontiguousarray(self.all_blocks[self._holders() == rank] - rank * self.part)

    def blocks_by_rank(self) -> list[int]:
        """How many there are in each part."""
        found: list[int] = np.bincount(self._holders(), minlength=self.ranks).tolist()
        return found

    def owners(self) -> Array:
        """Of each block the index of its parameter."""
        return np.repeat(np.arange(len(self.sizes)), self._counts)

    @property
    def _counts(self) -> Array:
        return -(-np.array(self.sizes, np.int64) // BLOCK)

    def _holders(self) -> Array:
        """Of each block the rank."""
        made: Array = self.all_blocks[:, 0] // max(self.part, 1)
        return made
