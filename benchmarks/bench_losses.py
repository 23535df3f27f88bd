"""Losses and row functions, into arrays that are there."""

import numpy as np

from .common import (
    ALONG_ROWS,
    CHOICES,
    LOSSES,
    NUMPY,
    arrays_on,
    normal,
    on,
    pass_in_numpy,
    passes_of,
    ratio,
    repeats,
)

OVER_ROWS = "softmax_cross_entropy"
ELEMENTWISE = [name for name in LOSSES if name != OVER_ROWS]
SHAPES = [(64, 10), (4096, 10), (256, 1000), (4096, 1000)]
OF_ROWS = SHAPES if OVER_ROWS in LOSSES else []  # earlier commits, which are compared too, have no losses
TARGETS = {"hinge": np.sign, "kl_divergence": lambda x: abs(x) + 0.1, "sigmoid_cross_entropy": np.abs}


def calls(target, call, count=1):
    with on(target):
        for _ in range(count):
            call()


def given(loss, shape):
    """A prediction and a target that the loss takes."""
    if loss == OVER_ROWS:
        return normal(shape[0] * shape[1]).reshape(shape), np.arange(shape[0]) % shape[1]
    return normal(shape), TARGETS.get(loss, np.asarray)(normal(shape, 1)).astype(np.float32)


def with_gradient(loss, prediction, target, place=np.asarray):
    """The call of a loss, into a gradient that is there."""
    p, t = place(prediction), place(target)
    of, gradient = LOSSES[loss], p.copy()
    return lambda: of(p, t, out=gradient)


class Elementwise:
    """Time of a loss with its gradient."""

    params = (ELEMENTWISE, CHOICES, [1_000, 100_000, 1_000_000])
    param_names = ("loss", "target", "elements")
    version = "2"
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, loss, target, elements):
        self.call = with_gradient(loss, *given(loss, elements), arrays_on(target))
        self.count = repeats(elements)
        calls(target, self.call)

    def time_loss(self, loss, target, elements):
        calls(target, self.call, self.count)


class AlongRows:
    """Time of a function along the rows of (rows, classes), forward and backward."""

    params = (list(ALONG_ROWS), CHOICES, SHAPES)
    param_names = ("function", "target", "shape")
    version = "2"
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, function, target, shape):
        x, dy = (arrays_on(target)(normal(shape, seed)) for seed in (0, 1))
        self.forward, self.backward = passes_of(ALONG_ROWS[function], [x], dy)
        self.count = repeats(x.size)
        calls(target, self.forward)
        calls(target, self.backward)

    def time_forward(self, function, target, shape):
        calls(target, self.forward, self.count)

    def time_backward(self, function, target, shape):
        calls(target, self.backward, self.count)


class AlongRowsOverNumPy:
    """The time of a forward and a backward call over that of the formulas in NumPy."""

    params = (list(ALONG_ROWS), CHOICES, SHAPES)
    param_names = ("function", "target", "shape")
    unit = "x NumPy"

    def setup(self, function, target, shape):
        self.place = arrays_on(target)  # here, where what cannot be is n/a

    def track_over_numpy(self, function, target, shape):
        x, dy = (normal(shape, seed) for seed in (0, 1))
        ours = passes_of(ALONG_ROWS[function], [self.place(x)], self.place(dy))
        theirs = [pass_in_numpy(function, forward, (x,), dy) for forward in (True, False)]
        return ratio(lambda: [calls(target, call) for call in ours], lambda: [call() for call in theirs])


class OverNumPy:
    """The time of a loss with its gradient over that of the formula in NumPy; cross-entropy of rows of 10."""

    params = (list(LOSSES), CHOICES, [1_000, 100_000])
    param_names = ("loss", "target", "elements")
    unit = "x NumPy"

    def setup(self, loss, target, elements):
        self.place = arrays_on(target)  # here, where what cannot be is n/a

    def track_over_numpy(self, loss, target, elements):
        prediction, wanted = given(loss, (elements // 10, 10) if loss == OVER_ROWS else elements)
        ours = with_gradient(loss, prediction, wanted, self.place)
        return ratio(lambda: calls(target, ours), NUMPY.loss(loss, prediction, wanted))


class CrossEntropy:
    """Time of the cross-entropy of rows with its gradient."""

    params = (CHOICES, OF_ROWS)
    param_names = ("target", "shape")
    version = "2"
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, target, shape):
        self.call = with_gradient(OVER_ROWS, *given(OVER_ROWS, shape), arrays_on(target))
        self.count = repeats(shape[0] * shape[1])
        calls(target, self.call)

    def time_loss(self, target, shape):
        calls(target, self.call, self.count)


class CrossEntropyOverNumPy:
    """The time of the cross-entropy with its gradient over that of the formula in NumPy."""

    params = (CHOICES, OF_ROWS)
    param_names = ("target", "shape")
    unit = "x NumPy"

    def setup(self, target, shape):
        self.place = arrays_on(target)  # here, where what cannot be is n/a

    def track_over_numpy(self, target, shape):
        logits, labels = given(OVER_ROWS, shape)
        ours = with_gradient(OVER_ROWS, logits, labels, self.place)
        return ratio(lambda: calls(target, ours), NUMPY.loss(OVER_ROWS, logits, labels))
