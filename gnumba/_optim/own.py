"""An optimizer of a rule of your own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .._hyper import FINITE, NOT_NEGATIVE, number
from .._rule import Rule
from .._suggest import nearest, suggesting
from .._typing import DecayMask, Nonfinite, Params
from .optimizer import Optimizer
from .state import remembered

__all__ = ["optimizer"]


class RuleOptimizer(Optimizer):
    """An optimizer of a user's rule; see `optimizer`."""

    ranges = MappingProxyType({"lr": NOT_NEGATIVE})

    def __init__(
        self,
        rule: Rule,
        params: Any,
        scalars: Callable[..., Mapping[str, float]] | None,
        memory: Mapping[str, float],
        hyper: Mapping[str, Any],
        **guard: Any,
    ) -> None:
        self._to_scalars, self.is_corrected, self.memory = scalars, scalars is not None, memory
        self._defaults = rule.defaults
        super().__init__(rule, params, {**({} if scalars else rule.defaults), **hyper}, **guard)
        given = set(self.scalars(1, **self.groups[0].values_at(0)))
        remembered(dict(memory), dict.fromkeys(given, 0.0))
        expected = set(rule.given)
        if (scalars is None and given != expected) or not given >= expected:
            unknown = sorted(given - expected)
            near = nearest(unknown[0], expected - given) if unknown else ""
            raise TypeError(
                f"{'hyperparameters are' if scalars is None else 'scalars returns'} {sorted(given)}, "
                f"expected those of {rule._title}: {list(rule.given)}{near}"
            )

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return hyper if self._to_scalars is None else self._defaults

    def corrections(self, t: int, hyper: Mapping[str, Any], **memory: float) -> Mapping[str, float]:
        return {} if self._to_scalars is None else self._to_scalars(t, **memory, **hyper)


def _check_names(rule: Rule, scalars: Callable[..., Any] | None, hyper: Mapping[str, Any]) -> None:
    """TypeError if one name would stand for two things: a hyperparameter and an argument beside it."""
    taken = [p.name for p in inspect.signature(optimizer).parameters.values() if p.kind is not p.VAR_KEYWORD]
    if both := [name for name in (*hyper, *(() if scalars else rule.scalars)) if name in (*taken, "name")]:
        raise TypeError(
            f"{rule._title} has a hyperparameter called {both[0]!r}, which gnumba.optimizer takes for "
            "another thing: rename it in the rule, or map another name to it with scalars="
        )
    first = next(iter(inspect.signature(scalars).parameters.values()), None) if scalars else None
    if first is not None and first.name in hyper and first.kind is first.POSITIONAL_OR_KEYWORD:
        raise TypeError(
            f"{first.name} is a hyperparameter and the first argument of scalars, the count of updates: "
            f"call that one something else, or write scalars({first.name}, /, ...)"
        )


def _checked_memory(rule: Rule, memory: Any, scalars: Any, hyper: Mapping[str, Any]) -> dict[str, float]:
    """First values by name, as floats; checked."""
    if memory is None:
        return {}
    if not isinstance(memory, Mapping):
        raise TypeError(f"memory is {memory!r}, expected a dict of names and first values")
    if scalars is None:
        raise TypeError(f"memory is {memory!r} without scalars, which would return its new values")
    if both := [name for name in memory if name in ("updates", "master", "low_bits", *rule.state, *hyper)]:
        raise TypeError(
            f"memory has the name {both[0]!r}, which is a hyperparameter's, a state's, a master's or the "
            "count of updates: call it something else"
        )
    return {str(name): number(f"memory[{name!r}]", value, FINITE) for name, value in memory.items()}


@suggesting
def optimizer(
    rule: Rule,
    params: Params,
    *,
    scalars: Callable[..., Mapping[str, float]] | None = None,
    memory: Mapping[str, float] | None = None,
    max_norm: Any = None,
    nonfinite: Nonfinite = "apply",
    decay_mask: DecayMask = None,
    maximize: bool = False,
    **hyper: Any,
) -> Optimizer:
    """A full optimizer of any update rule: every target, groups, clipping, schedules, state.

    Parameters
    ----------
    rule : Rule
        Made by ``gnumba.rule``.
    params : array, list, tuple, dict, or list of groups
        What to update, in place.
    scalars : callable, optional
        ``scalars(t, **hyper) -> dict`` maps the hyperparameters to the rule's scalars, once a
        step, on the host, in float64; ``t`` is 1 for a parameter's first update. Without it the
        hyperparameters are the scalars.
    memory : dict, optional
        Names and first values of numbers that ``scalars`` remembers from update to update, such as
        ``{"product": 1.0}``: it is called as ``scalars(t, product=..., **hyper)`` with what that
        parameter's last update left, and returns the new ``"product"`` beside the scalars. They are
        each parameter's own, saved with its state, and as they were where a step is not taken.
    max_norm, nonfinite, decay_mask, maximize
        As in the built-in optimizers: clipping, what inf and nan do, ascent; which parameters decay, for a
        rule with a hyperparameter ``weight_decay``.
    **hyper : float or callable
        Hyperparameters; a callable is a schedule of the steps taken. One that is not given has the
        default in the rule's signature.

    Returns
    -------
    Optimizer

    Raises
    ------
    TypeError
        If ``rule`` is no rule, or its scalars are not those that ``hyper`` and ``scalars`` give, or
        a kernel cannot be made of it, or ``memory`` has the name of something else.
    ValueError
        If ``scalars`` does not return what ``memory`` names.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> @gn.rule
    ... def lion(p, g, m, /, lr, beta1, beta2):
    ...     "Lion. Chen et al. 2023, arXiv:2302.06675."
    ...     u = beta1 * m + (1.0 - beta1) * g
    ...     return p - lr * gn.elementary.sign(u), beta2 * m + (1.0 - beta2) * g
    >>> w = np.array([1.0, -1.0])
    >>> opt = gn.optimizer(lion, w, lr=0.25, beta1=0.9, beta2=0.99)
    >>> opt.step(np.array([3.0, -2.0]))
    >>> w
    array([ 0.75, -0.75])

    Bias correction that stays right where β is a schedule: 1 − Πβ instead of 1 − βᵗ.

    >>> @gn.rule
    ... def corrected_mean(p, g, m, /, lr, beta, product):
    ...     m = beta * m + (1.0 - beta) * g
    ...     return p - lr * m / (1.0 - product), m
    >>> def scalars(t, *, product, lr, beta):
    ...     return {"lr": lr, "beta": beta, "product": product * beta}
    >>> w = np.array([1.0])
    >>> opt = gn.optimizer(
    ...     corrected_mean, w, scalars=scalars, memory={"product": 1.0},
    ...     lr=0.25, beta=gn.schedules.linear(0.5, 0.75, 10),
    ... )
    >>> for _ in range(3):
    ...     opt.step(np.array([1.0]))
    >>> w
    array([0.25])
    """
    if not isinstance(rule, Rule):
        raise TypeError(f"rule is {rule!r}, expected a rule made by gnumba.rule")
    if rule.lent:
        raise TypeError(f"rule is {rule!r}, whose {', '.join(rule.lent)} only its own optimizer fills")
    _check_names(rule, scalars, hyper)
    return RuleOptimizer(
        rule, params, scalars, _checked_memory(rule, memory, scalars, hyper), hyper,
        max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
    )  # fmt: skip
