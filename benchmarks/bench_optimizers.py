"""A whole ``step`` over lists of arrays as models have them; how it grows, and what it allocates."""

import tracemalloc

from .common import MODELS, OPTIMIZERS, TARGETS, arrays_on, in_numpy, normal, on, ratio, repeats


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

    params = (list(OPTIMIZERS), TARGETS, list(MODELS)[:2])
    param_names = ("optimizer", "target", "model")
    version = "1"
    unit = "x NumPy"

    def setup(self, optimizer, target, model):
        self.prepare(optimizer, target, MODELS[model])
        self.grads = self.grads[:1]
        self.reference = in_numpy("numpy_step")(optimizer, model)

    def track_over_numpy(self, optimizer, target, model):
        return ratio(lambda: self.steps(target), self.reference)


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
    """What two steps of Adam over 40 MB allocate, and the process's peak."""

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
