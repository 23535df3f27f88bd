"""Losses: the value and its gradient in the prediction, in one pass.

``loss, gradient = gn.losses.mse(prediction, target)``. All take ``weight=None``, ``reduction="mean"`` and
``out=None``, where to write the gradient, which may be the prediction. The loss is a float, on a device an
array of shape () that nobody waits for; its sums are in float64, the same for any number of threads. The
gradient is that of this loss, like the prediction.

``reduction="mean"`` divides by the number of elements; ``"sum"`` does not; ``"none"`` returns each element's
loss, like the prediction, and the gradient of their sum. An elementwise loss's ``weight`` broadcasts
against the prediction and multiplies each element's loss; the mean still divides by the number of
elements, as in PyTorch's binary_cross_entropy. Where a weight is 0, nothing acts, be it nan.
`softmax_cross_entropy` has rows, and says so.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ._engine import checks
from ._engine.apply import apply
from ._engine.arrays import as_view, empty_like, in_kind_of, integers, is_on_device, numbers, operand
from ._engine.compile.snapshot import current
from ._engine.flat import launch_flat
from ._engine.libraries import count_writes
from ._engine.place import place_of
from ._engine.row_steps import Labels, Rowwise
from ._engine.view import View, broadcast
from ._nn.softmax import checked_axis, write
from ._rule import Compilable, Elementwise, defaults_of, scalar_function
from ._suggest import module_getattr, no_argument, suggesting
from .elementary import where
from .rules import losses as rules

__all__ = [
    "Loss",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mae",
    "mse",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]

Array = Any  # whatever operand takes
Scalar = Callable[..., Any]
REDUCTIONS = ("mean", "sum", "none")


class Loss(Compilable):
    """An elementwise loss: ``loss(prediction, target, *, weight=None, reduction="mean", out=None)``.

    Made by ``gnumba.loss``. Calling it returns (loss, gradient).

    Attributes
    ----------
    rule, gradient : callable
        The scalar functions that it was made from.
    """

    def __init__(self, fn: Scalar, gradient: Scalar, doc: str | None = None) -> None:
        parameters = _read_signature(fn, gradient)
        arrays, hyper = (tuple(p.name for p in some) for some in (parameters[:2], parameters[2:]))
        scalars, title = (*hyper, "scale"), "loss {!r}"
        both, weighted = _both(fn, gradient), _weighted(fn, gradient)
        reads, writes = ("prediction", "target"), ("gradient", "loss")
        self._functions = {
            (has_weight, summed): Elementwise(
                weighted if has_weight else both, reads + ("weight",) * has_weight, writes, scalars,
                summed=summed, title=title,
            )
            for has_weight in (False, True)
            for summed in (False, True)
        }  # fmt: skip
        super().__init__(self._functions[False, False], fn, gradient)
        self.rule, self.gradient, self._arrays, self._hyper = fn, gradient, arrays, hyper
        self._defaults = defaults_of(self._title, parameters)
        self.__signature__ = _called_with(parameters)
        if self._built_in:
            self.__module__ = __name__  # where the public object is found
        self.__qualname__, self.__doc__ = fn.__qualname__, doc or fn.__doc__

    def __call__(
        self, *arrays: Array, weight: Array = None, reduction: str = "mean", out: Array = None, **named: Any
    ) -> tuple[Any, Any]:
        """The loss, and its gradient in the prediction."""
        prediction, target, hyper = self._read(arrays, named)
        seen = operand(self._arrays[0], prediction)
        there = {self._arrays[0]: seen, self._arrays[1]: operand(self._arrays[1], target)}
        checks.check_alike(there)
        if weight is not None:
            there["weight"] = spread("weight", weight, seen)
            checks.check_alike(there)
        divisor = divisor_of(self.name, reduction, seen.size, self._arrays[0], seen)
        scalars = np.array([*hyper, 1.0 / divisor])
        views = tuple(there.values())
        if reduction != "none" and not isinstance(seen, View):
            y = empty_like(prediction, seen) if out is None else checks.check_out("out", out, seen)
            total = self._summed(views, scalars, y, weight is not None)
            if total is not None:
                if out is not None:
                    count_writes((out,))
                return total / divisor, in_kind_of(prediction, y) if out is None else out
        share = empty_like(prediction, seen)
        function = self._functions[weight is not None, False]
        gradient = apply(function, (prediction, *views[1:]), scalars, out, also=(share,))
        if reduction == "none":
            return in_kind_of(prediction, share), gradient
        return place_of(share).mean(share, prediction, divisor), gradient

    def _summed(self, views: tuple[Any, ...], scalars: Any, y: Any, weighted: bool) -> float | None:
        """The sum by the short way over dense arrays, with the gradient written; None if that is closed."""
        function = self._functions[weighted, True]
        if checks.same_elements(views[0], y):
            function, views = function.onto("gradient", "prediction"), (y, *views[1:])
        else:
            views = (*views, y)
        found: Any = launch_flat(function, views, scalars) if y.ndim and y.size else False
        return found[1] if found and found[0] else None

    def _read(self, arrays: Sequence[Any], named: dict[str, Any]) -> tuple[Any, ...]:
        """Prediction, target and hyperparameters of a call."""
        names = (*self._arrays, *self._hyper)
        if unknown := next((name for name in named if name not in names), None):
            raise no_argument(self.name, unknown, [*names, "weight", "reduction", "out"])
        given = dict(zip(names, arrays, strict=False))
        if len(arrays) > len(names) or (twice := next((name for name in named if name in given), None)):
            what = f"{len(arrays)} arguments by position" if len(arrays) > len(names) else f"{twice} twice"
            raise TypeError(f"{self.name}: given {what}, expected {', '.join(names)}")
        given = self._defaults | given | named
        if missing := next((name for name in names if name not in given), None):
            raise TypeError(f"{self.name}() lacks {missing}")
        for name in self._hyper:
            if not isinstance(given[name], Real) or isinstance(given[name], bool):
                raise TypeError(
                    f"{self.name}: {name} is of type {type(given[name]).__name__}, expected a number"
                )
        if self.rule is rules.huber and not given["delta"] > 0.0:
            raise ValueError(f"huber: delta is {given['delta']}, expected a number above 0")
        return (*map(given.__getitem__, self._arrays), [float(given[name]) for name in self._hyper])

    def __repr__(self) -> str:
        return f"<loss {self.name}{self.__signature__}>"


class OwnLoss(Loss):
    """A user's loss: each call uses its functions as what they are made of is by then."""

    def __init__(self, fn: Scalar, gradient: Scalar) -> None:
        super().__init__(fn, gradient)
        self._built_in = False  # whosever the function is

    def _like(self, *parts: Scalar) -> Loss:
        fn, gradient = parts
        return Loss(fn, gradient)

    def __call__(self, *arrays: Array, **named: Any) -> tuple[Any, Any]:
        """The loss, and its gradient in the prediction."""
        return current(self)(*arrays, **named)  # type: ignore[no-any-return]


def _both(fn: Scalar, gradient: Scalar) -> Scalar:
    """(gradient · scale, loss) of an element."""

    def both(prediction: float, target: float, *rest: float) -> tuple[float, float]:
        return rest[-1] * gradient(prediction, target, *rest[:-1]), fn(prediction, target, *rest[:-1])

    both.__name__, both.__module__ = fn.__name__, fn.__module__
    return both


def _weighted(fn: Scalar, gradient: Scalar) -> Scalar:
    """(gradient · weight · scale, loss · weight) of an element; nothing where the weight is 0."""

    def weighted(prediction: float, target: float, weight: float, *rest: float) -> tuple[float, float]:
        off = weight == 0.0
        slope = rest[-1] * weight * gradient(prediction, target, *rest[:-1])
        return where(off, 0.0, slope), where(off, 0.0, weight * fn(prediction, target, *rest[:-1]))

    weighted.__name__, weighted.__module__ = f"weighted_{fn.__name__}", fn.__module__
    return weighted


def _read_signature(fn: Scalar, gradient: Scalar) -> list[inspect.Parameter]:
    """The parameters of a loss's function; ValueError unless they are two arrays' and hyperparameters."""
    parameters = list(inspect.signature(fn).parameters.values())
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) < 2 or any(p.kind not in by_position for p in parameters):
        raise ValueError(
            f"loss {fn.__name__!r} has the signature {inspect.signature(fn)}, "
            "expected (prediction, target, hyperparameters ...), each by position"
        )
    if taken := [p.name for p in parameters if p.name in ("weight", "reduction", "out", "scale")]:
        raise ValueError(f"loss {fn.__name__!r} has an argument called {taken[0]!r}, expected another name")
    try:
        inspect.signature(gradient).bind(*parameters)
    except TypeError:
        raise ValueError(
            f"the gradient of loss {fn.__name__!r} has the signature {inspect.signature(gradient)}, "
            f"expected that of the function, {inspect.signature(fn)}"
        ) from None
    return parameters


def _called_with(parameters: list[inspect.Parameter]) -> inspect.Signature:
    named = {"weight": None, "reduction": "mean", "out": None}
    kind = inspect.Parameter.KEYWORD_ONLY
    made = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters]
    return inspect.Signature(
        [*made, *(inspect.Parameter(name, kind, default=d) for name, d in named.items())]
    )


def spread(name: str, x: Array, prediction: Any) -> Any:
    """An array, or a number, broadcast to the shape of the prediction."""
    seen = np.asarray(x, prediction.dtype) if isinstance(x, Real) else operand(name, x)
    try:
        return broadcast(seen, prediction.shape)
    except ValueError:
        raise ValueError(
            f"{name} has shape {seen.shape}, expected one that broadcasts to {prediction.shape}"
        ) from None


def divisor_of(name: str, reduction: str, count: int, what: str, x: Any) -> float:
    """Divisor of the sum; ValueError for no reduction, and for the mean of nothing."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: reduction is {reduction!r}, expected one of {REDUCTIONS}")
    if reduction != "mean":
        return 1.0
    if not count:
        raise ValueError(
            f"{name}: {what} has shape {x.shape}, and no elements have no mean; expected reduction='sum'"
        )
    return float(count)


@suggesting
def loss(*misplaced: Any, gradient: Scalar | None = None) -> Callable[[Scalar], Loss]:
    """Make a loss of a scalar function and its derivative in the prediction.

    What the two are made of is looked at in each call, as in `activation`; `check_derivative` compares
    them.

    Parameters
    ----------
    gradient : callable
        ∂ℓ/∂prediction, a scalar function with the arguments of ℓ.

    Returns
    -------
    callable
        A decorator: the function it decorates, of (prediction, target, hyperparameters ...), becomes a
        `losses.Loss`: value and gradient in one pass on every target, with weights and reductions.

    Raises
    ------
    TypeError
        If there is no gradient, or one of the two is no function written in Python.
    ValueError
        If the signature is not of that form, or the gradient's differs.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> @gn.loss(gradient=lambda p, t, q: q - 1.0 if p > t else q)
    ... def pinball(p, t, q=0.5):
    ...     "q(p − t) below the quantile, (q − 1)(p − t) above it."
    ...     return (q - 1.0) * (p - t) if p > t else q * (p - t)
    >>> value, gradient = pinball(np.array([1.0, -1.0]), np.zeros(2), q=0.25)
    >>> value, gradient
    (-0.5, array([-0.375,  0.125]))
    """
    if misplaced or gradient is None:
        raise TypeError(
            "gnumba.loss takes the gradient by name and decorates the function: @gnumba.loss(gradient=...)"
        )
    made = scalar_function("gradient", gradient)
    return lambda fn: OwnLoss(scalar_function("the decorated function", fn), made)


COMMON = """

    Parameters
    ----------
    {0}, {1} : array
        Of one shape and dtype, float32 or float64.{hyper}
    weight : array or float, optional
        Of each element's loss; broadcasts against ``{0}``. Where it is 0, nothing acts.
    reduction : {{"mean", "sum", "none"}}
        The mean is over all elements.
    out : array, optional
        Where to write the gradient; may be ``{0}``.

    Returns
    -------
    tuple
        The loss, a float (on a device an array of shape ()), and its gradient, like ``{0}``.

    Raises
    ------
    ValueError
        If shapes differ, or there are no elements to take a mean of.
    TypeError
        If dtypes or places differ.

    Notes
    -----
    """


def _documented(
    summary: str, notes: str, example: str, hyper: str = "", names: str = "prediction target"
) -> str:
    """A loss's docstring."""
    shown = f"\n\n    Examples\n    --------\n    >>> import numpy as np, gnumba as gn\n    {example}\n    "
    return summary + COMMON.format(*names.split(), hyper=hyper) + notes + shown


mse = Loss(
    rules.mse,
    rules.mse_gradient,
    _documented(
        "Squared error, (p − t)²; gradient 2(p − t).",
        """Strengths: smooth; its minimum is the mean. Weaknesses: outliers rule it. For: regression with
    Gaussian noise. In [0, ∞). Legendre 1805, Gauss 1809.""",
        """>>> gn.losses.mse(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    (2.0, array([0., 2.]))""",
    ),
)

mae = Loss(
    rules.mae,
    rules.mae_gradient,
    _documented(
        "Absolute error, |p − t|; gradient the sign of p − t, 0 at 0.",
        """Strengths: its minimum is the median, which outliers do not move. Weaknesses: steps do not
    shrink near the minimum: let the rate decay. For: regression with outliers. In [0, ∞). Laplace 1774.""",
        """>>> gn.losses.mae(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    (1.0, array([0. , 0.5]))""",
    ),
)

huber = Loss(
    rules.huber,
    rules.huber_gradient,
    _documented(
        "Huber's loss: d²/2 where |d| ≤ δ, else δ(|d| − δ/2), d = p − t; gradient d clipped to ±δ.",
        """Strengths: the squared error's minimum, the absolute one's patience with outliers. Weaknesses:
    δ has to fit the noise. For: regression, values in reinforcement learning. In [0, ∞). Huber 1964.""",
        """>>> gn.losses.huber(np.array([0.5, 4.0]), np.zeros(2))
    (1.8125, array([0.25, 0.5 ]))""",
        """
    delta : float
        δ > 0, where the square ends.""",
    ),
)

log_cosh = Loss(
    rules.log_cosh,
    rules.log_cosh_gradient,
    _documented(
        "Logarithm of the hyperbolic cosine, log cosh(p − t); gradient tanh(p − t).",
        """Strengths: Huber's loss made smooth, with nothing to choose. Weaknesses: its width is fixed at
    1. For: regression with outliers. In [0, ∞).""",
        """>>> gn.losses.log_cosh(np.array([1000.0]), np.zeros(1))
    (999.3068528194401, array([1.]))""",
    ),
)

sigmoid_cross_entropy = Loss(
    rules.sigmoid_cross_entropy,
    rules.sigmoid_cross_entropy_gradient,
    _documented(
        "Binary cross-entropy of logits x, −t log σ(x) − (1 − t) log(1 − σ(x)); gradient σ(x) − t.",
        """Targets are in [0, 1]. Strengths: right for logits of any size. Weaknesses: wrong labels pull
    without limit. For: two classes, or several that do not exclude each other. In [0, ∞).""",
        """>>> gn.losses.sigmoid_cross_entropy(np.array([0.0, 1e4]), np.array([1.0, 1.0]))
    (0.34657359027997264, array([-0.25, -0.  ]))""",
        names="logits targets",
    ),
)

hinge = Loss(
    rules.hinge,
    rules.hinge_gradient,
    _documented(
        "Hinge loss, max(0, 1 − t·p) for targets −1 and 1; gradient −t where that is above 0.",
        """Strengths: leaves alone what is right by a margin. Weaknesses: no probabilities; not smooth.
    For: support vector machines, two classes. In [0, ∞). Cortes & Vapnik 1995.""",
        """>>> gn.losses.hinge(np.array([0.5, 2.0]), np.array([1.0, 1.0]))
    (0.25, array([-0.5,  0. ]))""",
    ),
)

kl_divergence = Loss(
    rules.kl_divergence,
    rules.kl_divergence_gradient,
    _documented(
        "Kullback–Leibler divergence, t(log t − log p), 0 where t is 0; gradient −t in log p.",
        """Targets are probabilities. ``"mean"`` is over all elements, as PyTorch's; the divergence of
    distributions is ``"sum"`` over their number. Strengths: compares distributions. Weaknesses: infinite
    where p is 0 and t is not. For: distillation, variational methods, with `gnumba.log_softmax`.
    Kullback & Leibler 1951.""",
        """>>> gn.losses.kl_divergence(np.log([0.5, 0.5]), np.array([1.0, 0.0]), reduction="sum")
    (0.6931471805599453, array([-1., -0.]))""",
        names="log_probabilities targets",
    ),
)


# Cross-entropy of a softmax.

E = Elementwise
HARD = Rowwise(
    E(rules.hard_target, ("x",), ("e",), ("shift", "scale")),
    E(rules.hard_gradient, ("e",), ("dx",), ("factor",)),
    rules.hard_scalars,
    ("scale",),
    shifted=True,
    loss=rules.cross_entropy_of_row,
)
SOFT = Rowwise(
    E(rules.soft_target, ("x", "t", "w"), ("e", "weight", "weighed"), ("shift", "scale", "slope", "level")),
    E(rules.soft_gradient, ("e", "t", "w"), ("dx",), ("factor", "scale", "slope", "level")),
    rules.soft_scalars,
    ("scale", "slope", "level"),
    shifted=True,
    loss=rules.cross_entropy_of_row,
)


@suggesting
def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    weight: Array = None,
    label_smoothing: float = 0.0,
    ignore: int | None = None,
    axis: int = -1,
    reduction: str = "mean",
    out: Array = None,
) -> tuple[Any, Any]:
    """Cross-entropy of the softmax of logits, −Σ tᵢ log softmax(x)ᵢ a row, and its gradient in the logits.

    A row is read and its gradient written; no probabilities are stored. The gradient of a row is
    softmax(x)·Σtᵢ − t. Labels that are on a device with the logits are not looked at before: one that is no
    class makes the loss and the gradient of its row nan, and a mean with both.

    Parameters
    ----------
    logits : array
        Scores of classes along ``axis``; float32 or float64.
    labels : array
        Integers, of the logits' shape without ``axis``, for logits on a device also in host memory; or
        probabilities t, of the logits' shape and dtype.
    weight : array, optional
        One a class; in the mean of integer labels, the sum is divided by the weights of the labels.
    label_smoothing : float
        ε in [0, 1]: t becomes (1 − ε)t + ε/classes.
    ignore : int, optional
        The label of rows that do not count.
    axis : int
        That of the classes.
    reduction : {"mean", "sum", "none"}
        The mean is over rows; all conventions are those of PyTorch's cross_entropy. If no row counts, the
        mean is nan and the gradient 0.
    out : array, optional
        Where to write the gradient; may be ``logits``.

    Returns
    -------
    tuple
        The loss, a float (on a device an array of shape ()), or with ``"none"`` an array of the labels'
        shape; and the gradient, like the logits.

    Raises
    ------
    IndexError
        If a label in host memory is none of the classes' numbers.
    ValueError
        If shapes differ, smoothing is outside [0, 1], or there are no rows to take a mean of.
    TypeError
        If dtypes or places differ.

    Notes
    -----
    Strengths: the likelihood of a classifier, with a gradient that does not vanish where it is wrong.
    Weaknesses: wrong labels pull without limit (smoothing helps); one class only may be right. For:
    classification, language models. Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> logits = np.array([[0.0, 0.0], [1e4, -1e4]])
    >>> gn.losses.softmax_cross_entropy(logits, np.array([0, 0]))
    (0.34657359027997264, array([[-0.25,  0.25],
           [ 0.  ,  0.  ]]))
    """
    name = "softmax_cross_entropy"
    x = operand("logits", logits)
    axis = checked_axis(name, axis, x)
    if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, Real):
        raise TypeError(f"{name}: label_smoothing is {label_smoothing!r}, expected a number")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{name}: label_smoothing is {label_smoothing}, expected a number in [0, 1]")
    classes, rest, smooth = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :], float(label_smoothing)
    of_classes = class_weights(weight, x, classes)
    given = seen_labels(labels, x)
    divisor: float | None = divisor_of(name, reduction, math.prod(rest), "logits", x)
    if given.dtype.kind == "f":
        targets: Any = as_view("labels", given)
        checks.check_alike({"logits": x, "labels": targets})
        if ignore is not None:
            raise ValueError(f"{name}: ignore is {ignore}, expected None: labels are rows of probabilities")
        counted, slope = None, 1.0 - smooth
    else:
        checked = checked_labels(given, rest, classes, ignore)
        counted, targets, slope = Labels(*checked, of_classes, 1.0 - smooth), 0.0, 0.0
        divisor = None if reduction == "mean" else divisor
    y = empty_like(logits, x) if out is None else checks.check_out("out", out, x)
    read: tuple[Any, ...] = (x,)
    scalars: tuple[float, ...] = ()
    if counted is None or smooth:
        read = x, targets, 1.0 if of_classes is None else of_classes
        scalars = slope, smooth / max(classes, 1)
    function, place = SOFT if scalars else HARD, place_of(x)
    rows = counted, divisor, logits, reduction == "none"
    arrays = [a for a in (*read, given) if not isinstance(a, float)]
    loss = write(arrays, y, lambda to: place.losses_along(function, (*read, to), axis, scalars, *rows))
    if out is not None:
        count_writes((out,))
    return loss, in_kind_of(logits, y) if out is None else out


def seen_labels(labels: Array, x: Any) -> Any:
    """Labels as they lie on the logits' device; else in host memory, from there or from any library."""
    if isinstance(x, View) and is_on_device(labels):
        given = integers("labels", labels.detach() if hasattr(labels, "detach") else labels)
        checks.check_together({"logits": x, "labels": given})
        return given
    return labels if isinstance(labels, np.ndarray) else as_labels(labels)


def as_labels(labels: Array) -> np.ndarray[Any, Any]:
    """Labels of any library in host memory, or a list of them, as NumPy's."""
    if hasattr(labels, "detach"):
        labels = labels.detach()
    made: np.ndarray[Any, Any] = numbers("labels", labels)
    return made


def class_weights(weight: Array, x: Any, classes: int) -> Any:
    """The weight of each class."""
    if weight is None:
        return None
    seen = operand("weight", weight)
    checks.check_together({"logits": x, "weight": seen})
    if seen.shape != (classes,):
        raise ValueError(f"weight has shape {seen.shape}, expected ({classes},), one a class")
    return seen


def checked_labels(labels: Any, shape: tuple[int, ...], classes: int, ignore: int | None) -> tuple[Any, Any]:
    """Labels, and which of them is ignored: in host memory all others are classes, as int64 in C order."""
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(
            f"labels has dtype {labels.dtype}, expected integers, or probabilities of the logits' dtype"
        )
    if labels.shape != shape:
        raise ValueError(f"labels has shape {labels.shape}, expected {shape}, the logits' without their axis")
    if isinstance(labels, View):
        return labels, ignore
    counts = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    wrong = ((labels < 0) | (labels >= classes)) & counts
    if wrong.any():
        where_wrong = tuple(int(k) for k in np.argwhere(wrong)[0])
        place = where_wrong[0] if len(where_wrong) == 1 else where_wrong
        raise IndexError(
            f"labels[{place}] is {labels[where_wrong]}, expected a class from 0 to {classes - 1}"
            + ("" if ignore is None else f", or {ignore} to be ignored")
        )
    return np.where(counts, labels, -1).astype(np.int64, order="C"), -1


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # for a type checker a module with this has every attribute
    __getattr__ = module_getattr(__name__, __dir__)
