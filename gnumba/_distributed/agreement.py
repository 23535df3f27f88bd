"""Agreement: whatever differs between ranks is an error on each of them, before anything large is sent."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .communicator import Communicator

T = TypeVar("T")
Facts = list[tuple[str, Any]]  # what all ranks must say alike, and its name in an error


class RankError(RuntimeError):
    """An error of another rank, which raises its own; nothing has changed on any."""


def together(comm: Communicator, what: str, work: Callable[[], T]) -> T:
    """Do work that may fail on some ranks only; if it fails on any, raise on all.

    ``what`` says of a rank what it has done, as "refused its parameters".
    """
    made, failed = None, None
    try:
        made = work()
    except Exception as error:
        failed = error
    _raise_first(comm, what, failed)
    return made  # type: ignore[return-value]


def _raise_first(comm: Communicator, what: str, failed: Exception | None) -> None:
    """Raise the error of this rank, else that of the first rank that has one."""
    said = comm.tell(None if failed is None else f"{type(failed).__name__}: {failed}")
    if failed is not None:
        raise failed
    rank = next((rank for rank, error in enumerate(said) if error is not None), None)
    if rank is not None:
        raise RankError(f"rank {rank} {what}: {said[rank]}")


def agree(comm: Communicator, facts: Facts) -> None:
    """ValueError on every rank that names the first difference, unless all say the same."""
    said = comm.tell([[what, value] for what, value in facts])
    for rank, others in enumerate(said):
        for (what, first), (_, other) in zip(said[0], others, strict=True):
            if json.dumps(first) != json.dumps(other):
                a, b = _first_difference(first, other)
                raise ValueError(f"{what} differ between ranks: rank 0 has {a}, rank {rank} has {b}")


def _first_difference(a: Any, b: Any) -> tuple[Any, Any]:
    """Of two lists their first entries that differ."""
    if isinstance(a, list) and isinstance(b, list):
        pairs = itertools.zip_longest(a, b, fillvalue="nothing more")
        return next((pair for pair in pairs if pair[0] != pair[1]), (a, b))
    return a, b


def check_header(comm: Communicator, failed: Exception | None, facts: Facts) -> None:
    """One small message before each exchange: has a rank failed, do all say the same.

    What differs, and who has failed why, is gathered only where there is something to say.
    """
    if comm.size == 1:
        if failed is not None:
            raise failed
        return
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=7).digest()
    code = int.from_bytes(digest, "little") if failed is None else 0
    header = np.array([failed is not None, code, -code], np.int64)
    comm.largest(header)
    if header[0]:
        _raise_first(comm, "refused its gradients", failed)
    if header[1] != -header[2]:
        agree(comm, facts)
        raise AssertionError("what differs in the header differs in the facts")
