"""Steps of parameters and gradients of 16 bits, with float32 masters, beside float32's."""

import numpy as np

import gnumba as gn

from .common import normal, on, repeats

DTYPES = ["float32", "float16", "bfloat16"]


def dtype_of(name):
    """A dtype by its name; earlier commits, which are compared with too, take float32 only."""
    if name == "float32":
        return np.dtype(name)
    if not hasattr(gn, "LossScale"):
        raise NotImplementedError("parameters are float32 or float64 here")
    if name == "float16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise NotImplementedError("bfloat16 is a dtype of ml_dtypes, which is not installed") from error
    return np.dtype(ml_dtypes.bfloat16)


class Storages:
    """Adam's step of one array."""

    params = (DTYPES, ["cpu", "parallel"], [1_000_000])
    param_names = ("dtype", "target", "elements")
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, dtype, target, elements):
        p, self.g = (normal(elements, seed).astype(dtype_of(dtype)) for seed in (0, 1))
        self.count, self.optimizer = repeats(elements), gn.Adam(p)
        with on(target):
            self.optimizer.step(self.g)

    def time_step(self, dtype, target, elements):
        with on(target):
            for _ in range(self.count):
                self.optimizer.step(self.g)

    def track_bytes(self, dtype, target, elements):
        """Those kept for an element: parameter, master and states."""
        kept = self.optimizer.state_dict()["state"]["0"].values()
        states = sum(x.nbytes for x in kept if isinstance(x, np.ndarray))
        return (self.optimizer.groups[0]["params"].nbytes + states) / elements

    track_bytes.unit = "bytes an element"
