"""An optimizer as naively as it can be written: one array after another, float64, nothing of gnumba.

It moves by one step from what the real one holds, so that roundings do not add up: whoever judges a
step writes what was found back with `adopt`.
"""

import math

import numpy as np


class NaiveOptimizer:
    """Arrays in groups, a formula of `reference`, clipping and counting.

    Attributes: ``p`` and ``state`` (a dict an array) are lists in the order of the parameters,
    ``updates`` how many each has had; ``groups`` is a list of dicts of numbers or schedules, ``group_of``
    says whose each parameter is.
    """

    def __init__(
        self, formula, states, arrays, group_of, groups, maximize=False, max_norm=None, nonfinite="apply"
    ):
        self.formula, self.group_of, self.groups = formula, group_of, groups
        self.max_norm, self.nonfinite, self.sign = max_norm, nonfinite, -1.0 if maximize else 1.0
        self.p = [np.array(p) for p in arrays]
        self.state = [{name: np.zeros_like(p) for name in states} for p in self.p]
        self.updates = [0] * len(self.p)
        self.t = self.skipped = 0
        self.norm = None

    def step(self, gradients, grad_scale=1.0):
        """New (p, state) of every array; None where a step is skipped or refused.

        A gradient is None, an array, or (indices, values) of rows.
        """
        scaled = [self._of(k, g) for k, g in enumerate(gradients)]
        scaled = [(rows, None if g is None else g / grad_scale) for rows, g in scaled]
        there = [g for _, g in scaled if g is not None]
        finite = all(np.isfinite(g).all() for g in there)
        if not finite and self.nonfinite == "raise":
            return None
        norm = math.sqrt(sum(np.sum(g * g) for g in there))
        self.norm = norm if self.max_norm is not None or self.nonfinite != "apply" else None
        if not finite and self.nonfinite == "skip":
            self.skipped += 1
            return None
        if self.max_norm is not None and norm > (limit := value(self.max_norm, self.t)):
            scaled = [(rows, None if g is None else g * (limit / norm)) for rows, g in scaled]
        scaled = [(rows, None if g is None else self.sign * g) for rows, g in scaled]
        made = [self._updated(k, rows, g) for k, (rows, g) in enumerate(scaled)]
        self.t += 1
        return made

    def _of(self, k, g):
        """Which rows a gradient is of, and its numbers, those of one row summed."""
        if not isinstance(g, tuple):
            return ..., None if g is None else np.array(g, np.float64)
        rows, where = np.unique(np.asarray(g[0], int) % max(len(self.p[k]), 1), return_inverse=True)
        summed = np.zeros((len(rows), *self.p[k].shape[1:]))
        np.add.at(summed, where, g[1])
        return rows, summed.astype(self.p[k].dtype).astype(np.float64)

    def _updated(self, k, rows, g):
        p = np.array(self.p[k], np.float64)
        state = {name: np.array(s, np.float64) for name, s in self.state[k].items()}
        if g is None:
            return p, state
        self.updates[k] += 1
        hyper = {name: value(given, self.t) for name, given in self.groups[self.group_of[k]].items()}
        before = {name: s[rows] for name, s in state.items()}
        p[rows], after = self.formula(p[rows], g, before, self.updates[k], **hyper)
        for name, s in state.items():
            s[rows] = after[name]
        return p, state

    def adopt(self, arrays, states):
        """Take what was found, bit for bit, as what the next step begins from."""
        self.p = [np.array(p) for p in arrays]
        self.state = [{name: np.array(s) for name, s in each.items()} for each in states]


def value(given, t):
    """A number, or a schedule's or a tuple of schedules' after ``t`` steps."""
    if isinstance(given, (tuple, list)):
        return tuple(value(each, t) for each in given)
    return float(given(t) if callable(given) else given)
