"""A whole ``step`` over lists of arrays as models have them: checks, scalars, kernels."""

from .common import MODELS, OPTIMIZERS, normal, repeats


class Step:
    """Time of one step; gradients alternate in sign, so that parameters stay where they are."""

    params = (list(OPTIMIZERS), list(MODELS))
    param_names = ("optimizer", "model")
    version = "1"

    def setup(self, optimizer, model):
        shapes = MODELS[model]
        self.count = repeats(sum(normal(shape).size for shape in shapes))
        kind, options = OPTIMIZERS[optimizer]
        self.optimizer = kind([normal(shape) for shape in shapes], lr=1e-6, **options)
        plus = [normal(shape, 1) for shape in shapes]
        self.grads = [plus, [-g for g in plus]]
        for grads in self.grads:
            self.optimizer.step(grads)

    def time_two_steps(self, optimizer, model):
        for _ in range(self.count):
            for grads in self.grads:
                self.optimizer.step(grads)

    def peakmem_step(self, optimizer, model):
        self.optimizer.step(self.grads[0])
