"""One short class an optimizer: its hyperparameters, and how they become the rule's scalars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import rules
from .._hyper import FRACTION, NOT_NEGATIVE, TWO_FRACTIONS, UNIT, Range
from .._params import are_groups, read_once
from .._suggest import suggesting
from .._typing import DecayMask, Hyper, Hypers, Nonfinite, Params
from .optimizer import Optimizer

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "RMSProp"]

RANGES = {
    "lr": NOT_NEGATIVE,
    "momentum": FRACTION,
    "dampening": UNIT,
    "decay": FRACTION,
    "betas": TWO_FRACTIONS,
    "eps": NOT_NEGATIVE,
    "eps_root": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
}


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
        What to update, in place; float32 or float64.
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
        moves = momentum != 0.0 or _any_group_sets(params, "momentum")
        if nesterov:
            _check_nesterov(moves, dampening, params)
            self.ranges = RANGES | {"dampening": Range("0, as nesterov takes none", 0.0, 0.0)}
        elif not moves:
            self.ranges = RANGES | {"momentum": Range("0, as this SGD was made without momentum", 0.0, 0.0)}
        rule = (rules.nesterov if nesterov else rules.heavy_ball) if moves else rules.sgd
        super().__init__(
            rule, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            nesterov=nesterov, decoupled=decoupled, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        made = _decayed(hyper["lr"], hyper["weight_decay"], self.decoupled)
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
        What to update, in place; float32 or float64.
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
        decay = _decayed(hyper["lr"], hyper["weight_decay"], self.decoupled)
        return decay | {"beta": beta, "one_minus_beta": 1.0 - beta}


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
        What to update, in place; float32 or float64.
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

    E ← γE + (1 − γ)g², θ ← θ − ηg / (√(E + eps_root) + eps).

    Strengths: cures AdaGrad's decay. Weaknesses: γ to tune.
    For: non-stationary aims, online and reinforcement learning.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    decay : float or schedule, default 0.9
        γ in [0, 1), usually 0.9 to 0.99.
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is PyTorch's form.
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
    Tieleman & Hinton 2012.

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
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "decay": decay, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.rmsprop, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {**hyper, "one_minus_decay": 1.0 - hyper["decay"]}


class Moments(Adaptive):
    """The base of Adam and AdamW: the first moment's bias correction goes into lr."""

    is_corrected = True

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta1, beta2 = hyper["betas"]
        return {
            "beta1": beta1,
            "one_minus_beta1": 1.0 - beta1,
            "beta2": beta2,
            "one_minus_beta2": 1.0 - beta2,
            "eps": hyper["eps"],
            "eps_root": hyper["eps_root"],
            "weight_decay": hyper["weight_decay"],
            "pull": hyper["lr"] * hyper["weight_decay"],
        }

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta1, beta2 = hyper["betas"]
        return {"lr": hyper["lr"] / (1.0 - beta1**t), "v_correction": 1.0 / (1.0 - beta2**t)}


class Adam(Moments):
    """Adam: moving means of the gradient and of its square, corrected for their start at zero.

    m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ),
    θ ← θ − ηm̂ / (√(v̂ + eps_root) + eps). t counts the updates that parameter has had.

    ε is inside the root by default: a floor of 1e-4 under the denominator, where 1e-8 outside is
    one of 1e-8. For a constant gradient of 1e-4 the step is 0.707η inside and 1.000η outside.

    Strengths: fast, robust, little tuning. Weaknesses: may settle early and slightly worse.
    For: most deep learning.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1): usually 0.8 to 0.95 (too large lags, too small jitters) and 0.99 to
        0.9999 (too large adapts slowly, too small swings).
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is PyTorch's and the paper's form.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2; for decay that regularises as meant see `AdamW`).
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Kingma & Ba 2015, arXiv:1412.6980.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> params = {"w": np.ones((2, 2)), "b": np.zeros(2)}
    >>> opt = gn.Adam(params, lr=0.5, eps=0.0)
    >>> opt.step({"w": np.full((2, 2), 3.0), "b": None})
    >>> params["w"].round(6)
    array([[0.5, 0.5],
           [0.5, 0.5]])
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
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.adam, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip


class AdamW(Moments):
    """AdamW: Adam with weight decay that does not pass through the moments.

    θ ← θ − η(m̂ / (√(v̂ + eps_root) + eps) + λθ), with the old θ on the right.

    Strengths: decay that regularises as meant. Weaknesses: one more number.
    For: vision and language models, long runs.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1), as in `Adam`.
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is PyTorch's form.
    weight_decay : float or schedule, default 1e-4
        λ ≥ 0, usually 1e-6 to 1e-2; too large underfits. θ is multiplied by 1 − ηλ.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Loshchilov & Hutter 2019, arXiv:1711.05101.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.AdamW(w, lr=0.25, eps=0.0, weight_decay=1.0).step(np.array([3.0]))
    >>> w.round(6)
    array([0.5])
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
        weight_decay: Hyper = 1e-4,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.adamw, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip


def _decayed(lr: float, weight_decay: float, decoupled: bool) -> dict[str, float]:
    """Weight decay as L2 (``weight_decay``) or decoupled (``pull``)."""
    if decoupled:
        return {"lr": lr, "weight_decay": 0.0, "pull": lr * weight_decay}
    return {"lr": lr, "weight_decay": weight_decay, "pull": 0.0}


def _check_nesterov(moves: bool, dampening: Any, params: Any) -> None:
    if not moves:
        raise ValueError("nesterov is True and momentum is 0.0, expected momentum > 0")
    if dampening != 0.0 or _any_group_sets(params, "dampening"):
        raise ValueError(f"nesterov is True and dampening is {dampening!r}, expected no dampening with it")


def _any_group_sets(params: Any, name: str) -> bool:
    return are_groups(params) and any(isinstance(group, Mapping) and name in group for group in params)
