"""Adam and its kin: a moving mean of the gradients, divided by their size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import rules
from .._hyper import NOT_NEGATIVE, THREE_FRACTIONS
from .._suggest import suggesting
from .._typing import DecayMask, Hyper, Hypers, Nonfinite, Params
from .adaptive import Adaptive
from .shared import RANGES, decayed

__all__ = ["AdaBelief", "Adam", "AdamW", "Adamax", "Adan", "NAdam", "RAdam"]

ADAN_RANGES = RANGES | {"betas": THREE_FRACTIONS}
NADAM_RANGES = RANGES | {"momentum_decay": NOT_NEGATIVE}
NADAM_MEMORY = {"product": 1.0}


class Moments(Adaptive):
    """The base of Adam and its kin: the first moment's bias correction goes into lr."""

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
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1): usually 0.8 to 0.95 (too large lags, too small jitters) and 0.99 to
        0.9999 (too large adapts slowly, too small swings).
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is PyTorch's and the paper's form.
    amsgrad : bool, default False
        Divide by the largest v so far, corrected as v is, so that no rate grows again; one state more.
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
    Kingma & Ba 2015, arXiv:1412.6980. Reddi, Kale & Kumar 2018, arXiv:1904.09237 (amsgrad).

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
        amsgrad: bool = False,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.amsgrad if amsgrad else rules.adam, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            amsgrad=amsgrad, maximize=maximize,
        )  # fmt: skip


class AdamW(Moments):
    """AdamW: Adam with weight decay that does not pass through the moments.

    θ ← θ − η(m̂ / (√(v̂ + eps_root) + eps) + λθ), with the old θ on the right.

    Strengths: decay that regularises as meant. Weaknesses: one more number.
    For: vision and language models, long runs.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1), as in `Adam`.
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is PyTorch's form.
    amsgrad : bool, default False
        Divide by the largest v so far, corrected as v is, so that no rate grows again; one state more.
    weight_decay : float or schedule, default 1e-4
        λ ≥ 0, usually 1e-4 to 1e-1; too large underfits. θ is multiplied by 1 − ηλ.
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
        amsgrad: bool = False,
        weight_decay: Hyper = 1e-4,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.amsgradw if amsgrad else rules.adamw, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            amsgrad=amsgrad, maximize=maximize,
        )  # fmt: skip


class RAdam(Moments):
    """Rectified Adam: Adam whose step is scaled by how well v is known, and is m̂ until it is.

    With ρ∞ = 2/(1 − β₂) − 1 and ρ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ): where ρ > 5, θ ← θ − ηrm̂ / (√(v̂ + eps_root) + eps)
    with r² = (ρ − 4)(ρ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρ), else θ ← θ − ηm̂. m̂ and v̂ are `Adam`'s.

    Strengths: needs no warm-up of the rate. Weaknesses: the first steps (five by default) are those of
    momentum, as large as the gradients. For: Adam's work, where warm-up is one more thing to tune.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1), as in `Adam`; with β₂ ≤ 2/3 no step is ever divided by √v̂.
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`. PyTorch adds its ε before the correction of v.
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
    Liu, Jiang, He, Chen, Liu, Gao & Han 2020, arXiv:1908.03265.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.RAdam(w, lr=0.25).step(np.array([2.0]))
    >>> w
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
        weight_decay: Hyper = 0.0,
        decoupled: bool = False,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.radam, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            decoupled=decoupled, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {**super().constants(hyper), **decayed(hyper["lr"], hyper["weight_decay"], self.decoupled)}

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta2 = hyper["betas"][1]
        made = super().corrections(t, hyper)
        last = 2.0 / (1.0 - beta2) - 1.0
        rho = last - 2.0 * t * beta2**t / (1.0 - beta2**t)
        if rho <= 5.0:
            return {**made, "rectified": 0.0}
        r = ((rho - 4.0) * (rho - 2.0) * last / ((last - 4.0) * (last - 2.0) * rho)) ** 0.5
        return {**made, "lr": made["lr"] * r, "rectified": 1.0}


class NAdam(Moments):
    """NAdam: Adam along Nesterov's look-ahead, with a first β that rises to its value.

    With μₜ = β₁(1 − 0.5 · 0.96^(tψ)), ψ = momentum_decay, and Mₜ = μ₁μ₂…μₜ:
    θ ← θ − η((1 − μₜ)g/(1 − Mₜ) + μₜ₊₁m/(1 − Mₜ₊₁)) / (√(v̂ + eps_root) + eps). m, v and v̂ are `Adam`'s.

    Strengths: no less robust than Adam, often somewhat faster; the newest gradient counts for more.
    Weaknesses: one more number; noisier steps with small batches. For: Adam's work, recurrent networks.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.002
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1), as in `Adam`.
    eps, eps_root : float or schedule, optional
        As in `AdaGrad`; ``eps=1e-8`` alone is PyTorch's form.
    momentum_decay : float or schedule, default 4e-3
        ψ ≥ 0: μ goes from β₁/2 to β₁, half of the way in 17/ψ updates; usually 1e-3 to 1e-2.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2).
    decoupled : bool, default False
        Multiply θ by 1 − ηλ instead; then λ is usually 1e-4 to 1e-2.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Dozat 2016, "Incorporating Nesterov Momentum into Adam", ICLR workshop.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.NAdam(w, lr=0.75, betas=(0.5, 0.999), eps=0.0, momentum_decay=0.0).step(np.array([3.0]))
    >>> w.round(6)
    array([0.15])
    """

    ranges = NADAM_RANGES
    memory = NADAM_MEMORY

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 2e-3,
        *,
        betas: Hypers = (0.9, 0.999),
        eps: Hyper | None = None,
        eps_root: Hyper | None = None,
        momentum_decay: Hyper = 4e-3,
        weight_decay: Hyper = 0.0,
        decoupled: bool = False,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {
            "lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root,
            "momentum_decay": momentum_decay, "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(
            rules.nadam, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            decoupled=decoupled, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {**super().constants(hyper), **decayed(hyper["lr"], hyper["weight_decay"], self.decoupled)}

    def corrections(self, t: int, hyper: Mapping[str, Any], product: float = 1.0) -> Mapping[str, float]:
        lr, beta1, decay = hyper["lr"], hyper["betas"][0], hyper["momentum_decay"]
        mu, ahead = (beta1 * (1.0 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        product *= mu
        return {
            "lr": lr * (1.0 - mu) / (1.0 - product),
            "lr_m": lr * ahead / (1.0 - product * ahead),
            "v_correction": 1.0 / (1.0 - hyper["betas"][1] ** t),
            "product": product,
        }


class Adamax(Moments):
    """Adamax: Adam by the largest recent gradient instead of the root of the mean square.

    m ← β₁m + (1 − β₁)g, u ← max(β₂u, |g| + ε), θ ← θ − ηm / ((1 − β₁ᵗ)u).

    Strengths: no square that overflows or underflows, no correction of u; steps of at most about η.
    Weaknesses: one large gradient holds the rate down for 1/(1 − β₂) steps.
    For: sparse gradients, embeddings.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.002
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1), as in `Adam`.
    eps : float or schedule, default 1e-8
        ≥ 0, added to |g|; at 0 an element whose gradients were all 0 becomes nan.
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
    Kingma & Ba 2015, arXiv:1412.6980, section 7.1.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.Adamax(w, lr=0.25, eps=0.0).step(np.array([3.0]))
    >>> w.round(6)
    array([0.75])
    """

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.002,
        *,
        betas: Hypers = (0.9, 0.999),
        eps: Hyper = 1e-8,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            rules.adamax, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def complete(self, hyper: Mapping[str, Any]) -> Mapping[str, Any]:
        return hyper

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        beta1, beta2 = hyper["betas"]
        return {**hyper, "beta1": beta1, "one_minus_beta1": 1.0 - beta1, "beta2": beta2}

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {"lr": hyper["lr"] / (1.0 - hyper["betas"][0] ** t)}


class AdaBelief(Moments):
    """AdaBelief: Adam by how far each gradient is from its moving mean.

    m ← β₁m + (1 − β₁)g, s ← β₂s + (1 − β₂)(g − m)² + eps_root, θ ← θ − ηm̂ / (√ŝ + eps), m̂ and ŝ corrected
    as `Adam`'s.

    Strengths: large steps where gradients agree, small ones where they do not; often as good as SGD
    at the end. Weaknesses: for gradients that hardly vary the step grows until ε bounds it.
    For: vision models, GANs.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-4 to 1e-2.
    betas : tuple of float or schedule, default (0.9, 0.999)
        β₁, β₂ in [0, 1), as in `Adam`.
    eps : float or schedule, default 1e-16
        ≥ 0, outside the root.
    eps_root : float or schedule, default 1e-16
        ≥ 0, added to s in every step.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 1e-6 to 1e-4: g ← g + λθ (L2).
    decoupled : bool, default False
        Multiply θ by 1 − ηλ instead; then λ is usually 1e-4 to 1e-2.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Zhuang, Tang, Ding, Tatikonda, Dvornek, Papademetris & Duncan 2020, arXiv:2010.07468.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.AdaBelief(w, lr=0.25, betas=(0.5, 0.999)).step(np.array([3.0]))
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
        eps: Hyper = 1e-16,
        eps_root: Hyper = 1e-16,
        weight_decay: Hyper = 0.0,
        decoupled: bool = False,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.adabelief, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            decoupled=decoupled, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {**super().constants(hyper), **decayed(hyper["lr"], hyper["weight_decay"], self.decoupled)}

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        made = super().corrections(t, hyper)
        return {"lr": made["lr"], "s_correction": made["v_correction"]}


class Adan(Moments):
    """Adan: Adam with a moving mean of the gradients' differences, which looks ahead as Nesterov's form.

    δ = g − g₋ (0 at first), m ← β₁m + (1 − β₁)g, n ← β₂n + (1 − β₂)δ, v ← β₃v + (1 − β₃)(g + β₂δ)², each
    corrected for its start at zero, θ ← (θ − η(m̂ + β₂n̂) / (√(v̂ + eps_root) + eps)) / (1 + ηλ).

    The betas are factors of the old mean, as in `Adam` and in the authors' code; the paper writes 1 − β.
    With `Rows` g₋ is the gradient that a row had last, 0 for one that had none.

    Strengths: takes rates 5 to 10 times Adam's and large batches. Weaknesses: four states, 9 arrays moved
    a step to Adam's 7. For: vision transformers, large batches, diffusion and language models.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        What to update, in place: float32 or float64, in host memory float16 or bfloat16 too.
    lr : float or schedule, default 0.001
        η ≥ 0, usually 1e-3 to 2e-2.
    betas : tuple of float or schedule, default (0.98, 0.92, 0.99)
        β₁, β₂, β₃ in [0, 1), of m, n and v; β₂ usually 0.9 to 0.99, the others 0.95 to 0.999.
    eps, eps_root : float or schedule, default 1e-8
        ≥ 0, outside and inside the root; ``eps_root=0.0`` is the authors' form.
    weight_decay : float or schedule, default 0.0
        λ ≥ 0, usually 5e-3 to 2e-2, of the proximal form: θ is divided by 1 + ηλ.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, or one cannot be updated in place.

    References
    ----------
    Xie, Zhou, Li, Lin & Yan 2022, arXiv:2208.06677.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.array([1.0])
    >>> gn.Adan(w, lr=0.25).step(np.array([3.0]))
    >>> w.round(6)
    array([0.75])
    """

    ranges = ADAN_RANGES

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.001,
        *,
        betas: Hypers = (0.98, 0.92, 0.99),
        eps: Hyper = 1e-8,
        eps_root: Hyper = 1e-8,
        weight_decay: Hyper = 0.0,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        super().__init__(
            rules.adan, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        pull, made = hyper["lr"] * hyper["weight_decay"], {**hyper, "shrink": 0.0}
        for k, beta in enumerate(hyper["betas"], 1):
            made |= {f"beta{k}": beta, f"one_minus_beta{k}": 1.0 - beta}
        return made | {"shrink": -pull / (1.0 + pull)}

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        lr, (beta1, beta2, beta3) = hyper["lr"], hyper["betas"]
        return {
            "lr": lr / (1.0 - beta1**t),
            "lr_n": lr * beta2 / (1.0 - beta2**t),
            "v_correction": 1.0 / (1.0 - beta3**t),
            "is_first": float(t == 1),
        }
