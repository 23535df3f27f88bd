"""Every activation, forward and backward, into arrays that are there."""

from .common import (
    ACTIVATIONS,
    CHOICES,
    HYPER,
    NUMPY,
    SIZES,
    TARGETS,
    arrays_on,
    in_numpy,
    normal,
    on,
    ratio,
    repeats,
)


class Passes:
    """An activation's two calls with ``out=``."""

    def prepare(self, activation, target, elements):
        place = arrays_on(target)
        act, hyper = ACTIVATIONS[activation], HYPER.get(activation, ())
        x, dy = place(normal(elements)), place(normal(elements, 1))
        y, dx = x.copy(), x.copy()
        self.forward = lambda: act(x, *hyper, out=y)
        self.backward = lambda: act.backward(dy, x, *hyper, y=y, out=dx)
        self.calls(target, self.forward)
        self.calls(target, self.backward)

    def calls(self, target, call, count=1):
        with on(target):
            for _ in range(count):
                call()


class Activations(Passes):
    """Time of a call."""

    params = (list(ACTIVATIONS), TARGETS, SIZES)
    param_names = ("activation", "target", "elements")
    version = "2"
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, activation, target, elements):
        self.prepare(activation, target, elements)
        self.count = repeats(elements)

    def time_forward(self, activation, target, elements):
        self.calls(target, self.forward, self.count)

    def time_backward(self, activation, target, elements):
        self.calls(target, self.backward, self.count)


class OverNumPy(Passes):
    """The time of a forward and a backward call over that of the formulas in NumPy, with ``out=``."""

    params = (list(ACTIVATIONS), CHOICES, [1_000, 100_000])
    param_names = ("activation", "target", "elements")
    version = "2"
    unit = "x NumPy"

    def setup(self, activation, target, elements):
        x, dy = normal(elements), normal(elements, 1)
        make, known = NUMPY.activation_out, NUMPY.PASSES_OUT
        self.numpy = [in_numpy(make, known, activation, forward, x, dy) for forward in (True, False)]
        self.prepare(activation, target, elements)

    def track_over_numpy(self, activation, target, elements):
        def ours():
            self.calls(target, self.forward)
            self.calls(target, self.backward)

        return ratio(ours, lambda: [call() for call in self.numpy])
