"""A rule: a scalar Python function together with what its signature says of it (standard library only)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Elementwise", "Rule", "registry", "rule"]


class Elementwise:
    """A scalar function and the roles of its arguments: elements read, elements written, scalars.

    A name in both ``reads`` and ``writes`` is one array, updated in place. With ``summed``, the last
    name in ``writes`` is wanted as a sum only. With ``scaled``, the second name in ``reads`` is
    multiplied by a factor, which follows the scalars. With ``indexed``, the function's first argument
    is the element's index in C order, however the array lies in memory. This is all that the engine
    knows of the maths it compiles.
    """

    __qualname__: str

    def __init__(
        self,
        fn: Callable[..., Any],
        reads: tuple[str, ...],
        writes: tuple[str, ...],
        scalars: tuple[str, ...] = (),
        *,
        summed: bool = False,
        scaled: bool = False,
        indexed: bool = False,
    ) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.reads, self.writes, self.scalars = reads, writes, scalars
        self.summed, self.scaled, self.indexed = summed, scaled, indexed
        self.columns = reads + tuple(name for name in writes if name not in reads)
        self.switch = min(1, len(self.columns) - 1)  # a row without an array there is left alone

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The function itself, as plain Python."""
        return self.fn(*args, **named)

    @functools.cache  # noqa: B019  one small object a pair, for the life of the rule
    def onto(self, out: str, target: str) -> Elementwise:
        """The same function writing ``out`` over the array it reads as ``target``."""
        writes = tuple(target if name == out else name for name in self.writes)
        return Elementwise(
            self.fn, self.reads, writes, self.scalars, summed=self.summed, indexed=self.indexed
        )


class Rule(Elementwise):
    """An update rule: ``rule(p, g, *state, *scalars) -> (p, *state)``, callable as plain Python.

    Attributes
    ----------
    name : str
        The function's name, its key in ``gnumba.registry``.
    state : tuple of str
        Names of the state arrays, in the order of the signature.
    scalars : tuple of str
        Names of the per-step scalars, in the order of the signature.
    initial : dict
        First values of states that do not start at zero.
    """

    def __init__(self, fn: Callable[..., Any], initial: Mapping[str, float] | None = None) -> None:
        elements, scalars = _read_signature(fn)
        super().__init__(fn, elements, (elements[0], *elements[2:]), scalars, scaled=True)
        self.state = elements[2:]
        self.initial = dict(initial or {})
        if unknown := sorted(set(self.initial) - set(self.state)):
            raise ValueError(
                f"rule {self.name!r}: initial names {unknown}, "
                f"expected names of its state, {list(self.state)}"
            )

    def ufuncs(self, target: str = "cpu") -> Any:
        """The rule as ``numba.vectorize`` ufuncs, one an output: a named tuple ``(p, *state)``.

        Parameters
        ----------
        target : {"cpu", "parallel", "cuda"}
            What ``numba.vectorize`` compiles for; ``"cuda"`` needs a GPU.
        """
        from ._engine import ufunc  # the one upward step: a rule is plain Python until asked for this

        return ufunc.ufuncs(self, target)

    def __repr__(self) -> str:
        return f"<rule {self.name}({', '.join(self.reads)}, /, {', '.join(self.scalars)})>"

    def __reduce__(self) -> str:
        return self.__qualname__


registry: dict[str, Rule] = {}
"""Every update rule by name, users' own included."""


def rule(fn: Callable[..., Any] | None = None, *, initial: Mapping[str, float] | None = None) -> Any:
    """Make an update rule of a scalar function; its signature is the schema.

    ``def name(p, g, *state, /, *scalars)``: the parameter, its gradient and any number of states
    before the slash, the per-step scalars after it. It returns the new parameter and the new
    states, in that order.

    Parameters
    ----------
    fn : callable
        The scalar function: arithmetic, conditional expressions, ``gnumba.elementary``.
    initial : dict, optional
        First value of each state that does not start at zero.

    Returns
    -------
    Rule
        Callable as the function; also found in ``gnumba.registry``.

    Raises
    ------
    ValueError
        If the signature is not of that form, ``initial`` names no state, or the name belongs to
        a built-in rule.

    Examples
    --------
    >>> import gnumba as gn
    >>> @gn.rule
    ... def signed(p, g, /, lr):
    ...     "Step by the sign of the gradient."
    ...     return p - lr * gn.elementary.sign(g)
    >>> signed(1.0, -3.0, 0.25)
    1.25
    """
    if fn is None:
        return functools.partial(rule, initial=initial)
    made = Rule(fn, initial)
    former = registry.get(made.name)
    if former is not None and former.__module__ != fn.__module__ and _is_built_in(former):
        raise ValueError(f"rule name {made.name!r} belongs to a built-in rule, expected another")
    registry[made.name] = made
    return made


def _is_built_in(made: Rule) -> bool:
    return made.__module__.partition(".")[0] == __package__


def _read_signature(fn: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names before the slash, names after it."""
    parameters = inspect.signature(fn).parameters.values()
    elements = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
    scalars = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    if len(elements) < 2 or len(elements) + len(scalars) != len(parameters):
        raise ValueError(
            f"rule {fn.__name__!r} has the signature {inspect.signature(fn)}, expected "
            "(parameter, gradient, state ..., /, hyperparameters ...)"
        )
    return elements, scalars
