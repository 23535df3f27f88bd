"""Every activation, forward and backward, into arrays that are there."""

from .common import (
    ACTIVATIONS,
    CHOICES,
    HYPER,
    SIZES,
    TARGETS,
    arrays_on,
    arrays_read,
    normal,
    on,
    pass_in_numpy,
    passes_of,
    ratio,
    repeats,
)


class Passes:
    """An activation's two calls with ``out=``."""

    def prepare(self, activation, target, elements):
        place, act = arrays_on(target), ACTIVATIONS[activation]
        inputs = [place(normal(elements, seed)) for seed in range(arrays_read(act))]
        dy = place(normal(elements, len(inputs)))
        self.forward, self.backward = passes_of(act, inputs, dy, *HYPER.get(activation, ()))
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
    """The time of a forward and a backward call over that of the formulas in NumPy."""

    params = (list(ACTIVATIONS), CHOICES, [1_000, 100_000])
    param_names = ("activation", "target", "elements")
    version = "2"
    unit = "x NumPy"

    def setup(self, activation, target, elements):
        count = arrays_read(ACTIVATIONS[activation])
        inputs, dy = tuple(normal(elements, seed) for seed in range(count)), normal(elements, count)
        self.numpy = [pass_in_numpy(activation, forward, inputs, dy) for forward in (True, False)]
        self.prepare(activation, target, elements)

    def track_over_numpy(self, activation, target, elements):
        def ours():
            self.calls(target, self.forward)
            self.calls(target, self.backward)

        return ratio(ours, lambda: [call() for call in self.numpy])
