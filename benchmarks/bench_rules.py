"""Every update rule over one array: what the compiler made of it."""

import numpy as np

import gnumba as gn

from .common import RULES, SIZES, TARGETS, arrays_on, normal, on, ratio, repeats

KEEPING = ("beta", "beta1", "beta2", "decay", "eps", "mu")  # scalars that are 1 to change nothing
IN_CACHE, LARGE = 100_000, 10_000_000


@gn.rule
def touch1(p, g, /):
    """Reads and writes what a rule without state does."""
    return p + g


@gn.rule
def touch2(p, g, m, /):
    """Reads and writes what a rule with one state does."""
    return p + g, m + g


@gn.rule
def touch3(p, g, m, v, /):
    """Reads and writes what a rule with two states does."""
    return p + g, m + g, v + g


PROBES = (touch1, touch2, touch3)  # by how many states


def stepper(rule, target, elements):
    """A step of nothing: the arrays stay as they are however often it runs."""
    place = arrays_on(target)
    given = getattr(rule, "given", rule.scalars)  # which earlier commits have not, that are compared with too
    scalars = {name: float(name in KEEPING) for name in given}
    optimizer, g = gn.optimizer(rule, place(normal(elements, 0)), **scalars), place(normal(elements, 1))
    with on(target):
        optimizer.step(g)
    return lambda: optimizer.step(g)


class Rules:
    """Time of a step."""

    params = (list(RULES), TARGETS, SIZES)
    param_names = ("rule", "target", "elements")
    version = "2"
    repeat, rounds, warmup_time = (3, 20, 0.5), 1, 0.05

    def setup(self, rule, target, elements):
        self.count, self.step = repeats(elements), stepper(RULES[rule], target, elements)

    def time_step(self, rule, target, elements):
        with on(target):
            for _ in range(self.count):
                self.step()


class OverNumPy:
    """A rule's time, in the cache, over that of two of NumPy's functions: what is computed shows."""

    params = (list(RULES), TARGETS)
    param_names = ("rule", "target")
    version = "1"
    unit = "x NumPy"

    def setup(self, rule, target):
        self.step, self.x = stepper(RULES[rule], target, IN_CACHE), abs(normal(IN_CACHE))
        self.y = np.empty_like(self.x)

    def reference(self):
        np.sqrt(self.x, out=self.y)
        np.divide(self.x, self.y, out=self.y)

    def track_over_numpy(self, rule, target):
        def ours():
            with on(target):
                self.step()

        return ratio(ours, self.reference)


class OverProbe:
    """A rule's time, in memory, over that of a loop that only reads and writes as many arrays."""

    params = (list(RULES), TARGETS)
    param_names = ("rule", "target")
    version = "1"
    unit = "x probe"

    def setup(self, rule, target):
        made = RULES[rule]
        self.ours, self.probe = (stepper(each, target, LARGE) for each in (made, PROBES[len(made.state)]))

    def track_over_probe(self, rule, target):
        def timed(step):
            def call():
                with on(target):
                    step()

            return call

        return ratio(timed(self.ours), timed(self.probe))
