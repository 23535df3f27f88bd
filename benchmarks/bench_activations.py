"""Every activation, forward and backward, into arrays that are there."""

import numpy as np

import gnumba as gn

from .common import ACTIVATIONS, HYPER, TARGETS, normal, repeats


class Activations:
    """Time of one call with ``out=``."""

    params = (list(ACTIVATIONS), TARGETS, [1_000, 100_000, 10_000_000])
    param_names = ("activation", "target", "elements")
    version = "1"

    def setup(self, activation, target, elements):
        self.count = repeats(elements)
        self.act, self.hyper = ACTIVATIONS[activation], HYPER.get(activation, ())
        self.x, self.dy = normal(elements), normal(elements, 1)
        self.y, self.dx = np.empty_like(self.x), np.empty_like(self.x)
        self.time_forward(activation, target, elements)
        self.time_backward(activation, target, elements)

    def time_forward(self, activation, target, elements):
        with gn.use_target(target):
            for _ in range(self.count):
                self.act(self.x, *self.hyper, out=self.y)

    def time_backward(self, activation, target, elements):
        with gn.use_target(target):
            for _ in range(self.count):
                self.act.backward(self.dy, self.x, *self.hyper, y=self.y, out=self.dx)
