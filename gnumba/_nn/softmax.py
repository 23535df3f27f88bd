"""Softmax and log-softmax along an axis of arrays of any kind and layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._engine import checks
from .._engine.arrays import empty_like, in_kind_of, operand
from .._engine.libraries import count_writes
from .._engine.place import place_of
from .._engine.row_steps import Rowwise
from .._rule import Elementwise
from .._suggest import suggesting
from ..rules import softmax as rules

__all__ = ["RowFunction", "log_softmax", "softmax"]

Array = Any  # whatever operand takes


class RowFunction:
    """A function along an axis, with its backward pass, for arrays of any shape, strides and kind."""

    def __init__(self, forward: Rowwise, backward: Rowwise, doc: str) -> None:
        self.name = self.__name__ = forward.name
        self._forward, self._backward = forward, backward
        self.__doc__, self.__module__ = doc, "gnumba"

    @suggesting
    def __call__(self, x: Array, axis: int = -1, *, out: Array = None) -> Any:
        """f(x) along an axis."""
        return apply_along(self.name, self._forward, {"x": x}, axis, out)

    @suggesting
    def backward(self, dy: Array, y: Array, axis: int = -1, *, out: Array = None) -> Any:
        """dL/dx, from dL/dy and the result y of the forward pass.

        Parameters
        ----------
        dy, y : array
            dL/dy, and what the function returned; of one shape and dtype.
        axis : int
            That of the forward pass.
        out : array, optional
            Where to write it; may be ``dy`` or ``y``.

        Returns
        -------
        array
            Of dy's kind, shape and dtype.
        """
        return apply_along(self.name, self._backward, {"dy": dy, "y": y}, axis, out)

    def __reduce__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<function {self.name}(x, axis=-1)>"


def checked_axis(name: str, axis: Any, x: Array) -> int:
    """An axis of an array; ValueError for one that it has not."""
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{name}: axis is {axis!r}, expected an int")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{name}: axis is {axis}, expected one of an array of shape {x.shape}")
    made: int = axis % x.ndim
    return made


def apply_along(name: str, function: Rowwise, inputs: dict[str, Array], axis: int, out: Array) -> Any:
    """Run a function along an axis: check all, find or make the output."""
    views = {each: operand(each, x) for each, x in inputs.items()}
    checks.check_alike(views)
    first, view = next(iter(inputs.values())), next(iter(views.values()))
    axis, place = checked_axis(name, axis, view), place_of(view)
    if out is None:
        made = empty_like(first, view)
        place.run_along(function, (*views.values(), made), axis)
        return in_kind_of(first, made)
    row = tuple(views.values())
    write(row, checks.check_out("out", out, view), lambda y: place.run_along(function, (*row, y), axis))
    count_writes((out,))
    return out


def write(read: Iterable[Any], out: Any, run: Callable[[Any], Any]) -> Any:
    """Let ``run`` write to an array that may be one of those read, or overlap it."""
    if not any(checks.overlap(x, out) for x in read):
        return run(out)
    made = empty_like(out, out)
    result = run(made)
    place_of(out).copy(out, made)
    return result


E = Elementwise
EXPONENTIAL = E(rules.exponential, ("x",), ("e",), ("shift",))

softmax = RowFunction(
    Rowwise(EXPONENTIAL, E(rules.softmax, ("e",), ("y",), ("factor",)), rules.softmax_scalars, shifted=True),
    Rowwise(
        E(rules.product, ("dy", "y"), ("term",)),
        E(rules.softmax_backward, ("dy", "y"), ("dx",), ("total",)),
        rules.sum_alone,
    ),
    """Softmax along an axis, eˣ/Σeˣ: positive numbers whose sum is 1.

    The maximum is taken off first, so that nothing overflows; it and the sum are found in one read, the sum
    in float64, and the result has the same bits for any number of threads. A row with +inf, nan, or nothing
    but −inf is nan.

    Parameters
    ----------
    x : array
        float32 or float64, or what NumPy makes one of; any strides.
    axis : int
        Along which the results add up to 1.
    out : array, optional
        Where to write; may be ``x``.

    Returns
    -------
    array
        Of x's kind, shape and dtype.

    Raises
    ------
    ValueError
        If ``x`` has no such axis, or ``out`` another shape.

    Notes
    -----
    Strengths: probabilities of classes; smooth. Weaknesses: saturates, so that for a loss the logits
    themselves belong into `losses.softmax_cross_entropy`. For: attention, outputs. Results below
    e⁻⁸⁷, in float64 below e⁻⁷⁰⁸, are 0. Bridle 1990.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.softmax(np.array([[0.0, 0.0], [1e4, -np.inf]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """,
)

log_softmax = RowFunction(
    Rowwise(
        EXPONENTIAL,
        E(rules.log_softmax, ("x",), ("y",), ("maximum", "log_total")),
        rules.log_softmax_scalars,
        shifted=True,
    ),
    Rowwise(
        E(rules.gradient, ("dy", "y"), ("term",)),
        E(rules.log_softmax_backward, ("dy", "y"), ("dx",), ("total",)),
        rules.sum_alone,
    ),
    """Logarithm of the softmax along an axis, x − log Σeˣ, which stays finite where the softmax is 0.

    Parameters
    ----------
    x : array
        float32 or float64, or what NumPy makes one of; any strides.
    axis : int
        Along which the exponentials of the results add up to 1.
    out : array, optional
        Where to write; may be ``x``.

    Returns
    -------
    array
        Of x's kind, shape and dtype.

    Raises
    ------
    ValueError
        If ``x`` has no such axis, or ``out`` another shape.

    Notes
    -----
    Strengths: exact in the tails. For: log-likelihoods, `losses.kl_divergence`. nan and infinities as in
    `softmax`.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.log_softmax(np.array([0.0, 0.0, -1e4]))
    array([-6.93147181e-01, -6.93147181e-01, -1.00006931e+04])
    """,
)
