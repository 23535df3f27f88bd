"""A rule: a scalar Python function together with what its signature says of it (standard library only)."""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from numbers import Real
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from ._suggest import nearest, suggesting

__all__ = ["Compilable", "Elementwise", "Rule", "registry", "rule"]


class Sealed(type):
    """The type of classes whose objects take no attributes once they are made."""

    if not TYPE_CHECKING:  # to a type checker a call is that of __init__

        def __call__(cls, *args: Any, **named: Any) -> Any:
            made = super().__call__(*args, **named)
            made.__dict__["_sealed"] = True
            return made

    @property
    def __signature__(cls) -> inspect.Signature:
        """That of ``__init__``, which `inspect.signature` would not look at, as there is a ``__call__``."""
        _, *parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
        return inspect.Signature(parameters)


class Elementwise:
    """A scalar function and the roles of its arguments: elements read, elements written, scalars.

    A name in both ``reads`` and ``writes`` is one array, updated in place. With ``summed``, the last
    name in ``writes`` is wanted as a sum only. With ``scaled``, the second name in ``reads`` is
    multiplied by a factor, which follows the scalars. With ``indexed``, the function's first argument
    is the element's index in C order, however the array lies in memory. The scalars named in ``normed``
    are norms, over a row, of the functions there. The arrays named in ``lent`` are only
    read: before each run the function there fills them, and then whoever runs it. This is all that the
    engine knows of the maths it compiles.
    """

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
        normed: Mapping[str, FunctionType] = MappingProxyType({}),
        lent: Mapping[str, Elementwise] = MappingProxyType({}),
        title: str = "rule {!r}",
    ) -> None:
        self.fn = fn
        self.name = fn.__name__
        self.title = title.format(self.name)  # what error messages call it
        self.reads, self.writes, self.scalars = reads, writes, scalars
        self.summed, self.scaled, self.indexed, self.normed = summed, scaled, indexed, normed
        self.lent = lent
        self.columns = reads + tuple(name for name in writes if name not in reads)
        self.switch = min(1, len(self.columns) - 1)  # a row without an array there is left alone
        self.symbol = re.sub(r"\W", "_", self.name)  # a lambda's too

    @functools.cached_property
    def norm_functions(self) -> tuple[Elementwise, ...]:
        """The functions that norms are of, each of all arguments of the rule."""
        return tuple(map(self._of_all_arguments, self.normed))

    def _of_all_arguments(self, name: str) -> Elementwise:
        """The function that a norm is of, which takes some of the arguments, as one that takes all."""
        fn, given = self.normed[name], (*self.reads, *self.scalars)
        inner = next(each for each in ("of", "_of", "__of") if each not in given)
        taken = ", ".join(inspect.signature(fn).parameters)
        source = f"def {name}({', '.join(given)}): return {inner}({taken})"
        code = fn.__code__
        scope: dict[str, Any] = {"__name__": fn.__module__, inner: fn}
        exec(compile("\n" * (code.co_firstlineno - 1) + source, code.co_filename, "exec"), scope)
        title = f"{name!r} in normed of {self.title}".replace("{", "{{").replace("}", "}}")
        return Elementwise(scope[name], self.reads, (name,), self.scalars, scaled=True, title=title)

    @functools.cache  # noqa: B019  one small object a pair, for the life of the function
    def onto(self, out: str, target: str) -> Elementwise:
        """In-place variant of the function: ``out`` is written over the array read as ``target``."""
        writes = tuple(target if name == out else name for name in self.writes)
        kinds: dict[str, Any] = {"summed": self.summed, "scaled": self.scaled, "indexed": self.indexed}
        return Elementwise(self.fn, self.reads, writes, self.scalars, **kinds, title=self.title)


class Compilable(metaclass=Sealed):
    """A rule or an activation: a name in a module, callable, with the function that kernels are made of.

    ``parts`` are the scalar functions to be frozen, if they are not that function alone.
    """

    __qualname__: str

    # Of a user's: its last frozen self (see _engine/compile/snapshot.py), or whose frozen self this is.
    _latest: Any = None
    _origin: Compilable | None = None
    _like: Callable[..., Compilable]  # a subclass: one of other functions

    def __init__(self, kernel: Elementwise, *parts: Any) -> None:
        functools.update_wrapper(self, kernel.fn)
        self.name = kernel.name
        self._kernel, self._title, self._parts = kernel, kernel.title, parts or (kernel.fn,)
        self._versions: dict[Any, Compilable] = {}
        # Whether nobody redefines what it is made of: gnumba's own, and what is frozen.
        self._built_in = (kernel.fn.__module__ or "").partition(".")[0] == __package__

    def _of(self, *parts: Any) -> Compilable:
        """Make an object like this of other functions: its own as they were at a time."""
        made = self._like(*parts)
        made._origin, made._built_in = self, True
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        if "_sealed" in self.__dict__ and not name.startswith("_"):
            raise AttributeError(self._unsettable(name))
        super().__setattr__(name, value)

    def _unsettable(self, name: str) -> str:
        known = [each for each in dir(self) if not each.startswith("_")]
        if name in known:
            return f"{name} of {self._title} cannot be set: make a new one"
        return f"{self._title} has no attribute {name!r}{nearest(name, known)}"

    def __copy__(self) -> Compilable:
        return self

    def __deepcopy__(self, memo: Any) -> Compilable:
        return self

    def __reduce__(self) -> Any:
        """By reference: module and name, where the object is found again; a frozen one by its origin."""
        if self._origin is not None:
            from ._engine.compile.snapshot import current

            return current, (self._origin,)
        name = f"{self.__module__}.{self.__qualname__}"
        if _found(self.__module__, self.__qualname__) is not self:
            raise pickle.PicklingError(
                f"{self._title} cannot be pickled, as it is not found as {name}: pickles hold rules and "
                "activations by name, so define it by that name at the top of a module"
            )
        return _unpickled, (self._title, self.__module__, self.__qualname__)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The function itself, as plain Python."""
        return self._kernel.fn(*args, **named)


def _found(module: str, qualname: str) -> Any:
    """Look up a dotted name in a module; None if either does not exist."""
    try:
        return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


def _unpickled(title: str, module: str, qualname: str) -> Any:
    """The rule or activation that a pickle names."""
    found = _found(module, qualname)
    if not isinstance(found, Compilable):
        raise pickle.UnpicklingError(
            f"the pickle refers to {title} as {module}.{qualname}, which this process does not have: "
            "define it in a module that can be imported here"
        )
    return found


def scalar_function(role: str, given: Any) -> FunctionType:
    """The Python function given, or that a rule, an activation or a compiled function is made of."""
    fn = given._kernel.fn if isinstance(given, Compilable) else getattr(given, "py_func", given)
    if not isinstance(fn, FunctionType):
        raise TypeError(f"{role} is {given!r}, expected a function written in Python")
    return fn


def defaults_of(what: str, parameters: list[inspect.Parameter]) -> dict[str, float]:
    """The defaults in a signature, by name; TypeError for one that is no number."""
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    for name, value in defaults.items():
        if not isinstance(value, Real):
            raise TypeError(f"{what} has the default {name}={value!r}, expected a number")
    return {name: float(value) for name, value in defaults.items()}


class Rule(Compilable):
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
    defaults : dict
        Values of scalars that ``gnumba.optimizer`` need not be given.
    normed : dict
        Those of the scalars that are norms, and the function that each is the norm of.
    given : tuple of str
        Names of the other scalars.
    lent : dict
        Arrays after the states that are only read, and the function that an optimizer of the rule's own
        begins to fill each with.
    """

    @suggesting
    def __init__(
        self,
        fn: Callable[..., Any],
        initial: Mapping[str, float] | None = None,
        normed: Mapping[str, Callable[..., Any]] | None = None,
        lent: Mapping[str, Elementwise] = MappingProxyType({}),
    ) -> None:
        elements, scalars, defaults = _read_signature(fn)
        norms = _checked_norms(f"rule {fn.__name__!r}", normed or {}, elements, scalars)
        state = tuple(name for name in elements[2:] if name not in lent)
        writes = elements[0], *state
        super().__init__(
            Elementwise(fn, elements, writes, scalars, scaled=True, normed=norms, lent=lent),
            fn,
            *norms.values(),
        )
        if (fn.__module__ or "").startswith(f"{__package__}.rules."):
            self.__module__ = f"{__package__}.rules"  # where pickles find it, whatever file it is in
        self.state, self.scalars, self.normed, self.lent = state, scalars, norms, lent
        self.given = tuple(name for name in scalars if name not in norms)
        self.defaults = {name: value for name, value in defaults.items() if name in self.given}
        first = {name: value for name, value in defaults.items() if name in self.state}
        self.initial = {**first, **(initial or {})}
        if unknown := sorted(set(self.initial) - set(self.state)):
            raise ValueError(
                f"rule {self.name!r}: initial names {unknown}, "
                f"expected names of its state, {list(self.state)}"
            )

    @suggesting
    def ufuncs(self, target: str = "cpu") -> Any:
        """The rule as ``numba.vectorize`` ufuncs, one an output: a named tuple ``(p, *state)``.

        Parameters
        ----------
        target : {"cpu", "parallel", "cuda"}
            What ``numba.vectorize`` compiles for; ``"cuda"`` needs a GPU.
        """
        from ._engine.compile import ufunc  # the one upward step: a rule is plain Python until asked for this

        return ufunc.ufuncs(self, target)

    def _like(self, *parts: Any) -> Rule:
        return Rule(parts[0], self.initial, dict(zip(self.normed, parts[1:], strict=True)), self.lent)

    def _unsettable(self, name: str) -> str:
        if name in self.scalars:
            return f"{self._title} has no attribute {name!r}: give {name} to gnumba.optimizer"
        return super()._unsettable(name)

    def __repr__(self) -> str:
        return f"<rule {self.name}({', '.join(self._kernel.reads)}, /, {', '.join(self.scalars)})>"


registry: dict[str, Rule] = {}
"""Every update rule by name, users' own included."""


@overload
def rule(fn: Callable[..., Any]) -> Rule: ...
@overload
def rule(
    *, initial: Mapping[str, float] | None = None, normed: Mapping[str, Callable[..., Any]] | None = None
) -> Callable[[Callable[..., Any]], Rule]: ...
@suggesting
def rule(
    fn: Callable[..., Any] | None = None,
    *,
    initial: Mapping[str, float] | None = None,
    normed: Mapping[str, Callable[..., Any]] | None = None,
) -> Any:
    """Make an update rule of a scalar function; its signature is the schema.

    ``def name(p, g, *state, /, *scalars)``: the parameter, its gradient and any number of states
    before the slash, the per-step scalars after it. It returns the new parameter and the new
    states, in that order. A scalar's default is what ``gnumba.optimizer`` uses where it is given
    none, a state's its first value.

    What the function is made of, the globals, helpers, closure cells and defaults that it names, is
    taken as it is when an optimizer is made, and kept by that optimizer and its copies: after one of
    them is redefined, new optimizers and ufuncs use the new one.

    Parameters
    ----------
    fn : callable
        The scalar function: arithmetic, conditional expressions, ``gnumba.elementary``.
    initial : dict, optional
        First value of each state that does not start at zero.
    normed : dict, optional
        Which of the scalars are norms of a whole parameter, and of what: ``{"p_norm": lambda p: p}`` gives
        the rule √Σp² as its scalar ``p_norm``. Such a function takes any of the rule's arguments, by their
        names, as they are before the update, and returns a number an element. A step reads a parameter's
        arrays once more for its norms, which are summed in float64, with the same bits for any number
        of threads. `Rows` have no such norm.

    Returns
    -------
    Rule
        Callable as the function; also found in ``gnumba.registry``.

    Raises
    ------
    TypeError
        If ``fn`` is no function written in Python, or a default is no number.
    ValueError
        If the signature is not of that form, ``initial`` names no state, ``normed`` no scalar, a function
        in it takes something else than the rule, or the name belongs to a built-in rule.

    Examples
    --------
    >>> import gnumba as gn
    >>> @gn.rule
    ... def signed(p, g, /, lr):
    ...     "Step by the sign of the gradient."
    ...     return p - lr * gn.elementary.sign(g)
    >>> signed(1.0, -3.0, 0.25)
    1.25

    A step of one length, whatever the gradient's:

    >>> import numpy as np
    >>> @gn.rule(normed={"g_norm": lambda g: g})
    ... def unit(p, g, /, lr, g_norm):
    ...     "Step along the normalised gradient."
    ...     return p - lr * g / g_norm
    >>> w = np.array([1.0, 2.0])
    >>> gn.optimizer(unit, w, lr=1.0).step(np.array([30.0, 40.0]))
    >>> w
    array([0.4, 1.2])
    """
    if fn is None:
        return functools.partial(rule, initial=initial, normed=normed)
    made = Rule(scalar_function("fn", fn), initial, normed)
    former = registry.get(made.name)
    if former is not None and former.__module__ != made.__module__ and _is_built_in(former):
        raise ValueError(f"rule name {made.name!r} belongs to a built-in rule, expected another")
    registry[made.name] = made
    return made


def _is_built_in(made: Rule) -> bool:
    return made.__module__.partition(".")[0] == __package__


def _checked_norms(
    title: str, normed: Mapping[str, Any], elements: tuple[str, ...], scalars: tuple[str, ...]
) -> dict[str, FunctionType]:
    """The functions that are normed, by the names of their norms."""
    if unknown := sorted(set(normed) - set(scalars)):
        raise ValueError(f"{title}: normed names {unknown}, expected names of its scalars, {list(scalars)}")
    functions = {name: scalar_function(f"normed[{name!r}]", given) for name, given in normed.items()}
    known = [name for name in (*elements, *scalars) if name not in normed]
    for name, fn in functions.items():
        taken = list(inspect.signature(fn).parameters)
        if not taken or not set(taken) <= set(known):
            near = "".join(nearest(each, known) for each in taken if each not in known)
            raise ValueError(f"{title}: normed[{name!r}] takes {taken}, expected some of {known}{near}")
    return functions


def _read_signature(fn: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, float]]:
    """Names before the slash, names after it, and their defaults."""
    parameters = list(inspect.signature(fn).parameters.values())
    elements = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
    scalars = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    what = f"rule {fn.__name__!r}"
    if len(elements) < 2 or len(elements) + len(scalars) != len(parameters):
        raise ValueError(
            f"{what} has the signature {inspect.signature(fn)}, expected "
            "(parameter, gradient, state ..., /, hyperparameters ...)"
        )
    defaults = defaults_of(what, parameters)
    if elements[1] in defaults:
        raise ValueError(f"{what} has a default for its gradient {elements[1]}, expected none")
    if "updates" in elements[2:]:  # beside the states in a state dict
        raise ValueError(f"{what} has a state called 'updates', the count of a parameter's updates")
    return elements, scalars, defaults
