"""Loss scales: what losses are multiplied by, so that gradients of 16 bits neither vanish nor overflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._hyper import COUNT, GROWING, SHRINKING, Range, number
from .._suggest import suggesting
from .state import check_fits

__all__ = ["LossScale"]

SCALE = Range("a finite number ≥ 1", 1.0, 2.0**127)


class LossScale:
    """Factor of the loss that follows what gradients bear: a ``grad_scale`` for `Optimizer.step`.

    float16 has nothing below 6e-8, where many gradients are: the loss is multiplied by ``value``, and the
    step divides by it. Gradients that are then not finite were too large: that step is not taken, and the
    value falls; after ``every`` steps taken in a row it grows. It stays between 1 and ``max``.

    Parameters
    ----------
    initial : float, default 2**16
        ≥ 1, the first value.
    growth : float, default 2.0
        > 1, by what it grows.
    backoff : float, default 0.5
        In (0, 1), by what it falls.
    every : int, default 2000
        ≥ 1, after how many steps taken in a row it grows.
    max : float, default 2**24
        ≥ ``initial``, the largest value.

    Attributes
    ----------
    value : float
        What to multiply the loss by. On a CUDA device it is heard when it is read whether the last step
        was taken.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or no number.

    Notes
    -----
    A step with it makes the optimizer's ``nonfinite`` "skip", and divides by ``value`` as it was last read,
    which is what the loss was multiplied by. Several optimizers of one loss may share one; the steps of each
    count. Multiply in float32: ``np.float16(65536.0)`` is inf. For the sum of the gradients of n batches,
    multiply each loss by ``value / n``.
    Norms, the finite check and clipping are of the gradients after the division. bfloat16 reaches as far as
    float32 and needs none.

    References
    ----------
    Micikevicius et al. 2018, arXiv:1710.03740.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w, scale = np.ones(2, np.float16), gn.LossScale(4.0)
    >>> opt = gn.SGD(w, lr=0.5)
    >>> opt.step(np.array([np.inf, 1.0], np.float16), grad_scale=scale)
    >>> scale.value, opt.skipped
    (2.0, 1)
    >>> g = np.array([2.0, 1.0], np.float32)
    >>> opt.step((g * scale.value).astype(np.float16), grad_scale=scale)
    >>> w
    array([0. , 0.5], dtype=float16)
    """

    @suggesting
    def __init__(
        self,
        initial: float = 2.0**16,
        growth: float = 2.0,
        backoff: float = 0.5,
        every: int = 2000,
        max: float = 2.0**24,
    ) -> None:
        self._value, self._max = number("initial", initial, SCALE), number("max", max, SCALE)
        if self._max < self._value:
            raise ValueError(f"max is {self._max}, expected at least initial, {self._value}")
        self._shown = self._value  # what the loss was multiplied by
        self._growth, self._backoff = number("growth", growth, GROWING), number("backoff", backoff, SHRINKING)
        self._every, self._taken = int(number("every", every, COUNT)), 0  # taken in a row
        self._open: tuple[Any, int, int] | None = None  # whose step is to be heard of, its counts before

    @property
    def value(self) -> float:
        """Factor for the loss of the next step."""
        self._hear()
        self._shown = self._value
        return self._shown

    def _begin(self, optimizer: Any) -> float:
        """The scale of a step that an optimizer is about to take; ValueError if it would not skip any."""
        if optimizer.nonfinite == "raise":
            raise ValueError(
                "nonfinite is 'raise', expected 'skip' with a LossScale, which falls when a step is"
            )
        self._hear()
        if optimizer.nonfinite != "skip":
            optimizer.nonfinite = "skip"
        self._open = optimizer, optimizer.skipped, optimizer.t
        return self._shown

    def _hear(self) -> None:
        """Count the step that was last begun, as taken or skipped, or as neither."""
        if self._open is None:
            return
        (optimizer, skipped, t), self._open = self._open, None
        if optimizer.skipped > skipped:
            self._value, self._taken = max(1.0, self._value * self._backoff), 0
        elif optimizer.t > t:
            grows = self._taken + 1 >= self._every  # which may be smaller than when it was saved
            self._value = min(self._max, self._value * self._growth) if grows else self._value
            self._taken = 0 if grows else self._taken + 1

    def state_dict(self) -> dict[str, Any]:
        """A plain dict.

        Returns
        -------
        dict
            ``{"value": value, "taken": steps taken in a row}``.
        """
        self._hear()
        return {"value": self._value, "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``.

        Raises
        ------
        ValueError, TypeError
            If it does not fit. Nothing has changed then.
        """
        check_fits("state", state, {"value": 1.0, "taken": 0})
        value = number("state['value']", state["value"], SCALE)
        self._value = self._shown = value
        self._taken, self._open = int(state["taken"]), None

    def __getstate__(self) -> dict[str, Any]:
        self._hear()
        return self.__dict__.copy()

    def __repr__(self) -> str:
        self._hear()
        return f"LossScale({self._value:g}, {self._taken} of {self._every} steps taken in a row)"
