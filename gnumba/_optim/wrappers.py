"""Around an optimizer: averages of its parameters, steps back and ascents in between."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from .._hyper import FRACTION, NOT_NEGATIVE, UNIT, fixed, integer, value_at
from .._params import Params
from .._rule import Elementwise
from .._signals import uninterrupted
from .._typing import Grads, Hyper
from .._typing import Params as Arrays
from ..rules.averages import averaged, pulled
from .forwarding import Forwarding
from .groups import checked_flag
from .optimizer import Optimizer
from .optimizers import SGD
from .shadow import EXCHANGED, Shadow, Shadowing
from .state import check_fits

__all__ = ["EMA", "SAM", "Lookahead"]

AVERAGED = Elementwise(averaged, ("p", "shadow"), ("shadow",), ("delta", "one_minus_delta"))
PULLED = Elementwise(pulled, ("p", "shadow"), ("p", "shadow"), ("alpha",))
TINY = math.ldexp(1.0, -40)  # the norm from which SAM's gradient is brought to length 1


class EMA(Shadowing):
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

    def __init__(self, params: Arrays, decay: Hyper = 0.999, *, warmup: bool = False) -> None:
        self._t, self._is_swapped = 0, False
        self._warmup = checked_flag("warmup", warmup)
        self.decay = decay
        self._shadow = Shadow(Params(params))

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
        return self._shadow.params.built(self._shadow.arrays)

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
        self._shadow.params.check_held()
        self._shadow.apply(AVERAGED, (delta, 1.0 - delta), {"_t": self._t + 1}, of=self)

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
        self._shadow.params.check_held()
        try:
            self._swap(True)
            yield
        finally:
            if self._is_swapped:
                self._swap(False)

    def _swap(self, swapped: bool) -> None:
        self._shadow.apply(EXCHANGED, (), {"_is_swapped": swapped}, of=self)

    def _check_not_swapped(self, what: str) -> None:
        if self._is_swapped:
            raise RuntimeError(f"{what} is called inside swapped(), where the parameters are the averages")

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies.

        Returns
        -------
        dict
            ``{"t": updates, "average": {parameter: array}}``.
        """
        self._check_not_swapped("state_dict")
        return {"t": self._t, "average": self._shadow.read()}

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
            self._shadow.write(state["average"])
            self._t = int(state["t"])

    def __getstate__(self) -> dict[str, Any]:
        self._check_not_swapped("a copy")
        return self.__dict__

    def __repr__(self) -> str:
        warmup = ", warmup=True" if self._warmup else ""
        return f"EMA(t={self.t}, decay={self.decay}{warmup}, {len(self._shadow.params)} arrays)"


class Lookahead(Forwarding):
    """Lookahead: every k steps of an optimizer, a step back towards where slow weights are.

    φ ← φ + α(θ − φ), θ ← φ after each k steps; the slow weights φ begin as the parameters are.

    Strengths: steadier than the optimizer inside, less sensitive to its learning rate.
    Weaknesses: one more array a parameter; slower at first. For: Adam and SGD with large rates.

    Parameters
    ----------
    optimizer : Optimizer, Phases, SAM
        Its hyperparameters, ``t`` and ``groups`` are the Lookahead's too, to be read and set.
    every : int, default 5
        k ≥ 1, usually 5 to 10.
    alpha : float or schedule, default 0.5
        α in [0, 1], usually 0.5 to 0.8. A schedule is a function of the steps taken.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range, or ``optimizer`` is none.

    References
    ----------
    Zhang, Lucas, Hinton & Ba 2019, arXiv:1907.08610.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> opt = gn.Lookahead(gn.SGD(w, lr=1.0), every=2, alpha=0.25)
    >>> for _ in range(2):
    ...     opt.step(np.array([2.0]))
    >>> w
    array([0.])
    """

    def __init__(self, optimizer: Any, every: int = 5, alpha: Hyper = 0.5) -> None:
        self._optimizer = checked_optimizer(optimizer)
        self.every, self.alpha = every, alpha
        self._synced = optimizer.t
        self._shadow = Shadow(self._params)

    @property
    def every(self) -> int:
        """k: steps from one step back to the next."""
        return self._every

    @every.setter
    def every(self, value: int) -> None:
        self._every: int = integer("every", value, 1)

    @property
    def alpha(self) -> Any:
        """α: a number, or a schedule of the steps taken."""
        return self._alpha

    @alpha.setter
    def alpha(self, value: Any) -> None:
        value_at(self._optimizer.t, "alpha", value, UNIT)
        self._alpha = fixed(value)

    @property
    def t(self) -> int:
        """Steps taken."""
        return int(self._optimizer.t)

    def step(self, grads: Grads, **options: Any) -> None:
        """Update every parameter once, in place; after each k-th step go back towards the slow weights.

        On CUDA with ``nonfinite="skip"`` whether a step was taken is waited for.

        Parameters
        ----------
        grads, **options
            As in any optimizer.

        Raises
        ------
        ValueError, TypeError, IndexError, FloatingPointError
            As in any optimizer. Nothing has changed then.
        """
        check_same_parameters(self, self._shadow)
        self._pull()  # what an interrupt after the step before has kept from happening
        self._alpha_at(self.t + 1)  # refused before the step, if at all
        self._optimizer.step(grads, **options)
        self._pull()

    def _pull(self) -> None:
        """Go back towards the slow weights if it is time to."""
        t = self.t
        if t - self._synced >= self._every:
            self._shadow.apply(PULLED, (self._alpha_at(t),), {"_synced": t}, of=self)

    def _alpha_at(self, t: int) -> float:
        return float(value_at(t, "alpha", self._alpha, UNIT))

    def state_dict(self) -> dict[str, Any]:
        """A plain dict of copies.

        Returns
        -------
        dict
            ``{"synced": steps at the last step back, "slow": {parameter: array}, "optimizer": the state
            of the optimizer inside}``.
        """
        inside = self._optimizer.state_dict()
        return {"synced": self._synced, "slow": self._shadow.read(), "optimizer": inside}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of ``state_dict``; the next step gives the bits it would have given.

        Parameters
        ----------
        state : dict
            From ``state_dict`` of a Lookahead around the same rule, with the same groups and names.

        Raises
        ------
        ValueError
            If anything does not fit. Nothing has changed then.
        """
        own = {"synced": self._synced, "slow": self._shadow.read(), "optimizer": {}}
        given = state | {"optimizer": {}} if isinstance(state, dict) and "optimizer" in state else state
        check_fits("state", given, own)
        with uninterrupted():
            self._optimizer.load_state_dict(state["optimizer"])
            self._shadow.write(state["slow"])
            self._synced = int(state["synced"])

    def __repr__(self) -> str:
        return f"Lookahead({self._optimizer!r}, every={self.every}, alpha={self.alpha})"


class SAM(Forwarding):
    """Sharpness-aware minimization: the gradient is taken where the loss nearby is worst.

    `ascend` goes to θ + ρg/‖g‖, ‖g‖ of all gradients together; `step` goes back to θ and takes the
    optimizer's step with the gradient from there. Two gradients a step, of one batch.

    Strengths: flat minima, which generalise better. Weaknesses: twice the gradients; one more array a
    parameter. For: image models trained long.

    Parameters
    ----------
    optimizer : Optimizer, Phases, Lookahead
        Its hyperparameters, ``t`` and ``groups`` are SAM's too, to be read and set.
    rho : float or schedule, default 0.05
        ρ ≥ 0, usually 0.01 to 0.5. A schedule is a function of the steps taken.

    Raises
    ------
    ValueError, TypeError
        If ρ is out of range, or ``optimizer`` is none.

    Notes
    -----
    Gradients whose norm is below 2⁻⁴⁰ move the parameters by less than ρ, in proportion; zeros do not.

    References
    ----------
    Foret, Kleiner, Mobahi & Neyshabur 2021, arXiv:2010.01412.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([3.0, 4.0])
    >>> opt = gn.SAM(gn.SGD(w, lr=1.0), rho=5.0)
    >>> opt.ascend(w.copy())  # the gradient of |w|²/2 is w
    >>> w
    array([6., 8.])
    >>> opt.step(w.copy())
    >>> w
    array([-3., -4.])
    """

    passed_further = frozenset({"ascend", "rho"})

    def __init__(self, optimizer: Any, rho: Hyper = 0.05) -> None:
        self._optimizer = checked_optimizer(optimizer)
        self._is_ascended = False
        self.rho = rho
        self._shadow = Shadow(self._params)
        self._ascent = self._ascending()

    def _ascending(self) -> SGD:
        """The optimizer that ascends: gradients clipped to a norm that all but zeros exceed."""
        params = self._params
        given: Any = [{"params": part.container, "name": part.name} for part in params.parts]
        against = not getattr(self._optimizer, "maximize", False)
        return SGD(given if params.is_grouped else given[0]["params"], max_norm=TINY, maximize=against)

    @property
    def rho(self) -> Any:
        """ρ: a number, or a schedule of the steps taken."""
        return self._rho

    @rho.setter
    def rho(self, value: Any) -> None:
        value_at(self._optimizer.t, "rho", value, NOT_NEGATIVE)
        self._rho = fixed(value)

    @property
    def t(self) -> int:
        """Steps taken."""
        return int(self._optimizer.t)

    def ascend(self, grads: Grads) -> None:
        """Move the parameters by ρ along their gradient, to where the second one is to be taken.

        Parameters
        ----------
        grads : array, Rows, list, tuple or dict
            As in `step`. What they were multiplied by does not matter.

        Raises
        ------
        ValueError, TypeError, IndexError
            As in any optimizer. Nothing has changed then.
        RuntimeError
            If the parameters are there already.
        """
        self._check_back("ascend")
        check_same_parameters(self, self._shadow)
        if self._ascent.maximize == getattr(self._optimizer, "maximize", False):
            self._ascent = self._ascending()  # the next phase has another sign
        self._ascent.lr = value_at(self.t, "rho", self._rho, NOT_NEGATIVE) / TINY
        with uninterrupted():
            self._shadow.copy(p.array for p in self._shadow.params)
            self._ascent.step(grads)
            self._is_ascended = True

    def step(self, grads: Grads, **options: Any) -> None:
        """Go back, and update every parameter once, in place.

        Parameters
        ----------
        grads : array, Rows, list, tuple or dict
            Gradients after `ascend`, in the structure of params.
        **options
            ``grad_scale``, as in any optimizer.

        Raises
        ------
        ValueError, TypeError, IndexError, FloatingPointError
            As in any optimizer. Nothing has changed then: the parameters are where `ascend` left them.
        RuntimeError
            If `ascend` has not been called since the last step.
        """
        if not self._is_ascended:
            raise RuntimeError(
                "step is called before ascend(grads), which goes to where its gradients are taken"
            )
        with uninterrupted():
            self._swap(False)
            try:
                self._optimizer.step(grads, **options)
            except BaseException:
                self._swap(True)
                raise

    def back(self) -> None:
        """Go back without a step, to where the parameters were before `ascend`."""
        if self._is_ascended:
            self._swap(False)

    def _swap(self, ascended: bool) -> None:
        self._shadow.apply(EXCHANGED, (), {"_is_ascended": ascended}, of=self)

    def _check_back(self, what: str) -> None:
        if self._is_ascended:
            raise RuntimeError(
                f"{what} is called after ascend() and before step(), expected step() or back()"
            )

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimizer inside: SAM has none of its own between steps."""
        self._check_back("state_dict")
        return dict(self._optimizer.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Take up the state of ``state_dict``, or that of an optimizer without SAM.

        Raises
        ------
        ValueError
            If anything does not fit. Nothing has changed then.
        RuntimeError
            Between `ascend` and `step`.
        """
        self._check_back("load_state_dict")
        return self._optimizer.load_state_dict(state)

    def __repr__(self) -> str:
        return f"SAM({self._optimizer!r}, rho={self.rho})"


def checked_optimizer(given: Any) -> Any:
    """An optimizer, or what stands for one; TypeError for anything else."""
    if not isinstance(given, (Optimizer, Forwarding)):
        raise TypeError(f"optimizer is of type {type(given).__name__}, expected an optimizer")
    return given


def check_same_parameters(around: Forwarding, shadow: Shadow) -> None:
    """ValueError if the optimizer inside has got parameters since."""
    if len(around._params) != len(shadow.params):
        raise ValueError(
            f"the optimizer inside has {len(around._params)} parameters by now, {type(around).__name__} was "
            f"made for {len(shadow.params)}: add groups first, or make a new one"
        )
