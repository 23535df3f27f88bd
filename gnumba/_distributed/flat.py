"""Arrays as views of one buffer that is laid out as a flat space: what lies so is exchanged where it is."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._engine.arrays import as_view
from .._engine.place import HOST, place_of
from .._engine.table import BLOCK
from .._engine.view import address
from .._params import are_groups, named
from .._suggest import suggesting
from .._tree import read, structure
from .space import Layout, starts

__all__ = ["flat"]

Array = np.ndarray[Any, np.dtype[Any]]
RANKS = 256  # for which there is room behind the last array: memory that is not used takes none

_SIZES: dict[int, list[int]] = {}  # of the arrays in each buffer that there is, by its id


@suggesting
def flat(params: Any) -> Any:
    """Copy arrays into one buffer, and return views of it in the same containers.

    Made at the start, before anything else holds the arrays: ``params = gn.flat(params)``. `distributed`
    gathers such parameters, and sends gradients that are written to such views, without a copy.

    Parameters
    ----------
    params : array, list, tuple or dict
        NumPy arrays, nested to any depth; float32 and float64 get a buffer each.

    Returns
    -------
    array, list, tuple or dict
        As ``params``; the arrays are new, in C order, of the same values.

    Raises
    ------
    TypeError
        If something is no array in host memory, or ``params`` are groups: those are made of its result.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> params = gn.flat({"w": np.ones((2, 3)), "b": np.zeros(3)})
    >>> params["w"].base is params["b"].base
    True
    """
    params = read(params)
    if are_groups(params):
        raise TypeError("params are groups, expected arrays in containers, of whose copies groups are made")
    arrays = {name: as_view(f"array {name}", x) for name, x in named(params).items()}
    for name, x in arrays.items():
        if place_of(x) is not HOST:
            raise TypeError(f"array {name} lives in {place_of(x)}, expected host memory")
    made: dict[str, Array] = {}
    for dtype in dict.fromkeys(x.dtype for x in arrays.values()):
        members = {name: x for name, x in arrays.items() if x.dtype == dtype}
        begins, total = starts([x.size for x in members.values()])
        buffer = np.zeros(total + RANKS * BLOCK, dtype)
        _SIZES[id(buffer)] = [x.size for x in members.values()]
        weakref.finalize(buffer, _SIZES.pop, id(buffer))
        for (name, x), start in zip(members.items(), begins, strict=True):
            made[name] = buffer[start : start + x.size].reshape(x.shape)
            made[name][...] = x
    return structure(params).build(made[name] for name in arrays)


def buffer_of(arrays: Sequence[Array], layout: Layout) -> Array | None:
    """The whole flat space that these arrays, and no others, are views of in their places; or None."""
    buffer: Any = arrays[0].base
    if _SIZES.get(id(buffer)) != layout.sizes or buffer.size < layout.length:
        return None
    first, itemsize = address(buffer), buffer.itemsize
    for x, start in zip(arrays, layout.starts, strict=True):
        if x.size and (address(x) != first + start * itemsize or not x.flags.c_contiguous):
            return None
    whole: Array = buffer[: layout.length]
    return whole if whole.dtype == arrays[0].dtype else None
