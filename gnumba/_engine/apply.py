"""One function of arrays of any kind and layout: the output found or made, the short way tried first."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._rule import Elementwise
from . import place
from .launch import Scalars, launch_flat, launch_row
from .transfer import assign

Array = Any  # whatever place.operand takes


def apply(
    function: Elementwise,
    inputs: tuple[Array, ...],
    scalars: Scalars,
    out: Array,
    also: tuple[np.ndarray, ...] = (),
) -> Any:
    """Run the function; the output in the kind of the first input. ``also`` are further outputs."""
    first = inputs[0]
    if out is None:
        if type(first) is np.ndarray and first.ndim:
            y = np.empty_like(first)
            if launch_flat(function, (*inputs, y, *also), scalars):
                return y
    elif out is first:
        if launch_flat(function.onto(function.writes[0], function.reads[0]), (*inputs, *also), scalars):
            return out
    elif launch_flat(function, (*inputs, out, *also), scalars):
        return out
    return _apply_checked(function, dict(zip(function.reads, inputs, strict=True)), scalars, out, also)


def apply_summed(
    function: Elementwise, inputs: tuple[Array, ...], scalars: Scalars, out: Array
) -> tuple[Any, float | None]:
    """The short way of a function with ``summed``: the output and the sum; None if that cannot be gone."""
    first = inputs[0]
    if type(first) is not np.ndarray:
        return None, None
    if out is first:
        y, found = out, launch_flat(function.onto(function.writes[0], function.reads[0]), inputs, scalars)
    else:
        y = np.empty_like(first) if out is None and type(first) is np.ndarray and first.ndim else out
        found = launch_flat(function, (*inputs, y), scalars)
    return y, found[1] if found and found[0] else None


def _apply_checked(
    function: Elementwise,
    inputs: dict[str, Array],
    scalars: Scalars,
    out: Array,
    also: tuple[np.ndarray, ...],
) -> Any:
    """The same for arrays of any kind and layout: check all, find or make the output, launch."""
    arrays = {name: place.operand(name, x) for name, x in inputs.items()}
    place.check_alike(arrays)
    views, result = tuple(arrays.values()), function.writes[0]
    if out is None:
        first = next(iter(inputs.values()))
        y = place.fresh(first, views[0])
        launch_row(function, (*views, y, *also), scalars)
        return place.like(first, y)
    y = place.check_out("out", out, views[0])
    over = next((name for name, view in arrays.items() if place.same_elements(view, y)), None)
    if any(np.may_share_memory(view, y) for name, view in arrays.items() if name != over):
        assign(y, place.seen("result", _apply_checked(function, dict(arrays), scalars, None, also)))
    elif over:
        launch_row(function.onto(result, over), (*views, *also), scalars)
    else:
        launch_row(function, (*views, y, *also), scalars)
    return out
