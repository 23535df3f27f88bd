"""A rate for every element, by the squares of its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import rules
from .._params import read_once
from .._suggest import suggesting
from .._typing import DecayMask, Hyper, Nonfinite, Params
from .optimizer import Optimizer
from .shared import RANGES, any_group_sets, without_momentum

__all__ = ["AdaDelta", "AdaGrad", "RMSProp"]


class Adaptive(Optimizer):
    """The base of rules that divide by √(v + eps_root) + eps."""

    ranges = RANGES

    def complete(self, hyper: Mapping[str, Any]) -> Mapping[str, Any]:
        """One ε given alone makes the other 0; none is ``eps_root=1e-8``."""
        eps, eps_root = hyper["eps"], hyper["eps_root"]
        if eps_root is None:
            eps_root = 1e-8 if eps is None else 0.0
        return {**hyper, "eps": 0.0 if eps is None else eps, "eps_root": eps_root}


class AdaGrad(Adaptive):
    """AdaGrad: a rate for every parameter, from the sum of its squared gradients.

    G ← G + g², θ ← θ − ηg / (√(G + eps_root) + eps).

    Strengths: suits sparse features; little tuning. Weaknesses: the rate decays to nothing.
    For: word embeddings, recommenders.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.01
        η ≥ 0, usually 1e-2 to 1e-1.
    eps : float or schedule, optional
        ≥ 0, outside the root; 0 by default. ``eps=1e-10`` alone is PyTorch's form.
    eps_root : float or schedule, optional
        ≥ 0, inside the root; 1e-8 by default, a floor of 1e-4 under the denominator, and 0 where
        ``eps`` is given.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2).
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Duchi, Hazan & Singer 2011.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.AdaGrad(w, lr=0.5, eps=0.0).step(np.array([4.0]))
    >>> w
    array([0.5])
    """

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.01,
        *,
        eps: Hyper | None = None,
        eps_root: Hyper | None = None,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.adagrad, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip


class RMSProp(Adaptive):
    """RMSProp: AdaGrad with a moving mean of the squares, so that the rate does not die.

    E ← γE + (1 − γ)g², θ ← θ − ηg / (√(E + eps_root) + eps). ``centered`` divides by the standard
    deviation, E − a² for E with a ← γa + (1 − γ)g; with momentum μ it is b ← μb + g / (…), θ ← θ − ηb.

    Strengths: cures AdaGrad's decay. Weaknesses: γ to tune.
    For: non-stationary aims, online and reinforcement learning.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    decay : float or schedule, default 0.9
        γ in [0, 1), usually 0.9 to 0.99.
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is PyTorch's form.
    momentum : float or schedule, default 0.0
        μ in [0, 1), usually 0.9; one that is to come by a schedule or a group is given here or there.
    centered : bool, default False
        Divide by the gradients' standard deviation; one state more.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2).
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Tieleman & Hinton 2012. Graves 2013, arXiv:1308.0850 (centered).

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.RMSProp(w, lr=0.5, decay=0.75, eps=0.0).step(np.array([4.0]))
    >>> w
    array([0.])
    """

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.001,
        *,
        decay: Hyper = 0.9,
        eps: Hyper | None = None,
        eps_root: Hyper | None = None,
        momentum: Hyper = 0.0,
        centered: bool = False,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        params = read_once(params)
        moves = momentum != 0.0 or any_group_sets(params, "momentum")
        if not moves:
            self.ranges = RANGES | {"momentum": without_momentum("RMSProp")}
        plain, moving = (
            (rules.rmsprop_centered, rules.rmsprop_centered_momentum)
            if centered
            else (rules.rmsprop, rules.rmsprop_momentum)
        )
        hyper = {
            "lr": lr, "decay": decay, "eps": eps, "eps_root": eps_root, "momentum": momentum,
            "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(
            moving if moves else plain, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            centered=centered, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {**hyper, "mu": hyper["momentum"], "one_minus_decay": 1.0 - hyper["decay"]}


class AdaDelta(Optimizer):
    """AdaDelta: steps in the parameters' own unit, from moving means of squared gradients and steps.

    E ← ρE + (1 − ρ)g², Δ = g√(D + ε)/√(E + ε), D ← ρD + (1 − ρ)Δ², θ ← θ − ηΔ, ε = eps_root.

    Strengths: no rate to tune, as η = 1 is the paper's. Weaknesses: the first steps are about √ε, and
    tiny; slow where a rate is tuned. For: rough work without tuning.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 1.0
        η ≥ 0, a factor of the paper's step.
    decay : float or schedule, default 0.9
        ρ in [0, 1), usually 0.9 to 0.99.
    eps_root : float or schedule, default 1e-6
        ε ≥ 0 inside both roots; it sets the first steps' size, and at 0 nothing ever moves.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2).
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Zeiler 2012, arXiv:1212.5701.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.AdaDelta(w, lr=0.5, decay=0.0, eps_root=1.0).step(np.array([3.0**0.5]))
    >>> w.round(6)
    array([0.566987])
    """

    ranges = RANGES

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 1.0,
        *,
        decay: Hyper = 0.9,
        eps_root: Hyper = 1e-6,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "decay": decay, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.adadelta, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {**hyper, "one_minus_decay": 1.0 - hyper["decay"]}
