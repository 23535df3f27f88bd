"""Checkpoints: parameters, optimizer, random numbers and what the user adds, in one safetensors file.

Every array is a tensor of the file, under ``params/``, ``optimizer/`` or ``rng/``. All else is JSON
in the file's metadata, after the SHA-256 of the file, whose digits have a fixed place.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from .._distributed.agreement import together
from .._distributed.folder import (
    Folder,
    are_its,
    check_loaded,
    check_saved,
    is_folder,
    load_alike,
    needed,
    ranks_of,
    resolved,
    save_folder,
)
from .._distributed.optimizer import Distributed
from .._engine import checks
from .._engine.arrays import as_view
from .._engine.libraries import count_writes
from .._engine.place import place_of
from .._engine.storage import narrow_storage
from .._engine.view import BFLOAT16
from .._hyper import load_all
from .._params import named
from .._signals import uninterrupted
from .._suggest import suggesting
from .atomic import write_whole
from .packing import as_json, dense, packed, unpacked

__all__ = ["load_checkpoint", "save_checkpoint"]

Array = np.ndarray[Any, np.dtype[Any]]
PathLike = str | bytes | os.PathLike[str]

VERSION = 1
START = b'{"__metadata__":{"gnumba":"{\\"sha256\\":\\"'  # of every checkpoint, after 8 bytes of length
STATES = "optimizer", "also"  # which a file may lack
LONGEST = 100_000_000  # header that safetensors reads
DIGITS = slice(8 + len(START), 8 + len(START) + 64)


class Stateful(Protocol):
    """An optimizer, or whatever else has a state, as far as a checkpoint knows it."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


@suggesting
def save_checkpoint(
    path: PathLike | BinaryIO,
    params: Any,
    optimizer: Stateful | None = None,
    *,
    rng: np.random.Generator | None = None,
    extra: Any = None,
    also: Mapping[str, Stateful] | None = None,
) -> None:
    """Save a training run to one safetensors file, or to a folder of them, whole or not at all.

    The file is written beside ``path`` and renamed, so that a crash, a kill or a full disk leaves
    the former checkpoint as it was. It holds the SHA-256 of all its other bytes, and no pickle.
    The same content gives the same bytes. Saving takes memory for a copy of the optimizer's state
    and, while safetensors lays it out, for the file twice.

    With an optimizer of ``gnumba.distributed`` all ranks call this. A path that does not end in
    ``.safetensors`` is a folder then: each rank writes a file of its pieces, and rank 0, last, an index with
    their checksums. One that does is the file above, which rank 0 writes. Either is loaded by any number of
    ranks, and in one process without; ``extra`` and what ``also`` saves are those of rank 0.

    Parameters
    ----------
    path : str, path or binary file
        The file, usually ``*.safetensors``; through a link, the file it leads to. One that is
        there is replaced and its mode kept. What a killed save left beside it is removed. To an
        open file (``open(..., "wb")``, ``io.BytesIO``) the same bytes are written where it stands:
        that they arrive whole is up to whoever opened it.
    params : array, list, tuple, dict, or list of groups
        The parameters, usually the optimizer's; float32 or float64, wherever they live.
    optimizer : Optimizer, optional
        Or anything else with a ``state_dict()`` of dicts, lists, tuples, arrays, numbers, strings
        and None, and a ``load_state_dict``. Without one the weights alone are saved.
    rng : numpy.random.Generator, optional
        Its state is saved too, for any bit generator. (Not how many children it has spawned.)
    extra : JSON value, optional
        What else is worth keeping: dicts with string keys, lists, strings, numbers, bools, None.
        NumPy's scalars come back as Python's.
    also : dict, optional
        Other objects with a ``state_dict`` and a ``load_state_dict`` by name: ``{"ema": ema}``,
        ``{"batches": batches}``.

    Raises
    ------
    ValueError, TypeError
        If something cannot be saved, or ``rng`` differs between ranks; nothing has been written then.
    OSError
        If the file cannot be written; a former one is as it was.

    Examples
    --------
    >>> import tempfile, numpy as np, gnumba as gn
    >>> from safetensors.numpy import load_file
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gn.save_checkpoint(f"{folder}/run.safetensors", params, gn.Momentum(params), extra={"epoch": 3})
    ...     sorted(load_file(f"{folder}/run.safetensors"))
    ['optimizer/state/w/v', 'params/w']
    """
    ranks = ranks_of(_objects(optimizer, also))
    in_parts = ranks if ranks is optimizer and ranks and ranks.zero == 1 and is_folder(path) else None

    def check() -> tuple[dict[str, Array], bool, dict[tuple[str, ...], Stateful], Any, Any]:
        alone = ranks is None  # pieces of folders are of NumPy's dtypes
        given = named(params)
        return (
            {name: as_view(f"parameter {name}", x, alone) for name, x in given.items()},
            in_parts is not None and are_its(in_parts, given),
            _stateful(optimizer, also),
            as_json("extra", extra),
            None if rng is None else _bits(rng).state,
        )

    tensors: dict[str, Array] = {}
    if ranks is None:
        arrays, _, objects, extra, state = check()
        content = {"rng": packed("rng", state, tensors), "extra": extra}
        _write_file(path, arrays, _states_to_save(objects, None, None), tensors, content)
        return
    shown = str(path) if isinstance(path, (str, os.PathLike)) else None
    with ranks.unbroken(Exception):
        arrays, sliced, objects, extra, state = ranks.meet_to(
            "save_checkpoint", "cannot save", check, [("the paths", shown), *ranks.as_saved()]
        )
        check_saved(ranks, state, sliced)
        states = _states_to_save(objects, ranks, in_parts)
        content = {"rng": packed("rng", state, tensors), "extra": extra}
        if is_folder(path):
            save_folder(path, ranks, arrays, states, tensors, content, in_parts is not None, sliced)
            return

        def write() -> None:
            if ranks.comm.rank == 0:
                _write_file(path, arrays, states, tensors, content)

        together(ranks.comm, "could not write the file", write)


def _states_to_save(
    objects: Mapping[tuple[str, ...], Stateful], ranks: Distributed | None, in_parts: Distributed | None
) -> dict[str, Any]:
    """States by their sections; of an optimizer in parts that of this rank's pieces."""
    apart: dict[tuple[str, ...], Any] = {} if in_parts is None else {("optimizer",): in_parts.optimizer}
    shared = {  # by calls of all ranks; all others may fail on one
        names: each.state_dict()
        for names, each in objects.items()
        if names not in apart and ranks_of([each]) is not None
    }

    def found() -> dict[tuple[str, ...], Any]:
        own = {**objects, **apart}
        return {names: shared[names] if names in shared else each.state_dict() for names, each in own.items()}

    states: dict[str, Any] = {}
    for (section, *rest), state in (
        found() if ranks is None else together(ranks.comm, "cannot save", found)
    ).items():
        if rest:
            states.setdefault(section, {})[rest[0]] = state
        else:
            states[section] = state
    return states


def _write_file(
    path: Any,
    arrays: dict[str, Array],
    states: dict[str, Any],
    others: dict[str, Array],
    rest: dict[str, Any],
) -> None:
    """All of a run as one safetensors file."""
    bfloats = [f"params/{name}" for name, array in arrays.items() if _dtype_name(array) == "bfloat16"]
    tensors = {f"params/{name}": dense(name, _known(array)) for name, array in arrays.items()}
    content: dict[str, Any] = {"sha256": "0" * 64, "version": VERSION}
    if "optimizer" in states:
        content["optimizer"] = packed("optimizer", states["optimizer"], tensors)
    content |= rest
    tensors |= others
    if "also" in states:
        content["also"] = packed("also", states["also"], tensors)
    data = _serialized(tensors, content, bfloats)
    view = memoryview(data)
    pieces = view[: DIGITS.start], _digits(data), view[DIGITS.stop :]
    if isinstance(path, (str, bytes, os.PathLike)):
        write_whole(path, pieces)
    else:
        _write_to(path, pieces)


@suggesting
def load_checkpoint(
    path: PathLike | BinaryIO,
    params: Any,
    optimizer: Stateful | None = None,
    *,
    rng: np.random.Generator | None = None,
    also: Mapping[str, Stateful] | None = None,
) -> Any:
    """Load a training run into the arrays, the optimizer and the generator that are there.

    All is read and checked before the first of them changes, and then an interrupt (Ctrl-C) waits until
    all have changed. Training goes on with the bits that it would have had. Loading takes memory for the
    file twice.

    Parameters
    ----------
    path : str, path or binary file
        A file that ``save_checkpoint`` has written, or a folder, of which only what is needed is read;
        an open file is read from where it stands to its end.
    params : array, list, tuple, dict, or list of groups
        What to write to, in place: names, shapes and dtypes as saved, layouts and places of any
        kind. Usually the arrays that the optimizer updates; others are filled all the same.
    optimizer : Optimizer, optional
        Of the same rule, groups and names; its numbers are restored, its schedules go on at ``t``.
        Without one the weights alone are read, from any checkpoint.
    rng : numpy.random.Generator, optional
        With a bit generator of the kind saved. Without it, a saved state is passed over.
    also : dict, optional
        Objects that take up the states saved under their names; others are passed over.

    Returns
    -------
    JSON value
        The ``extra`` that was saved.

    Raises
    ------
    ValueError
        If the file is damaged, no checkpoint or of an unknown version, or does not fit: names,
        shapes, dtypes, rule, bit generator; or holds no state for what is given. Nothing has changed then.
    OSError
        If the file cannot be read.
    RuntimeError
        With an optimizer of ``gnumba.distributed``, where all ranks call this: if another rank cannot load
        it. Nothing has changed then.

    Examples
    --------
    >>> import tempfile, numpy as np, gnumba as gn
    >>> w, rng = np.array([1.0, 2.0]), np.random.default_rng(0)
    >>> opt = gn.Momentum(w, lr=1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gn.save_checkpoint(f"{folder}/run.safetensors", w, opt, rng=rng, extra={"epoch": 3})
    ...     opt.step(rng.standard_normal(2))
    ...     gn.load_checkpoint(f"{folder}/run.safetensors", w, opt, rng=rng)
    {'epoch': 3}
    >>> w, opt.t
    (array([1., 2.]), 0)
    """
    ranks = ranks_of(_objects(optimizer, also))

    def read() -> Loaded:
        objects, given = _stateful(optimizer, also), named(params)
        arrays = checks.check_updated("parameter", given, narrow=True).arrays
        with _opened(path) as (tensors, content, digest):
            _check_parameters(arrays, tensors)
            state = resolved(content["rng"])
            if rng is not None:
                _check_generator(rng, state)
            found = _states_of(objects, content, _name_of(path))
            writes, states, sliced = needed(optimizer, given, arrays, tensors, found)
        return Loaded(digest, given, writes, sliced, states, state, content["extra"])

    if ranks is None:
        loaded = read()
    else:
        with ranks.unbroken(Exception):
            loaded = ranks.meet_to("load_checkpoint", "cannot load it", read)
            check_loaded(ranks, loaded.digest, loaded.is_sliced)
    with uninterrupted():
        if ranks is not None:
            load_alike(ranks, loaded.states)
        elif len(loaded.states) > 1:
            load_all(loaded.states)
        elif loaded.states:
            ((each, state),) = loaded.states
            each.load_state_dict(state)
        count_writes(loaded.given.values())
        for array, values in loaded.writes:
            place_of(array).copy(array, values)
        if ranks is not None and loaded.is_sliced:
            ranks.spread()
        if rng is not None:
            _bits(rng).state = loaded.rng
    return loaded.extra


class Loaded(NamedTuple):
    """Content of a sound checkpoint, and where it goes."""

    digest: str
    given: dict[str, Any]
    writes: list[tuple[Array, Array]]
    is_sliced: bool  # they go to slices of parameters, whose others other ranks have
    states: list[tuple[Stateful, Any]]
    rng: Any
    extra: Any


def _objects(optimizer: Any, also: Any) -> list[Any]:
    """The optimizer and the other objects, whatever they are."""
    return [optimizer, *(also.values() if isinstance(also, Mapping) else ())]


@contextlib.contextmanager
def _opened(path: Any) -> Iterator[tuple[Mapping[str, Any], dict[str, Any], str]]:
    """The tensors, the content and the SHA-256 of a sound checkpoint; a folder's are read when asked for."""
    if not isinstance(path, (str, bytes, os.PathLike)) or not os.path.isdir(path):
        yield _read(path)
        return
    try:
        folder = Folder(path)
        tensors = folder.tensors()
        content = folder.content(tensors)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"{_name_of(path)} cannot be loaded: {error}") from error
    with folder:
        yield tensors, content, folder.digest


# The file.


def _serialized(tensors: dict[str, Array], content: dict[str, Any], bfloats: Sequence[str]) -> bytes:
    from safetensors import SafetensorError
    from safetensors.numpy import save

    text = json.dumps(content, separators=(",", ":"))
    try:
        data = _said_to_be("BF16", save(tensors, {"gnumba": text}), bfloats)
    except (SafetensorError, UnicodeError) as error:
        raise ValueError(f"this cannot be saved as safetensors: {error}") from error
    if int.from_bytes(data[:8], "little") > LONGEST:  # some versions write more than they read
        raise ValueError(f"names, numbers and extra are {len(text)} characters, expected below {LONGEST}")
    return data


def _write_to(file: Any, pieces: Iterable[bytes | memoryview]) -> None:
    """All bytes to an open file, which may take fewer at a time."""
    if isinstance(file, io.TextIOBase):
        raise TypeError(f"path is {file!r}, which takes text, expected a file of bytes")
    for piece in pieces:
        left = memoryview(piece)
        while left.nbytes:
            taken = file.write(left)
            left = left[left.nbytes if taken is None else taken :]


def _name_of(path: Any) -> str:
    return (
        os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(getattr(path, "name", path))
    )


def _bytes_of(path: Any) -> bytes:
    if isinstance(path, (str, bytes, os.PathLike)):
        return Path(os.fsdecode(path)).read_bytes()
    data = path.read()
    if not isinstance(data, bytes):
        raise TypeError(f"path is {path!r}, which gives {type(data).__name__}, expected a file of bytes")
    return data


def _read(path: Any) -> tuple[dict[str, Array], dict[str, Any], str]:
    """The tensors, the content and the SHA-256 of a sound checkpoint."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    name, data = _name_of(path), _bytes_of(path)
    try:
        if data[DIGITS] != _digits(data):
            raise ValueError("it is damaged, its SHA-256 is not the one written in it")
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        content = json.loads(header["__metadata__"]["gnumba"])
        if content["version"] != VERSION:
            raise ValueError(f"its version is {content['version']!r}, expected {VERSION}")
        bfloats = [name for name, each in header.items() if each.get("dtype") == "BF16"]
        tensors = load(_said_to_be("U16", data, bfloats))
        tensors |= {name: tensors[name].view(BFLOAT16) for name in bfloats}
        states = {name: unpacked(content[name], tensors) for name in STATES if name in content}
        rest = {"rng": unpacked(content["rng"], tensors), "extra": content["extra"]}
        return tensors, states | rest, data[DIGITS].decode()
    except (SafetensorError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"{name} cannot be loaded: {error}") from error


def _said_to_be(dtype: str, data: bytes, names: Sequence[str]) -> bytes:
    """The file with these tensors, if any, under another dtype of 16 bits; safetensors for NumPy knows no
    bfloat16."""
    if not names:
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    for name in names:
        header[name]["dtype"] = dtype
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def _digits(data: bytes) -> bytes:
    """The SHA-256 of all bytes but its own digits; ValueError where these have no place."""
    if data[8 : DIGITS.start] != START:
        raise ValueError("it does not begin as a checkpoint of gnumba's")
    view = memoryview(data)
    digest = hashlib.sha256(view[: DIGITS.start])
    digest.update(view[DIGITS.stop :])
    return digest.hexdigest().encode()


# Checks.


def _check_parameters(arrays: dict[str, Array], tensors: Mapping[str, Any]) -> None:
    """ValueError unless the file holds these parameters, of these shapes and dtypes."""
    saved = [name.removeprefix("params/") for name in tensors if name.startswith("params/")]
    if set(saved) != arrays.keys():
        unknown, missing = [n for n in saved if n not in arrays], [n for n in arrays if n not in saved]
        raise ValueError(
            f"the checkpoint has unknown parameters {unknown} and lacks {missing}, expected those of params"
        )
    for name, array in arrays.items():
        tensor = tensors[f"params/{name}"]
        found, own = ((_dtype_name(x), x.shape) for x in (tensor, array))
        if found != own:
            raise ValueError(
                f"parameter {name} is {found[0]} {found[1]} in the checkpoint, "
                f"expected {own[0]} {own[1]}, as here"
            )


def _known(x: Array) -> Array:
    """An array as NumPy knows its elements: of bfloat16 the bits."""
    return x.view(np.uint16) if _dtype_name(x) == "bfloat16" else x


def _dtype_name(x: Array) -> str:
    """A dtype's name; bfloat16 has several dtypes."""
    storage = narrow_storage(x.dtype)
    return storage.name if storage else str(x.dtype)


def _check_generator(rng: np.random.Generator, state: Any) -> None:
    """ValueError unless the generator takes up that state, which is tried on a copy."""
    mine, kind = _bits(rng), state.get("bit_generator") if isinstance(state, dict) else None
    try:
        copy.deepcopy(mine).state = state
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"rng is {rng}, expected {kind}, as saved") from error


def _stateful(optimizer: Any, also: Any) -> dict[tuple[str, ...], Stateful]:
    """Objects with a state, by their names in a file; TypeError for an object without a state."""
    if also is not None and not (isinstance(also, Mapping) and all(isinstance(name, str) for name in also)):
        raise TypeError(f"also is {also!r}, expected a dict of objects by name")
    found: dict[tuple[str, ...], Any] = {} if optimizer is None else {("optimizer",): optimizer}
    found |= {("also", name): each for name, each in (also or {}).items()}
    for names, each in found.items():
        if not hasattr(each, "state_dict") or not hasattr(each, "load_state_dict"):
            shown = names[0] if len(names) == 1 else f"also[{names[1]!r}]"
            raise TypeError(f"{shown} is of type {type(each).__name__}, expected one with a state_dict")
    return found


def _states_of(
    objects: Mapping[tuple[str, ...], Stateful], content: Mapping[str, Any], name: str
) -> list[tuple[Stateful, Any]]:
    """Each object and its state in the file; ValueError if the file lacks one."""
    found = []
    for names, each in objects.items():
        state: Any = content
        for key in names:
            if not isinstance(state, Mapping) or key not in state:
                raise ValueError(f"{name} holds no state for {'/'.join(names)}, expected one, as it is given")
            state = state[key]
        found.append((each, state))
    return found


def _bits(rng: np.random.Generator) -> np.random.BitGenerator:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is of type {type(rng).__name__}, expected a numpy.random.Generator")
    return rng.bit_generator
