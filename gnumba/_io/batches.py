"""Mini-batches: the rows of arrays, each once an epoch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from .._engine import checks
from .._hyper import generator, saved
from .._signals import uninterrupted
from .._suggest import no_attribute, suggesting
from .._typing import Seed

__all__ = ["minibatches"]

MEMORY = "__array_interface__", "__cuda_array_interface__", "__dlpack__"  # of arrays that are in memory


@suggesting
def minibatches(
    *arrays: Any,
    batch_size: Any = 64,
    rng: Seed = None,
    shuffle: bool = True,
    drop_last: bool = False,
    part: tuple[int, int] = (0, 1),
) -> Minibatches:
    """The rows of arrays in batches: every ``for`` over it is an epoch, a tuple of arrays at a time.

    The rows lie along the first axis; all arrays have them in the same order, ``rng.permutation`` of
    this epoch. Nothing of the data set is copied but the rows of one batch; with ``shuffle=False``
    batches are views.

    Parameters
    ----------
    *arrays : array
        At least one, of as many rows each and of any dtype: NumPy arrays, memory maps, CuPy arrays,
        PyTorch tensors, whatever has a shape and takes an array of integers as an index to its rows.
        Arrays that are in no memory (they have none of NumPy's, CUDA's and DLPack's interfaces, as
        h5py's) are asked for the rows of a batch in ascending order, as these demand.
    batch_size : int, callable, Phases or None, default 64
        ≥ 1, usually 32 to 128. None: all rows, which makes it gradient descent. A callable is a
        schedule ``t -> int`` of the batches given so far, over all epochs. With `Phases` each batch
        has the size of the phase at the time.
    rng : numpy.random.Generator or seed, optional
        One that is given is drawn from once an epoch, so the same state gives the same batches.
    shuffle : bool, default True
        False leaves the rows in their order.
    drop_last : bool, default False
        Leave out the rows at an epoch's end that do not fill a batch; where no batch can be filled,
        the epoch has none.
    part : tuple of int, default (0, 1)
        (rank, size): of each batch this rank's share of its rows, in their order, as many as any other's or
        one more. With one seed on all ranks they have every row once an epoch, and together the batches of
        one process. Shares of unequal lengths weigh alike where ranks' means are averaged: a batch size
        that is a multiple of ``size``, and ``drop_last=True``, leave none.

    Returns
    -------
    Minibatches
        An iterable with a ``len``, the batches of the epoch that starts now (TypeError where the sizes
        depend on more than t), the count ``t`` of batches given, ``state_dict`` and ``load_state_dict``.
        ``batch_size``, ``rng``, ``shuffle``, ``drop_last`` and ``part`` may be set; they hold from the next
        batch, ``rng`` and ``shuffle`` from the next epoch. A copy, or what is unpickled, goes on from where
        the original stands, with an rng of its own.

    Raises
    ------
    ValueError
        If there is no array, one has no axis, their numbers of rows differ, a batch size is no whole
        number ≥ 1 (of a schedule, at its batch), or ``part`` is no rank below a size.
    TypeError
        If something is no array: lists; tables of pandas, whose indices are labels and columns.

    References
    ----------
    Robbins & Monro 1951. Bottou 2012, Stochastic gradient descent tricks.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> x, y = np.arange(10).reshape(5, 2), np.arange(5)
    >>> [labels.tolist() for _, labels in gn.minibatches(x, y, batch_size=2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    >>> batches = gn.minibatches(x, y, batch_size=lambda t: 1 + t, rng=0)
    >>> len(batches), [len(labels) for _, labels in batches]
    (3, [1, 2, 2])
    >>> len(batches), [len(labels) for _, labels in batches]
    (2, [4, 1])
    >>> [
    ...     [rows.tolist() for (rows,) in gn.minibatches(y, batch_size=4, shuffle=False, part=(rank, 2))]
    ...     for rank in range(2)
    ... ]
    [[[0, 1], []], [[2, 3], [4]]]
    """
    if len(arrays) > 1 and (isinstance(arrays[-1], Integral) or arrays[-1] is None or callable(arrays[-1])):
        size = arrays[-1]
        raise TypeError(
            f"array {len(arrays) - 1} is {size!r}, expected an array; did you mean batch_size={size!r}?"
        )
    return Minibatches(arrays, batch_size, rng, shuffle, drop_last, part)


class Minibatches:
    """The rows of arrays in batches; see `minibatches`.

    Attributes
    ----------
    t : int
        Batches given, in all epochs together; what a schedule is called with.
    batch_size : int, callable, Phases or None
        As given.
    rng : numpy.random.Generator
        What the orders of rows are drawn from.
    shuffle, drop_last : bool
        As given.
    part : tuple of int
        As given.
    """

    __slots__ = (
        "__weakref__",
        "_arrays",
        "_batch_size",
        "_count",
        "_drop_last",
        "_part",
        "_rest",
        "_rng",
        "_shuffle",
        "_t",
        "_under_way",
    )

    def __init__(
        self,
        arrays: tuple[Any, ...],
        batch_size: Any,
        rng: Any,
        shuffle: bool,
        drop_last: bool,
        part: tuple[int, int],
    ) -> None:
        self._arrays, self._count = arrays, checks.count_rows(arrays)
        self.batch_size = batch_size
        self._rng = generator(rng)
        self._shuffle, self._drop_last, self.part = shuffle, drop_last, part
        self._t = 0
        self._under_way: dict[str, Any] | None = None  # an epoch: the rng's state before it, the next row
        self._rest: dict[str, Any] | None = None  # the same, of an epoch that is to be gone on with

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """One epoch; after ``load_state_dict`` the rest of the one that was under way."""
        order, drawn_from, row = self._begun()
        while stop := self._stop(row, self._t):
            self._t += 1
            self._under_way = {"rng": drawn_from, "row": stop, "rows": self._count}
            share = self._share(row, stop)
            yield self._batch(share if order is None else order[share])
            row = stop
        self._under_way = None

    def _share(self, row: int, stop: int) -> slice:
        """Of the rows of a batch those that are this part's."""
        rank, size = self._part
        return slice(row + (stop - row) * rank // size, row + (stop - row) * (rank + 1) // size)

    def _batch(self, rows: Any) -> tuple[Any, ...]:
        """Those rows of all arrays."""
        if isinstance(rows, slice) or all(map(_in_memory, self._arrays)):
            return tuple(array[rows] for array in self._arrays)
        order = np.argsort(rows)
        ascending, back = rows[order], np.argsort(order)
        return tuple(array[rows] if _in_memory(array) else array[ascending][back] for array in self._arrays)

    # Arguments, which may be set.

    @property
    def t(self) -> int:
        """Batches given, in all epochs together."""
        return self._t

    @property
    def batch_size(self) -> Any:
        """Rows of a batch: a number, None for all, a schedule or a plan."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: Any) -> None:
        self._batch_size = value if _varies(value) or value is None else checked_size("batch_size", value)

    @property
    def rng(self) -> np.random.Generator:
        """The generator that the orders of rows are drawn from."""
        return self._rng

    @rng.setter
    def rng(self, value: Any) -> None:
        self._rng = generator(value)

    @property
    def shuffle(self) -> bool:
        """Whether rows come in an order that is drawn anew for each epoch."""
        return self._shuffle

    @shuffle.setter
    def shuffle(self, value: bool) -> None:
        self._shuffle = value

    @property
    def drop_last(self) -> bool:
        """Whether rows at an epoch's end that do not fill a batch are left out."""
        return self._drop_last

    @drop_last.setter
    def drop_last(self, value: bool) -> None:
        self._drop_last = value

    @property
    def part(self) -> tuple[int, int]:
        """Which share of each batch is given, of how many."""
        return self._part

    @part.setter
    def part(self, value: Any) -> None:
        self._part = _checked_part(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            raise no_attribute(self, name, ("batch_size", "rng", "shuffle", "drop_last", "part"))
        super().__setattr__(name, value)

    # Copies: each with an rng of its own, and what is left of an epoch that is under way.

    def __copy__(self) -> Minibatches:
        made = type(self).__new__(type(self))
        made.__setstate__(self.__getstate__() | {"_rng": copy.deepcopy(self._rng)})
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "__weakref__"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._rest = self._under_way = copy.deepcopy(self._under_way)

    def _begun(self) -> tuple[Any, Mapping[str, Any], int]:
        """An epoch's order of rows, the rng's state that it was drawn from, and which is the next to give."""
        rng, drawn_from, row = self._rng, self._rng.bit_generator.state, 0
        if self._rest:
            drawn_from, row = self._rest["rng"], self._rest["row"]
            rng = _generator(rng, drawn_from)
        self._rest = None
        return rng.permutation(self._count) if self._shuffle else None, drawn_from, row

    def _stop(self, row: int, t: int) -> int:
        """Where the batch that begins with that row ends; 0 if there is none."""
        if row == self._count:
            return 0
        stop = row + self._size(t)
        return 0 if self._drop_last and stop > self._count else min(stop, self._count)

    def _size(self, t: int) -> int:
        if callable(self._batch_size):
            return self._checked(f"batch_size at batch {t}", self._batch_size(t))
        return self._checked("batch_size", getattr(self._batch_size, "batch_size", self._batch_size))

    def _checked(self, shown: str, size: Any) -> int:
        return checked_size(shown, size) or max(self._count, 1)

    def __len__(self) -> int:
        """How many batches the next ``for`` gives; TypeError where that depends on more than ``t``."""
        given = self._batch_size
        if hasattr(given, "batch_size") or (callable(given) and saved(given) is not None):
            raise TypeError(f"there is no len: the sizes of {type(given).__name__} depend on more than t")
        row, t = self._rest["row"] if self._rest else 0, self._t
        if not callable(given):
            full, rest = divmod(self._count - row, self._size(t))
            return full + (rest > 0 and not self._drop_last)
        while row := self._stop(row, t):
            t += 1
        return t - self._t

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of where the batches stand, within an epoch too.

        Returns
        -------
        dict
            ``{"t": batches given, "rng": its state, "epoch": None, or for an epoch under way
            {"rng": the state it was drawn from, "row": rows given, "rows": of how many}}``. An epoch
            is under way from its first batch until the ``for`` has run to its end.
        """
        epoch = copy.deepcopy(self._under_way)
        return {"t": self._t, "rng": self._rng.bit_generator.state, "epoch": epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``: the next ``for`` gives the batches that were to come.

        That is the rest of an epoch that was under way, a new one otherwise. The rng, one that was
        given too, is put back to its state of then. A schedule is not saved; it goes on at ``t``.

        Parameters
        ----------
        state : dict
            From ``state_dict`` of batches of as many rows, with the same kind of rng.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.
        """
        _check_names("state", state, ["t", "rng", "epoch"])
        epoch = state["epoch"]
        _check_count("state['t']", state["t"])
        rng = _generator(self._rng, state["rng"])
        if epoch is not None:
            _check_names("state['epoch']", epoch, ["rng", "row", "rows"])
            _check_count("state['epoch']['row']", epoch["row"], self._count)
            if epoch["rows"] != self._count:
                raise ValueError(f"state is of {epoch['rows']} rows, expected as many as here, {self._count}")
            _generator(self._rng, epoch["rng"])
        with uninterrupted():
            self._rng.bit_generator.state = rng.bit_generator.state
            self._t = int(state["t"])
            self._rest = self._under_way = copy.deepcopy(epoch)

    def __repr__(self) -> str:
        given = self._batch_size
        size = getattr(given, "__name__", type(given).__name__) if _varies(given) else given
        part = "" if self._part == (0, 1) else f", part={self._part}"
        arrays = f"{len(self._arrays)} arrays of {self._count} rows"
        return f"Minibatches({arrays}, batch_size={size}{part}, t={self.t})"


def checked_size(shown: str, size: Any) -> int | None:
    """A batch size as an int, or None for all rows; ValueError if it is no whole number ≥ 1."""
    if size is None:
        return None
    if not isinstance(size, Real) or not (float(size) >= 1.0 and float(size).is_integer()):
        raise ValueError(f"{shown} is {size!r}, expected a whole number ≥ 1")
    return int(float(size))


def _checked_part(part: Any) -> tuple[int, int]:
    """A rank and a size, the rank below the size."""
    whole = isinstance(part, (tuple, list)) and len(part) == 2 and all(isinstance(k, Integral) for k in part)
    if not whole or not 0 <= part[0] < part[1]:
        raise ValueError(f"part is {part!r}, expected (rank, size), the rank from 0 to size - 1")
    return int(part[0]), int(part[1])


def _in_memory(array: Any) -> bool:
    """Whether rows may be asked for in any order at no cost: NumPy's, CUDA's and DLPack's arrays."""
    return isinstance(array, np.ndarray) or any(hasattr(array, name) for name in MEMORY)


def _varies(given: Any) -> bool:
    """Whether a batch size is a schedule or a plan."""
    return callable(given) or hasattr(given, "batch_size")


def _generator(rng: np.random.Generator, state: Any) -> np.random.Generator:
    """A generator of the same kind in that state."""
    made = copy.deepcopy(rng)
    try:
        made.bit_generator.state = state
    except (KeyError, TypeError, ValueError) as error:
        kind = type(rng.bit_generator).__name__
        raise ValueError(f"state['rng'] is {state!r}, expected a state of {kind} ({error})") from error
    return made


def _check_names(where: str, state: Any, names: list[str]) -> None:
    if not isinstance(state, Mapping) or state.keys() != set(names):
        given = list(state) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"{where} has {given}, expected {names}")


def _check_count(where: str, count: Any, most: float = np.inf) -> None:
    if not isinstance(count, (int, np.integer)) or not 0 <= count <= most:
        raise ValueError(f"{where} is {count!r}, expected a count" + (f" ≤ {most}" if most < np.inf else ""))
