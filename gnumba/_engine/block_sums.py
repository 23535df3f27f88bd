"""Sums of squares block by block, to be gathered from several holders of an array's parts and added up.

Blocks and the order of their sums are those of `norm`: added up, they make the same norm.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange, types

from . import targets, threads
from .compile.kernel import FLOAT64_LIST, INT64_TABLE, Kernel, compiled
from .fold import folded
from .norm import block_squares
from .storage import Storage, storage_of
from .view import address

Array = np.ndarray[Any, np.dtype[Any]]


def block_sums(x: Array, blocks: Array, sums: Array, scale: float = 1.0) -> None:
    """Write Σ(scale·x)² of each block (lo, hi), at most `BLOCK` elements of a flat array, to ``sums``."""
    storage = storage_of(x)
    target = targets.target_for(x.nbytes)
    kernel = _block_sums(storage, target, scale != 1.0)
    kernel(address(x), blocks, sums, threads.shares(target), scale)


def total(sums: Array) -> float:
    """The sum of blocks' sums, in the order in which `norm` adds them."""
    made: float = _total()(sums.copy(), sums.size)
    return made


@functools.cache
def _block_sums(storage: Storage, target: str, scaled: bool) -> Kernel:
    of_block, itemsize = block_squares(storage, scaled), storage.itemsize

    def block_sums(address, blocks, sums, shares, scale):
        count = blocks.shape[0]
        for share in prange(shares):
            for b in range(count * share // shares, count * (share + 1) // shares):
                lo = blocks[b, 0]
                sums[b] = of_block(address + lo * itemsize, blocks[b, 1] - lo, scale, None)

    arguments = types.int64, INT64_TABLE, FLOAT64_LIST, types.int64, types.float64
    made = compiled(block_sums, arguments, target)
    return threads.one_caller(made) if target == "parallel" else made


@functools.cache
def _total() -> Kernel:
    def total(sums, count):
        return folded(sums, count)

    made: Kernel = compiled(total, (FLOAT64_LIST, types.int64))
    return made
