"""How many threads there are, the threading layer that runs them, and who may run in parallel at once.

numba starts its threads when the first parallel kernel is made or loaded; so none is, where one
thread is all there is or the work does not need more. (TBB on one CPU never returns from work that
a thread began, nor from a fork.)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import math
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba

_FAST_START, _SLOW_START = 5 * 2**18, 8 * 2**20
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
            _below.clear()  # found when nobody knew how slowly threads start
    return _used[0] if _used else None


_used: list[str] = []


def count() -> int:
    """How many threads parallel kernels may use: numba's, but no more than this process has CPUs."""
    return min(int(numba.config.NUMBA_NUM_THREADS), cpus())


@functools.cache
def cpus() -> int:
    """The CPUs in this process's affinity mask, or as many as its container's quota makes, if fewer."""
    has_mask = hasattr(os, "sched_getaffinity")
    mask = len(os.sched_getaffinity(0)) if has_mask else os.cpu_count() or 1
    return max(1, math.ceil(min(mask, quota())))


def quota(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPU time per time that Linux control groups let this process have, inf without a limit.

    Version 2 has ``cpu.max`` ("200000 100000") in the folder of each group, version 1 two files
    below ``cpu``; a container sees its own group at the root, or under the path that the host uses.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return math.inf
    paths = {name: path for _, names, path in lines for name in names.split(",")}
    limits = [_limit(folder / "cpu.max") for folder in _upwards(root, paths.get("", "/"))]
    for folder in _upwards(root / "cpu", paths.get("cpu", "/")):
        limits.append(_limit(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))
    return min(limits)


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """A control group's folder and those of all groups around it."""
    inner = root / path.strip("/")
    yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _limit(*files: Path) -> float:
    """The quota by the period that the files give; inf where they are not there or set no limit."""
    try:
        time, period = " ".join(file.read_text() for file in files).split()
        return int(time) / int(period) if int(time) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # not there, "max", unheard of
        return math.inf


def usable(target: str) -> str:
    """The target that does the work of this one: with one thread "parallel" is "cpu"."""
    return "cpu" if target == "parallel" and count() == 1 else target


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


def one_core_below() -> int:
    """Bytes of traffic below which one core works."""
    return _below[0] if _below else _find_below()


_below: list[int] = []


def _find_below() -> int:
    found = parallel_from() if count() > 1 else NEVER
    _below.append(found)
    return found


def are_free() -> bool:
    """Whether any Python thread may run parallel kernels at any time, on all of numba's threads.

    Only TBB and OpenMP take several callers at once.
    """
    return layer() in ("tbb", "omp") and count() == numba.config.NUMBA_NUM_THREADS


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Run parallel kernels on no more threads than there are CPUs, for one caller at a time if need be."""
    with LOCK if layer() not in ("tbb", "omp") else contextlib.nullcontext():
        before = numba.get_num_threads()
        numba.set_num_threads(min(before, count()))
        try:
            yield
        finally:
            numba.set_num_threads(before)


def one_caller(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A parallel kernel that takes a `turn` where it must."""

    @functools.wraps(kernel)
    def call(*args: Any) -> Any:
        if are_free():
            return kernel(*args)
        with turn():
            return kernel(*args)

    return call


NEVER = 2**62
LOCK = threading.RLock()
