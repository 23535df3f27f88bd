"""The step like the one before it: checked by one compiled call, with nothing left to look up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .._engine import place, threads
from .._engine.factor import ONE
from .._engine.launch import run
from .._engine.libraries import increment_versions
from .._engine.table import HOST
from .plan import Update

Optimizer = Any  # of optimizer.py, which imports this
Step = Callable[[Optimizer, Any], bool]


def fast_step(optimizer: Optimizer) -> Step | None:
    """``step(optimizer, grads)`` for steps like the one just taken; None if that was out of the ordinary.

    Ordinary are dense gradients on the host for every parameter, hyperparameters that are numbers, no
    scale. ``step`` returns False, and has done nothing, where that has changed, or the target that
    `use_target` forces. Whoever changes anything but a group's hyperparameters drops it.
    """
    groups, plan, params = optimizer._groups, optimizer._updates, optimizer._params
    constants = [(group, hyper) for group in groups if (hyper := group.constants) is not None]
    if len(constants) < len(groups) or not all(map(_is_ordinary, plan)):
        return None
    targets = [place.target_for(update.table.traffic) for update in plan]
    if "parallel" in targets and not threads.are_free():
        return None
    sweeps: list[tuple[Any, ...]] = []
    corrected = []
    if params.versioned:
        sweeps.append((increment_versions, [p.given for p in params.versioned]))
    for update, target in zip(plan, targets, strict=True):
        kernel, pieces, first = update.table.ready(target)
        sweeps.append((kernel, update.table.addresses, pieces, first, update.scalars))
        if optimizer.is_corrected:
            group, hyper = constants[update.group]
            corrected.append(
                (update.corrected, update.missed, hyper if update.decays else group.spared(hyper))
            )
    first = params.parts[0]
    held = params.held if params.is_grouped else functools.partial(first.structure.held, first.container)
    match = functools.partial(params.match if params.is_grouped else first.structure.match, "grads")
    bind, forced = optimizer._plan.binding.bind, place.forced
    made_for = forced()
    factors = optimizer._turned(ONE).split(plan[0].table.dtype)  # those of every dtype
    size, group_count = len(params), len(groups)

    def step(optimizer: Optimizer, grads: Any) -> bool:
        if forced() != made_for or len(groups) != group_count:
            return False
        for group, hyper in constants:
            if group.constants is not hyper:
                return False
        now, gradients = held(), match(grads)
        if bind(now, gradients, 0) != size:  # addresses: both tuples are kept to the end
            return False
        attributes = optimizer.__dict__
        t = attributes["_t"] + 1
        for correct, missed, hyper in corrected:
            correct(optimizer.corrections(t - missed, hyper), factors)
        run((*sweeps, (attributes.__setitem__, "_t", t)))
        return True

    return step


def _is_ordinary(update: Update) -> bool:
    """Whether a launch is of all rows of a table on the host, none of them with gaps."""
    table = update.table
    return update.rows is None and table.ordinal == HOST and not table.strided
