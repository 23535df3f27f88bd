"""Slices: what a rank updates of each parameter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._engine.place import HOST
from .._params import Parameter
from .exchange import Exchange
from .space import Piece


class Slice:
    """Of a parameter what this rank updates, a piece or the whole, and its gradient."""

    def __init__(self, p: Parameter, piece: Piece, values: Any, gradient: Any) -> None:
        self.piece, self.values, self.gradient = piece, values, gradient
        self._source: Parameter | None = None
        if values is None:
            self.values, self._source = np.empty(piece.size, p.array.dtype), p
            self.refresh()

    @property
    def is_apart(self) -> bool:
        """Whether its values are not in the parameter's own memory."""
        return self._source is not None

    def refresh(self) -> None:
        """Take up the parameter's elements, where they are not the parameter's own memory."""
        if self._source is not None:
            self.values[...] = self._source.array.reshape(-1)[self.piece.lo : self.piece.hi]


def slices(exchange: Exchange, rank: int, zero: int) -> Iterator[tuple[Parameter, Slice]]:
    """The slices of the parameters in a flat space."""
    layout = exchange.layout
    for p, start, piece in zip(exchange.params, layout.starts, layout.pieces(rank), strict=True):
        if not zero:
            whole = exchange.flat[start : start + p.array.size].reshape(p.array.shape)
            yield p, Slice(p, Piece(0, p.array.size, start), p.given, whole)
            continue
        if not p.array.flags.c_contiguous and p.place is not HOST:
            raise ValueError(
                f"parameter {p.name} has strides {p.array.strides}, expected an array in C order"
            )
        values = _native(p).reshape(-1)[piece.lo : piece.hi] if p.array.flags.c_contiguous else None
        yield p, Slice(p, piece, values, exchange.reduced[piece.at : piece.at + piece.size])


def _native(p: Parameter) -> Any:
    """A parameter as an array that can be sliced: NumPy's, or of its own library on a device."""
    if p.place is HOST:
        return p.array
    return p.given.detach() if hasattr(p.given, "detach") else p.given
