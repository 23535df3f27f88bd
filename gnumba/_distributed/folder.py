"""Checkpoints as folders: each rank writes its pieces, and whoever loads reads those that it needs.

A file of tensors a rank, and an index, written last: it says which elements of which whole tensor are
where, with the SHA-256 of each piece, and holds all that is no array. A folder without one is no
checkpoint. Files of a save have names of their own: the one before is whole until the index is replaced.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._engine.arrays import as_view
from .._hyper import load_all
from .._io.atomic import write_whole
from .._io.packing import below, dense, packed, unpacked
from .._optim.forwarding import Forwarding
from .agreement import agree, together
from .optimizer import Distributed
from .pieces import Shares, arrays_of, mapped

Array = np.ndarray[Any, np.dtype[Any]]

VERSION, INDEX = 1, "index.json"
START = '{"sha256":"'
OWN = "answers to whether params are the optimizer's"
UNSIGNED = START + "0" * 64
PART = re.compile(r"[0-9a-f]{8}-[0-9]{5,}\.safetensors")  # a rank's file: the save, and the rank


def ranks_of(objects: Iterable[Any]) -> Distributed | None:
    """The first optimizer over several ranks among objects, or inside one."""
    for each in objects:
        while isinstance(each, Forwarding):
            if isinstance(each, Distributed):
                return each
            each = each.optimizer
    return None


def are_its(ranks: Distributed, given: Mapping[str, Any]) -> bool:
    """Whether parameters are the optimizer's own, all of them: of these alone its slices have values."""
    own = {p.name: p.given for p in ranks._params}
    return given.keys() == own.keys() and all(x is own[name] for name, x in given.items())


def is_folder(path: Any) -> bool:
    """Whether a checkpoint of that name is a folder: not an open file, nor one that is named as a file."""
    return isinstance(path, (str, bytes, os.PathLike)) and not os.fsdecode(path).endswith(".safetensors")


def check_saved(ranks: Distributed, state: Any, sliced: bool) -> None:
    """ValueError on every rank unless the states of their generators, of which one is saved, are one.

    And unless all save the parameters alike: see `are_its`.
    """
    shown = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
    agree(ranks.comm, [("the states of rng, by their SHA-256,", shown), (OWN, sliced)])


def check_loaded(ranks: Distributed, digest: str, sliced: bool) -> None:
    """ValueError on every rank unless all have read one checkpoint, and take up the parameters alike."""
    agree(ranks.comm, [("the checkpoints, by their SHA-256,", digest[:16]), (OWN, sliced)])


# Saving.


class Piece(NamedTuple):
    """Elements of a tensor from ``lo`` on, flat."""

    values: Array
    lo: int
    shape: tuple[int, ...]


def save_folder(
    path: Any,
    ranks: Distributed,
    params: Mapping[str, Array],
    states: Mapping[str, Any],
    tensors: dict[str, Array],
    rest: Mapping[str, Any],
    in_parts: bool,
    sliced: bool,
) -> None:
    """Write a checkpoint, which all ranks call with their part: whole or not at all.

    ``states`` are by their section in the file; the optimizer's is of this rank's pieces if it is in parts.
    So are ``params`` if they are ``sliced``; they are whole otherwise, and rank 0's.
    ``rest`` is what has been packed, with these ``tensors``.
    """
    folder, comm = Path(os.fsdecode(path)), ranks.comm
    content = {name: packed(name, state, tensors) for name, state in states.items()} | dict(rest)
    pieces = {name: Piece(x.reshape(-1), 0, x.shape) for name, x in tensors.items() if comm.rank == 0}
    if sliced:
        for name in params:
            share = ranks._shares[name]
            ranks._slice(name).refresh()
            pieces[f"params/{name}"] = Piece(
                dense(name, as_view(name, ranks._slice(name).values)), share.piece.lo, share.shape
            )
    elif comm.rank == 0:
        pieces |= {
            f"params/{name}": Piece(dense(name, x).reshape(-1), 0, x.shape) for name, x in params.items()
        }
    if in_parts:
        for path_of, _ in arrays_of(states["optimizer"], ranks._shares):
            tensor = functools.reduce(below, path_of, "optimizer")
            share = ranks._shares[_parameter(path_of, states["optimizer"], ranks._shares)]
            pieces[tensor] = Piece(tensors[tensor].reshape(-1), share.piece.lo, share.shape)
    token = comm.tell(secrets.token_hex(4))[0]
    file = f"{token}-{comm.rank:05d}.safetensors"
    listed = together(comm, "could not write its part", lambda: _write_part(folder, file, pieces))
    by_rank = comm.tell(listed)
    index = {"version": VERSION, "tensors": _merged(by_rank), "content": content}
    together(
        comm, "could not write the index", lambda: _write_index(folder, index) if comm.rank == 0 else None
    )


def _parameter(path: tuple[Any, ...], state: Any, shares: Shares) -> str:
    """The parameter of an array in a state: the first key on its path in a dict of all parameters."""
    for key in path:
        if state.keys() == shares.keys():
            return str(key)
        state = state[key]
    raise AssertionError("an array of a parameter is below the parameters' names")


def _write_part(folder: Path, file: str, pieces: Mapping[str, Piece]) -> list[Any]:
    """A rank's file, if it has anything to write, and what the index says of it."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    written = {name: piece for name, piece in pieces.items() if piece.values.size}
    if written:
        data = save({f"{name}@{piece.lo}": piece.values for name, piece in written.items()})
        write_whole(folder / file, [data])
    listed = []
    for name, piece in pieces.items():
        part = [file, piece.lo, piece.lo + piece.values.size, _digest(piece.values)]
        about = {"dtype": piece.values.dtype.name, "shape": list(piece.shape)}
        listed.append([name, about, [part] if piece.values.size else []])
    return listed


def _digest(values: Array) -> str:
    return hashlib.sha256(values.view(np.uint8).data).hexdigest()


def _merged(by_rank: list[list[Any]]) -> dict[str, Any]:
    """Whole tensors by name, and where their pieces are."""
    found: dict[str, Any] = {}
    for listed in by_rank:
        for name, about, parts in listed:
            found.setdefault(name, {**about, "pieces": []})["pieces"] += parts
    return found


def _write_index(folder: Path, index: Mapping[str, Any]) -> None:
    """The index, signed; then the files that it does not name are of no use to anybody.

    OSError if one that it names is not there: an index without its files would replace one with them.
    """
    used = {part[0] for each in index["tensors"].values() for part in each["pieces"]}
    if missing := sorted(name for name in used if not (folder / name).is_file()):
        raise FileNotFoundError(
            f"{folder} has no {missing[0]}, which a rank has just written, expected a folder that all ranks "
            "see and that no other job saves to"
        )
    text = json.dumps({"sha256": "0" * 64, **index}, separators=(",", ":"))
    assert text.startswith(UNSIGNED)
    digits = hashlib.sha256(text.encode()).hexdigest()
    write_whole(folder / INDEX, [START.encode(), digits.encode(), text[len(UNSIGNED) :].encode()])
    for old in folder.iterdir():
        if PART.fullmatch(old.name) and old.name not in used:
            with contextlib.suppress(OSError):
                old.unlink()


# Loading.


class Tensor:
    """A whole tensor in a folder, as the index has it, that is read when it is asked for."""

    def __init__(self, folder: Folder, name: str, dtype: str, shape: list[int]) -> None:
        self.folder, self.name = folder, name
        self.dtype, self.shape = np.dtype(dtype), tuple(shape)

    def __getitem__(self, key: Any) -> Any:
        return self.whole()[key]

    def whole(self) -> Array:
        return self.part(0, int(np.prod(self.shape, dtype=np.int64))).reshape(self.shape)

    def part(self, lo: int, hi: int) -> Array:
        """Elements lo to hi, in C order."""
        return self.folder.read(self, lo, hi)


class Folder:
    """A checkpoint's index, sound, and its tensors; a context in which its files are open."""

    def __init__(self, path: Any) -> None:
        self._path = Path(os.fsdecode(path))
        text = (self._path / INDEX).read_text("utf-8")
        digits, rest = text[len(START) : len(UNSIGNED)], text[len(UNSIGNED) :]
        if not text.startswith(START) or digits != hashlib.sha256((UNSIGNED + rest).encode()).hexdigest():
            raise ValueError("its index is damaged, its SHA-256 is not the one written in it")
        self.digest = digits
        self._index = json.loads(text)
        if self._index["version"] != VERSION:
            raise ValueError(f"its version is {self._index['version']!r}, expected {VERSION}")
        self._files = contextlib.ExitStack()
        self._open: dict[str, Any] = {}
        self.bytes_read = 0

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *failure: object) -> None:
        self._files.close()

    def tensors(self) -> dict[str, Tensor]:
        return {
            name: Tensor(self, name, about["dtype"], about["shape"])
            for name, about in self._index["tensors"].items()
        }

    def content(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Everything but the parameters, with these tensors."""
        found = self._index["content"]
        return {name: value if name == "extra" else unpacked(value, tensors) for name, value in found.items()}

    def read(self, tensor: Tensor, lo: int, hi: int) -> Array:
        """Elements of a tensor, from the pieces that have some of them."""
        made, count = np.empty(hi - lo, tensor.dtype), 0
        for file, a, b, digest in self._index["tensors"][tensor.name]["pieces"]:
            first, last = max(a, lo), min(b, hi)
            if first < last:
                values = self._piece(file, f"{tensor.name}@{a}")
                if (values.dtype, values.shape, _digest(values)) != (tensor.dtype, (b - a,), digest):
                    raise ValueError(f"{file} is damaged, its {tensor.name} is not the one that was saved")
                made[first - lo : last - lo] = values[first - a : last - a]
                count += last - first
        if count != hi - lo:
            raise ValueError(
                f"it holds {count} of the {hi - lo} elements of {tensor.name} that were asked for"
            )
        return made

    def _piece(self, file: str, key: str) -> Array:
        from safetensors import SafetensorError, safe_open

        try:
            if file not in self._open:
                opened = safe_open(self._path / file, framework="numpy")
                self._open[file] = self._files.enter_context(opened)
            values: Array = self._open[file].get_tensor(key)
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged: {error}") from error
        self.bytes_read += values.nbytes
        return values


def resolved(value: Any) -> Any:
    """A state with arrays in place of the tensors in it."""
    match value:
        case Tensor():
            return value.whole()
        case dict():
            return {key: resolved(item) for key, item in value.items()}
        case list():
            return [resolved(item) for item in value]
        case tuple():
            return tuple(resolved(item) for item in value)
    return value


def cut_tensors(state: Any, shares: Shares) -> Any:
    """The state of this rank's pieces, of which alone elements are read."""

    def cut(path: tuple[Any, ...], name: str, tensor: Any) -> Array:
        piece, shape = shares[name].piece, shares[name].shape
        if tensor.shape != shape:
            raise ValueError(f"{tensor.name} has shape {tensor.shape}, expected its parameter's, {shape}")
        part: Array = tensor.part(piece.lo, piece.hi)
        return part

    return resolved(mapped(state, shares, cut))


class OfSlices:
    """An optimizer over ranks as its states in pieces are loaded: all ranks do it, or none."""

    def __init__(self, ranks: Distributed) -> None:
        self._ranks = ranks

    def state_dict(self) -> Any:
        return self._ranks.optimizer.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._ranks._load_inside(lambda: state)


def load_alike(ranks: Distributed, states: Sequence[tuple[Any, Any]]) -> None:
    """Load the states of objects, all of them on all ranks, or none on any.

    Those of this rank alone come first, of whose refusals ranks tell each other: an object that ranks load
    together is then loaded, and put back, by all.
    """
    alone = [pair for pair in states if not isinstance(pair[0], OfSlices) and ranks_of([pair[0]]) is None]
    own = {id(each) for each, _ in alone}
    before = together(ranks.comm, "cannot load it", lambda: [each.state_dict() for each, _ in alone])
    try:
        together(ranks.comm, "cannot load it", lambda: _load_each(alone))
        load_all([pair for pair in states if id(pair[0]) not in own])
    except Exception:
        _load_each([(each, state) for (each, _), state in zip(alone, before, strict=True)])
        raise


def _load_each(states: Iterable[tuple[Any, Any]]) -> None:
    for each, state in states:
        each.load_state_dict(state)


def needed(
    optimizer: Any,
    given: Mapping[str, Any],
    arrays: Mapping[str, Array],
    tensors: Mapping[str, Any],
    found: Any,
) -> tuple[list[tuple[Array, Array]], list[tuple[Any, Any]], bool]:
    """Read from a checkpoint what this process takes up: where values go, objects and their states.

    An optimizer whose states are in parts reads its pieces of a folder. True if it does so for the
    parameters too, of which values go to its slices.
    """
    parts = isinstance(optimizer, Distributed) and optimizer.zero and all(map(_is_lazy, tensors.values()))
    states = [
        (OfSlices(each), cut_tensors(state, optimizer._shares))
        if parts and each is optimizer
        else (each, resolved(state))
        for each, state in found
    ]
    sliced = bool(parts) and are_its(optimizer, given)
    if sliced:
        slices = [(name, optimizer._slice(name), optimizer._shares[name].piece) for name in given]
        writes = [
            (as_view(name, one.values), tensors[f"params/{name}"].part(p.lo, p.hi)) for name, one, p in slices
        ]
    else:
        writes = [(array, resolved(tensors[f"params/{name}"])) for name, array in arrays.items()]
    return writes, states, sliced


def _is_lazy(tensor: Any) -> bool:
    return isinstance(tensor, Tensor)
