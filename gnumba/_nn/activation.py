"""The Activation object: a scalar function and its derivative, for arrays."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any, overload

import numpy as np

from .._engine.apply import apply
from .._engine.compile.snapshot import current
from .._engine.compile.ufunc import ufunc
from .._engine.view import Scalars
from .._rule import Compilable, Elementwise, defaults_of, scalar_function
from .._suggest import no_argument, suggesting
from .._typing import FloatArray

__all__ = ["Activation", "activation"]

Scalar = Callable[..., Any]
Array = Any  # whatever operand takes
ARRAYS = ("x", "dy", "y", "out")  # what an activation's functions take besides hyperparameters


class Activation(Compilable):
    """An elementwise function with its derivative, for arrays of any shape, strides and kind.

    Made by ``gnumba.activation``. Calling it computes f(x):

    ``act(x, *hyperparameters, out=None)``
        ``x`` is an array of float32 or float64, or what NumPy makes one of (integers, bools and
        lists become float64); hyperparameters are numbers, by position or name. ``out`` has x's
        shape and dtype, may be ``x``, and is what is returned.

    Attributes
    ----------
    rule : callable
        The scalar Python function that everything here was made from.
    """

    @suggesting
    def __init__(
        self,
        fn: Scalar,
        derivative: Scalar,
        derivative_from_y: Scalar | None = None,
        *,
        from_y_if: Callable[..., bool] = lambda *hyperparameters: True,
        init: str | None = None,
        doc: str | None = None,
    ) -> None:
        arrays, parameters = _read_signature(fn)
        names = tuple(p.name for p in parameters)
        super().__init__(Elementwise(fn, arrays, ("y",), names, title="activation {!r}"))
        if (fn.__module__ or "").startswith("gnumba."):
            self.__module__ = "gnumba"  # where the public object is found
        self._signature = inspect.Signature([p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters])
        self.__signature__ = called_with(arrays, *self._signature.parameters.values())
        defaults = defaults_of(self._title, parameters)
        given = len(defaults) == len(names)
        self._defaults = np.array(list(defaults.values()), np.float64) if given else None
        self._numbers = functools.lru_cache(maxsize=64)(self._read_numbers)
        title = f"the derivative of {self._title}"
        gradients, backward = tuple(f"d{name}" for name in arrays), _times(derivative, len(arrays))
        self._derivative = Elementwise(derivative, arrays, gradients, names, title=title)
        self._backward = Elementwise(backward, ("dy", *arrays), gradients, names, title=title)
        self._backward_from_y = derivative_from_y and Elementwise(
            _times(derivative_from_y, 1), ("dy", "y"), ("dx",), names, title=title
        )
        self._from_y_if = from_y_if
        self._init = init
        self.__doc__ = doc or fn.__doc__

    @property
    def _functions(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile: f, f′ and the backward rules."""
        made = (self._kernel, self._derivative, self._backward, self._backward_from_y)
        return tuple(function for function in made if function is not None)

    @property
    def _functions_on_device(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile for arrays on a GPU."""
        return self._functions

    @property
    def rule(self) -> Scalar:
        """The scalar Python function that this was made from."""
        return self._kernel.fn

    @overload
    def __call__(self, x: FloatArray, *hyper: Any, out: Any = None, **named: Any) -> FloatArray: ...
    @overload
    def __call__(self, x: Any, *hyper: Any, out: Any = None, **named: Any) -> Any: ...
    def __call__(self, x: Array, *hyper: Any, out: Array = None, **named: Any) -> Any:
        """f(x)."""
        return apply(self._kernel, (x,), self._scalars(hyper, named), out)

    @overload
    def derivative(self, x: FloatArray, *hyper: Any, out: Any = None, **named: Any) -> FloatArray: ...
    @overload
    def derivative(self, x: Any, *hyper: Any, out: Any = None, **named: Any) -> Any: ...
    def derivative(self, x: Array, *hyper: Any, out: Array = None, **named: Any) -> Any:
        """f′(x), with the arguments of f.

        Parameters
        ----------
        x : array
            Where to take it; float32 or float64, any shape.
        *hyper, **named : float
            Hyperparameters, as in the activation itself.
        out : array, optional
            Where to write it; may be ``x``.

        Returns
        -------
        array
            Of x's kind, shape and dtype.
        """
        return apply(self._derivative, (x,), self._scalars(hyper, named), out)

    @overload
    def backward(
        self, dy: FloatArray, x: Any, *hyper: Any, y: Any = None, out: Any = None, **named: Any
    ) -> FloatArray: ...
    @overload
    def backward(self, dy: Any, x: Any, *hyper: Any, y: Any = None, out: Any = None, **named: Any) -> Any: ...
    def backward(
        self, dy: Array, x: Array, *hyper: Any, y: Array = None, out: Array = None, **named: Any
    ) -> Any:
        """dL/dx = dy · f′(x), in one pass.

        Parameters
        ----------
        dy : array
            dL/dy, of x's shape and dtype.
        x : array
            The input of the forward pass; None will do where ``y`` is used.
        *hyper, **named : float
            Hyperparameters, as in the activation itself.
        y : array, optional
            The result of the forward pass; sigmoid, tanh, ELU (α ≥ 0) and SELU use it in place of
            ``x``, the others do not look at it.
        out : array, optional
            Where to write it; may be ``dy``.

        Returns
        -------
        array
            Of dy's kind, shape and dtype.

        Raises
        ------
        TypeError
            If the arrays' dtypes differ or are no floats of 16, 32 or 64 bits.
        ValueError
            If their shapes differ.
        """
        scalars = self._scalars(hyper, named)
        if y is None or self._backward_from_y is None or not self._from_y_if(*scalars):
            return apply(self._backward, (dy, x), scalars, out)
        return apply(self._backward_from_y, (dy, y), scalars, out)

    def takes_y(self, *hyper: Any, **named: Any) -> bool:
        """Whether ``backward`` with these hyperparameters needs the result y, and not x.

        Parameters
        ----------
        *hyper, **named : float
            Hyperparameters, as in the activation itself.

        Returns
        -------
        bool
            True for sigmoid, tanh, ELU with α ≥ 0 and SELU.
        """
        return self._backward_from_y is not None and self._from_y_if(*self._scalars(hyper, named))

    @suggesting
    def ufunc(self, target: str = "cpu") -> Any:
        """The activation as a ``numba.vectorize`` ufunc; hyperparameters are further operands.

        Parameters
        ----------
        target : {"cpu", "parallel", "cuda"}
            What ``numba.vectorize`` compiles for; ``"cuda"`` needs a GPU.

        Returns
        -------
        numpy.ufunc-like
            With loops for float32 and float64, broadcasting and ``out=``.
        """
        return ufunc(self, target)

    def _scalars(self, hyper: tuple[Any, ...], named: dict[str, Any]) -> Scalars:
        """The hyperparameters as float64, in the order of the signature."""
        if not hyper and not named and self._defaults is not None:
            return self._defaults
        try:
            return self._numbers(*hyper, **named)
        except TypeError:  # wrong, or not to be remembered
            return self._read_numbers(*hyper, **named)

    def _read_numbers(self, *hyper: Any, **named: Any) -> Scalars:
        try:
            bound = self._signature.bind(*hyper, **named)
        except TypeError as error:
            unknown = next((name for name in named if name not in self._kernel.scalars), None)
            if unknown is not None:
                raise no_argument(self.name, unknown, [*self._kernel.scalars, *ARRAYS]) from None
            raise TypeError(f"{self.name}: {error}; it takes {self._described()}") from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if not isinstance(value, Real):
                raise TypeError(f"{self.name}: {name} is of type {type(value).__name__}, expected a number")
        return np.array(bound.args, np.float64)

    def _described(self) -> str:
        return ", ".join([*self._kernel.reads, *map(str, self._signature.parameters.values())])

    def __repr__(self) -> str:
        return f"<activation {self.name}({self._described()})>"

    def _unsettable(self, name: str) -> str:
        if name in self._kernel.scalars:
            return f"{self._title} has no attribute {name!r}: give it in the call, {self.name}(x, {name}=...)"
        return super()._unsettable(name)


class OwnActivation(Activation):
    """A user's activation: each call uses its functions as what they are made of is by then."""

    _frozen_as: type[Activation] = Activation

    def __init__(self, fn: Scalar, derivative: Scalar) -> None:
        super().__init__(fn, derivative)
        _check_derivative(self._title, fn, derivative)
        self._parts, self._built_in = (fn, derivative), False  # whosever the function is

    def _like(self, *parts: Scalar) -> Activation:
        return self._frozen_as(*parts)

    @property
    def _functions(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile, made from the current definitions of the user's functions."""
        return current(self)._functions  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **named: Any) -> Any:
        """f of its arrays."""
        return current(self)(*args, **named)

    def derivative(self, *args: Any, **named: Any) -> Any:
        return current(self).derivative(*args, **named)

    def backward(self, *args: Any, **named: Any) -> Any:
        return current(self).backward(*args, **named)

    derivative.__doc__, backward.__doc__ = Activation.derivative.__doc__, Activation.backward.__doc__


def _read_signature(fn: Scalar) -> tuple[tuple[str, ...], list[inspect.Parameter]]:
    """Arrays and hyperparameters of an activation's function: what stands before a slash are arrays."""
    parameters = list(inspect.signature(fn).parameters.values())
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or any(p.kind not in by_position for p in parameters):
        raise ValueError(
            f"activation {fn.__name__!r} has the signature {inspect.signature(fn)}, "
            "expected (x, hyperparameters ...) or (x, gate, /, hyperparameters ...), each by position"
        )
    count = max(1, sum(p.kind is p.POSITIONAL_ONLY for p in parameters))
    if taken := [p.name for p in parameters[1:] if p.name in ARRAYS]:
        kind = "an array" if taken[0] in [p.name for p in parameters[:count]] else "a hyperparameter"
        raise ValueError(
            f"activation {fn.__name__!r} has {kind} called {taken[0]!r}, expected another "
            "name: calls of an activation have arguments called so"
        )
    if defaults := [p.name for p in parameters[:count] if p.default is not p.empty]:
        raise ValueError(
            f"activation {fn.__name__!r} has a default for its array {defaults[0]}, expected none"
        )
    arrays = tuple(p.name for p in parameters[:count]) if count > 1 else ("x",)
    return arrays, parameters[count:]


def _check_derivative(title: str, fn: Scalar, derivative: Scalar) -> None:
    """ValueError unless the derivative takes what the function does, in its order."""
    signature, own = inspect.signature(derivative), inspect.signature(fn)
    try:
        bound = signature.bind(*own.parameters)
        theirs, ours = list(bound.arguments), list(own.parameters)
        fits = theirs == ours or set(theirs) != set(ours)  # names may differ, the order of names may not
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(
            f"the derivative of {title} has the signature {signature}, expected that of the function, {own}"
        )


def called_with(arrays: tuple[str, ...], *hyper: inspect.Parameter) -> inspect.Signature:
    """The signature of a call: arrays, hyperparameters, and where to write."""
    given = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in arrays]
    out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    return inspect.Signature([*given, *hyper, out])


def _times(derivative: Scalar, arrays: int) -> Scalar:
    """The backward rule of a derivative, which has a value an array."""

    def of_one(dy: float, x: float, *hyper: float) -> float:
        return dy * derivative(x, *hyper)  # type: ignore[no-any-return]

    def of_two(dy: float, x: float, gate: float, *hyper: float) -> tuple[float, float]:
        to_x, to_gate = derivative(x, gate, *hyper)
        return dy * to_x, dy * to_gate

    backward: Scalar = of_one if arrays == 1 else of_two
    backward.__name__ = f"{derivative.__name__}_backward"
    return backward


@suggesting
def activation(*misplaced: Any, derivative: Scalar | None = None) -> Callable[[Scalar], Activation]:
    """Make an activation of a scalar function and its derivative.

    What the two are made of, the globals, helpers, closure cells and defaults that they name, is
    looked at in each call: after one of them is redefined, the next call uses the new one. A ufunc
    stays what it was made of.

    Parameters
    ----------
    derivative : callable
        f′, a scalar function with the arguments of f; of two arrays it returns a tuple of both
        derivatives.

    Returns
    -------
    callable
        A decorator: the function it decorates becomes an `Activation`, with backward, ufuncs and
        every target; arguments after the first are hyperparameters. Of ``def f(x, gate, /, beta)``,
        with a slash, those before it are two arrays of one shape, and what is made is a `Gated`.

    Raises
    ------
    TypeError
        If there is no derivative, one of the two is no function written in Python, or a default is
        no number.
    ValueError
        If the function's signature is not (x, hyperparameters ...) or (x, gate, /, hyperparameters ...),
        or the derivative's differs.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> @gn.activation(derivative=lambda x, beta: 2.0 * beta * x)
    ... def scaled_square(x, beta=1.0):
    ...     "β·x²"
    ...     return beta * x * x
    >>> scaled_square(np.array([1.0, -2.0]), beta=3.0)
    array([ 3., 12.])
    >>> scaled_square.backward(np.ones(2), np.array([1.0, -2.0]))
    array([ 2., -4.])

    Of two arrays:

    >>> @gn.activation(derivative=lambda x, gate, beta: (beta * gate, beta * x))
    ... def scaled_product(x, gate, /, beta=1.0):
    ...     return beta * x * gate
    >>> scaled_product.backward(np.ones(2), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    (array([3., 4.]), array([1., 2.]))
    """
    if misplaced or derivative is None:
        raise TypeError(
            "gnumba.activation takes the derivative by name and decorates the function: "
            "@gnumba.activation(derivative=...)"
        )
    made = scalar_function("derivative", derivative)

    def decorate(fn: Scalar) -> Activation:
        from .gated import OwnGated  # made of what this module defines

        scalar = scalar_function("the decorated function", fn)
        arrays, _ = _read_signature(scalar)
        return OwnActivation(scalar, made) if len(arrays) == 1 else OwnGated(scalar, made)

    return decorate
