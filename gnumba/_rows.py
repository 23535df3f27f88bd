"""Gradients that only some rows of a parameter have."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._engine import gpu, place, transfer
from ._engine.remote import Remote, uploaded

__all__ = ["Rows"]

Array = np.ndarray[Any, np.dtype[Any]]


class Rows:
    """A gradient of some rows of a parameter, along its first axis; all other rows have none.

    A step reads and writes those rows only, and their state: θ[i] and, in rules with memory, m[i], v[i] of
    all others stay as they are (the "lazy" form). It counts as one update of the parameter.

    Parameters
    ----------
    indices : array of int, shape (k,)
        Which rows; negative ones count from the end. Rows named more than once have their values
        summed first, in float64 and in the order given. On a CUDA device they are read from it,
        which waits; on the host they cost no waiting.
    values : array, shape (k, ...)
        Their gradients, of the parameter's dtype and row shape. Neither is ever written.

    Raises
    ------
    TypeError
        If ``indices`` are no integers, or ``values`` no array of float32 or float64.
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

    def __init__(self, indices: Any, values: Any) -> None:
        rows = transfer.numbers("indices", indices)
        if rows.size == 0 and not hasattr(indices, "dtype"):
            rows = rows.astype(np.int64)  # an empty list
        if rows.dtype.kind not in "iu":
            raise TypeError(f"indices have dtype {rows.dtype}, expected integers")
        seen = place.seen("values", values)
        if rows.ndim != 1:
            raise ValueError(f"indices have shape {rows.shape}, expected one axis")
        if seen.shape[:1] != rows.shape:
            raise ValueError(f"values have shape {seen.shape}, expected one entry an index, {rows.size}")
        self.indices, self.values = indices, values
        self._rows, self._seen = rows, seen

    def of(self, name: str, parameter: Array) -> tuple[Array, Array]:
        """Which rows of the parameter, each once, and their gradients; checked against it."""
        place.check_together({f"parameter {name}": parameter, f"gradient of {name}": self._seen})
        if self._seen.dtype != parameter.dtype:
            dtypes = f"{self._seen.dtype}, expected its parameter's, {parameter.dtype}"
            raise TypeError(f"gradient of {name} has dtype {dtypes}")
        if not parameter.ndim or self._seen.shape[1:] != parameter.shape[1:]:
            raise ValueError(
                f"gradient of {name} has rows of shape {self._seen.shape[1:]}, "
                f"expected those of its parameter, of shape {parameter.shape}"
            )
        count = len(parameter)
        rows = self._rows
        if rows.size and not (-count <= int(rows.min()) and int(rows.max()) < count):
            wrong = rows[(rows < -count) | (rows >= count)][0]
            raise IndexError(f"gradient of {name} has row {wrong}, expected rows of its {count}")
        rows = rows.astype(np.int64)
        rows[rows < 0] += count
        return _each_once(rows, dense_rows(self._seen))

    def __repr__(self) -> str:
        return f"Rows({self._rows.size} rows, values of shape {self._seen.shape})"


def dense_rows(values: Array) -> Array:
    """The same values in C order: themselves if they are."""
    if values.flags.c_contiguous:
        return values
    if not isinstance(values, Remote):
        return np.ascontiguousarray(values)
    dense = uploaded(np.empty(values.shape, values.dtype), values.ordinal, values.stream)
    gpu.assign(dense, values)
    return dense


def _each_once(rows: Array, values: Array) -> tuple[Array, Array]:
    """The rows in ascending order, and the sums of the values of each."""
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    if isinstance(values, Remote):
        return rows[first], gpu.gathered(values, order, np.append(first, rows.size))
    summed = values[order[first]]
    counts = np.diff(first, append=rows.size)
    several = counts > 1
    if several.any():
        terms = values[order[np.repeat(several, counts)]].astype(np.float64)
        starts = np.cumsum(counts[several]) - counts[several]
        summed[several] = np.add.reduceat(terms, starts, axis=0)
    return rows[first], summed
