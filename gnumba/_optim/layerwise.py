"""Layer-wise rates: steps in proportion to the norm of the parameter that they move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import rules
from .._suggest import suggesting
from .._typing import DecayMask, Hyper, Hypers, Nonfinite, Params
from .optimizer import Optimizer
from .shared import RANGES

__all__ = ["LAMB", "LARS"]


class LAMB(Optimizer):
    """LAMB: AdamW whose step has, for each parameter, the length of the parameter itself, times lr.

    m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², u = m̂ / (√(v̂ + eps_root) + eps) + λθ,
    θ ← θ − η(‖θ‖/‖u‖)u; the ratio is 1 where a norm is 0. Norms are of a whole parameter each,
    summed in float64; a step reads every array once more for them.

    Strengths: very large batches, as no layer outruns the others. Weaknesses: nothing gained at usual
    batch sizes; biases and scales are better left out of decay; no `Rows`.
    For: pretraining transformers with batches of thousands.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64. Each array is a layer.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-3 to 1e-2, the share of its norm that a parameter moves; warmed up.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1).
    eps : float or schedule, default 1e-6
        ≥ 0, outside the root.
    eps_root : float or schedule, default 0.0
        ≥ 0, inside the root.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-2: part of u.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place; in a
        step for `Rows`.

    References
    ----------
    You et al. 2020, arXiv:1904.00962.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([3.0, 4.0])
    >>> gn.LAMB(w, lr=0.1, eps=0.0).step(np.array([1.0, -1.0]))
    >>> (w - [3.0, 4.0]).round(6)  # a tenth of the norm 5, along (1, −1)
    array([-0.353553,  0.353553])
    """

    ranges = RANGES
    is_corrected = True

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.001,
        *,
        betas: Hypers = (0.9, 0.999),
        eps: Hyper = 1e-6,
        eps_root: Hyper = 0.0,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.lamb, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta1, beta2 = hyper["betas"]
        means = {
            "beta1": beta1,
            "one_minus_beta1": 1.0 - beta1,
            "beta2": beta2,
            "one_minus_beta2": 1.0 - beta2,
        }
        return {**hyper, **means}

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta1, beta2 = hyper["betas"]
        return {"m_correction": 1.0 / (1.0 - beta1**t), "v_correction": 1.0 / (1.0 - beta2**t)}


class LARS(Optimizer):
    """LARS: momentum with a gradient that has, for each parameter, a share of the parameter's own norm.

    g ← g + λθ, v ← μv + η(τ‖θ‖/‖g‖)g, θ ← θ − v; the ratio is 1 where a norm is 0; ``nesterov`` steps along
    the look-ahead. Norms are of a whole parameter each, summed in float64; a step reads θ and g once more
    for them.

    Strengths: very large batches for convolutional networks, one rate for layers of any scale.
    Weaknesses: needs warmup; nothing gained at usual batch sizes; no `Rows`.
    For: image classifiers trained with batches of thousands.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64. Each array is a layer.
    lr : float or schedule, default 0.1
        η ≥ 0, usually 0.1 to 30, growing with the batch; warmed up.
    momentum : float or schedule, default 0.9
        μ in [0, 1).
    nesterov : bool, default False
        Step along the look-ahead.
    trust_coefficient : float or schedule, default 0.001
        τ > 0: the share of its norm that a parameter moves at η = 1.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-5 to 1e-4.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place; in a
        step for `Rows`.

    References
    ----------
    You, Gitman & Ginsburg 2017, arXiv:1708.03888.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([3.0, 4.0])
    >>> gn.LARS(w, lr=1.0, trust_coefficient=0.1).step(np.array([0.0, 20.0]))
    >>> w
    array([3. , 3.5])
    """

    ranges = RANGES

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.1,
        *,
        momentum: Hyper = 0.9,
        nesterov: bool = False,
        trust_coefficient: Hyper = 1e-3,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {
            "lr": lr, "momentum": momentum,
            "trust_coefficient": trust_coefficient, "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(
            rules.lars_nesterov if nesterov else rules.lars, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            nesterov=nesterov, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {**hyper, "mu": hyper["momentum"]}
