"""Every update rule's sweep over one array, alone: what the compiler made of it."""

import gnumba as gn
from gnumba._engine.launch import launch
from gnumba._engine.table import Table

from .common import TARGETS, normal, repeats

BUILT_IN = {name: rule for name, rule in gn.registry.items() if rule.__module__.startswith("gnumba.")}
KEEPING = ("beta", "beta1", "beta2", "decay", "eps", "mu")  # scalars that are 1 to change nothing


class Rules:
    """Time of a sweep over one row."""

    params = (list(BUILT_IN), TARGETS, [1_000, 100_000, 10_000_000])
    param_names = ("rule", "target", "elements")
    version = "1"

    def setup(self, rule, target, elements):
        self.count = repeats(elements)
        made = BUILT_IN[rule]
        state = [abs(normal(elements, 2)) for _ in made.state]
        self.table = Table(made, [(normal(elements, 0), normal(elements, 1), *state)])
        # A step of nothing: the arrays stay as they are however often it runs.
        self.scalars = tuple(float(name in KEEPING) for name in made.scalars)
        with gn.use_target(target):
            launch([(self.table, self.scalars)])

    def time_sweep(self, rule, target, elements):
        with gn.use_target(target):
            for _ in range(self.count):
                launch([(self.table, self.scalars)])
