"""What the suites share: every optimizer and activation by name, data, and compiling outside the timing."""

import numpy as np

import gnumba as gn

# By construction: a name added to gnumba is benchmarked, with the options that give it all its state.
OPTIONS = {"SGD": {"momentum": 0.9}}
OPTIMIZERS = {
    name: (kind, OPTIONS.get(name, {}))
    for name, kind in vars(gn).items()
    if isinstance(kind, type) and issubclass(kind, gn.Optimizer) and kind is not gn.Optimizer
}
ACTIVATIONS = {made.name: made for made in vars(gn).values() if isinstance(made, gn.Activation)}
HYPER = {"prelu": (0.25,)}
TARGETS = ["cpu", "parallel"]

MODELS = {
    "4 arrays, 2.4k": [(64, 32), (32,), (32, 10), (10,)],
    "6 arrays, 235k": [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)],
    "161 arrays, 18M": [(512, 512)] * 50 + [(2048, 512)] * 5 + [(256,)] * 106,
}


def normal(shape, seed=0):
    """Standard normal float32: gradients of both signs, so that any number of steps stays normal."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def repeats(count):
    """How often to run a small thing in one sample: asv times one call where there is a setup."""
    return max(1, 100_000 // count)
