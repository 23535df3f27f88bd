"""Steps of parameters and gradients of 16 bits, with float32 masters, beside float32's."""

import contextlib

import numpy as np

import gnumba as gn

from .common import normal, on, repeats

DTYPES = {"float32": np.dtype(np.float32)}
if hasattr(gn, "LossScale"):  # earlier commits, which are compared with too, take float32 only
    DTYPES["float16"] = np.dtype(np.float16)
    with contextlib.suppress(ImportError):
        import ml_dtypes

        DTYPES["bfloat16"] = np.dtype(ml_dtypes.bfloat16)


class Storages:
    """Adam's step of one array."""

    params = (list(DTYPES), ["cpu", "parallel"], [1_000_000])
    param_names = ("dtype", "target", "elements")
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, dtype, target, elements):
        p, self.g = (normal(elements, seed).astype(DTYPES[dtype]) for seed in (0, 1))
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
