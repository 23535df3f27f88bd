"""Gradients that only some rows of a parameter have."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._engine import checks
from .._engine.arrays import as_view, numbers
from .._engine.place import place_of
from .._engine.storage import widened
from .._suggest import suggesting

__all__ = ["Rows"]

Array = np.ndarray[Any, np.dtype[Any]]


class Rows:
    """A gradient of some rows of a parameter, along its first axis; all other rows have none.

    A step reads and writes those rows only, and their state: θ[i] and, in rules with memory, m[i], v[i] of
    all others stay as they are (the "lazy" form). It counts as one update of the parameter.

    Parameters
    ----------
    indices : array of int, shape (k,), or of bool
        Which rows; negative ones count from the end. Rows named more than once have their values
        summed first, in float64 and in the order given. A mask of bools, one a row of the parameter,
        names those where it is True. On a CUDA device they are read from it, which waits; on the host
        they cost no waiting.
    values : array, shape (k, ...)
        Their gradients, of the parameter's dtype and row shape; as many as a mask has True. A step
        writes neither; ``clip_by_global_norm`` and its kin write the values.

    Raises
    ------
    TypeError
        If ``indices`` are no integers or bools, or ``values`` no array of float32 or float64.
    ValueError
        If ``indices`` are not one-dimensional, or ``values`` has not one entry an index.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> table = np.zeros((4, 2))
    >>> opt = gn.AdaGrad(table, lr=1.0, eps_root=0.0)
    >>> opt.step(gn.Rows([1, 3, 1], np.array([[1.0, 2.0], [-5.0, -5.0], [1.0, 2.0]])))
    >>> table
    array([[ 0.,  0.],
           [-1., -1.],
           [ 0.,  0.],
           [ 1.,  1.]])
    """

    @suggesting
    def __init__(self, indices: Any, values: Any) -> None:
        rows = numbers("indices", indices)
        if rows.size == 0 and not hasattr(indices, "dtype"):
            rows = rows.astype(np.int64)  # an empty list
        if rows.dtype.kind not in "iub":
            raise TypeError(f"indices have dtype {rows.dtype}, expected integers, or a mask of bools")
        seen = as_view("values", values, narrow=True)
        if rows.ndim != 1:
            raise ValueError(f"indices have shape {rows.shape}, expected one axis")
        self._mask_size = rows.size if rows.dtype.kind == "b" else None
        if self._mask_size is not None:
            rows = np.flatnonzero(rows)
        if seen.shape[:1] != rows.shape:
            raise ValueError(f"values have shape {seen.shape}, expected one entry an index, {rows.size}")
        self.indices, self.values = indices, values
        self._rows, self._seen = rows, seen

    def of(self, name: str, parameter: Array) -> tuple[Array, Array]:
        """Which rows of the parameter, each once, and their gradients; checked against it."""
        checks.check_kept_alike(name, self._seen, parameter)
        if not parameter.ndim or self._seen.shape[1:] != parameter.shape[1:]:
            raise ValueError(
                f"gradient of {name} has rows of shape {self._seen.shape[1:]}, "
                f"expected those of its parameter, of shape {parameter.shape}"
            )
        count = len(parameter)
        if self._mask_size not in (None, count):
            raise ValueError(
                f"gradient of {name} has a mask of {self._mask_size} rows as indices, "
                f"expected one of its parameter's {count}"
            )
        rows = self._rows
        if rows.size and not (-count <= int(rows.min()) and int(rows.max()) < count):
            wrong = rows[(rows < -count) | (rows >= count)][0]
            raise IndexError(f"gradient of {name} has row {wrong}, expected rows of its {count}")
        rows = rows.astype(np.int64)
        rows[rows < 0] += count
        once, order, starts = _grouped(rows)
        return once, self._sums(order, starts)

    def sums(self, name: str) -> Array:
        """The gradients of the rows that are named, each row once: the values, if none is named twice."""
        groups = self._groups(name)
        return self._seen if groups is None else self._sums(*groups)

    def _sums(self, order: Array, starts: Array) -> Array:
        """Sums of the values of each row; of 16 bits in float32 if any are added, which might overflow."""
        is_one_each = starts.size > order.size
        return _summed(self._seen if is_one_each else widened(self._seen), order, starts)

    def merged(self, name: str) -> Array | None:
        """The values, on the host, with a row's sum where it is named first and 0 where it is named again.

        None if they are so already.
        """
        groups = self._groups(name)
        if groups is None:
            return None
        order, starts = groups
        summed = _summed(self._seen, order, starts)
        made = np.zeros(self._seen.shape, self._seen.dtype)
        made[order[starts[:-1]]] = place_of(summed).read(summed)
        return made

    def _groups(self, name: str) -> tuple[Array, Array] | None:
        """As `_grouped` has them, for a parameter of unknown length; None if no row is named twice.

        ValueError if which are the same depends on it.
        """
        rows = self._rows
        if rows.size and rows.min() < 0 <= rows.max():
            raise ValueError(
                f"{name} has rows from the start and, {rows.min()}, from the end of its parameter, "
                "and two of them may be the same; expected the one kind or the other"
            )
        once, order, starts = _grouped(rows.astype(np.int64))
        return None if once.size == rows.size else (order, starts)

    def __repr__(self) -> str:
        return f"Rows({self._rows.size} rows, values of shape {self._seen.shape})"


def _grouped(rows: Array) -> tuple[Array, Array, Array]:
    """The rows, each once and ascending; the order that sorts them; where in it each begins, and the end."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    first = np.flatnonzero(np.diff(ascending, prepend=ascending[:1] - 1))
    return ascending[first], order, np.append(first, rows.size)


def _summed(values: Array, order: Array, starts: Array) -> Array:
    """The sums of the values of each row; dense, and in the order in which they were given."""
    place = place_of(values)
    made: Array = place.gathered(place.in_c_order(values), order, starts)
    return made
