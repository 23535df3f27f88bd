"""The Activation object, and the table of the public ones."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, Never, overload

import numpy as np

from .. import rules
from .._engine.apply import apply, apply_summed
from .._engine.arrays import empty_like, operand
from .._engine.compile.snapshot import current
from .._engine.compile.ufunc import ufunc
from .._engine.place import HOST, Scalars, place_of
from .._engine.view import broadcast
from .._rule import Elementwise, defaults_of, scalar_function
from .._suggest import no_argument, suggesting
from .._typing import FloatArray

__all__ = [
    "Activation",
    "activation",
    "elu",
    "leaky_relu",
    "prelu",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
]

Scalar = Callable[..., Any]
Array = Any  # whatever operand takes
PRELU = ("alpha", "x", "out")
ARRAYS = ("x", "dy", "y", "out")  # what an activation's functions take besides hyperparameters


class Activation(Elementwise):
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
        doc: str | None = None,
    ) -> None:
        parameters = _read_signature(fn)
        names = tuple(p.name for p in parameters[1:])
        super().__init__(fn, ("x",), ("y",), names, title="activation {!r}")
        if fn.__module__.startswith("gnumba."):
            self.__module__ = "gnumba"  # where the public object is found
        self._signature = inspect.Signature([p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters[1:]])
        self.__signature__ = called_with(*self._signature.parameters.values())
        defaults = defaults_of(self.title, parameters)
        given = len(defaults) == len(names)
        self._defaults = np.array(list(defaults.values()), np.float64) if given else None
        self._numbers = functools.lru_cache(maxsize=64)(self._read_numbers)
        title = f"the derivative of {self.title}"
        self._derivative = Elementwise(derivative, ("x",), ("y",), names, title=title)
        self._backward = Elementwise(_times(derivative), ("dy", "x"), ("dx",), names, title=title)
        self._backward_from_y = derivative_from_y and Elementwise(
            _times(derivative_from_y), ("dy", "y"), ("dx",), names, title=title
        )
        self._from_y_if = from_y_if
        self.__doc__ = doc or fn.__doc__

    @property
    def functions(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile: f, f′ and the backward rules."""
        made = (self, self._derivative, self._backward, self._backward_from_y)
        return tuple(function for function in made if function is not None)

    @property
    def functions_on_device(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile for arrays on a GPU."""
        return self.functions

    @property
    def rule(self) -> Scalar:
        """The scalar Python function that this was made from."""
        return self.fn

    @overload
    def __call__(self, x: FloatArray, *hyper: Any, out: Any = None, **named: Any) -> FloatArray: ...
    @overload
    def __call__(self, x: Any, *hyper: Any, out: Any = None, **named: Any) -> Any: ...
    def __call__(self, x: Array, *hyper: Any, out: Array = None, **named: Any) -> Any:
        """f(x)."""
        return apply(self, (x,), self._scalars(hyper, named), out)

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
            If the arrays' dtypes differ or are not float32 or float64.
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
            unknown = next((name for name in named if name not in self.scalars), None)
            if unknown is not None:
                raise no_argument(self.name, unknown, [*self.scalars, *ARRAYS]) from None
            raise TypeError(f"{self.name}: {error}; it takes x{self._described()}") from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if not isinstance(value, Real):
                raise TypeError(f"{self.name}: {name} is of type {type(value).__name__}, expected a number")
        return np.array(bound.args, np.float64)

    def _described(self) -> str:
        return "".join(f", {p}" for p in self._signature.parameters.values())

    def __repr__(self) -> str:
        return f"<activation {self.name}(x{self._described()})>"

    def _unsettable(self, name: str) -> str:
        if name in self.scalars:
            return f"{self.title} has no attribute {name!r}: give it in the call, {self.name}(x, {name}=...)"
        return super()._unsettable(name)


class OwnActivation(Activation):
    """A user's activation: each call uses its functions as what they are made of is by then."""

    def __init__(self, fn: Scalar, derivative: Scalar) -> None:
        super().__init__(fn, derivative)
        _check_derivative(self.title, fn, derivative)
        self.__dict__.update(parts=(fn, derivative), built_in=False)  # whosever the function is

    def _like(self, *parts: Scalar) -> Activation:
        return Activation(*parts)

    @property
    def functions(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile, made from the current definitions of the user's functions."""
        return current(self).functions  # type: ignore[no-any-return]

    def __call__(self, x: Array, *hyper: Any, out: Array = None, **named: Any) -> Any:
        """f(x)."""
        return current(self)(x, *hyper, out=out, **named)

    def derivative(self, x: Array, *hyper: Any, out: Array = None, **named: Any) -> Any:
        return current(self).derivative(x, *hyper, out=out, **named)

    def backward(
        self, dy: Array, x: Array, *hyper: Any, y: Array = None, out: Array = None, **named: Any
    ) -> Any:
        return current(self).backward(dy, x, *hyper, y=y, out=out, **named)

    derivative.__doc__, backward.__doc__ = Activation.derivative.__doc__, Activation.backward.__doc__


def _read_signature(fn: Scalar) -> list[inspect.Parameter]:
    """The parameters of an activation's function; ValueError unless they are x and hyperparameters."""
    parameters = list(inspect.signature(fn).parameters.values())
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or any(p.kind not in by_position for p in parameters):
        raise ValueError(
            f"activation {fn.__name__!r} has the signature {inspect.signature(fn)}, "
            "expected (x, hyperparameters ...), each by position"
        )
    if taken := [p.name for p in parameters[1:] if p.name in ("out", "dy", "x", "y")]:
        raise ValueError(
            f"activation {fn.__name__!r} has a hyperparameter called {taken[0]!r}, expected another "
            "name: calls of an activation have arguments called so"
        )
    return parameters


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


def called_with(*hyper: inspect.Parameter) -> inspect.Signature:
    """The signature of a call: an array, hyperparameters, and where to write."""
    x = inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature(
        [x, *hyper, inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)]
    )


def _times(derivative: Scalar) -> Scalar:
    """The backward rule of a derivative."""

    def backward(dy: float, x: float, *hyper: float) -> float:
        return dy * derivative(x, *hyper)  # type: ignore[no-any-return]

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
        f′, a scalar function with the arguments of f.

    Returns
    -------
    callable
        A decorator: the function it decorates becomes an `Activation`, with backward, ufuncs and
        every target; arguments after the first are hyperparameters.

    Raises
    ------
    TypeError
        If there is no derivative, one of the two is no function written in Python, or a default is
        no number.
    ValueError
        If the function's signature is not (x, hyperparameters ...), or the derivative's differs.

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
    """
    if misplaced or derivative is None:
        raise TypeError(
            "gnumba.activation takes the derivative by name and decorates the function: "
            "@gnumba.activation(derivative=...)"
        )
    made = scalar_function("derivative", derivative)
    return lambda fn: OwnActivation(scalar_function("the decorated function", fn), made)


class PReLU(Activation):
    """Leaky ReLU whose slope is learned: α is a number, or an array that broadcasts against x."""

    def __init__(self, doc: str) -> None:
        super().__init__(rules.prelu, rules.leaky_relu_derivative, doc=doc)
        both = rules.prelu_backward
        self._by_number = (
            self,
            self._derivative,
            Elementwise(both, ("dy", "x"), ("dx", "share"), ("alpha",)),
        )
        self._summed = Elementwise(both, ("dy", "x"), ("dx", "share"), ("alpha",), summed=True)
        self._by_array = (
            Elementwise(self.fn, ("x", "alpha"), ("y",)),
            Elementwise(self._derivative.fn, ("x", "alpha"), ("y",)),
            Elementwise(both, ("dy", "x", "alpha"), ("dx", "share")),
        )

    @property
    def functions(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile for one α: f, f′ and the backward rule with the sum of dL/dα."""
        return (*self._by_number[:2], self._summed)

    @property
    def functions_on_device(self) -> tuple[Elementwise, ...]:
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
        return apply(function, (x, *slope), scalars, out)

    @overload  # type: ignore[override]
    def derivative(self, x: FloatArray, alpha: Any, *, out: Any = None) -> FloatArray: ...
    @overload
    def derivative(self, x: Any, alpha: Any, *, out: Any = None) -> Any: ...
    @suggesting
    def derivative(self, x: Array, alpha: Any, *, out: Array = None) -> Any:
        """∂f/∂x, with the arguments of f."""
        (_, function, _), slope, scalars = self._slope(x, alpha)
        return apply(function, (x, *slope), scalars, out)

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
        dx = apply(function, (dy, x, *slope), scalars, out, also=(share,))
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


sigmoid = Activation(
    rules.sigmoid,
    rules.sigmoid_derivative,
    rules.sigmoid_derivative_from_y,
    doc="""Sigmoid, 1/(1 + e⁻ˣ), in (0, 1).

    Strengths: a probability; smooth. Weaknesses: saturates on both sides; not zero-centred.
    For: binary outputs, gates. Initialise with Xavier. ≤ 3 ulp in float32 and float64.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.sigmoid(np.array([-np.inf, 0.0, np.inf]))
    array([0. , 0.5, 1. ])
    """,
)

tanh = Activation(
    rules.tanh,
    rules.tanh_derivative,
    rules.tanh_derivative_from_y,
    doc="""Hyperbolic tangent, (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ), in [−1, 1].

    Strengths: zero-centred; smooth. Weaknesses: saturates on both sides.
    For: recurrent networks, bounded outputs. Initialise with Xavier. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.tanh(np.array([-np.inf, 0.0, np.inf]))
    array([-1.,  0.,  1.])
    """,
)

relu = Activation(
    rules.relu,
    rules.relu_derivative,
    doc="""ReLU, max(0, x); its derivative at 0 is 0. Nair & Hinton 2010.

    Strengths: cheap; does not saturate for x > 0. Weaknesses: units that stay below 0 learn no more.
    For: the default of hidden layers. Initialise with He.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """,
)

leaky_relu = Activation(
    rules.leaky_relu,
    rules.leaky_relu_derivative,
    doc="""Leaky ReLU: x, or negative_slope·x for x ≤ 0. Maas, Hannun & Ng 2013.

    Strengths: no dead units; cheap. Weaknesses: one more number to choose.
    For: GANs, recurrent networks. ``negative_slope=0.01``, usually 0.01 to 0.3. Initialise with He.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.leaky_relu(np.array([-2.0, 3.0]), 0.5)
    array([-1.,  3.])
    """,
)

prelu = PReLU(
    """PReLU: x, or αx for x ≤ 0, with a learned α. He et al. 2015, arXiv:1502.01852.

    ``alpha`` is a number or an array that broadcasts against x (one a channel); ``backward``
    returns (dL/dx, dL/dα).

    Strengths: fits its own slope. Weaknesses: parameters more; keep α out of weight decay with a
    group of its own. For: deep convolutional networks. α starts at 0.25 as a rule. Initialise with He.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> x, alpha = np.array([[-2.0, 3.0], [-4.0, -6.0]]), np.array([0.5, 0.25])
    >>> gn.prelu(x, alpha)
    array([[-1. ,  3. ],
           [-2. , -1.5]])
    >>> dx, dalpha = gn.prelu.backward(np.ones((2, 2)), x, alpha)
    >>> dalpha
    array([-6., -6.])
    """
)

elu = Activation(
    rules.elu,
    rules.elu_derivative,
    rules.elu_derivative_from_y,
    from_y_if=lambda alpha: alpha >= 0.0,
    doc="""ELU: x, or α(eˣ − 1) for x < 0, in (−α, ∞). Clevert et al. 2016, arXiv:1511.07289.

    Strengths: mean nearer to 0 than ReLU's; no dead units. Weaknesses: an exponential.
    For: deep networks without batch normalisation. ``alpha=1.0``, usually 0.5 to 1.5. Initialise
    with He. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.elu(np.array([-np.inf, 3.0]))
    array([-1.,  3.])
    """,
)

selu = Activation(
    rules.selu,
    rules.selu_derivative,
    rules.selu_derivative_from_y,
    doc="""SELU: λ·ELU with α = 1.67326… and λ = 1.05070…. Klambauer et al. 2017, arXiv:1706.02515.

    Strengths: keeps mean 0 and variance 1 from layer to layer. Weaknesses: only with LeCun normal
    weights, standardised inputs and alpha dropout. For: deep fully connected networks. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.selu(np.array([0.0, 1.0]))
    array([0.        , 1.05070099])
    """,
)

silu = Activation(
    rules.silu,
    rules.silu_derivative,
    doc="""SiLU or Swish, x·σ(x), in [−0.2785, ∞). Ramachandran, Zoph & Le 2017, arXiv:1710.05941.

    Strengths: smooth, not monotonic; often better than ReLU in deep nets. Weaknesses: an exponential.
    For: deep vision and language networks. Initialise with He. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.silu(np.array([-np.inf, 0.0]))
    array([-0.,  0.])
    """,
)
swish = silu
