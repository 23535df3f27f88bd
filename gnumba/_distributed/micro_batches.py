"""Micro-batches: gradients checked, packed into flat buffers, and added up by pairs in their order."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._engine import checks
from .._engine.view import Array
from .._optim.rows import Rows
from .._params import Parameter, Params
from .._tree import outline
from .exchange import Exchange

CONTAINERS = list, tuple, Mapping


def added_up(
    params: Params, exchanges: Sequence[Exchange], grads: Any, is_tree: bool
) -> tuple[int, list[Parameter]]:
    """Make the flat buffers the sum of this rank's micro-batches.

    Returns how many they are, and the parameters that have no gradient in any of them.
    """
    count, missing, batches = 0, list[Parameter](), _each(params, grads)
    for batch in batches:
        values = [_checked(p, g) for p, g in zip(params, batch, strict=True)]
        without = [p for p, g in zip(params, values, strict=True) if g is None]
        if count and without != missing:
            name = next(p.name for p in params if (p in without) != (p in missing))
            raise ValueError(
                f"gradient of {name} is None in some micro-batches and not in others, "
                "expected one or the other"
            )
        missing = without
        depth = count.bit_count() if is_tree else min(count, 1)  # sums that wait for another of their size
        count += 1
        completed = (count & -count).bit_length() - 1 if is_tree else depth
        for each in exchanges:
            members = [values[p.index] for p in each.params]
            if isinstance(batches, list) and len(batches) == 1 and each.send_from(members):
                continue
            each.pack(members, depth)
            for level in range(completed):
                each.fold(depth - level)
    _check_count(count, is_tree)
    return count, missing


def _check_count(count: int, is_tree: bool) -> None:
    if not count:
        raise ValueError("grads has no micro-batches, expected at least one")
    if is_tree and count & (count - 1):
        raise ValueError(
            f"grads has {count} micro-batches, expected a power of two, or order='any', whose bits depend on "
            "the number of ranks"
        )


def _each(params: Params, grads: Any) -> Iterable[tuple[Any, ...]]:
    """The gradients of each micro-batch, in the order of the parameters; a list if there is but one."""
    match = functools.partial(params.match, "grads")
    if grads is None or isinstance(grads, (Mapping, Rows)) or hasattr(grads, "shape"):
        return [match(grads)]
    if not isinstance(grads, (list, tuple)):
        if not isinstance(grads, Iterable):
            raise TypeError(f"grads is {outline(grads)}, expected gradients, or an iterable of them")
        return map(match, grads)
    whole = _as_one(params, grads)
    return list(map(match, grads)) if whole is None else [whole]


def _as_one(params: Params, grads: Sequence[Any]) -> tuple[Any, ...] | None:
    """A list as the gradients of one micro-batch; None if it is one of several.

    It is one if it is built as params are, with no container where these have an array.
    """
    try:
        whole = params.match("grads", grads)
    except (ValueError, TypeError):
        if not grads or not all(isinstance(each, CONTAINERS) for each in grads):
            raise
        return None
    return None if any(isinstance(leaf, CONTAINERS) for leaf in whole) else whole


def _checked(p: Parameter, g: Any) -> Array | None:
    """A gradient that fits its parameter; None for none."""
    if isinstance(g, Rows):
        raise TypeError(
            f"gradient of {p.name} is {g!r}, expected an array: gnumba.distributed exchanges whole gradients"
        )
    return None if g is None else checks.check_gradient(p.name, g, p.array)
