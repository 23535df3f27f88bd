"""Steps by the gradients' signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import rules
from .._suggest import suggesting
from .._typing import DecayMask, Hyper, Hypers, Nonfinite, Params
from .optimizer import Optimizer
from .shared import RANGES, decayed

__all__ = ["Lion", "Rprop"]


class Lion(Optimizer):
    """Lion: steps of one size, by the sign of a mean of the gradients.

    θ ← θ − η(sign(β₁m + (1 − β₁)g) + λθ), m ← β₂m + (1 − β₂)g, with the old θ and m on the right.

    Strengths: one state, half of Adam's. Weaknesses: needs a rate 3 to 10 times below Adam's and a decay as
    much above; poor with small batches. For: large transformers, long runs.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 1e-4
        η ≥ 0, usually 1e-5 to 3e-4: the size of each step.
    betas : tuple of float or schedule, default (0.9, 0.99)
        β₁ of the step and β₂ of m, in [0, 1); (0.95, 0.98) is steadier.
    weight_decay : float or schedule, default 1e-3
        λ ≥ 0, usually 1e-3 to 1: θ is multiplied by 1 − ηλ (decoupled).
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Chen et al. 2023, arXiv:2302.06675.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0, 1.0])
    >>> gn.Lion(w, lr=0.25, weight_decay=0.0).step(np.array([300.0, -1e-3]))
    >>> w
    array([0.75, 1.25])
    """

    ranges = RANGES

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 1e-4,
        *,
        betas: Hypers = (0.9, 0.99),
        weight_decay: Hyper = 1e-3,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        super().__init__(
            rules.sign_momentum, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        (beta1, beta2), decay = hyper["betas"], decayed(hyper["lr"], hyper["weight_decay"], True)
        return decay | {
            "beta1": beta1, "one_minus_beta1": 1.0 - beta1,
            "beta2": beta2, "one_minus_beta2": 1.0 - beta2,
        }  # fmt: skip


class Rprop(Optimizer):
    """Rprop: a step size for every element, which grows while its gradient keeps its sign.

    s ← sη₊ where g·g₋ > 0, sη₋ where it is negative, within bounds; where it is negative g counts as 0;
    θ ← θ − sign(g)s. The first s is ``lr``: that of a parameter's first step, later ones say nothing.

    Strengths: only signs matter, no rate to tune. Weaknesses: with mini-batches the signs are noise; two
    states. For: full batches, small problems.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.01
        η ≥ 0, the first step size; of rows, in a step with `Rows`, at a row's first.
    etas : tuple of float or schedule, default (0.5, 1.2)
        η₋ in (0, 1) and η₊ > 1.
    step_sizes : tuple of float or schedule, default (1e-6, 50.0)
        The smallest and the largest s, > 0.
    max_norm, nonfinite, maximize
        As in `SGD`.
    decay_mask : None
        There is no decay that it could mask.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Riedmiller & Braun 1993. Igel & Hüsken 2000 (this form, iRprop⁻).

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> opt = gn.Rprop(w, lr=0.25, etas=(0.5, 2.0))
    >>> opt.step(np.array([1e-3])), opt.step(np.array([1e3]))
    (None, None)
    >>> w
    array([0.25])
    """

    ranges = RANGES

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.01,
        *,
        etas: Hypers = (0.5, 1.2),
        step_sizes: Hypers = (1e-6, 50.0),
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "etas": etas, "step_sizes": step_sizes}
        super().__init__(
            rules.rprop, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        (eta_minus, eta_plus), (smallest, largest) = hyper["etas"], hyper["step_sizes"]
        return {
            "lr": hyper["lr"], "eta_minus": eta_minus, "eta_plus": eta_plus,
            "smallest": smallest, "largest": largest,
        }  # fmt: skip
