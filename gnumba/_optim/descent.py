"""Gradient descent and its momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import rules
from .._hyper import Range
from .._params import read_once
from .._suggest import suggesting
from .._typing import DecayMask, Hyper, Nonfinite, Params
from .optimizer import Optimizer
from .shared import RANGES, any_group_sets, decayed, without_momentum

__all__ = ["SGD", "Momentum"]


class SGD(Optimizer):
    """Gradient descent, with momentum, dampening and Nesterov's form as options.

    θ ← θ − ηg; with momentum μ and dampening τ: v ← μv + (1 − τ)g, θ ← θ − ηv (v₀ = 0, so the
    first step is damped too); ``nesterov`` steps along g + μv. The batch makes it batch,
    stochastic or mini-batch gradient descent.

    Strengths: simple, general, scales with the batch, converges on convex problems.
    Weaknesses: slow; sensitive to lr; local minima; vanishing and exploding gradients pass through.
    For: large data; fine tuning.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.01
        η ≥ 0, usually 1e-3 to 1; the number that always needs tuning.
    momentum : float or schedule, default 0.0
        μ in [0, 1), usually 0.9.
    dampening : float or schedule, default 0.0
        τ in [0, 1].
    nesterov : bool, default False
        Step along the look-ahead; needs momentum, and takes no dampening.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2).
    decoupled : bool, default False
        Multiply θ by 1 − ηλ instead.
    max_norm : float or schedule, optional
        > 0: gradients whose norm together is larger are scaled down to it, in the step's own pass.
    nonfinite : {"apply", "skip", "raise"}, default "apply"
        What inf or nan in the gradients does: go into the parameters, leave everything as it was
        (``skipped`` counts), or raise FloatingPointError with everything as it was.
    decay_mask : callable, optional
        ``decay_mask(name, array) -> bool``: which parameters decay, asked once for each; all by default.
    maximize : bool, default False
        Ascend: the gradients' sign is turned, in the step's own pass.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, one cannot be updated in place, or
        ``nesterov`` comes without momentum or with dampening.

    References
    ----------
    Robbins & Monro 1951. Polyak 1964. Sutskever, Martens, Dahl & Hinton 2013.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0, 2.0])
    >>> gn.SGD(w, lr=0.5).step(np.array([1.0, -1.0]))
    >>> w
    array([0.5, 2.5])
    """

    ranges: Mapping[str, Range] = RANGES

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.01,
        *,
        momentum: Hyper = 0.0,
        dampening: Hyper = 0.0,
        nesterov: bool = False,
        weight_decay: Hyper = 0.0,
        decoupled: bool = False,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        params = read_once(params)
        hyper = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        moves = momentum != 0.0 or any_group_sets(params, "momentum")
        if nesterov:
            _check_nesterov(moves, dampening, params)
            self.ranges = RANGES | {"dampening": Range("0, as nesterov takes none", 0.0, 0.0)}
        elif not moves:
            self.ranges = RANGES | {"momentum": without_momentum("SGD")}
        rule = (rules.nesterov if nesterov else rules.heavy_ball) if moves else rules.sgd
        super().__init__(
            rule, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            nesterov=nesterov, decoupled=decoupled, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        made = decayed(hyper["lr"], hyper["weight_decay"], self.decoupled)
        if self.rule is rules.sgd:  # without momentum, dampening only scales the step
            return made | {"lr": hyper["lr"] * (1.0 - hyper["dampening"])}
        return made | {"mu": hyper["momentum"], "one_minus_tau": 1.0 - hyper["dampening"]}


class Momentum(Optimizer):
    """Momentum in the averaging form: v is a moving mean of the gradients.

    v ← βv + (1 − β)g, θ ← θ − ηv, v₀ = 0: SGD's heavy ball with η(1 − β) for η.

    Strengths: faster in ravines; damps oscillation. Weaknesses: β to tune.
    For: noisy gradients, convolutional networks.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.01
        η ≥ 0, usually 1e-3 to 1.
    momentum : float or schedule, default 0.9
        β in [0, 1), usually 0.9 to 0.99; larger smooths more, too large overshoots.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2).
    decoupled : bool, default False
        Multiply θ by 1 − ηλ instead.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Polyak 1964.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.Momentum(w, lr=1.0, momentum=0.5).step(np.array([1.0]))
    >>> w
    array([0.5])
    """

    ranges = RANGES

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.01,
        *,
        momentum: Hyper = 0.9,
        weight_decay: Hyper = 0.0,
        decoupled: bool = False,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(
            rules.momentum, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            decoupled=decoupled, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta = hyper["momentum"]
        decay = decayed(hyper["lr"], hyper["weight_decay"], self.decoupled)
        return decay | {"beta": beta, "one_minus_beta": 1.0 - beta}


def _check_nesterov(moves: bool, dampening: Any, params: Any) -> None:
    if not moves:
        raise ValueError("nesterov is True and momentum is 0.0, expected momentum > 0")
    if dampening != 0.0 or any_group_sets(params, "dampening"):
        raise ValueError(f"nesterov is True and dampening is {dampening!r}, expected no dampening with it")
