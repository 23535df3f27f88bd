"""Whether a derivative is that of its function."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._suggest import suggesting
from .activation import Activation

__all__ = ["check_derivative"]

TOLERANCE = 1e-6
# None within 3 steps of a multiple of a quarter, where kinks mostly are.
POINTS = np.array([x for x in np.geomspace(0.011, 30.11, 70) if abs(x * 4.0 - round(x * 4.0)) > 0.02])
POINTS = np.concatenate([-POINTS[::-1], POINTS])


@suggesting
def check_derivative(act: Activation, x: Any = None, *hyper: Any, **named: Any) -> float:
    """Compare an activation's derivative with differences of the activation, in float64.

    The differences are central ones of the sixth order with a step h of 0.001, or \\|x\\|/100 000 where that
    is more: right to about 1e-11 where the function is smooth. Those of a function of two arrays are
    taken in each array, at each pair of some points.

    Parameters
    ----------
    act : Activation
        Yours, or one of gnumba's.
    x : array, optional
        Where to compare, of any shape: points farther from every kink than 3h. By default 130 points
        between -30 and 30, none of them at a multiple of a quarter.
    *hyper, **named : float
        Hyperparameters, as in the activation itself.

    Returns
    -------
    float
        The largest error found, relative to max(\\|f′(x)\\|, 1).

    Raises
    ------
    TypeError
        If ``act`` is no activation.
    ValueError
        If the error is above 1e-6, or one of both is nan and the other is not; the message has the x
        and both values.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.check_derivative(gn.gelu) < 1e-10
    True
    >>> square = gn.activation(derivative=lambda x: x)(lambda x: x * x)
    >>> gn.check_derivative(square, 3.0)
    Traceback (most recent call last):
        ...
    ValueError: the derivative of activation '<lambda>' is 3 at x = 3, where differences give 6
    """
    if not isinstance(act, Activation):
        raise TypeError(f"act is of type {type(act).__name__}, expected an activation")
    points = np.array(POINTS if x is None else x, np.float64).ravel()
    arrays = [points]
    if len(act._kernel.reads) == 2:
        arrays = [each.ravel() for each in np.meshgrid(points, points[:: -(-points.size // 20)])]
    given = act.derivative(*arrays, *hyper, **named)
    derivatives = given if isinstance(given, tuple) else (given,)
    worst = 0.0
    for k, derivative in enumerate(derivatives):
        slope = _differences(
            lambda at, k=k: act(*arrays[:k], at, *arrays[k + 1 :], *hyper, **named), arrays[k]
        )
        error = np.abs(derivative - slope) / np.maximum(np.abs(slope), 1.0)
        error[np.isnan(error)] = np.inf
        error[np.isnan(derivative) & np.isnan(slope)] = 0.0
        at = int(error.argmax())
        if error[at] > TOLERANCE:
            where = ", ".join(
                f"{name} = {each[at]:.6g}" for name, each in zip(act._kernel.reads, arrays, strict=True)
            )
            raise ValueError(
                f"the derivative of {act._title}{' in ' * (k > 0)}{act._kernel.reads[k] * (k > 0)} "
                f"is {derivative[at]:.6g} at {where}, where differences give {slope[at]:.6g}"
            )
        worst = max(worst, float(error[at]))
    return worst


def _differences(f: Any, x: np.ndarray) -> np.ndarray:
    """Slopes of f at x, by the central difference of the sixth order."""
    h = 1e-3 * np.maximum(1.0, np.abs(x) / 100.0)
    weights = ((1.0, 45.0), (2.0, -9.0), (3.0, 1.0))
    with np.errstate(invalid="ignore"):
        return np.asarray(sum(w * (f(x + k * h) - f(x - k * h)) for k, w in weights) / (60.0 * h))
