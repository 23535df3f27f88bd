"""The norm of gradients and what follows from it: clipping, and steps that are not taken."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._engine import checks
from .._engine.arrays import as_view
from .._engine.factor import ONE, factor
from .._engine.launch import launch
from .._engine.libraries import count_writes
from .._engine.norm import is_finite
from .._engine.place import PLAIN, Known, Place, Verdict, begin, place_of
from .._engine.table import Table
from .._hyper import LIMIT, restored, value_at
from .._params import Params
from .._rule import Elementwise
from .._suggest import suggesting
from .._tree import outline, read, structure
from ..rules.clipping import clipped, taken
from .plan import Bound, Plan
from .rows import Rows

__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]

Array = np.ndarray[Any, np.dtype[Any]]
SCALED = Elementwise(taken, ("old", "g"), ("old",), scaled=True)  # by the verdict's factor
CLIPPED = Elementwise(clipped, ("g",), ("g",), ("limit",))
POLICIES = ("apply", "skip", "raise")


class Guard:
    """Policy for large gradients (``max_norm``) and for inf and nan in gradients (``nonfinite``)."""

    def __init__(self, max_norm: Any, nonfinite: str) -> None:
        if nonfinite not in POLICIES:
            raise ValueError(f"nonfinite is {nonfinite!r}, expected one of {POLICIES}")
        if max_norm is not None and not callable(max_norm):
            value_at(0, "max_norm", max_norm, LIMIT)
        self.max_norm, self.nonfinite = max_norm, nonfinite

    @property
    def looks(self) -> bool:
        """Whether a step needs the norm."""
        return self.max_norm is not None or self.nonfinite != "apply"

    def restored(self, state: Any) -> Guard:
        """With the limit that was saved; a schedule stays the one that is here, None changes nothing."""
        if state is None:
            return self
        return Guard(restored("max_norm", self.max_norm, state), self.nonfinite)

    def check_places(self, params: Params) -> None:
        """ValueError if there is a norm to be taken of gradients in several places."""
        places = sorted({str(p.place) for p in params})
        if self.looks and len(places) > 1:
            name = "nonfinite" if self.max_norm is None else "max_norm"
            raise ValueError(f"{name} is given and parameters live in {places}, expected one place for all")

    def judge(self, plan: Plan, bound: Bound, gradients: tuple[Any, ...], scale: float, t: int) -> Verdict:
        """Whether to take the step after ``t``, and what all gradients are multiplied by."""
        if not self.looks:
            return PLAIN if scale == 1.0 else Known(factor(0.0, -1.0, scale))
        limit = -1.0 if self.max_norm is None else self.limit(t)
        tables = plan.tables + [update.table for update in bound.sparse]
        skip, before = self.nonfinite == "skip", plan.verdict
        verdict: Verdict = plan.judge(tables, 1, scale, limit, skip, before)
        plan.verdict = verdict
        if self.nonfinite == "raise" and not verdict.finite():
            raise _not_finite(plan.params, gradients, scale)
        return verdict

    def limit(self, t: int) -> float:
        """The largest norm that the step after ``t`` may have."""
        return math.inf if self.max_norm is None else value_at(t, "max_norm", self.max_norm, LIMIT)

    def __str__(self) -> str:
        """Arguments that differ from their defaults, formatted for an optimizer's repr."""
        limit = "" if self.max_norm is None else f", max_norm={self.max_norm}"
        return limit + ("" if self.nonfinite == "apply" else f", nonfinite={self.nonfinite}")


def _not_finite(params: Params, gradients: tuple[Any, ...], scale: float) -> FloatingPointError:
    pairs = zip(params, gradients, strict=True)
    seen = ((p.name, as_view(p.name, _values(g), narrow=True)) for p, g in pairs if g is not None)
    values = ((name, place_of(g).read(g)) for name, g in seen)
    bad = next((name for name, g in values if not is_finite(g, scale)), "all parameters together")
    return FloatingPointError(f"gradient of {bad} holds inf or nan, expected finite numbers")


@suggesting
def global_norm(grads: Any) -> Any:
    """The L2 norm of all gradients together, √Σg².

    One pass, accumulated in float64: 1e8 elements lose nothing, large values do not overflow, and any
    number of threads gives the same bits.

    Parameters
    ----------
    grads : array, Rows, list, tuple or dict
        Arrays of float32 or float64, or in host memory of float16 or bfloat16, of any shape and layout;
        lists and dicts may be nested. None is left out. Values of `Rows` that name a row more than once
        are summed first, as in a step.

    Returns
    -------
    float
        0.0 for no array; inf or nan if there is one. For CUDA arrays an array of shape () of their
        kind, float64, which nothing has waited for.

    Raises
    ------
    TypeError
        If something is no array.
    ValueError
        If `Rows` count from both ends of a parameter, whose length is not known here.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.global_norm({"w": np.array([[2.0, 3.0]]), "b": np.array([6.0])})
    7.0
    """
    named = _named(grads)
    arrays = [x.sums(k) if isinstance(x, Rows) else as_view(k, x, narrow=True) for k, x in named.items()]
    with _judged(arrays) as verdict:
        return verdict.norm_like(_first(named))


@suggesting
def clip_by_global_norm(grads: Any, max_norm: float) -> Any:
    """Scale all gradients, in place, so that their norm together is at most ``max_norm``.

    n = √Σg²; where n > max_norm every g is multiplied by max_norm/n; where n is not finite every g
    becomes nan. Inside a step this costs no pass of its own: see ``max_norm`` of the optimizers.

    Parameters
    ----------
    grads : array, Rows, list, tuple or dict
        As in `global_norm`; each writable, none sharing elements with another. Of `Rows` the values
        are scaled.
    max_norm : float
        > 0, usually 1.0 or 5.0; recurrent networks and long sequences need it.

    Returns
    -------
    float
        The norm before; for CUDA arrays an array of shape () of their kind, float64.

    Raises
    ------
    ValueError
        If ``max_norm`` is not positive, or a gradient is read-only or shares elements with another.
        Nothing has changed then.
    TypeError
        If something is no array.

    References
    ----------
    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> g = np.array([3.0, 4.0])
    >>> gn.clip_by_global_norm([g], 2.5), g
    (5.0, array([1.5, 2. ]))
    """
    limit = value_at(0, "max_norm", max_norm, LIMIT)
    named, arrays = _writable(grads)
    sums = [x.sums(k) if isinstance(x, Rows) else arrays[k] for k, x in named.items()]
    with _judged(sums, limit) as verdict:
        _scale([*arrays.values()], verdict)
        return verdict.norm_like(_first(named))


@suggesting
def clip_by_norm(grads: Any, max_norm: float) -> None:
    """Scale each gradient, in place, so that its own norm is at most ``max_norm``.

    Parameters
    ----------
    grads : array, list, tuple or dict
        As in `clip_by_global_norm`.
    max_norm : float
        > 0.

    Raises
    ------
    ValueError, TypeError
        As in `clip_by_global_norm`.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> a, b = np.array([3.0, 4.0]), np.array([0.5])
    >>> gn.clip_by_norm([a, b], 1.0)
    >>> a, b
    (array([0.6, 0.8]), array([0.5]))
    """
    limit = value_at(0, "max_norm", max_norm, LIMIT)
    named, arrays = _writable(grads)
    sums = [x.sums(k) if isinstance(x, Rows) else arrays[k] for k, x in named.items()]
    for measured, g in zip(sums, arrays.values(), strict=True):
        with _judged([measured], limit) as verdict:
            _scale([g], verdict)


@suggesting
def clip_by_value(grads: Any, limit: float) -> None:
    """Move every element into [−limit, limit], in place; nan stays nan.

    Parameters
    ----------
    grads : array, Rows, list, tuple or dict
        As in `clip_by_global_norm`. Where `Rows` name a row more than once, its sum is clipped, and stands
        where it is named first; after that the row has zeros.
    limit : float
        > 0.

    Raises
    ------
    ValueError, TypeError
        As in `clip_by_global_norm`.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> g = np.array([-3.0, 0.5, 2.0])
    >>> gn.clip_by_value(g, 1.0)
    >>> g
    array([-1. ,  0.5,  1. ])
    """
    bound = np.array([value_at(0, "limit", limit, LIMIT)])
    named, arrays = _writable(grads)
    merged = {k: x.merged(k) for k, x in named.items() if isinstance(x, Rows)}
    for name, values in merged.items():
        if values is not None:
            place_of(arrays[name]).copy(arrays[name], values)
    launch([(table, bound) for table in _begun(CLIPPED, [*arrays.values()])])


def _judged(arrays: list[Array], limit: float = -1.0) -> Verdict:
    """The norm of arrays, which live in one place, and the factor that brings it to ``limit``."""
    if not arrays:
        return Known(ONE, 0.0)
    tables = _begun(CLIPPED, arrays)
    checks.check_together({f"gradient {k}": table.rows[0][0] for k, table in enumerate(tables)})
    return place_of(arrays[0]).judge(tables, 0, limit=limit)


def _scale(arrays: list[Array], by: Verdict) -> None:
    """Multiply arrays, in place, by what a verdict says."""
    if by.factor != ONE or by.control:
        tables = _begun(SCALED, arrays)
        launch([(table, np.array(by.factor.split(table.computed))) for table in tables], by)


def _begun(function: Elementwise, arrays: list[Array]) -> list[Table]:
    """A table a dtype and place, on which work can begin; each array is every column."""
    alike: dict[tuple[Place, np.dtype[Any]], list[Array]] = {}
    for x in arrays:
        alike.setdefault((place_of(x), x.dtype), []).append(x)
    columns = len(function.columns)
    made = [Table(function, [(x,) * columns for x in members]) for members in alike.values()]
    begin(made, arrays)
    return made


def _writable(grads: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """All gradients by name, and the arrays that are about to be written, if they can be."""
    named = _named(grads)
    values = {name: _values(x) for name, x in named.items()}
    arrays = checks.check_updated("gradient", values, narrow=True).arrays
    count_writes(values.values())
    return named, arrays


def _first(named: dict[str, Any]) -> Any:
    """The first gradient, whose kind results have; None if there is none."""
    return next(map(_values, named.values()), None)


def _values(x: Any) -> Any:
    """The array in which a gradient's numbers are."""
    return x.values if isinstance(x, Rows) else x


def _named(grads: Any) -> dict[str, Any]:
    """Every array, or `Rows`, in nested containers, by where it is; None is left out."""
    grads = read(grads)
    tree = structure(grads)
    names = ["grads" + "".join(f"[{key!r}]" for key in path) for path in tree.paths]
    found = {name: x for name, x in zip(names, tree.held(grads), strict=True) if x is not None}
    for name, x in found.items():
        if not isinstance(x, Rows) and not hasattr(x, "shape"):
            raise TypeError(f"{name} is {outline(x)}, expected an array")
    return found
