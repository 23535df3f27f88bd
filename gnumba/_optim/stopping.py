"""An end to training when the loss stops improving, with the best weights kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal, Self

from .._hyper import FRACTION, integer, number
from .._params import Params
from .._signals import uninterrupted
from .._typing import Params as Arrays
from ..schedules import as_loss, improves
from .shadow import Shadow, Strict
from .state import check_fits

__all__ = ["EarlyStopping"]


class EarlyStopping(Strict):
    """Early stopping: training ends when a loss has not improved for a while; the best weights are kept.

    An observation improves if it is below best − threshold · |best|, or above best + threshold · |best|
    where more is better; nan does not. On the (patience + 1)-th running that does not improve, `observe`
    returns True, and so from then on until one improves, as `schedules.ReduceOnPlateau` counts.

    Parameters
    ----------
    patience : int, default 10
        How many observations running may be without improvement, ≥ 0.
    params : array, list, tuple, dict, or list of groups, optional
        The optimizer's: copied at each improvement, for `restore`. Without them no weights are kept.
    threshold : float, default 0.0
        In [0, 1): by what part of the best an observation has to be better.
    mode : {"min", "max"}, default "min"
        Whether less or more is better.

    Attributes
    ----------
    best : float
        The best observation so far, ±inf before the first.
    best_t : int
        Which one that was, from 1; 0 before the first.
    waited : int
        Observations since without improvement.
    t : int
        Observations.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or of another kind.

    References
    ----------
    Prechelt 1998, Early Stopping – But When?

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([0.0])
    >>> stopping = gn.EarlyStopping(patience=1, params=w)
    >>> for loss in (3.0, 1.0, 2.0, 4.0, 0.5):
    ...     w += 1.0
    ...     if stopping.observe(loss):
    ...         break
    >>> stopping.restore()
    >>> loss, stopping.best, w
    (4.0, 1.0, array([2.]))
    """

    def __init__(
        self,
        patience: int = 10,
        params: Arrays | None = None,
        *,
        threshold: float = 0.0,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode is {mode!r}, expected 'min' or 'max'")
        self._patience: int = integer("patience", patience, 0)
        self._mode: str = mode
        self._threshold: float = number("threshold", threshold, FRACTION)
        self._best: float = math.inf if mode == "min" else -math.inf
        self._t: int = 0
        self._best_t: int = 0
        self._shadow: Shadow | None = None if params is None else Shadow(Params(params))

    @property
    def best(self) -> float:
        """The best observation so far."""
        return self._best

    @property
    def best_t(self) -> int:
        """The number of the best observation, from 1."""
        return self._best_t

    @property
    def t(self) -> int:
        """Observations."""
        return self._t

    @property
    def waited(self) -> int:
        """Observations since the best one."""
        return self._t - self._best_t

    def observe(self, loss: Any) -> bool:
        """Take note of a loss, say of the validation data; True when it is time to stop.

        Parameters
        ----------
        loss : float
            Or whatever ``mode`` is about.

        Raises
        ------
        TypeError
            If it is no number.
        ValueError
            If the container no longer holds the arrays it was given. Nothing has changed then.
        """
        observed = as_loss(loss)
        t, better = self._t + 1, improves(observed, self._best, self._threshold, self._mode)
        with uninterrupted():
            if better and self._shadow is not None:
                self._shadow.params.check_held()
                self._shadow.copy(p.array for p in self._shadow.params)
            self.__dict__.update(_t=t, **({"_best": observed, "_best_t": t} if better else {}))
        return self.waited > self._patience

    @property
    def arrays(self) -> Any:
        """The best weights, in the structure of params: those at the beginning before any improvement."""
        shadow = self._kept("arrays")
        return shadow.params.built(shadow.arrays)

    def restore(self) -> None:
        """Copy the best weights into the parameters.

        Raises
        ------
        ValueError
            If no parameters were given, or their container no longer holds them.
        """
        self._kept("restore").restore()

    def _kept(self, what: str) -> Shadow:
        if self._shadow is None:
            raise ValueError(f"{what} needs params, expected EarlyStopping(patience, params)")
        return self._shadow

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies.

        Returns
        -------
        dict
            ``{"t": observations, "best": loss, "best_t": its number, "weights": {parameter: array}}``.
        """
        weights = {} if self._shadow is None else self._shadow.read()
        return {"t": self._t, "best": self._best, "best_t": self._best_t, "weights": weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.
        """
        mine, best = self.state_dict(), state.get("best") if isinstance(state, Mapping) else None
        if not isinstance(best, Real):
            raise ValueError(f"state['best'] is {best!r}, expected a number")
        check_fits("state", {**state, "best": "a number"}, mine | {"best": "a number"})
        with uninterrupted():
            if self._shadow is not None:
                self._shadow.write(state["weights"])
            self._t, self._best, self._best_t = int(state["t"]), float(best), int(state["best_t"])

    def __copy__(self) -> Self:
        """One beside these very parameters, going its own way from here."""
        kept = [] if self._shadow is None else self._shadow.params.containers
        return copy.deepcopy(self, {id(each): each for each in kept})

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self._patience}, best={self.best:g}, waited={self.waited})"
