"""Targets of work on the host: one core or all, by how much there is to do, or as it is forced."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Literal

from .._suggest import suggesting
from . import threads
from .arrays import as_view
from .checks import check_together
from .compile.kernel import checked_target
from .view import View

_forced: dict[int, str] = {}  # by thread; empty, and so quick to look at, but inside use_target


@suggesting
def target_of(*arrays: Any) -> str:
    """The target that work on these arrays goes to.

    Parameters
    ----------
    *arrays : array
        What one call reads and writes, together.

    Returns
    -------
    {"cpu", "parallel", "cuda"}
        ``"cuda"`` for CUDA arrays. For host arrays ``"parallel"`` from 1.25 MiB of them on (8 MiB under
        numba's workqueue threading layer, which is slow to start), ``"cpu"`` below it, or what
        ``use_target`` says. A computation with transcendental functions goes parallel from a quarter
        of that.

    Raises
    ------
    TypeError
        If the arrays live in different places.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.target_of(np.zeros(10))
    'cpu'
    """
    views = {f"array {k}": as_view(f"array {k}", a, narrow=True) for k, a in enumerate(arrays)}
    check_together(views)
    first = next(iter(views.values()), None)
    if isinstance(first, View):
        return str(first.place.target)
    return _chosen_for(sum(view.nbytes for view in views.values()))


def forced() -> str | None:
    """The target that `use_target` forces in this thread, if any."""
    return _forced.get(threading.get_ident()) if _forced else None


def target_for(traffic: int) -> str:
    """The target for that many bytes, a transcendental element counted four times."""
    return threads.usable(_chosen_for(traffic))


def _chosen_for(traffic: int) -> str:
    return forced() or ("parallel" if threads.pays(traffic) else "cpu")


def one_core_below() -> int:
    """Bytes of traffic below which one core works."""
    target = forced()
    if target:
        return 0 if threads.usable(target) == "parallel" else threads.NEVER
    return threads.one_core_below()


@contextlib.contextmanager
@suggesting
def use_target(target: Literal["cpu", "parallel"]) -> Iterator[None]:
    """Force the target for host arrays of every size inside the block, in this thread.

    Parameters
    ----------
    target : {"cpu", "parallel"}
        One core, or all; where there is one thread only, ``"parallel"`` runs what ``"cpu"`` does.

    Raises
    ------
    ValueError
        If ``target`` is something else.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> with gn.use_target("parallel"):
    ...     gn.target_of(np.zeros(10))
    'parallel'
    """
    thread = threading.get_ident()
    before = _forced.get(thread)
    _forced[thread] = checked_target(target)
    try:
        yield
    finally:
        if before:
            _forced[thread] = before
        else:
            del _forced[thread]
