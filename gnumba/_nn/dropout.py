"""Dropout and alpha dropout: masks that are a function of a key, and are never stored."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, overload

import numpy as np

from .. import rules
from .._engine.apply import apply
from .._engine.view import Scalars
from .._hyper import FRACTION
from .._rule import Compilable, Elementwise
from .._suggest import suggesting
from .._typing import FloatArray
from ..rules.rectifiers import SELU_LAMBDA_ALPHA
from .activation import called_with

__all__ = ["Dropout", "alpha_dropout", "dropout"]

Array = Any  # whatever place.operand takes
_HYPER = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("rate", "key")]


class Dropout(Compilable):
    """A kind of dropout, for arrays of any shape, strides and kind.

    Attributes
    ----------
    rule : callable
        The scalar Python function that everything here was made from.
    """

    def __init__(
        self, fn: Callable[..., Any], constants: Callable[[float], tuple[float, ...]], doc: str
    ) -> None:
        super().__init__(Elementwise(fn, ("x",), ("y",), _scalars_of(fn), indexed=True))
        self.__module__, self.__doc__ = "gnumba", doc  # where the public object is found
        self.__signature__ = called_with(("x",), *_HYPER)
        self._constants = constants  # of a rate; the first is dy/dx of a unit that is kept
        scalars = _scalars_of(rules.dropout)
        self._backward = Elementwise(rules.dropout, ("dy",), ("dx",), scalars, indexed=True)

    @property
    def _functions(self) -> tuple[Elementwise, ...]:
        """Element-wise functions to compile: forward and backward."""
        return self._kernel, self._backward

    @property
    def rule(self) -> Callable[..., Any]:
        """The scalar Python function that this was made from."""
        return self._kernel.fn

    @overload
    def __call__(self, x: FloatArray, rate: float, key: Any, *, out: Any = None) -> FloatArray: ...
    @overload
    def __call__(self, x: Any, rate: float, key: Any, *, out: Any = None) -> Any: ...
    @suggesting
    def __call__(self, x: Array, rate: float, key: Any, *, out: Array = None) -> Any:
        """The forward pass."""
        threshold, words, constants = self._read(rate, key)
        return apply(self._kernel, (x,), _listed(threshold, *constants, *words), out)

    @overload
    def backward(self, dy: FloatArray, rate: float, key: Any, *, out: Any = None) -> FloatArray: ...
    @overload
    def backward(self, dy: Any, rate: float, key: Any, *, out: Any = None) -> Any: ...
    @suggesting
    def backward(self, dy: Array, rate: float, key: Any, *, out: Array = None) -> Any:
        """dL/dx of the forward pass with this rate and key, whose mask is computed again.

        Parameters
        ----------
        dy : array
            dL/dy, of x's shape.
        rate : float in [0, 1)
            As in the forward pass.
        key : int or tuple of int
            As in the forward pass.
        out : array, optional
            Where to write it; may be ``dy``.

        Returns
        -------
        array
            Of dy's kind, shape and dtype.
        """
        threshold, words, (slope, *_) = self._read(rate, key)
        return apply(self._backward, (dy,), _listed(threshold, slope, *words), out)

    def _read(self, rate: Any, key: Any) -> tuple[int, tuple[int, ...], tuple[float, ...]]:
        """The threshold, the key's words, the constants."""
        if not isinstance(rate, Real):
            raise TypeError(f"rate is {rate!r}, expected {FRACTION.words}")
        number = float(rate)
        if not FRACTION.lowest <= number <= FRACTION.highest:
            raise ValueError(f"rate is {number!r}, expected {FRACTION.words}")
        return round(number * 2**24), _words(key), self._constants(number)

    def __repr__(self) -> str:
        return f"<{self.name}(x, rate, key)>"

    def __reduce__(self) -> str:
        return self.__qualname__


def _scalars_of(fn: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the scalars, the parameters after the index and the element."""
    _, _, *scalars = inspect.signature(fn).parameters
    return tuple(scalars)


def _listed(*numbers: float) -> Scalars:
    return np.array(numbers, np.float64)


def _words(key: Any) -> tuple[int, ...]:
    """96 bits of a key's SHA-256, in words of 24: scalars reach a kernel as floats of the array's dtype."""
    numbers = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(number, Integral) and not isinstance(number, bool) for number in numbers):
        raise TypeError(f"key is {key!r}, expected an int or a tuple of ints")
    if not numbers:
        raise ValueError("key is (), expected an int or a tuple of at least one")
    text = ",".join(f"{int(number):x}" for number in numbers)
    digest = hashlib.sha256(text.encode()).digest()
    return tuple(int.from_bytes(digest[k : k + 3], "little") for k in (0, 3, 6, 9))


def _inverted(rate: float) -> tuple[float, ...]:
    """The factor that keeps the mean."""
    return (1.0 / (1.0 - rate),)


def _affine(rate: float) -> tuple[float, ...]:
    """a and b that keep mean 0 and variance 1, and what a dropped unit becomes."""
    low = -SELU_LAMBDA_ALPHA  # SELU's limit at −∞
    slope = ((1.0 - rate) * (1.0 + rate * low * low)) ** -0.5
    shift = -slope * rate * low or -0.0  # x + (−0) is x, zeros included
    return slope, shift, slope * low + shift


dropout = Dropout(
    rules.dropout,
    _inverted,
    doc="""Dropout: 0 with probability p, else x/(1 − p).

    Whether an element is dropped depends on the key, on the rate and on the element's position in C
    order: one key gives one mask on every target, for any number of threads, dtype and memory layout,
    and ``dropout.backward(dy, rate, key)`` needs no stored one. Each layer and each step takes a key
    of its own, ``(seed, layer, step)``. In evaluation, leave dropout out.

    Parameters
    ----------
    x : array
        float32 or float64, or what NumPy makes one of; any shape and strides.
    rate : float in [0, 1)
        The probability p, in steps of 2⁻²⁴.
    key : int or tuple of int
        Of any size and number; ``3`` is ``(3,)``, and is not ``(3, 0)``.
    out : array, optional
        Where to write the result; may be ``x``.

    Returns
    -------
    array
        Of x's kind, shape and dtype; dropped units are 0 whatever they were.

    Raises
    ------
    ValueError
        If ``rate`` is outside [0, 1), ``key`` is empty, or ``out`` has another shape.
    TypeError
        If ``rate`` is no number, ``key`` holds anything but ints, or a dtype is not supported.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014, "Dropout: a simple way to prevent
    neural networks from overfitting", JMLR 15. The bits are Philox4x32-10's: Salmon, Moraes, Dror &
    Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> seed, layer, step = 0, 1, 0
    >>> gn.dropout(np.ones(8), 0.5, (seed, layer, step))
    array([2., 2., 0., 2., 2., 2., 0., 2.])
    >>> gn.dropout.backward(np.ones(8), 0.5, (seed, layer, step))
    array([2., 2., 0., 2., 2., 2., 0., 2.])
    """,
)

alpha_dropout = Dropout(
    rules.alpha_dropout,
    _affine,
    doc="""Alpha dropout, for SELU: keeps mean 0 and variance 1.

    A unit becomes α′ = −λα, SELU's limit at −∞, with probability p; then all are mapped to a·x + b with
    a = ((1 − p)(1 + pα′²))^(−½) and b = −apα′. The mask is that of ``gnumba.dropout`` with the same rate
    and key. In evaluation, leave it out.

    Parameters
    ----------
    x : array
        float32 or float64, or what NumPy makes one of; any shape and strides.
    rate : float in [0, 1)
        The probability p, in steps of 2⁻²⁴; usually 0.05 to 0.1.
    key : int or tuple of int
        As in ``gnumba.dropout``.
    out : array, optional
        Where to write the result; may be ``x``.

    Returns
    -------
    array
        Of x's kind, shape and dtype.

    Raises
    ------
    ValueError
        If ``rate`` is outside [0, 1), ``key`` is empty, or ``out`` has another shape.
    TypeError
        If ``rate`` is no number, ``key`` holds anything but ints, or a dtype is not supported.

    References
    ----------
    Klambauer, Unterthiner, Mayr & Hochreiter 2017, arXiv:1706.02515.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> x = np.random.default_rng(0).standard_normal(100_000)
    >>> y = gn.alpha_dropout(x, 0.1, (0, 1, 0))
    >>> bool(abs(y.mean()) < 0.02), bool(abs(y.var() - 1) < 0.02)
    (True, True)
    """,
)
