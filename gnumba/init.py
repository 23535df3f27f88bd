"""First weights: arrays of random numbers, scaled so that a deep network starts well.

A weight used as ``x @ W`` has the shape (…, fan_in, fan_out); the leading axes are a convolution's
receptive field, and count in both fans. PyTorch's (out, in) weights are the transpose.

All take ``rng``, ``dtype`` and ``like``. ``rng`` is a NumPy ``Generator``, or a seed as
``numpy.random.default_rng`` takes it, which seeds anew at every call: layers that are to differ need
one generator for all. Numbers are drawn in float64 and then rounded, so float32 and float64 get the
same from one seed.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from ._engine.arrays import as_view, checked_dtype
from ._engine.place import placed
from ._hyper import ANY, FINITE, NOT_NEGATIVE, Range, generator, number
from ._narrow import rounded
from ._nn import activations
from ._nn.activation import Activation
from ._suggest import module_getattr, suggesting
from ._typing import Number, Seed, Shape

__all__ = [
    "constant",
    "for_activation",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
]

Array = np.ndarray[Any, np.dtype[Any]]
Weights = np.ndarray[Any, np.dtype[np.floating[Any]]]
Like = TypeVar("Like")


# What all have in common.


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, Integral) else shape
    if not isinstance(sizes, (tuple, list)) or not all(isinstance(n, Integral) for n in sizes):
        raise TypeError(f"shape is {shape!r}, expected whole numbers")
    if any(n < 0 for n in sizes):
        raise ValueError(f"shape is {shape!r}, expected sizes ≥ 0")
    return tuple(int(n) for n in sizes)


def _weight_sizes(shape: Any) -> tuple[int, ...]:
    sizes = _sizes(shape)
    if len(sizes) < 2:
        raise ValueError(f"shape is {shape!r}, expected at least two axes, (…, fan_in, fan_out)")
    return sizes


def _fans(shape: Any) -> tuple[int, int]:
    """fan_in and fan_out, at least 1: where one is 0, the array is empty and no scale matters."""
    *field, fan_in, fan_out = _weight_sizes(shape)
    return max(1, math.prod(field) * fan_in), max(1, math.prod(field) * fan_out)


def _made(draw: Callable[[np.random.Generator], Any], rng: Any, dtype: Any, like: Any) -> Any:
    """Draw numbers with ``draw``, and convert them to the dtype and kind of array asked for."""
    dtype = checked_dtype(dtype, narrow=True) if like is None else as_view("like", like, narrow=True).dtype
    made = rounded(draw(generator(rng)), dtype)
    return made if like is None or isinstance(like, np.ndarray) else placed(like, made)


def _uniform_of(std: float, shape: Any, rng: Any, dtype: Any, like: Any) -> Any:
    limit = math.sqrt(3.0) * std
    return uniform(shape, -limit, limit, rng=rng, dtype=dtype, like=like)


# Plain distributions.


@overload
def normal(
    shape: Shape, std: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def normal(shape: Shape, std: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: Like) -> Like: ...
@suggesting
def normal(
    shape: Shape, std: Number = 0.01, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """Normal numbers of mean 0.

    Parameters
    ----------
    shape : int or tuple of int
        Sizes ≥ 0.
    std : float, default 0.01
        Standard deviation, ≥ 0.
    rng : numpy.random.Generator or seed, optional
        Where the numbers come from; other ones every time if not given.
    dtype : dtype, default float32
        float32 or float64.
    like : array, optional
        The result is of its kind (a PyTorch tensor makes a tensor) and of its dtype, whatever
        ``dtype`` says.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If ``shape`` or ``std`` is out of range.
    TypeError
        If an argument is of another kind, or the dtype no float of 16, 32 or 64 bits.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.init.normal((2, 3), rng=0)
    array([[ 0.0012573 , -0.00132105,  0.00640423],
           [ 0.001049  , -0.00535669,  0.00361595]], dtype=float32)
    """
    sizes, std = _sizes(shape), number("std", std, NOT_NEGATIVE)
    return _made(lambda source: std * source.standard_normal(sizes), rng, dtype, like)


@overload
def uniform(
    shape: Shape, low: Number, high: Number, *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def uniform(
    shape: Shape, low: Number, high: Number, *, rng: Seed = ..., dtype: Any = ..., like: Like
) -> Like: ...
@suggesting
def uniform(
    shape: Shape, low: Number, high: Number, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """Uniform numbers between ``low`` and ``high``.

    Parameters
    ----------
    shape : int or tuple of int
        Sizes ≥ 0.
    low, high : float
        low ≤ high; as numbers are rounded to the dtype, both may occur.
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.init.uniform(3, -1.0, 1.0, rng=0)
    array([ 0.27392337, -0.46042657, -0.918053  ], dtype=float32)
    """
    sizes, low = _sizes(shape), number("low", low, FINITE)
    high = number("high", high, Range(f"a finite number ≥ low, {low!r}", low, FINITE.highest))
    return _made(lambda source: source.uniform(low, high, sizes), rng, dtype, like)


@overload
def constant(
    shape: Shape, value: Number, *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def constant(shape: Shape, value: Number, *, rng: Seed = ..., dtype: Any = ..., like: Like) -> Like: ...
@suggesting
def constant(
    shape: Shape, value: Number, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """One value everywhere: biases, PReLU's slopes.

    Parameters
    ----------
    shape : int or tuple of int
        Sizes ≥ 0.
    value : float
        Any number but nan.
    rng
        Not used: here so that all initialisers are called alike.
    dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.init.constant(3, 0.25)
    array([0.25, 0.25, 0.25], dtype=float32)
    """
    sizes, value = _sizes(shape), number("value", value, ANY)
    return _made(lambda source: np.full(sizes, value), rng, dtype, like)


# Scaled to the fans.


def _xavier(shape: Any, gain: Number) -> float:
    fan_in, fan_out = _fans(shape)
    return number("gain", gain, NOT_NEGATIVE) * math.sqrt(2.0 / (fan_in + fan_out))


@overload
def xavier_normal(
    shape: Shape, gain: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def xavier_normal(
    shape: Shape, gain: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: Like
) -> Like: ...
@suggesting
def xavier_normal(
    shape: Shape, gain: Number = 1.0, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """Xavier's or Glorot's: normal, variance gain² · 2/(fan_in + fan_out). For sigmoid and tanh.

    Parameters
    ----------
    shape : tuple of int
        (…, fan_in, fan_out).
    gain : float, default 1.0
        ≥ 0.
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`; ValueError for a shape of one axis.

    References
    ----------
    Glorot & Bengio 2010.

    Examples
    --------
    >>> import gnumba as gn
    >>> round(float(gn.init.xavier_normal((300, 100), rng=0).std()), 3)  # √(2/400) = 0.0707
    0.071
    """
    return normal(shape, _xavier(shape, gain), rng=rng, dtype=dtype, like=like)


@overload
def xavier_uniform(
    shape: Shape, gain: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def xavier_uniform(
    shape: Shape, gain: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: Like
) -> Like: ...
@suggesting
def xavier_uniform(
    shape: Shape, gain: Number = 1.0, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """`xavier_normal`'s variance, uniform: limit gain · √(6/(fan_in + fan_out)).

    Parameters
    ----------
    shape : tuple of int
        (…, fan_in, fan_out).
    gain : float, default 1.0
        ≥ 0.
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`; ValueError for a shape of one axis.

    References
    ----------
    Glorot & Bengio 2010.

    Examples
    --------
    >>> import gnumba as gn
    >>> round(float(gn.init.xavier_uniform((300, 100), rng=0).max()), 3)  # √(6/400) = 0.1225
    0.122
    """
    return _uniform_of(_xavier(shape, gain), shape, rng, dtype, like)


def _he(shape: Any, negative_slope: Number) -> float:
    slope = number("negative_slope", negative_slope, FINITE)
    return math.sqrt(2.0 / _fans(shape)[0]) / math.hypot(1.0, slope)


@overload
def he_normal(
    shape: Shape, negative_slope: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def he_normal(
    shape: Shape, negative_slope: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: Like
) -> Like: ...
@suggesting
def he_normal(
    shape: Shape, negative_slope: Number = 0.0, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """He's or Kaiming's: normal, variance 2/((1 + a²) · fan_in) for leaky slope a. For ReLU and its kin.

    Parameters
    ----------
    shape : tuple of int
        (…, fan_in, fan_out).
    negative_slope : float, default 0.0
        a, the slope below 0 of the activation that follows.
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`; ValueError for a shape of one axis.

    References
    ----------
    He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    Examples
    --------
    >>> import gnumba as gn
    >>> round(float(gn.init.he_normal((200, 100), rng=0).std()), 3)  # √(2/200) = 0.1
    0.1
    """
    return normal(shape, _he(shape, negative_slope), rng=rng, dtype=dtype, like=like)


@overload
def he_uniform(
    shape: Shape, negative_slope: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def he_uniform(
    shape: Shape, negative_slope: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: Like
) -> Like: ...
@suggesting
def he_uniform(
    shape: Shape, negative_slope: Number = 0.0, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """`he_normal`'s variance, uniform: limit √(6/((1 + a²) · fan_in)).

    Parameters
    ----------
    shape : tuple of int
        (…, fan_in, fan_out).
    negative_slope : float, default 0.0
        a, the slope below 0 of the activation that follows.
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`; ValueError for a shape of one axis.

    References
    ----------
    He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    Examples
    --------
    >>> import gnumba as gn
    >>> round(float(gn.init.he_uniform((600, 100), rng=0).max()), 3)  # √(6/600) = 0.1
    0.1
    """
    return _uniform_of(_he(shape, negative_slope), shape, rng, dtype, like)


def _lecun(shape: Any) -> float:
    return math.sqrt(1.0 / _fans(shape)[0])


@overload
def lecun_normal(shape: Shape, *, rng: Seed = ..., dtype: Any = ..., like: None = ...) -> Weights: ...
@overload
def lecun_normal(shape: Shape, *, rng: Seed = ..., dtype: Any = ..., like: Like) -> Like: ...
@suggesting
def lecun_normal(shape: Shape, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None) -> Any:
    """LeCun's: normal, variance 1/fan_in. For SELU.

    Parameters
    ----------
    shape : tuple of int
        (…, fan_in, fan_out).
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`; ValueError for a shape of one axis.

    References
    ----------
    LeCun, Bottou, Orr & Müller 1998.

    Examples
    --------
    >>> import gnumba as gn
    >>> round(float(gn.init.lecun_normal((100, 200), rng=0).std()), 3)  # √(1/100) = 0.1
    0.1
    """
    return normal(shape, _lecun(shape), rng=rng, dtype=dtype, like=like)


@overload
def lecun_uniform(shape: Shape, *, rng: Seed = ..., dtype: Any = ..., like: None = ...) -> Weights: ...
@overload
def lecun_uniform(shape: Shape, *, rng: Seed = ..., dtype: Any = ..., like: Like) -> Like: ...
@suggesting
def lecun_uniform(shape: Shape, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None) -> Any:
    """`lecun_normal`'s variance, uniform: limit √(3/fan_in).

    Parameters
    ----------
    shape : tuple of int
        (…, fan_in, fan_out).
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`; ValueError for a shape of one axis.

    References
    ----------
    LeCun, Bottou, Orr & Müller 1998.

    Examples
    --------
    >>> import gnumba as gn
    >>> round(float(gn.init.lecun_uniform((300, 200), rng=0).max()), 3)  # √(3/300) = 0.1
    0.1
    """
    return _uniform_of(_lecun(shape), shape, rng, dtype, like)


@overload
def orthogonal(
    shape: Shape, gain: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: None = ...
) -> Weights: ...
@overload
def orthogonal(
    shape: Shape, gain: Number = ..., *, rng: Seed = ..., dtype: Any = ..., like: Like
) -> Like: ...
@suggesting
def orthogonal(
    shape: Shape, gain: Number = 1.0, *, rng: Seed = None, dtype: Any = np.float32, like: Any = None
) -> Any:
    """A random orthogonal matrix, every one as likely as any other, times ``gain``.

    Q of the QR decomposition of a normal matrix, with the signs of R's diagonal folded in. The
    leading axes are flattened, (a, b, c) to (a·b, c); where the matrix is not square, its rows or its
    columns, whichever are fewer, are orthonormal. For recurrent and very deep networks.

    Parameters
    ----------
    shape : tuple of int
        (…, fan_in, fan_out).
    gain : float, default 1.0
        ≥ 0: the length of the rows or columns.
    rng, dtype, like
        As in `normal`.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As in `normal`; ValueError for a shape of one axis.

    References
    ----------
    Saxe, McClelland & Ganguli 2014, arXiv:1312.6120. Mezzadri 2007, arXiv:math-ph/0609050.

    Examples
    --------
    >>> import gnumba as gn
    >>> w = gn.init.orthogonal((5, 3), rng=0)
    >>> abs((w.T @ w).round(5))
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    sizes, gain = _weight_sizes(shape), number("gain", gain, NOT_NEGATIVE)
    rows, columns = math.prod(sizes[:-1]), sizes[-1]

    def draw(source: np.random.Generator) -> Array:
        q = _haar(source.standard_normal((max(rows, columns), min(rows, columns))))
        return gain * (q if rows >= columns else q.T).reshape(sizes)

    return _made(draw, rng, dtype, like)


def _haar(gaussian: Array) -> Array:
    """Q of a normal matrix, made unique by a positive diagonal of R: LAPACK's own signs are not even."""
    q, r = np.linalg.qr(gaussian)
    signed: Array = q * np.copysign(1.0, np.diagonal(r))
    return signed


# Which goes with which activation.


@suggesting
def for_activation(act: Activation) -> Callable[..., Any]:
    """The initialiser for weights whose sum goes through ``act``.

    `he_normal` for ReLU and its kin, `xavier_normal` for functions that saturate on both sides,
    `lecun_normal` for SELU: the one with which the activation's docstring says to initialise. For
    Leaky ReLU it has the default slope; for another one call what is returned with
    ``negative_slope``.

    Parameters
    ----------
    act : Activation
        ``gnumba.relu`` and so on.

    Returns
    -------
    callable
        ``initialiser(shape, *, rng=None, dtype=np.float32, like=None)``.

    Raises
    ------
    ValueError
        If it is none of gnumba's own activations, or one with which no initialiser goes.

    Examples
    --------
    >>> import gnumba as gn
    >>> gn.init.for_activation(gn.selu) is gn.init.lecun_normal
    True
    >>> weights = gn.init.for_activation(gn.leaky_relu)((64, 32), negative_slope=0.2, rng=0)
    """
    if not isinstance(act, Activation) or act._init is None:
        public = (getattr(activations, name) for name in activations.__all__)
        known = dict.fromkeys(each.name for each in public if each._init is not None)
        raise ValueError(f"act is {act!r}, expected one of {list(known)}")
    initialiser: Callable[..., Any] = globals()[act._init]
    theirs, taken = inspect.signature(act.rule).parameters, inspect.signature(initialiser).parameters
    shared = {name: theirs[name].default for name in theirs if name in taken}
    return functools.partial(initialiser, **shared) if shared else initialiser


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # for a type checker a module with this has every attribute
    __getattr__ = module_getattr(__name__, __dir__)
