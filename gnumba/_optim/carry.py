"""The momentum that goes over when one optimizer follows another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import rules
from .._engine.place import place_of
from .._rule import Elementwise, Rule
from ..rules.clipping import scaled
from .optimizer import Optimizer

Array = np.ndarray[Any, np.dtype[Any]]


TIMES = Elementwise(scaled, ("m",), ("v",), ("factor",))


def _tends_to(scalars: Mapping[str, float]) -> float:
    """Steady state of v under SGD with a constant gradient, in units of that gradient."""
    return scalars["one_minus_tau"] / (1.0 - scalars["mu"])


# Rules whose m is a mean of gradients, short of the factor 1 − βᵗ, and the scalar that is this β.
MEAN: dict[Rule, str] = {
    rules.adam: "beta1",
    rules.adamw: "beta1",
    rules.amsgrad: "beta1",
    rules.amsgradw: "beta1",
    rules.radam: "beta1",
    rules.nadam: "beta1",
    rules.adamax: "beta1",
    rules.adabelief: "beta1",
    rules.adan: "beta1",
    rules.sign_momentum: "beta2",
}
GAIN: dict[Rule, Callable[[Mapping[str, float]], float]] = {  # rules with a v, and v over the mean gradient
    rules.momentum: lambda scalars: 1.0,
    rules.heavy_ball: _tends_to,
    rules.nesterov: _tends_to,
}


def check_carries(k: int, before: Rule, after: Rule) -> None:
    """ValueError unless phase ``k`` can take up momentum: from a rule's m to a rule's v."""
    if k == 0:
        raise ValueError("phase 0 has carry='momentum', expected none, as no phase goes before it")
    if before not in MEAN or after not in GAIN:
        sources, goals = ([rule.name for rule in some] for some in (MEAN, GAIN))
        raise ValueError(
            f"phase {k} has carry='momentum' from rule {before.name} to rule {after.name}, "
            f"expected one of {sources} before it and one of {goals} in it"
        )


def means(optimizer: Optimizer) -> dict[str, tuple[Array, float]]:
    """For each updated parameter, its m and 1/(1 − βᵗ): t is its update count, β the last step's."""
    found = {}
    for p in optimizer._params:
        if updates := optimizer.update_count(p):
            hyper = optimizer.groups[p.group].values_at(optimizer.t - 1)
            beta = optimizer.scalars(updates, **hyper)[MEAN[optimizer.rule]]
            found[p.name] = optimizer._state[p.index]["m"], 1.0 / (1.0 - beta**updates)
    return found


def take_up(optimizer: Optimizer, carried: Mapping[str, tuple[Array, float]]) -> None:
    """Make these means, m times a factor, the v that a new optimizer starts from."""
    for p in optimizer._params:
        if p.name in carried:
            m, factor = carried[p.name]
            hyper = optimizer.groups[p.group].values_at(0)
            gain = GAIN[optimizer.rule](optimizer.scalars(1, **hyper))
            row = m, optimizer._state[p.index]["v"]
            place_of(m).between_steps(TIMES, row, np.array([factor * gain]))
