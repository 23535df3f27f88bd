"""Whether a derivative is that of its function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._suggest import suggesting
from ..losses import Loss, spread
from .activation import Activation

__all__ = ["check_derivative"]

TOLERANCE = 1e-6
# None within 3 steps of a multiple of a quarter, where kinks mostly are; targets are such multiples.
POINTS = np.array([x for x in np.geomspace(0.011, 30.11, 70) if abs(x * 4.0 - round(x * 4.0)) > 0.02])
POINTS = np.concatenate([-POINTS[::-1], POINTS])
TARGETS = np.array([-1.0, 0.0, 0.25, 1.0])


@suggesting
def check_derivative(act: Activation | Loss, x: Any = None, *hyper: Any, **named: Any) -> float:
    """Compare the derivative of an activation, or of a loss, with differences of it, in float64.

    The differences are central ones of the sixth order with a step h of 0.001, or \\|x\\|/100 000 where that
    is more: right to about 1e-11 where the function is smooth. Those of a function of two arrays are
    taken in each array, at each pair of some points; those of a loss in the prediction.

    Parameters
    ----------
    act : Activation or Loss
        Yours, or one of gnumba's.
    x : array, optional
        Where to compare, of any shape: points farther from every kink than 3h. By default 130 points
        between -30 and 30, none of them at a multiple of a quarter. Of a loss: the predictions, and
        after them the targets, by default each of -1, 0, 1/4 and 1, where the loss is a number.
    *hyper, **named : float
        Hyperparameters, as in the function itself.

    Returns
    -------
    float
        The largest error found, relative to max(\\|f′(x)\\|, 1).

    Raises
    ------
    TypeError
        If ``act`` is no activation and no elementwise loss.
    ValueError
        If the error is above 1e-6, or one of both is nan and the other is not; the message has the x
        and both values. If a loss is nowhere a number.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.check_derivative(gn.gelu) < 1e-10
    True
    >>> gn.check_derivative(gn.losses.huber, delta=2.0) < 1e-10
    True
    >>> square = gn.activation(derivative=lambda x: x)(lambda x: x * x)
    >>> gn.check_derivative(square, 3.0)
    Traceback (most recent call last):
        ...
    ValueError: the derivative of activation '<lambda>' is 3 at x = 3, where differences give 6
    """
    if isinstance(act, Loss):
        return _check_gradient(act, x, hyper, named)
    if not isinstance(act, Activation):
        raise TypeError(f"act is of type {type(act).__name__}, expected an activation or an elementwise loss")
    points = np.array(POINTS if x is None else x, np.float64).ravel()
    arrays, names = [points], act._kernel.reads
    if len(names) == 2:
        arrays = [each.ravel() for each in np.meshgrid(points, points[:: -(-points.size // 20)])]
    given = act.derivative(*arrays, *hyper, **named)
    derivatives = given if isinstance(given, tuple) else (given,)
    worst = 0.0
    for k, derivative in enumerate(derivatives):
        slope = _differences(_of_one(act, arrays, k, hyper, named), arrays[k])
        what = f"the derivative of {act._title}{' in ' * (k > 0)}{names[k] * (k > 0)}"
        worst = max(worst, _largest_error(what, names, arrays, derivative, slope))
    return worst


def _of_one(
    act: Activation, arrays: list[np.ndarray], k: int, hyper: tuple[Any, ...], named: dict[str, Any]
) -> Callable[[np.ndarray], Any]:
    """The activation as a function of its k-th array."""
    return lambda at: act(*arrays[:k], at, *arrays[k + 1 :], *hyper, **named)


def _check_gradient(loss: Loss, x: Any, hyper: tuple[Any, ...], named: dict[str, Any]) -> float:
    """`check_derivative` of a loss."""
    _, target = loss._arrays
    points = np.array(POINTS if x is None else x, np.float64).ravel()
    targets = hyper[0] if hyper else named.pop(target, None)
    if targets is None:
        p, t = (each.ravel() for each in np.meshgrid(points, TARGETS))
    else:
        p, t = points, spread(target, np.array(targets, np.float64).ravel(), points).copy()

    def value(at: np.ndarray) -> np.ndarray:
        return loss(at, t, *hyper[1:], reduction="none", **named)[0]  # type: ignore[no-any-return]

    slope, gradient = _differences(value, p), loss(p, t, *hyper[1:], reduction="none", **named)[1]
    asked = ~np.isnan(slope)
    if not asked.any():
        raise ValueError(f"{loss._title} is nan at every point, so that there is nothing to compare: give x")
    arrays = [p[asked], t[asked]]
    what = f"the gradient of {loss._title}"
    return _largest_error(what, loss._arrays, arrays, gradient[asked], slope[asked])


def _largest_error(
    what: str, names: Sequence[str], arrays: Sequence[np.ndarray], derivative: np.ndarray, slope: np.ndarray
) -> float:
    """The largest error of a derivative; ValueError if it is above the tolerance."""
    error = np.abs(derivative - slope) / np.maximum(np.abs(slope), 1.0)
    error[np.isnan(error)] = np.inf
    error[np.isnan(derivative) & np.isnan(slope)] = 0.0
    at = int(error.argmax())
    if error[at] > TOLERANCE:
        where = ", ".join(f"{name} = {each[at]:.6g}" for name, each in zip(names, arrays, strict=True))
        raise ValueError(f"{what} is {derivative[at]:.6g} at {where}, where differences give {slope[at]:.6g}")
    return float(error[at])


def _differences(f: Callable[[np.ndarray], Any], x: np.ndarray) -> np.ndarray:
    """Slopes of f at x, by the central difference of the sixth order."""
    h = 1e-3 * np.maximum(1.0, np.abs(x) / 100.0)
    weights = ((1.0, 45.0), (2.0, -9.0), (3.0, 1.0))
    with np.errstate(invalid="ignore"):
        return np.asarray(sum(w * (f(x + k * h) - f(x - k * h)) for k, w in weights) / (60.0 * h))
