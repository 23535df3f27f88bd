"""Ranges of hyperparameters, and choices that optimizers of several families make alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._hyper import ETAS, FRACTION, NOT_NEGATIVE, POSITIVE, STEP_SIZES, TWO_FRACTIONS, UNIT, Range
from .._params import are_groups

RANGES = {
    "lr": NOT_NEGATIVE,
    "momentum": FRACTION,
    "dampening": UNIT,
    "decay": FRACTION,
    "betas": TWO_FRACTIONS,
    "eps": NOT_NEGATIVE,
    "eps_root": NOT_NEGATIVE,
    "etas": ETAS,
    "step_sizes": STEP_SIZES,
    "trust_coefficient": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
}


def decayed(lr: float, weight_decay: float, decoupled: bool) -> dict[str, float]:
    """Weight decay as L2 (``weight_decay``) or decoupled (``pull``)."""
    if decoupled:
        return {"lr": lr, "weight_decay": 0.0, "pull": lr * weight_decay}
    return {"lr": lr, "weight_decay": weight_decay, "pull": 0.0}


def without_momentum(kind: str) -> Range:
    return Range(f"0, as this {kind} was made without momentum", 0.0, 0.0)


def any_group_sets(params: Any, name: str) -> bool:
    return are_groups(params) and any(isinstance(group, Mapping) and name in group for group in params)
