"""States of whole parameters from those of their pieces, and back: they say nothing of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._tree import outline
from .communicator import Communicator
from .space import Layout, Piece

Array = np.ndarray[Any, np.dtype[Any]]
Path = tuple[Any, ...]


class Share(NamedTuple):
    """This rank's piece of a parameter, and in which flat space it lies."""

    number: int  # in the space
    layout: Layout
    piece: Piece
    shape: tuple[int, ...]


Shares = Mapping[str, Share]  # of all parameters, by their names


def arrays_of(
    state: Any, shares: Shares, path: Path = (), name: str | None = None
) -> Iterator[tuple[Path, Any]]:
    """The arrays of parameters in a state, with their paths; see `mapped`."""
    if isinstance(state, Mapping):
        of_parameters = name is None and state.keys() == shares.keys()
        for key, value in state.items():
            yield from arrays_of(value, shares, (*path, key), key if of_parameters else name)
    elif name is not None and isinstance(state, np.ndarray):
        yield path, state


def mapped(
    state: Any,
    shares: Shares,
    change: Callable[[Path, str, Any], Any],
    path: Path = (),
    name: str | None = None,
) -> Any:
    """A state with what ``change(path, parameter, array)`` makes of its arrays of parameters.

    These are all arrays in the outermost dict that has the parameters' names and no others.
    """
    if isinstance(state, Mapping):
        of_parameters = name is None and state.keys() == shares.keys()
        return {
            key: mapped(value, shares, change, (*path, key), key if of_parameters else name)
            for key, value in state.items()
        }
    if name is not None and hasattr(state, "shape") and not isinstance(state, np.generic):
        return change(path, name, state)
    return state


def cut(state: Any, shares: Shares) -> Any:
    """The state of this rank's pieces; ValueError for an array of another shape than its parameter's."""

    def cut_one(path: Path, name: str, value: Any) -> Array:
        _, _, piece, shape = shares[name]
        if value.shape != shape:
            where = "".join(f"[{key!r}]" for key in path)
            raise ValueError(f"state{where} has shape {value.shape}, expected its parameter's, {shape}")
        return np.asarray(value).reshape(-1)[piece.lo : piece.hi]

    if not isinstance(state, Mapping):
        raise ValueError(f"state is {outline(state)}, expected a dict as state_dict() gives it")
    return mapped(state, shares, cut_one)


def gathered(state: Any, shares: Shares, comm: Communicator) -> Any:
    """The state of whole parameters, on every rank, from those of the ranks' pieces; all of them call it."""
    alike: dict[Any, list[tuple[Path, Share, Array]]] = {}
    for path, value in arrays_of(state, shares):
        at = next(k for k, key in enumerate(path) if key in shares and _is_whole(state, path[:k], shares))
        share = shares[path[at]]
        key = (*path[:at], None, *path[at + 1 :]), value.dtype.str, id(share.layout)
        alike.setdefault(key, []).append((path, share, value))
    wholes: dict[Path, Array] = {}
    for members in alike.values():
        wholes |= _gathered_one(members, comm)
    return mapped(state, shares, lambda path, name, value: wholes[path])


def _is_whole(state: Any, path: Path, shares: Shares) -> bool:
    """Whether the dict at a path has the parameters' names."""
    for key in path:
        state = state[key]
    return bool(state.keys() == shares.keys())


def _gathered_one(members: Sequence[tuple[Path, Share, Array]], comm: Communicator) -> dict[Path, Array]:
    """Whole arrays from pieces of one space: one buffer, gathered at once."""
    layout = members[0][1].layout
    buffer = np.zeros(layout.length, members[0][2].dtype)
    own = buffer[comm.rank * layout.part :]
    for _, share, value in members:
        own[share.piece.at : share.piece.at + share.piece.size] = value
    comm.gather_all(buffer)
    made = {}
    for path, share, _ in members:
        start = layout.starts[share.number]
        made[path] = buffer[start : start + layout.sizes[share.number]].reshape(share.shape).copy()
    return made
