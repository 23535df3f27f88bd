"""Losses and row functions, into arrays that are there."""

import numpy as np

import gnumba as gn

from .common import CHOICES, normal, on, ratio, repeats

LOSSES = getattr(gn, "losses", None)  # earlier commits are compared with too
ELEMENTWISE = [
    name for name in getattr(LOSSES, "__all__", ()) if isinstance(getattr(LOSSES, name), LOSSES.Loss)
]
SHAPES = [(64, 10), (4096, 10), (256, 1000), (4096, 1000)]


class Elementwise:
    """Time of a loss with its gradient."""

    params = (ELEMENTWISE, CHOICES, [1_000, 100_000, 1_000_000])
    param_names = ("loss", "target", "elements")
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, loss, target, elements):
        p, t = normal(elements), np.sign(normal(elements, 1))
        of, gradient = getattr(gn.losses, loss), np.empty_like(p)
        self.call, self.count = (lambda: of(p, t, out=gradient)), repeats(elements)
        with on(target):
            self.call()

    def time_loss(self, loss, target, elements):
        with on(target):
            for _ in range(self.count):
                self.call()


class AlongRows:
    """Time of softmax, its backward pass, and the cross-entropy with its gradient, over (rows, classes)."""

    params = (CHOICES, SHAPES)
    param_names = ("target", "shape")
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, target, shape):
        self.x, self.dy = (normal(shape[0] * shape[1], seed).reshape(shape) for seed in (0, 1))
        self.out, self.labels = np.empty_like(self.x), np.arange(shape[0]) % shape[1]
        self.count = repeats(self.x.size)
        with on(target):
            self.y = gn.softmax(self.x)
            gn.softmax.backward(self.dy, self.y)
            gn.losses.softmax_cross_entropy(self.x, self.labels)

    def calls(self, target, call):
        with on(target):
            for _ in range(self.count):
                call()

    def time_softmax(self, target, shape):
        self.calls(target, lambda: gn.softmax(self.x, out=self.out))

    def time_softmax_backward(self, target, shape):
        self.calls(target, lambda: gn.softmax.backward(self.dy, self.y, out=self.out))

    def time_cross_entropy(self, target, shape):
        self.calls(target, lambda: gn.losses.softmax_cross_entropy(self.x, self.labels, out=self.out))


class CrossEntropyOverNumPy:
    """The time of the cross-entropy with its gradient over that of the formula in NumPy."""

    params = (CHOICES, SHAPES)
    param_names = ("target", "shape")
    unit = "x NumPy"

    def setup(self, target, shape):
        if LOSSES is None:
            raise NotImplementedError("this commit has no losses")

    def track_over_numpy(self, target, shape):
        x, out = normal(shape[0] * shape[1]).reshape(shape), np.empty(shape, np.float32)
        rows, labels = np.arange(shape[0]), np.arange(shape[0]) % shape[1]

        def in_numpy():
            shifted = x - x.max(axis=1, keepdims=True)
            gradient = np.exp(shifted)
            total = gradient.sum(axis=1, keepdims=True)
            loss = np.mean(np.log(total[:, 0]) - shifted[rows, labels])
            gradient /= total
            gradient[rows, labels] -= 1.0
            gradient /= len(labels)
            return loss, gradient

        with on(target):
            return ratio(lambda: gn.losses.softmax_cross_entropy(x, labels, out=out), in_numpy)
