"""Gated activations: elementwise functions of two arrays of one shape, the second of which is a gate."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import rules
from .._engine.apply import apply
from .._engine.arrays import empty_like, in_kind_of, operand
from .._engine.checks import check_out
from .._engine.libraries import count_writes
from .._engine.place import place_of
from .._engine.view import Scalars, geometry
from .._rule import Elementwise
from .activation import Activation, Array, OwnActivation, Scalar

__all__ = ["Gated", "geglu", "glu", "reglu", "swiglu"]


class Gated(Activation):
    """An elementwise function of two arrays with its derivatives, for arrays of any shape, strides and kind.

    Made by ``gnumba.activation`` of a function with two arguments before a slash. Calling it computes
    f(x, gate):

    ``act(x, gate, *hyperparameters, out=None)``
        ``x`` and ``gate`` are arrays of one shape and dtype, ``out`` too; it may be one of them.
    """

    def __init__(self, fn: Scalar, derivative: Scalar, *, doc: str | None = None) -> None:
        super().__init__(fn, derivative, doc=doc)
        if len(self._kernel.reads) != 2:
            raise ValueError(
                f"{self._title} has the arrays {', '.join(self._kernel.reads)}, expected one or two"
            )

    def __call__(
        self, x: Array = None, gate: Array = None, *hyper: Any, out: Array = None, **named: Any
    ) -> Any:
        """f(x, gate)."""
        if gate is None or x is None:
            raise self._lacks("", (x, gate))
        return apply(self._kernel, (x, gate), self._scalars(hyper, named), out)

    def derivative(
        self, x: Array = None, gate: Array = None, *hyper: Any, out: Any = None, **named: Any
    ) -> Any:
        """(∂f/∂x, ∂f/∂gate) in one pass, with the arguments of f.

        Parameters
        ----------
        x, gate : array
            Where to take them; of one shape and dtype, a float of 16, 32 or 64 bits.
        *hyper, **named : float
            Hyperparameters, as in the activation itself.
        out : tuple of two arrays, optional
            Where to write them.

        Returns
        -------
        tuple of array
            Of x's kind, shape and dtype.
        """
        if gate is None or x is None:
            raise self._lacks(".derivative", (x, gate))
        return _apply_to_two(self._derivative, (x, gate), self._scalars(hyper, named), out)

    def backward(
        self,
        dy: Array = None,
        x: Array = None,
        gate: Array = None,
        *hyper: Any,
        out: Any = None,
        **named: Any,
    ) -> Any:
        """(dL/dx, dL/dgate) in one pass.

        Parameters
        ----------
        dy, x, gate : array
            dL/dy and the inputs of the forward pass, of one shape and dtype.
        *hyper, **named : float
            Hyperparameters, as in the activation itself.
        out : tuple of two arrays, optional
            Where to write them; may be arrays that are read, but not one array twice.

        Returns
        -------
        tuple of array
            Of dy's kind, shape and dtype.

        Raises
        ------
        TypeError
            If the arrays' dtypes differ or are no floats of 16, 32 or 64 bits, or ``out`` is not a pair.
        ValueError
            If their shapes differ, or the arrays of ``out`` share elements.
        """
        if gate is None or x is None or dy is None:
            raise self._lacks(".backward", (x, gate, dy))
        return _apply_to_two(self._backward, (dy, x, gate), self._scalars(hyper, named), out)

    def _lacks(self, method: str, arrays: tuple[Array, ...]) -> TypeError:
        """The error of a call without all its arrays: x, the gate, dy."""
        names = (*self._kernel.reads, "dy")
        lacking = [name for name, given in zip(names, arrays, strict=False) if given is None]
        return TypeError(f"{self.name}{method}() lacks {' and '.join(lacking)}")

    def _unsettable(self, name: str) -> str:
        told = super()._unsettable(name)
        return told.replace(f"{self.name}(x, ", f"{self.name}({', '.join(self._kernel.reads)}, ")


class OwnGated(OwnActivation, Gated):
    """A user's gated activation."""

    _frozen_as = Gated


def _apply_to_two(function: Elementwise, inputs: tuple[Array, ...], scalars: Scalars, out: Any) -> Any:
    """Run a function with two outputs: made here, or the pair ``out``."""
    first = inputs[0]
    seen = first if type(first) is np.ndarray else operand(function.reads[0], first, narrow=True)
    if out is None:
        second = empty_like(first, seen)
        return apply(function, inputs, scalars, None, also=(second,)), in_kind_of(first, second)
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise TypeError(f"out is of type {type(out).__name__}, expected a tuple of two arrays")
    views = [check_out(f"out[{k}]", each, seen, narrow=True) for k, each in enumerate(out)]
    if np.shares_memory(geometry(views[0]), geometry(views[1])):
        raise ValueError("the two arrays of out share elements, expected one for each derivative")
    read = [operand(name, each, narrow=True) for name, each in zip(function.reads, inputs, strict=True)]
    if not any(np.may_share_memory(geometry(each), geometry(views[1])) for each in read):
        apply(function, inputs, scalars, out[0], also=(views[1],))
    else:  # both are written only when all has been read
        made = empty_like(first, seen)
        apply(function, inputs, scalars, out[0], also=(made,))
        place_of(made).copy(views[1], made)
    count_writes((out[1],))
    return tuple(out)


swiglu = Gated(
    rules.swiglu,
    rules.swiglu_derivative,
    doc="""SwiGLU, x·SiLU(gate). Shazeer 2020, arXiv:2002.05202.

    ``x`` and ``gate`` are two arrays of one shape, as a rule two products of one input;
    ``backward(dy, x, gate)`` returns (dL/dx, dL/dgate).

    Strengths: better than GELU in transformers of equal size. Weaknesses: two matrices for one.
    For: the feed-forward layers of language models. ≤ 4 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> x, gate = np.array([1.0, 2.0]), np.array([0.0, 1.0])
    >>> gn.swiglu(x, gate)
    array([0.        , 1.46211716])
    >>> gn.swiglu.backward(np.ones(2), x, gate)
    (array([0.        , 0.73105858]), array([0.5       , 1.85534102]))
    """,
)

geglu = Gated(
    rules.geglu,
    rules.geglu_derivative,
    doc="""GEGLU, x·GELU(gate), GELU with the normal distribution function. Shazeer 2020, arXiv:2002.05202.

    Strengths, weaknesses, arguments and use: as `swiglu`. ≤ 4 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.geglu(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    array([0.        , 1.68268949])
    """,
)

reglu = Gated(
    rules.reglu,
    rules.reglu_derivative,
    doc="""ReGLU, x·max(0, gate). Shazeer 2020, arXiv:2002.05202.

    Strengths: cheap; exact zeros. Weaknesses: no gradient where the gate is closed. Arguments and use:
    as `swiglu`. Exact to one rounding.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.reglu(np.array([1.0, 2.0]), np.array([-1.0, 3.0]))
    array([0., 6.])
    """,
)

glu = Gated(
    rules.glu,
    rules.glu_derivative,
    doc="""GLU, x·σ(gate). Dauphin, Fan, Auli & Grangier 2017, arXiv:1612.08083.

    Strengths: a linear path for the gradient. Weaknesses: two matrices for one. For: convolutions over
    sequences. Arguments: as `swiglu`. ≤ 3.5 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.glu(np.array([1.0, 2.0]), np.array([0.0, np.inf]))
    array([0.5, 2. ])
    """,
)
