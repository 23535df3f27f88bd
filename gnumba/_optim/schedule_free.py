"""Optimizers that need no schedule: gradients at one point, evaluation at the mean of others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import rules
from .._engine.arrays import empty_like
from .._engine.libraries import increment_versions
from .._hyper import NOT_NEGATIVE
from .._rule import Elementwise
from .._suggest import suggesting
from .._typing import DecayMask, Grads, Hyper, Hypers, Nonfinite, Number, Params
from ..rules.averages import behind
from .adaptive import Adaptive
from .loss_scale import LossScale
from .optimizer import Optimizer
from .shared import RANGES

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]

BEHIND = Elementwise(behind, ("p", "d"), ("p",), ("lead",))
WARMING = RANGES | {"warmup_steps": NOT_NEGATIVE}


class ScheduleFree(Optimizer):
    """The base of schedule-free optimizers: parameters are y, and the state d is z − x.

    With y = x + (1 − β)d: what x and z are follows from y and d, both of which may start as they are.
    """

    ranges = WARMING
    is_corrected = True
    # The sum of the weights, the largest rate, and the 1 − β by which y is ahead of x.
    memory = MappingProxyType({"total": 0.0, "largest": 0.0, "lead": 0.0})
    _is_averaged = False
    takes_narrow = False

    def mixing(self, hyper: Mapping[str, Any]) -> float:
        """β of a step."""
        return float(hyper["beta"])

    def corrections(
        self, t: int, hyper: Mapping[str, Any], *_: Any, total: float, largest: float, lead: float
    ) -> Mapping[str, float]:
        warmup = hyper["warmup_steps"]
        lr = hyper["lr"] * (min(t / warmup, 1.0) if warmup else 1.0)
        largest = max(largest, lr)
        total += largest**2
        share, after = (largest**2 / total if total else 0.0), 1.0 - self.mixing(hyper)
        return {
            "lr": lr, "share": share, "one_minus_share": 1.0 - share, "before": lead, "after": after,
            "total": total, "largest": largest, "lead": after,
        }  # fmt: skip

    def step(self, grads: Grads, *, grad_scale: Number | LossScale = 1.0) -> None:
        self._check_not_averaged("step")
        super().step(grads, grad_scale=grad_scale)

    step.__doc__ = Optimizer.step.__doc__

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the parameters are x, to be evaluated; after it they are as before, bit for bit.

        Raises
        ------
        ValueError
            If the container no longer holds the arrays it was given.
        RuntimeError
            If this is inside such a context already. `step` and `state_dict` raise it inside, too.
        """
        self._check_not_averaged("averaged")
        self._settle()
        self._params.check_held()
        copies = [empty_like(p.given, p.array) for p in self._params]
        for p, kept in zip(self._params, copies, strict=True):
            p.place.copy(kept, p.array)
        try:
            self._is_averaged = True
            self._written()
            for p, memory in zip(self._params, self._memories(self._memory), strict=True):
                row = p.array, self._state[p.index]["d"]
                p.place.between_steps(BEHIND, row, np.array([memory["lead"]]))
            yield
        finally:
            for p, kept in zip(self._params, copies, strict=True):
                p.place.copy(p.array, kept)
            self._written()
            self._is_averaged = False

    def state_dict(self) -> dict[str, Any]:
        self._check_not_averaged("state_dict")
        return super().state_dict()

    state_dict.__doc__ = Optimizer.state_dict.__doc__

    def _written(self) -> None:
        if versioned := self._params.versioned:
            increment_versions([p.given for p in versioned])

    def _check_not_averaged(self, what: str) -> None:
        if self._is_averaged:
            raise RuntimeError(f"{what} is called inside averaged(), where the parameters are the mean")


class ScheduleFreeSGD(ScheduleFree):
    """Schedule-free SGD: no end has to be known, as the mean of the steps does what a falling rate does.

    z ← z − ηg(y), x ← (1 − c)x + cz, y = (1 − β)z + βx, with c = η²/Ση² of the largest η so far. The
    parameters are y, where gradients are taken; ``with opt.averaged():`` they are x, to be evaluated.

    Strengths: no schedule, can be stopped at any step. Weaknesses: evaluation needs the context, batch
    norms their statistics at x. For: SGD's work when the number of steps is open.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64.
    lr : float or schedule, default 0.1
        η ≥ 0, usually 1 to 10 times SGD's with momentum; constant.
    beta : float or schedule, default 0.9
        β in [0, 1), usually 0.9 to 0.98: how near y is to x; it is the momentum.
    warmup_steps : float, default 0
        ≥ 0: η rises linearly over so many updates.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λy (L2).
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky 2024, arXiv:2405.15682.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> opt = gn.ScheduleFreeSGD(w, lr=0.5, beta=0.5)
    >>> opt.step(np.array([1.0])), opt.step(np.array([1.0]))
    (None, None)
    >>> w
    array([0.125])
    >>> with opt.averaged():
    ...     print(w)
    [0.25]
    """

    ranges = WARMING | {"beta": RANGES["momentum"]}

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.1,
        *,
        beta: Hyper = 0.9,
        warmup_steps: Hyper = 0,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "beta": beta, "warmup_steps": warmup_steps, "weight_decay": weight_decay}
        super().__init__(
            rules.schedule_free_sgd, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip


class ScheduleFreeAdamW(ScheduleFree, Adaptive):
    """Schedule-free AdamW: `ScheduleFreeSGD` with steps divided by the root of the mean square.

    v ← β₂v + (1 − β₂)g², z ← z − η(g / (√(v̂ + eps_root) + eps) + λy), x and y as there, with β₁ for β.

    Strengths: no schedule, can be stopped at any step. Weaknesses: evaluation needs the context, batch
    norms their statistics at x. For: AdamW's work when the number of steps is open.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1 to 10 times AdamW's with a schedule; constant.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁ of y and β₂ of v, in [0, 1); β₁ usually 0.9 to 0.98.
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is the authors' form.
    warmup_steps : float, default 0
        ≥ 0: η rises linearly over so many updates; some are needed as a rule.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-4 to 1e-1, decoupled and at y.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky 2024, arXiv:2405.15682.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> opt = gn.ScheduleFreeAdamW(w, lr=0.5, eps=0.0)
    >>> opt.step(np.array([3.0]))
    >>> with opt.averaged():
    ...     print(w.round(6))
    [0.5]
    """

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.001,
        *,
        betas: Hypers = (0.9, 0.999),
        eps: Hyper | None = None,
        eps_root: Hyper | None = None,
        warmup_steps: Hyper = 0,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {
            "lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "warmup_steps": warmup_steps,
            "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(
            rules.schedule_free_adamw, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def mixing(self, hyper: Mapping[str, Any]) -> float:
        return float(hyper["betas"][0])

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta2 = hyper["betas"][1]
        return {**hyper, "beta2": beta2, "one_minus_beta2": 1.0 - beta2}

    def corrections(self, t: int, hyper: Mapping[str, Any], *_: Any, **memory: float) -> Mapping[str, float]:
        v_correction = 1.0 / (1.0 - hyper["betas"][1] ** t)
        return {**super().corrections(t, hyper, **memory), "v_correction": v_correction}
