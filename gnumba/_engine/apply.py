"""One function of arrays of any kind and layout: the output found or made, the short way tried first."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._rule import Elementwise
from . import checks
from .arrays import as_view, empty_like, in_kind_of, operand
from .flat import launch_flat
from .libraries import check_no_derivative_lost, count_writes, has_host_view, host_view
from .place import place_of
from .view import Scalars, geometry

Array = Any  # whatever operand takes


def apply(
    function: Elementwise,
    inputs: tuple[Array, ...],
    scalars: Scalars,
    out: Array,
    also: tuple[np.ndarray, ...] = (),
    narrow: bool = True,
) -> Any:
    """Run the function; the output in the kind of the first input. ``also`` are further outputs.

    ``narrow`` is whether arrays may be of 16 bits, for which there is no short way.
    """
    first = inputs[0]
    if type(first) is not np.ndarray and has_host_view(first):
        if (made := _apply_seen(function, inputs, scalars, out, also)) is not None:
            return made
    elif out is None:
        if type(first) is np.ndarray and first.ndim:
            y = np.empty_like(first)
            if launch_flat(function, (*inputs, y, *also), scalars):
                return y
    elif out is first:
        if launch_flat(function.onto(function.writes[0], function.reads[0]), (*inputs, *also), scalars):
            return out
    elif launch_flat(function, (*inputs, out, *also), scalars):
        return out
    named = dict(zip(function.reads, inputs, strict=True))
    return _apply_checked(function, named, scalars, out, also, narrow)


def _apply_seen(
    function: Elementwise,
    inputs: tuple[Array, ...],
    scalars: Scalars,
    out: Array,
    also: tuple[np.ndarray, ...],
) -> Any:
    """The short way for other libraries' arrays in host memory; None, and nothing done, if that is closed."""
    for name, x in zip(function.reads, inputs, strict=True):
        check_no_derivative_lost(name, x)
    try:
        views: tuple[Any, ...] = tuple(x if type(x) is np.ndarray else host_view(x) for x in inputs)
        target: Any = np.empty_like(views[0])
        if out is not None:
            target = out if type(out) is np.ndarray else host_view(out)
    except (BufferError, RuntimeError, TypeError, ValueError):
        return None  # to be told on the long way
    if any(view is None for view in (*views, target)):
        return None
    if out is None:
        done = launch_flat(function, (*views, target, *also), scalars)
        return in_kind_of(inputs[0], target) if done else None
    check_no_derivative_lost("out", out)
    if checks.same_elements(views[0], target):
        function, views = function.onto(function.writes[0], function.reads[0]), (target, *views[1:])
    elif target.shape == views[0].shape and target.dtype == views[0].dtype:
        views = (*views, target)
    else:
        return None
    count_writes((out,))
    return out if launch_flat(function, (*views, *also), scalars) else None


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
    narrow: bool,
) -> Any:
    """Apply a function to arrays of any kind and layout: check all, find or make the output, launch."""
    arrays = {name: operand(name, x, narrow) for name, x in inputs.items()}
    checks.check_alike(arrays)
    views, result = tuple(arrays.values()), function.writes[0]
    if out is None:
        first = next(iter(inputs.values()))
        y = empty_like(first, views[0])
        _launch(function, (*views, y, *also), scalars)
        return in_kind_of(first, y)
    y = checks.check_out("out", out, views[0], narrow)
    count_writes((out,))
    over = next((name for name, view in arrays.items() if checks.same_elements(view, y)), None)
    others = [view for name, view in arrays.items() if name != over]
    if any(np.may_share_memory(geometry(view), geometry(y)) for view in others):
        made = _apply_checked(function, dict(arrays), scalars, None, also, narrow)
        place_of(y).copy(y, as_view("result", made, narrow))
    elif over:
        _launch(function.onto(result, over), (*views, *also), scalars)
    else:
        _launch(function, (*views, y, *also), scalars)
    return out


def _launch(function: Elementwise, row: tuple[np.ndarray, ...], scalars: Scalars) -> None:
    """Run the function over checked arrays, which other libraries' may be as dense as NumPy's."""
    if not (row[0].flags.forc and launch_flat(function, row, scalars)):
        place_of(row[0]).run(function, row, scalars)
