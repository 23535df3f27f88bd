"""Common parts of the suites: every optimizer and activation by name, data, targets, ratios."""

import contextlib
import importlib.util
import time
from pathlib import Path

import numpy as np

import gnumba as gn

# By construction: a name added to gnumba is benchmarked, with the options that give it all its state.
PUBLIC = {name: getattr(gn, name) for name in dir(gn) if not name.startswith("_")}
OPTIONS = {"SGD": {"momentum": 0.9}}
OPTIMIZERS = {
    name: (kind, OPTIONS.get(name, {}))
    for name, kind in PUBLIC.items()
    if isinstance(kind, type)
    and issubclass(kind, gn.Optimizer)
    and kind not in (gn.Optimizer, getattr(gn, "Muon", None))  # the models have vectors too
}
RULES = {
    name: rule
    for name, rule in gn.registry.items()
    if (rule.__module__ or "").startswith("gnumba.")
    and not getattr(rule, "lent", ())  # earlier commits are compared with too
}
ACTIVATIONS = {made.name: made for made in PUBLIC.values() if isinstance(made, gn.Activation)}
ALONG_ROWS = {
    name: made for name, made in PUBLIC.items() if isinstance(made, type(getattr(gn, "softmax", None)))
}
LOSSES = getattr(gn, "losses", None)  # earlier commits are compared with too
LOSSES = {name: getattr(LOSSES, name) for name in getattr(LOSSES, "__all__", ()) if name != "Loss"}
HYPER = {"prelu": (0.25,)}
TARGETS = ["cpu", "parallel", "cuda"]
CHOICES = ["default", *TARGETS]  # by default gnumba chooses, and may take its fast path
SIZES = [1_000, 1_000_000]

MODELS = {
    "4 arrays, 2.4k": [(64, 32), (32,), (32, 10), (10,)],
    "6 arrays, 235k": [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)],
    "161 arrays, 18M": [(512, 512)] * 50 + [(2048, 512)] * 5 + [(256,)] * 106,
}


def normal(shape, seed=0):
    """Standard normal float32: gradients of both signs, so that any number of steps stays normal.

    On a page of its own: where an array begins would make a difference of 15 % from process to process.
    """
    drawn = np.random.default_rng(seed).standard_normal(shape, np.float32)
    room = np.empty(drawn.size + 1024, np.float32)
    first = -room.ctypes.data % 4096 // 4
    made = room[first : first + drawn.size].reshape(drawn.shape)
    made[...] = drawn
    return made


def repeats(count):
    """How often to run a small thing in one sample: asv times one call where there is a setup."""
    return max(1, 100_000 // count)


# Targets.


def arrays_on(target):
    """Converter of NumPy arrays to the target's; without CUDA NotImplementedError, "n/a" in asv."""
    if target != "cuda":
        return np.asarray
    try:
        import cupy

        gn.target_of(cupy.zeros(1, np.float32))
    except Exception as error:
        raise NotImplementedError(f"nothing runs on CUDA here: {error}") from error
    return cupy.asarray


@contextlib.contextmanager
def on(target):
    """Compute there; on CUDA, the time is over when the work is done."""
    if target == "default":
        yield
    elif target != "cuda":
        with gn.use_target(target):
            yield
    else:
        import cupy

        yield
        cupy.cuda.get_current_stream().synchronize()


# Ratios: for machines whose speed changes from one minute to the next.

BUDGET = 2.0  # seconds that a ratio takes


def formulas():
    """The bench's module of formulas in NumPy: the file beside this suite, not the measured commit's."""
    path = Path(__file__).parents[1] / "gnumba" / "_cli" / "contenders" / "with_numpy.py"
    spec = importlib.util.spec_from_file_location("with_numpy", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


NUMPY = formulas()


def step_in_numpy(name, params, grads):
    """NumPy's way of a step, into arrays that are there if it has such a row."""
    return (NUMPY.step_out if name in NUMPY.STEPS_OUT else NUMPY.step)(name, params, grads)


def pass_in_numpy(name, forward, inputs, dy):
    """NumPy's way of an activation, into arrays that are there if it has such a row."""
    return (NUMPY.activation_out if name in NUMPY.PASSES_OUT else NUMPY.activation)(name, forward, inputs, dy)


def passes_of(act, inputs, dy, *hyper):
    """The forward and the backward call of an activation, into arrays that are there."""
    y, dx = dy.copy(), tuple(x.copy() for x in inputs)

    def forward():
        return act(*inputs, *hyper, out=y)

    def backward():
        if act in ALONG_ROWS.values():
            return act.backward(dy, y, out=dx[0])
        if len(inputs) > 1:
            return act.backward(dy, *inputs, *hyper, out=dx)
        return act.backward(dy, *inputs, *hyper, y=y, out=dx[0])

    return forward, backward


def arrays_read(act):
    """How many arrays an activation is of."""
    return len(getattr(act, "_kernel", act).reads)


def ratio(ours, reference, least=40):
    """The time of ours over the reference's, both a fiftieth up from the fastest. Lower is better.

    They take turns of less than a millisecond where they can, so that whatever slows the machine for
    a while slows both, and neither counts.
    """
    calls = [(call, max(1, int(2e-4 / min(seconds(call) for _ in range(3))))) for call in (ours, reference)]
    pairs, end = [], time.perf_counter() + BUDGET
    while len(pairs) < least or time.perf_counter() < end:
        pairs.append([seconds(call, times) for call, times in calls])
    mine, theirs = np.quantile(pairs, 0.02, axis=0)
    return float(mine / theirs)


def seconds(call, times=1):
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times
