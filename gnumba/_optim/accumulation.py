"""Gradients of several batches added up for one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._params import Params
from .._rule import Elementwise
from .._signals import uninterrupted
from .._typing import Grads
from .._typing import Params as Arrays
from ..rules.averages import cleared
from .optimizers import SGD
from .shadow import Shadow, Shadowing
from .state import check_fits

__all__ = ["Accumulator"]

CLEARED = Elementwise(cleared, ("p", "shadow"), ("shadow",))


class Accumulator(Shadowing):
    """Sum of the gradients of several batches, for one step with all of them.

    For batches larger than memory: `add` each small one's gradients, then
    ``opt.step(acc.grads, grad_scale=acc.count)`` steps with their mean, and `clear` begins anew.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        The optimizer's; they are not read. One more array for each is held.

    Attributes
    ----------
    grads : array, list, tuple or dict
        The sums, in the structure of params, as `Optimizer.step` takes them; None for a parameter without a
        gradient since `clear`. The arrays are live.
    count : int
        How many were added since `clear`.

    Raises
    ------
    ValueError, TypeError
        If there is no parameter, or one will not do for an optimizer.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.zeros(2)
    >>> opt, acc = gn.SGD(w, lr=1.0), gn.Accumulator(w)
    >>> for g in ([1.0, 2.0], [3.0, 2.0]):
    ...     acc.add(np.array(g))
    >>> opt.step(acc.grads, grad_scale=acc.count)
    >>> acc.clear()
    >>> w
    array([-2., -2.])
    """

    def __init__(self, params: Arrays) -> None:
        self._shadow = Shadow(Params(params))
        self._lay_out()

    def _lay_out(self) -> None:
        """Make the optimizer that adds: ascent from zero at the rate 1."""
        params, sums = self._shadow.params, self._shadow.arrays
        made = params.built(sums)
        if params.is_grouped:
            made = [
                {"params": each, "name": part.name} for each, part in zip(made, params.parts, strict=True)
            ]
        self._adder = SGD(made, lr=1.0, maximize=True)
        self._before = (0, (0,) * len(params))  # at the last clear: what was added, and to each
        self.clear()

    def add(self, grads: Grads) -> None:
        """Add gradients.

        Parameters
        ----------
        grads : array, Rows, list, tuple or dict
            As `Optimizer.step` takes them; ``None`` adds nothing to that parameter, ``Rows`` to those rows.

        Raises
        ------
        ValueError, TypeError, IndexError
            As in any optimizer. Nothing has changed then.
        """
        self._adder.step(grads)

    @property
    def count(self) -> int:
        """How many were added since `clear`."""
        return self._adder.t - self._before[0]

    @property
    def grads(self) -> Any:
        """The sums, in the structure of params; None for a parameter without a gradient."""
        added = zip(self._counts(), self._before[1], self._shadow.arrays, strict=True)
        return self._shadow.params.built([x if now > before else None for now, before, x in added])

    def _counts(self) -> tuple[int, ...]:
        return tuple(map(self._adder.update_count, self._adder._params))

    def clear(self) -> None:
        """Begin anew from zero."""
        self._shadow.apply(CLEARED, (), {"_before": (self._adder.t, self._counts())}, of=self)

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies.

        Returns
        -------
        dict
            ``{"count": added, "added": {parameter: how many of these}, "sum": {parameter: array}}``.
        """
        pairs = zip(self._shadow.params, self._counts(), self._before[1], strict=True)
        added = {p.name: now - before for p, now, before in pairs}
        return {"count": self.count, "added": added, "sum": self._shadow.read()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.
        """
        check_fits("state", state, self.state_dict())
        t, counts = self._adder.t, self._counts()
        added = [int(state["added"][p.name]) for p in self._shadow.params]
        before = tuple(now - new for now, new in zip(counts, added, strict=True))
        with uninterrupted():
            self._shadow.write(state["sum"])
            self._before = (t - int(state["count"]), before)

    def __getstate__(self) -> dict[str, Any]:
        return {"_shadow": self._shadow, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._shadow = state["_shadow"]
        self._lay_out()
        self.load_state_dict(state["state"])

    def __repr__(self) -> str:
        return f"Accumulator(count={self.count}, {len(self._shadow.params)} arrays)"
