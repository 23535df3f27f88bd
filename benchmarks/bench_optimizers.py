"""A whole ``step`` over arrays as models have them: clipped, of some rows; its growth, what it allocates."""

import tracemalloc

import numpy as np

import gnumba as gn

from .common import (
    CHOICES,
    MODELS,
    OPTIMIZERS,
    TARGETS,
    arrays_on,
    normal,
    on,
    ratio,
    repeats,
    step_in_numpy,
)


class Stepping:
    """An optimizer over arrays of these shapes; gradients alternate in sign, so that parameters stay."""

    def prepare(self, optimizer, target, shapes):
        place = arrays_on(target)
        kind, options = OPTIMIZERS[optimizer]
        params = [place(normal(shape)) for shape in shapes]
        self.count = repeats(sum(p.size for p in params))
        self.optimizer = kind(params, lr=1e-6, **options)
        plus = [place(normal(shape, 1)) for shape in shapes]
        self.grads = [plus, [-g for g in plus]]
        self.steps(target)

    def steps(self, target, count=1):
        with on(target):
            for _ in range(count):
                for grads in self.grads:
                    self.optimizer.step(grads)


class Step(Stepping):
    """Time of two steps."""

    params = (list(OPTIMIZERS), TARGETS, list(MODELS))
    param_names = ("optimizer", "target", "model")
    version = "2"
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, optimizer, target, model):
        self.prepare(optimizer, target, MODELS[model])

    def time_two_steps(self, optimizer, target, model):
        self.steps(target, self.count)


class OverNumPy(Stepping):
    """A step's time over that of the formula in NumPy."""

    params = (list(OPTIMIZERS), CHOICES, list(MODELS)[:2])
    param_names = ("optimizer", "target", "model")
    version = "2"
    unit = "x NumPy"

    def setup(self, optimizer, target, model):
        params, grads = ([normal(shape, seed) for shape in MODELS[model]] for seed in (0, 1))
        self.reference = step_in_numpy(optimizer, params, grads)
        self.prepare(optimizer, target, MODELS[model])
        self.grads = self.grads[:1]

    def track_over_numpy(self, optimizer, target, model):
        return ratio(lambda: self.steps(target), self.reference)


class Clipped(Stepping):
    """A clipped step's time over that of a step; one read of the gradients more is what it has to cost."""

    params = (["SGD", "Adam"], TARGETS, [*MODELS, "1 array, 30M"])
    param_names = ("optimizer", "target", "model")
    version = "1"
    unit = "x a step"

    def setup(self, optimizer, target, model):
        if not hasattr(gn, "clip_by_global_norm"):
            raise NotImplementedError("this commit does not clip")
        self.prepare(optimizer, target, MODELS.get(model, [(30_000_000,)]))

    def track_over_step(self, optimizer, target, model):
        return ratio(lambda: self.limited(target, 1.0), lambda: self.limited(target, None), least=20)

    def limited(self, target, max_norm):
        self.optimizer.max_norm = max_norm
        self.steps(target)


class Rows(Stepping):
    """A step of 1,000 rows of 64 over the step of the whole table."""

    params = (["AdaGrad", "Adam"], TARGETS, [100_000, 1_000_000])
    param_names = ("optimizer", "target", "rows")
    version = "1"
    unit = "x the table"

    def setup(self, optimizer, target, rows):
        if not hasattr(gn, "Rows"):
            raise NotImplementedError("this commit has no Rows")
        self.prepare(optimizer, target, [(rows, 64)])
        rng, self.values = np.random.default_rng(2), arrays_on(target)(normal((1000, 64)))
        self.chosen = [rng.integers(0, rows, 1000) for _ in range(100)]

    def track_over_table(self, optimizer, target, rows):
        return ratio(lambda: self.some(target), lambda: self.steps(target), least=20)

    def some(self, target):
        self.chosen.append(self.chosen.pop(0))
        with on(target):
            self.optimizer.step([gn.Rows(self.chosen[0], self.values)])
            self.optimizer.step([gn.Rows(self.chosen[0], -self.values)])


class Growth(Stepping):
    """Two steps of Adam, by parameters in one array, and by small arrays."""

    params = (TARGETS, ["1 x 1e6", "1 x 1e7", "1 x 1e8", "10 x 16", "100 x 16", "1000 x 16"])
    param_names = ("target", "arrays")
    version = "1"
    repeat, rounds, warmup_time = (3, 10, 0.5), 1, 0.05

    def setup(self, target, arrays):
        count, size = (int(float(number)) for number in arrays.split(" x "))
        self.prepare("Adam", target, [(size,)] * count)

    def time_two_steps(self, target, arrays):
        self.steps(target)


class Memory(Stepping):
    """Bytes allocated by two steps of Adam over 40 MB, and the process's peak."""

    params = (TARGETS,)
    param_names = ("target",)
    version = "1"
    unit = "bytes"

    def setup(self, target):
        self.prepare("Adam", target, [(10_000_000,)])

    def track_allocated(self, target):
        tracemalloc.start()
        self.steps(target)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    def peakmem_step(self, target):
        self.steps(target)
