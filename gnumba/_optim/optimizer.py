"""The Optimizer: parameters in groups, their state, and the step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .._engine.compile.snapshot import current
from .._engine.factor import Factor
from .._engine.launch import launch
from .._engine.libraries import increment_versions
from .._engine.place import PLAIN, Answer, Verdict
from .._hyper import POSITIVE, Range, value_at
from .._params import Parameter, Params
from .._rule import Rule
from .._typing import Grads, Nonfinite, Number
from .clipping import Guard
from .fastpath import fast_step
from .groups import checked_flag, decaying
from .loss_scale import LossScale
from .plan import Bound, Memory, Update, first_states
from .state import Stateful, remembered

__all__ = ["Optimizer"]

Array = np.ndarray[Any, np.dtype[Any]]


class Optimizer(Stateful):
    """Parameters, their state, and a step: the base of all optimizers.

    Made by a subclass such as `Adam`, or by ``gnumba.optimizer`` for a rule of your own.

    Attributes
    ----------
    rule : Rule
        The scalar update rule.
    t : int
        Steps taken.
    skipped : int
        Steps that were not taken, for inf or nan in the gradients (``nonfinite="skip"``). On a CUDA
        device, whether the last one was is heard when this or ``t`` is read, or at the next step.
    grad_norm : float, array of shape () or None
        The last step's norm of all gradients, before clipping and after ``grad_scale``; None where
        nothing asked for it (neither ``max_norm`` nor ``nonfinite``). For CUDA arrays it stays on
        the device, an array of their kind: ``float(opt.grad_norm)`` waits for it.
    groups : list of dict
        The groups: ``"params"``, ``"name"`` and the hyperparameters, which may be changed.
    lr, weight_decay, … : float
        Every hyperparameter by its name: its value in the next step (the first group's). Setting one
        sets every group and replaces a schedule. Attributes that there are not cannot be set.
    maximize : bool
        Whether the steps ascend. It is fixed when the optimizer is made, as ``nesterov`` and
        ``decoupled`` are.

    Notes
    -----
    Parameters of float16 and bfloat16 are shown as the nearest to what they are in float32, which is what
    steps are taken on. A float16 has its float32 in the state ``"master"``, 4 bytes; a bfloat16 the other
    16 bits of it in ``"low_bits"``, 2 bytes. Their other states are float32. Whoever writes to such a
    parameter changes its master too.
    """

    ranges: Mapping[str, Range] = MappingProxyType({})
    is_corrected = False  # whether there are `corrections`
    memory: Mapping[str, float] = MappingProxyType({})  # what these remember, and its first values
    takes_narrow = True  # whether parameters may be of 16 bits, with masters

    def __init__(
        self,
        rule: Rule,
        params: Any,
        hyper: Mapping[str, Any],
        *,
        max_norm: Any = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: Any = None,
        **flags: bool,
    ) -> None:
        self._rule = rule
        self._compiled_rule = current(rule)  # as its parts are now; kept whatever becomes of them
        self._flags = {name: checked_flag(name, flag) for name, flag in flags.items()}
        self._t = self._skipped = 0
        self._verdict: Verdict = PLAIN
        self._pending: tuple[Answer, list[Parameter], list[Memory]] | None = None
        self._guard = Guard(max_norm, nonfinite)
        self._given, self._names = dict(hyper), tuple(hyper)  # for all groups
        self._params = Params(params, self.takes_narrow)
        self._groups = [self._group(k, part, hyper) for k, part in enumerate(self._params.parts)]
        self._decay_mask, self._decays = decay_mask, decaying([*self._params], decay_mask, self._names)
        self._guard.check_places(self._params)
        self._state = first_states(self.rule, self._params)
        count = len(self._params)
        self._missed = (0,) * count  # steps in which a parameter had no gradient
        self._lay_out(self._first_memories(count))

    # What a kind of optimizer adds.

    def complete(self, hyper: Mapping[str, Any]) -> Mapping[str, Any]:
        """The hyperparameters of a group, those that follow from others filled in."""
        return hyper

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        """The rule's scalars that follow from the hyperparameters alone."""
        return hyper

    def corrections(self, t: int, hyper: Mapping[str, Any], *_: Any, **memory: Any) -> Mapping[str, float]:
        """Those that depend on ``t`` too, the number of the update: bias corrections.

        Where the class declares a ``memory``, such as ``{"product": 1.0}``, they are given what the
        parameter's last update left, by name, and return beside the scalars what this one leaves.
        """
        return {}

    def scalars(self, t: int, /, **hyper: Any) -> Mapping[str, float]:
        """The rule's scalars for a parameter's ``t``-th update (1, 2, …), on the host in float64.

        A memory that is not given has its first value.
        """
        memory = {name: hyper.pop(name, first) for name, first in self.memory.items()}
        return {**self.constants(hyper), **self.corrections(t, hyper, **memory)}

    def lend(self, bound: Bound, verdict: Verdict) -> None:
        """Fill the arrays that the rule only reads, before anything is written that counts."""

    # The step.

    def step(self, grads: Grads, *, grad_scale: Number | LossScale = 1.0) -> None:
        """Update every parameter once, in place.

        Gradients are divided by ``grad_scale``; their norm is taken; they are clipped; then comes the
        rule: all but the norm in the one pass of the update.

        Parameters
        ----------
        grads : array, Rows, list, tuple or dict
            Gradients in the structure of ``params`` (for groups: a list, each entry in the
            structure of that group's ``"params"``), each of its parameter's shape and dtype; of
            float16 and bfloat16 parameters those of float32 will do too.
            ``None`` leaves that parameter and its state alone, ``Rows`` all rows but those it names.
            Gradients are never written.
        grad_scale : float or LossScale, default 1.0
            > 0: what the loss was multiplied by, or how many batches the gradients were summed over.
            A `LossScale` is told whether the step was taken, which makes ``nonfinite`` "skip".

        Raises
        ------
        ValueError
            If the structure, a name or a shape differs, a hyperparameter is out of range, the
            container no longer holds the arrays it was given, or a gradient shares memory with a
            parameter other than element for element with its own. Nothing has changed then.
        TypeError
            If a gradient is no array, or has another dtype than its parameter.
        IndexError
            If ``Rows`` name a row that there is not.
        FloatingPointError
            If a gradient holds inf or nan, with ``nonfinite="raise"``. Nothing has changed then.
        """
        scaled = type(grad_scale) is not float or grad_scale != 1.0
        scale = self._scale_of(grad_scale) if scaled else 1.0
        own = self.__dict__
        fast, own["_fast"] = own["_fast"], None  # for the while: a step that fails leaves none
        if fast is not None and fast(self, grads, scale):
            own["_fast"] = fast
            return
        self._settle()
        self._check_groups()
        held, gradients = self._params.held(), self._params.match("grads", grads)
        bound = self._plan.bind(held, gradients, self._missed)  # held to the end
        decided = self._decide(bound, gradients, scale)
        if decided is None:
            return
        verdict, memory = decided
        self.lend(bound, verdict)
        work = [(each.part(), each.scalars) for each in self._updates + bound.sparse]
        if versioned := self._params.versioned:
            increment_versions([p.given for p in versioned if p not in bound.missing])
        launch(work, verdict, (own.update, self._after(bound.missing, verdict, memory)))
        if not (any(bound) or self._plan.elsewhere):
            own["_fast"] = fast_step(self, scaled)

    def _scale_of(self, given: Any) -> float:
        """Divisor of a step's gradients."""
        if isinstance(given, LossScale):
            return given._begin(self)
        return float(value_at(self._t, "grad_scale", given, POSITIVE))

    def _decide(
        self, bound: Bound, gradients: tuple[Any, ...], scale: float
    ) -> tuple[Verdict, list[Memory]] | None:
        """Fill in the scalars of a step, and its gradients' factor, and what their memory is after it.

        None for a step that is skipped.
        """
        hyper = [group.values_at(self._t) for group in self._groups]
        verdict = self._guard.judge(self._plan, bound, gradients, scale, self._t)
        if verdict.go is False:
            self.__dict__.update(_verdict=verdict, _skipped=self._skipped + 1)
            return None
        by = self._turned(verdict.factor)
        left = [
            self._fill(update, hyper[update.group], memory, by)
            for update, memory in zip(self._updates, self._memory, strict=True)
        ]
        for update in bound.sparse:
            of_its_table = next(k for k, each in enumerate(self._updates) if update.members <= each.members)
            self._fill(update, hyper[update.group], self._memory[of_its_table], by)
        return verdict, left

    def _fill(self, update: Update, hyper: dict[str, Any], memory: Memory, by: Factor) -> Memory:
        """Set the scalars of an update for this step, and its gradients' factors; what it leaves."""
        hyper = self._groups[update.group].taken(hyper, update.decays)
        corrections = self.corrections(self._t + 1 - update.missed, hyper, **memory)
        pair = by.split(update.table.computed)
        if update.filled_from is hyper:
            update.correct(corrections)
            update.scale(pair)
        else:
            update.fill(hyper, {**self.constants(hyper), **corrections}, pair)
        return remembered(memory, corrections) if memory else memory

    def _turned(self, by: Factor) -> Factor:
        """A factor with the sign for ascent."""
        return -by if self._flags.get("maximize") else by

    def _after(self, missing: list[Parameter], verdict: Verdict, left: list[Memory]) -> dict[str, Any]:
        """Attributes after a step without gradients of these; whether it is taken, `_settle` may hear."""
        if verdict.go is None:
            return {"_verdict": verdict, "_pending": (verdict.later(), missing, left)}
        return {"_verdict": verdict} | self._taken(missing, left)

    def _taken(self, missing: list[Parameter], left: list[Memory]) -> dict[str, Any]:
        """Attributes that count a step, after which launches have these memories."""
        if not missing:
            return {"_t": self._t + 1, "_memory": left}
        without = {p.index for p in missing}
        missed = tuple(count + (k in without) for k, count in enumerate(self._missed))
        before, after = self._memories(self._memory), self._memories(left)
        memories = [before[k] if k in without else after[k] for k in range(len(missed))]
        return {"_t": self._t + 1} | self._launched(missed, memories)

    def _settle(self) -> None:
        """Count the previous step as taken or skipped, which may have to be waited for."""
        if self._pending:
            go, missing, left = self._pending
            counted = self._taken(missing, left) if go.read() else {"_skipped": self._skipped + 1}
            self.__dict__.update(counted, _pending=None)

    @property
    def skipped(self) -> int:
        """Steps that were not taken, for inf or nan in the gradients."""
        self._settle()
        return self._skipped

    @property
    def grad_norm(self) -> Any:
        """The last step's norm of all gradients, or None; on a device an array there, and no waiting."""
        return self._verdict.norm_like(self._params[0].given)

    # Parameters.

    def _grow(self, params: Params, added: list[Parameter], decays: tuple[bool, ...]) -> None:
        """Take up more parameters, the last of these, and which of them decay."""
        self._settle()
        states = first_states(self.rule, added)
        memories = self._memories(self._memory) + self._first_memories(len(added))
        self._params, self._decays = params, self._decays + decays
        self._state, self._missed = self._state + states, self._missed + (self._t,) * len(added)
        self._lay_out(memories)
