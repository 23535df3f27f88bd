"""Mini-batches: the rows of arrays, each once an epoch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

from ._engine import place
from ._hyper import generator, saved

__all__ = ["minibatches"]


def minibatches(
    *arrays: Any, batch_size: Any = 64, rng: Any = None, shuffle: bool = True, drop_last: bool = False
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

    Returns
    -------
    Minibatches
        An iterable with a ``len``, the batches of the epoch that starts now (TypeError where the sizes
        depend on more than t), the count ``t`` of batches given, ``state_dict`` and ``load_state_dict``.

    Raises
    ------
    ValueError
        If there is no array, one has no axis, their numbers of rows differ, or a batch size is no
        whole number ≥ 1 (of a schedule, at its batch).
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
    """
    return Minibatches(arrays, batch_size, rng, shuffle, drop_last)


class Minibatches:
    """The rows of arrays in batches; see `minibatches`.

    Attributes
    ----------
    t : int
        Batches given, in all epochs together; what a schedule is called with.
    """

    def __init__(
        self, arrays: tuple[Any, ...], batch_size: Any, rng: Any, shuffle: bool, drop_last: bool
    ) -> None:
        self._arrays, self._count = arrays, place.count_rows(arrays)
        self._batch_size: Any = batch_size
        if not _varies(batch_size):
            self._batch_size = self._checked("batch_size", batch_size)
        self._rng = generator(rng)
        self._shuffle, self._drop_last = shuffle, drop_last
        self.t = 0
        self._under_way: dict[str, Any] | None = None  # an epoch: the rng's state before it, the next row
        self._rest: dict[str, Any] | None = None  # the same, of an epoch that is to be gone on with

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """One epoch; after ``load_state_dict`` the rest of the one that was under way."""
        order, drawn_from, row = self._begun()
        while stop := self._stop(row, self.t):
            self.t += 1
            self._under_way = {"rng": drawn_from, "row": stop, "rows": self._count}
            rows = slice(row, stop) if order is None else order[row:stop]
            yield tuple(array[rows] for array in self._arrays)
            row = stop
        self._under_way = None

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
        row, t = self._rest["row"] if self._rest else 0, self.t
        if not callable(given):
            full, rest = divmod(self._count - row, int(given))
            return full + (rest > 0 and not self._drop_last)
        while row := self._stop(row, t):
            t += 1
        return t - self.t

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
        return {"t": self.t, "rng": self._rng.bit_generator.state, "epoch": epoch}

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
        self._rng.bit_generator.state = rng.bit_generator.state
        self.t = int(state["t"])
        self._rest = self._under_way = copy.deepcopy(epoch)

    def __repr__(self) -> str:
        given = self._batch_size
        size = getattr(given, "__name__", type(given).__name__) if _varies(given) else given
        return f"Minibatches({len(self._arrays)} arrays of {self._count} rows, batch_size={size}, t={self.t})"


def checked_size(shown: str, size: Any) -> int | None:
    """A batch size as an int, or None for all rows; ValueError if it is no whole number ≥ 1."""
    if size is None:
        return None
    if not isinstance(size, Real) or not (float(size) >= 1.0 and float(size).is_integer()):
        raise ValueError(f"{shown} is {size!r}, expected a whole number ≥ 1")
    return int(float(size))


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
