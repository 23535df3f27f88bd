"""Around an optimizer: the moving average of its parameters."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from .._engine.arrays import as_view, empty_like, in_kind_of
from .._engine.launch import launch
from .._engine.libraries import increment_versions
from .._engine.place import begin
from .._engine.table import Table
from .._engine.view import Array
from .._hyper import FRACTION, fixed, value_at
from .._params import Params
from .._rule import Elementwise
from .._signals import uninterrupted
from .._suggest import Suggesting, no_attribute, suggesting
from .._typing import Hyper
from .._typing import Params as Arrays
from ..rules.averages import averaged, exchanged
from .groups import checked_flag
from .state import check_fits

__all__ = ["EMA"]

AVERAGED = Elementwise(averaged, ("p", "average"), ("average",), ("delta", "one_minus_delta"))
EXCHANGED = Elementwise(exchanged, ("p", "average"), ("p", "average"))


class EMA(Suggesting):
    """Exponential moving average of parameters, for evaluation: smoother than the last step's.

    a ← δa + (1 − δ)θ at each `update`, a₀ the parameters as they are when it is made. With ``warmup``
    δ is min(δ, (1 + t)/(10 + t)) after t updates, so that the first weights are soon forgotten.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        The optimizer's; float32 or float64, nested to any depth. They are read, but by `swapped`.
    decay : float or schedule, default 0.999
        δ in [0, 1), usually 0.99 to 0.9999: some 1/(1 − δ) steps are averaged. A schedule is a function of
        the updates taken.
    warmup : bool, default False
        Begin with small δ.

    Attributes
    ----------
    arrays : array, list, tuple or dict
        The averages, in the structure of params; in groups a list of the groups'. `update` writes to them.
    t : int
        Updates taken.
    decay : float or schedule
        δ, which may be set.

    Raises
    ------
    ValueError, TypeError
        If δ is out of range, there is no parameter, or one will not do for an optimizer.

    References
    ----------
    Polyak & Juditsky 1992, SIAM J. Control Optim. 30. Tarvainen & Valpola 2017, arXiv:1703.01780.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> opt, ema = gn.SGD(w, lr=1.0), gn.EMA(w, decay=0.5)
    >>> opt.step(np.array([1.0]))
    >>> ema.update()
    >>> w, ema.arrays
    (array([0.]), array([0.5]))
    >>> with ema.swapped():
    ...     print(w)
    [0.5]
    """

    @suggesting
    def __init__(self, params: Arrays, decay: Hyper = 0.999, *, warmup: bool = False) -> None:
        self._t, self._is_swapped = 0, False
        self._warmup = checked_flag("warmup", warmup)
        self.decay = decay
        self._params = Params(params)
        self._lay_out([p.array for p in self._params])

    @property
    def decay(self) -> Any:
        """δ: a number, or a schedule of the updates taken."""
        return self._decay

    @decay.setter
    def decay(self, value: Any) -> None:
        value_at(self._t, "decay", value, FRACTION)
        self._decay = fixed(value)

    @property
    def t(self) -> int:
        """Updates taken."""
        return self._t

    @property
    def arrays(self) -> Any:
        """The averages, in the structure of params."""
        averages = zip(self._params, self._averages, strict=True)
        return self._params.built([in_kind_of(p.given, average) for p, average in averages])

    def update(self) -> None:
        """Take up the parameters as they are now; called after each step.

        Raises
        ------
        ValueError
            If δ is out of range, or the container no longer holds the arrays it was given. Nothing has
            changed then.
        RuntimeError
            Inside `swapped`.
        """
        self._check_not_swapped("update")
        delta = value_at(self._t, "decay", self._decay, FRACTION)
        if self._warmup:
            delta = min(delta, (1 + self._t) / (10 + self._t))
        self._params.check_held()
        self._run(self._averaging, np.array([delta, 1.0 - delta]), {"_t": self._t + 1})

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Context in which the parameters have their averages' values, and the averages theirs.

        Raises
        ------
        ValueError
            If the container no longer holds the arrays it was given.
        RuntimeError
            If this is inside such a context already.
        """
        self._check_not_swapped("swapped")
        self._params.check_held()
        try:
            self._swap(True)
            yield
        finally:
            if self._is_swapped:
                self._swap(False)

    def _swap(self, swapped: bool) -> None:
        if versioned := self._params.versioned:
            increment_versions([p.given for p in versioned])
        self._run(self._exchanging, np.empty(0), {"_is_swapped": swapped})

    def _run(self, tables: list[Table], scalars: Any, after: Mapping[str, Any]) -> None:
        """Run a function over all arrays, after the work on them so far; then set attributes: all as one."""
        begin(tables, [as_view(p.name, p.given) for p in self._params])
        launch([(table, scalars) for table in tables], after=(self.__dict__.update, after))

    def _check_not_swapped(self, what: str) -> None:
        if self._is_swapped:
            raise RuntimeError(f"{what} is called inside swapped(), where the parameters are the averages")

    def _lay_out(self, values: list[Array]) -> None:
        """New averages of these values, and the tables."""
        self._averages = [empty_like(p.given, p.array) for p in self._params]
        for p, average, value in zip(self._params, self._averages, values, strict=True):
            p.place.copy(average, value)
        self._averaging, self._exchanging = (
            [table for table, _ in self._params.tables(function, [self._averages])]
            for function in (AVERAGED, EXCHANGED)
        )

    # State.

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies.

        Returns
        -------
        dict
            ``{"t": updates, "average": {parameter: array}}``.
        """
        self._check_not_swapped("state_dict")
        averages = zip(self._params, self._averages, strict=True)
        return {"t": self._t, "average": {p.name: p.place.read(a, copy=True) for p, a in averages}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``.

        Parameters
        ----------
        state : dict
            From ``state_dict`` of an average of parameters of these names, shapes and dtypes.

        Raises
        ------
        ValueError
            If it does not fit. Nothing has changed then.
        """
        check_fits("state", state, self.state_dict())
        with uninterrupted():
            for p, average in zip(self._params, self._averages, strict=True):
                p.place.copy(average, np.asarray(state["average"][p.name]))
            self._t = int(state["t"])

    # Copies: tables hold addresses, so a copy makes its own.

    def __copy__(self) -> Self:
        """An average of these very parameters, going its own way from here."""
        return copy.deepcopy(self, {id(each): each for each in self._params.containers})

    def __getstate__(self) -> dict[str, Any]:
        left = ("_averages", "_averaging", "_exchanging")
        return {name: value for name, value in self.__dict__.items() if name not in left} | self.state_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        averages = state.pop("average")
        del state["t"]
        self.__dict__.update(state)
        self._lay_out([averages[p.name] for p in self._params])

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name, [each for each in dir(self) if not each.startswith("_")])

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            self.__getattr__(name)
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        warmup = ", warmup=True" if self._warmup else ""
        return f"EMA(t={self.t}, decay={self.decay}{warmup}, {len(self._params)} arrays)"
