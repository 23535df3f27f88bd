"""The step like the one before it: checked by one compiled call, with little left to look up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .._engine.libraries import increment_versions
from .._engine.place import HOST, PLAIN, make, place_of
from .._engine.targets import forced as forced_target
from .._params import Params
from .plan import NOTHING, Update

Optimizer = Any  # of optimizer.py, which imports this
Step = Callable[[Optimizer, Any, float], bool]


def fast_step(optimizer: Optimizer, scaled: bool) -> Step | None:
    """``step(optimizer, grads, scale)`` for steps like the last one; None if that was out of the ordinary.

    Ordinary are dense gradients on the host for every parameter. ``step`` returns False, and has done
    nothing, where that has changed, or the target that `use_target` forces, or a hyperparameter. Whoever
    changes anything else drops it. Gradients' factors are those of the last step, if nothing scales or clips.
    """
    groups, updates, plan, guard = optimizer._groups, optimizer._updates, optimizer._plan, optimizer._guard
    if not all(map(_is_ordinary, updates)):
        return None
    sweeps: list[tuple[Any, ...]] = []
    if versioned := optimizer._params.versioned:
        sweeps.append((increment_versions, [p.given for p in versioned]))
    for update in updates:
        calls, care = HOST.prepare(update.table, update.scalars, PLAIN)
        if care is not None:
            return None
        sweeps += calls
    known = [(group, group.constants) for group in groups]
    plain = not (scaled or guard.looks or optimizer.memory or None in [hyper for _, hyper in known])
    corrected, correction = _corrected(optimizer) if plain else [], type(optimizer).corrections
    held, match = _containers(optimizer._params)
    bind, forced, made_for = plan.binding.bind, forced_target, forced_target()
    size, group_count = len(optimizer._params), len(groups)

    def step(optimizer: Optimizer, grads: Any, scale: float) -> bool:
        if forced() != made_for or len(groups) != group_count or (plain and scale != 1.0):
            return False
        for group, hyper in known:
            if group.constants is not hyper:
                return False
        now, gradients = held(), match(grads)
        if bind(now, gradients, 0) != size:  # addresses: both tuples are kept to the end
            return False
        attributes = optimizer.__dict__
        t = attributes["_t"]
        if plain:
            for correct, missed, hyper in corrected:
                correct(correction(optimizer, t + 1 - missed, hyper))
            make((*sweeps, (attributes.__setitem__, "_t", t + 1)))
            return True
        if (decided := optimizer._decide(NOTHING, gradients, scale)) is not None:
            verdict, memory = decided
            make((*sweeps, (attributes.update, {"_t": t + 1, "_verdict": verdict, "_memory": memory})))
        return True

    return step


def _is_ordinary(update: Update) -> bool:
    """Whether a launch is all there is, of all rows of a table on the host, none of them with gaps."""
    table = update.table
    whole = update.rows is None and not table.function.lent
    return whole and place_of(table.rows[0][0]) is HOST and not table.strided


def _corrected(optimizer: Optimizer) -> list[tuple[Any, ...]]:
    """Each launch's way of taking up bias corrections, the steps it missed, its hyperparameters."""
    if not optimizer.is_corrected:
        return []
    found = []
    for update in optimizer._updates:
        group = optimizer._groups[update.group]
        found.append((update.correct, update.missed, group.taken(group.constants, update.decays)))
    return found


def _containers(params: Params) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Functions for the arrays that the containers hold and for gradients in their order."""
    if params.is_grouped:
        return params.held, functools.partial(params.match, "grads")
    _, container, structure, *_ = params.parts[0]
    return functools.partial(structure.held, container), functools.partial(structure.match, "grads")
