"""An optimizer of a rule of your own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .._hyper import NOT_NEGATIVE
from .._rule import Rule
from .._suggest import nearest, suggesting
from .._typing import DecayMask, Nonfinite, Params
from .optimizer import Optimizer

__all__ = ["optimizer"]


class RuleOptimizer(Optimizer):
    """An optimizer of a user's rule; see `optimizer`."""

    ranges = MappingProxyType({"lr": NOT_NEGATIVE})

    def __init__(
        self,
        rule: Rule,
        params: Any,
        scalars: Callable[..., Mapping[str, float]] | None,
        hyper: Mapping[str, Any],
        **guard: Any,
    ) -> None:
        self._to_scalars, self.is_corrected = scalars, scalars is not None
        self._defaults = rule.defaults
        super().__init__(rule, params, {**({} if scalars else rule.defaults), **hyper}, **guard)
        given = set(self.scalars(1, **self.groups[0].values_at(0)))
        if (scalars is None and given != set(rule.scalars)) or not given >= set(rule.scalars):
            unknown = sorted(given - set(rule.scalars))
            near = nearest(unknown[0], set(rule.scalars) - given) if unknown else ""
            raise TypeError(
                f"{'hyperparameters are' if scalars is None else 'scalars returns'} {sorted(given)}, "
                f"expected those of {rule.title}: {list(rule.scalars)}{near}"
            )

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return hyper if self._to_scalars is None else self._defaults

    def corrections(self, t: int, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        return {} if self._to_scalars is None else self._to_scalars(t, **hyper)


def _check_names(rule: Rule, scalars: Callable[..., Any] | None, hyper: Mapping[str, Any]) -> None:
    """TypeError if one name would stand for two things: a hyperparameter and an argument beside it."""
    taken = [p.name for p in inspect.signature(optimizer).parameters.values() if p.kind is not p.VAR_KEYWORD]
    if both := [name for name in (*hyper, *(() if scalars else rule.scalars)) if name in (*taken, "name")]:
        raise TypeError(
            f"{rule.title} has a hyperparameter called {both[0]!r}, which gnumba.optimizer takes for "
            "another thing: rename it in the rule, or map another name to it with scalars="
        )
    first = next(iter(inspect.signature(scalars).parameters.values()), None) if scalars else None
    if first is not None and first.name in hyper and first.kind is first.POSITIONAL_OR_KEYWORD:
        raise TypeError(
            f"{first.name} is a hyperparameter and the first argument of scalars, the count of updates: "
            f"call that one something else, or write scalars({first.name}, /, ...)"
        )


@suggesting
def optimizer(
    rule: Rule,
    params: Params,
    *,
    scalars: Callable[..., Mapping[str, float]] | None = None,
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
        a kernel cannot be made of it.

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
    """
    if not isinstance(rule, Rule):
        raise TypeError(f"rule is {rule!r}, expected a rule made by gnumba.rule")
    _check_names(rule, scalars, hyper)
    return RuleOptimizer(
        rule, params, scalars, hyper,
        max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask, maximize=maximize,
    )  # fmt: skip
