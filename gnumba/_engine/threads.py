"""The threading layer: TBB found where pip puts it, and who may run in parallel at once."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.core import config

_FAST_START, _SLOW_START = 3 * 2**18, 8 * 2**20
LIBRARIES = ("libtbb.so.12", "libtbb.12.dylib", "tbb12.dll")


@functools.cache
def load_tbb() -> bool:
    """Load the TBB that pip installed, by its path: the loader does not look where pip puts it."""
    try:
        files = importlib.metadata.files("tbb") or ()
        path = next(str(f.locate()) for f in files if f.name in LIBRARIES)
        ctypes.CDLL(os.path.realpath(path), mode=ctypes.RTLD_GLOBAL)
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError):
        return False
    return True


def layer() -> str | None:
    """The threading layer in use: "tbb", "omp", "workqueue", or None before anything ran on it."""
    if not _used:
        with contextlib.suppress(ValueError):
            _used.append(numba.threading_layer())
    return _used[0] if _used else None


_used: list[str] = []


def count() -> int:
    """How many threads parallel kernels may use."""
    return int(config.NUMBA_NUM_THREADS)


CUT_AT = 16  # elements: a share starts at a whole vector


def share_of(size: int, count: int) -> int:
    """The length of a share when so many elements are cut into ``count``."""
    return -(-size // (count * CUT_AT)) * CUT_AT


def shares(target: str) -> int:
    """Into how many equal parts work is cut: four a thread even out what else the machine does."""
    return 4 * count() if target == "parallel" else 1


def parallel_from() -> int:
    """Bytes of traffic from which parallel is faster.

    Starting TBB or OpenMP takes 2 µs, the workqueue layer 100 to 130.
    """
    return _SLOW_START if layer() == "workqueue" else _FAST_START


def pays(traffic: int) -> bool:
    """Whether that many bytes are moved faster by all cores."""
    return traffic >= _FAST_START and traffic >= parallel_from() and count() > 1


def limits() -> tuple[int, int]:
    """Traffic below which one core works, and from which all do and need no lock."""
    return _limits[0] if _limits else _find_limits()


_limits: list[tuple[int, int]] = []


def _find_limits() -> tuple[int, int]:
    one_below = parallel_from() if count() > 1 else NEVER
    found = one_below, unlocked_from(one_below)
    if layer():
        _limits.append(found)
    return found


def takes_many() -> bool:
    """Whether several threads may run parallel kernels at once: on TBB and OpenMP."""
    return layer() in ("tbb", "omp")


def unlocked_from(traffic: int) -> int:
    """The traffic, or NEVER on a layer that takes one caller at a time."""
    return traffic if takes_many() else NEVER


def one_caller(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A parallel kernel that waits its turn: only TBB and OpenMP take several callers at once."""

    @functools.wraps(kernel)
    def call(*args: Any) -> Any:
        if takes_many():
            return kernel(*args)
        with LOCK:
            return kernel(*args)

    return call


NEVER = 2**62
LOCK = threading.RLock()
