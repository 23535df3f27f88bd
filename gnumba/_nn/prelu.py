"""PReLU, the activation with an array that is learned."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Never, overload

import numpy as np

from .. import rules
from .._engine.apply import apply, apply_summed
from .._engine.arrays import empty_like, operand
from .._engine.place import HOST, place_of
from .._engine.view import Scalars, broadcast
from .._rule import Elementwise
from .._suggest import no_argument, suggesting
from .._typing import FloatArray
from .activation import Activation, Array

__all__ = ["PReLU"]

PRELU = ("alpha", "x", "out")


class PReLU(Activation):
    """Leaky ReLU whose slope is learned: α is a number, or an array that broadcasts against x."""

    def __init__(self, init: str, doc: str) -> None:
        super().__init__(rules.prelu, rules.leaky_relu_derivative, init=init, doc=doc)
        both = rules.prelu_backward
        self._by_number = (
            self._kernel,
            self._derivative,
            Elementwise(both, ("dy", "x"), ("dx", "share"), ("alpha",)),
        )
        self._summed = Elementwise(both, ("dy", "x"), ("dx", "share"), ("alpha",), summed=True)
        self._by_array = (
            Elementwise(self.rule, ("x", "alpha"), ("y",)),
            Elementwise(self._derivative.fn, ("x", "alpha"), ("y",)),
            Elementwise(both, ("dy", "x", "alpha"), ("dx", "share")),
        )

    @property
    def _functions(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile for one α: f, f′ and the backward rule with the sum of dL/dα."""
        return (*self._by_number[:2], self._summed)

    @property
    def _functions_on_device(self) -> tuple[Elementwise, ...]:
        """Functions to compile for a GPU, where each element's share of dL/dα is written, then summed."""
        return self._by_number

    @overload  # type: ignore[override]
    def __call__(self, x: FloatArray, alpha: Any, *, out: Any = None) -> FloatArray: ...
    @overload
    def __call__(self, x: Any, alpha: Any, *, out: Any = None) -> Any: ...
    def __call__(self, x: Array, alpha: Any = None, *, out: Array = None, **unknown: Never) -> Any:
        """f(x, α)."""
        if alpha is None or unknown:  # looked at here, as a wrapper would take a tenth of a short call
            given = next(iter(unknown), None)
            raise TypeError("prelu() lacks alpha") if given is None else no_argument("prelu", given, PRELU)
        (function, _, _), slope, scalars = self._slope(x, alpha)
        return apply(function, (x, *slope), scalars, out, narrow=False)

    @overload  # type: ignore[override]
    def derivative(self, x: FloatArray, alpha: Any, *, out: Any = None) -> FloatArray: ...
    @overload
    def derivative(self, x: Any, alpha: Any, *, out: Any = None) -> Any: ...
    @suggesting
    def derivative(self, x: Array, alpha: Any, *, out: Array = None) -> Any:
        """∂f/∂x, with the arguments of f."""
        (_, function, _), slope, scalars = self._slope(x, alpha)
        return apply(function, (x, *slope), scalars, out, narrow=False)

    @overload  # type: ignore[override]
    def backward(
        self, dy: FloatArray, x: Any, alpha: Any, *, y: Any = None, out: Any = None
    ) -> tuple[FloatArray, Any]: ...
    @overload
    def backward(self, dy: Any, x: Any, alpha: Any, *, y: Any = None, out: Any = None) -> tuple[Any, Any]: ...
    @suggesting
    def backward(
        self, dy: Array, x: Array, alpha: Any, *, y: Array = None, out: Array = None
    ) -> tuple[Any, Any]:
        """(dL/dx, dL/dα), the latter summed in float64 over the axes that α was broadcast on.

        Parameters
        ----------
        dy, x : array
            dL/dy and the input of the forward pass, of one shape and dtype.
        alpha : float or array
            The slope; an array has x's dtype and broadcasts against x.
        y : array, optional
            The result of the forward pass; not needed.
        out : array, optional
            Where to write dL/dx; may be ``dy``.

        Returns
        -------
        tuple of array
            dL/dx like ``dy``, and dL/dα of α's shape.
        """
        (_, _, function), slope, scalars = self._slope(x, alpha)
        if not slope:  # one number, for which no element's share need be written
            dx, total = apply_summed(self._summed, (dy, x), scalars, out)
            if total is not None:
                return dx, HOST.as_alpha(total, x.dtype, alpha)
        seen = operand("dy", dy)
        share = empty_like(dy, seen)
        dx = apply(function, (dy, x, *slope), scalars, out, also=(share,), narrow=False)
        shape = tuple(np.shape(alpha))
        axes = None if math.prod(shape) == 1 else _summed_axes(share, shape)
        return dx, place_of(share).summed(share, axes, x, alpha)

    def _slope(self, x: Array, alpha: Any) -> tuple[Any, tuple[Array, ...], Scalars]:
        """The functions to use, and α among the arrays or among the scalars."""
        if type(alpha) is float or isinstance(alpha, Real):
            return self._by_number, (), self._scalars((alpha,), {})
        slope, x = operand("alpha", alpha), operand("x", x)
        if slope.dtype != x.dtype:
            raise TypeError(f"alpha has dtype {slope.dtype}, expected x's, {x.dtype}")
        try:
            spread = broadcast(slope, x.shape)
        except ValueError:
            raise ValueError(
                f"alpha has shape {slope.shape}, expected one that broadcasts to x's, {x.shape}"
            ) from None
        if (number := place_of(slope).number(slope)) is not None:
            return self._by_number, (), number
        return self._by_array, (spread,), np.empty(0)


def _summed_axes(share: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which an array of ``shape`` would be broadcast."""
    lead = share.ndim - len(shape)
    return tuple(k for k, n in enumerate(share.shape) if k < lead or shape[k - lead] != n)
