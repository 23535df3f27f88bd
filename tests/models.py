"""Small models, their gradients and schedules, and what is compared after training them."""

import numpy as np
from judge import assert_close, assert_same_bits

SHAPES = {"w": (5, 3), "b": (3,), "scale": ()}


def model(rng, dtype=np.float64):
    """Parameters by name."""
    return {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}


def gradients_of(rng, params, steps):
    """Gradients by name, one dict a step."""
    return [
        {name: np.asarray(rng.standard_normal(p.shape), p.dtype) for name, p in params.items()}
        for _ in range(steps)
    ]


def copies(params):
    """Copies of the arrays, in a container of the same kind."""
    if isinstance(params, dict):
        return {name: copies(p) for name, p in params.items()}
    return type(params)(map(copies, params)) if isinstance(params, (list, tuple)) else params.copy()


def assert_model(params, expected):
    """Every array near its formula's."""
    for name, p in params.items():
        assert_close(p, expected[name], p.dtype, scale=np.abs(expected[name]).max(), what=name)


def assert_equal_models(params, expected):
    """Every array, bit for bit."""
    for name, p in params.items():
        assert_same_bits(p, expected[name], name)


def assert_equal_states(state, expected):
    """Two state dicts, bit for bit."""
    assert (state["t"], state["rule"], state["groups"]) == (
        expected["t"],
        expected["rule"],
        expected["groups"],
    )
    assert state["state"].keys() == expected["state"].keys()
    for name, arrays in expected["state"].items():
        assert state["state"][name].keys() == arrays.keys()
        for key, value in arrays.items():
            assert_same_bits(state["state"][name][key], value, f"{name}: {key}")


def falling(start, asked=None):
    """A schedule of numbers, or of tuples of numbers, that fall by a tenth a step."""

    def schedule(t):
        if asked is not None:
            asked.append(t)
        return tuple(s * 0.9**t for s in start) if isinstance(start, tuple) else start * 0.9**t

    return schedule


class Halving:
    """A schedule with a state: what it was told."""

    def __init__(self, lr, told=0):
        self.lr, self.told = lr, told

    def __call__(self, t):
        return self.lr * 0.5**self.told

    def state_dict(self):
        return {"told": self.told}

    def load_state_dict(self, state):
        self.told = state["told"]
