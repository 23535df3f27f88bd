"""Did you mean: names, keyword arguments, attributes."""

import copy
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from judge import on_each
from test_errors import assert_refused

import gnumba as gn
from gnumba import _suggest
from gnumba._nn.gated import Gated
from gnumba._suggest import Suggesting, nearest, no_attribute, suggesting


@pytest.mark.parametrize(
    ("name", "among", "found"),
    [
        ("learning_rate", ["lr", "betas"], "lr"),
        ("learning_rate", ["max_lr", "steps"], "max_lr"),
        ("alpha", ["negative_slope"], "negative_slope"),
        ("eta_min", ["lr", "steps", "final"], "final"),
        ("gamma", ["lr", "every", "factor"], "factor"),
        ("gamma", ["lr", "decay_rate"], "decay_rate"),
        ("T_max", ["lr", "steps"], "steps"),
        ("seed", ["shape", "rng"], "rng"),
        ("weight_deacy", ["lr", "weight_decay"], "weight_decay"),
        ("WeightDecay", ["lr", "weight_decay"], "weight_decay"),
        ("xyz", ["lr", "weight_decay"], None),
    ],
)
def test_nearest(name, among, found):
    """Habits first, then spelling; nothing where nothing is near."""
    assert nearest(name, among) == ("" if found is None else f"; did you mean {found!r}?")


def test_no_attribute():
    """An AttributeError for whoever refuses it."""
    error = no_attribute(1.0, "learning_rate", ["lr"])
    assert isinstance(error, AttributeError)
    assert str(error) == "float has no attribute 'learning_rate'; did you mean 'lr'?"


def test_a_call_with_arguments_that_are_not_taken():
    """Names that there are not, and too many by position; what is raised within is left as it is."""

    @suggesting
    def scaled(x, lr=0.1, *, betas=(0.9, 0.999), eps=0.0):
        """Docstring."""
        if lr < 0:
            raise TypeError("of its own")
        return x * lr

    assert scaled(2.0, lr=0.5) == 1.0
    assert scaled.__doc__ == "Docstring."
    assert list(inspect.signature(scaled).parameters) == ["x", "lr", "betas", "eps"]
    with pytest.raises(TypeError, match=r"scaled\(\) has no argument 'learning_rate'; did you mean 'lr'\?"):
        scaled(1.0, learning_rate=0.5)
    with pytest.raises(TypeError, match=r"given 3 arguments by position, expected betas, eps by name"):
        scaled(1.0, 0.5, (0.9, 0.999))
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'x'"):
        scaled()
    with pytest.raises(TypeError, match=r"^of its own$"):
        scaled(1.0, lr=-1.0)


def test_a_class_with_arguments_that_are_not_taken():
    """By the class's name."""

    class Thing:
        @suggesting
        def __init__(self, lr, *, decay=0.9):
            self.lr = lr

    class Heir(Suggesting):
        def __init__(self, lr, *, decay=0.9):
            self.lr = lr

    assert Thing(0.5).lr == Heir(0.5).lr == 0.5
    with pytest.raises(TypeError, match=r"Heir\(\) has no argument 'rho'; did you mean 'decay'\?"):
        Heir(0.5, rho=0.1)
    with pytest.raises(TypeError, match=r"Thing\(\) has no argument 'rho'; did you mean 'decay'\?"):
        Thing(0.5, rho=0.1)
    with pytest.raises(TypeError, match=r"Thing\(\) was given 2 arguments by position, expected decay"):
        Thing(0.5, 0.9)


def test_no_habit_is_a_name_of_ours_alone():
    """A row whose candidates are all the habit itself would say nothing."""
    for table in (_suggest.ARGUMENTS, _suggest.NAMES):
        assert all(set(here) != {name} for name, here in table.items())


# Every public callable.


def callables():
    """Functions, classes, and what the objects that are called have; with enough arguments to be called."""
    for module in (gn, gn.init, gn.schedules):
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, gn.Activation):
                gated, slope = isinstance(thing, Gated), (0.5,) if thing is gn.prelu else ()
                given, names = (np.ones(3),) * (1 + gated) + slope, [*hypers(thing), "out"]
                yield f"{name}", thing, given, names
                yield f"{name}.derivative", thing.derivative, given, names
                yield f"{name}.backward", thing.backward, (np.ones(3), *given), names + ["y"] * (not gated)
                yield f"{name}.ufunc", thing.ufunc, (), ["target"]
            elif type(thing) is type(gn.dropout):
                yield f"{name}", thing, (np.ones(3),), ["rate", "key", "out"]
                yield f"{name}.backward", thing.backward, (np.ones(3),), ["rate", "key", "out"]
            elif callable(thing):
                parameters = inspect.signature(thing).parameters.values()
                kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
                takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
                yield (
                    f"{name}",
                    thing,
                    (),
                    [] if takes_any else [p.name for p in parameters if p.kind in kinds],
                )
    yield "schedule.plot", gn.schedules.constant(0.1).plot, (), ["steps", "ax"]
    yield "rule.ufuncs", gn.rules.adam.ufuncs, (), ["target"]


def hypers(act):
    """An activation's hyperparameters that a call does not need."""
    return (
        [] if act is gn.prelu else list(inspect.signature(act.rule).parameters)[1 + isinstance(act, Gated) :]
    )


MISSPELLED = [
    pytest.param(thing, given, name, id=f"{title} {name}")
    for title, thing, given, names in callables()
    for name in names
]


@on_each("thing, given, name", MISSPELLED)
def test_a_misspelled_argument(thing, given, name):
    """A letter twice, or in capitals: the sentence names the argument that there is."""
    for wrong in (name + name[-1], name.upper() + "_"):
        message = assert_refused(
            lambda w=wrong: thing(*given, **{w: 1}), TypeError, f"has no argument {wrong!r}"
        )
        assert f"did you mean {name!r}?" in message


def test_every_public_callable_is_tried():
    """Those that pass on what they do not know are named; each optimizer is there."""
    titles = {title for title, _, _, names in callables() if not names}
    assert titles == {
        "Optimizer",
        "Phase",
        "check_derivative",
        "distributed",
        "info",
        "optimizer",
        "target_of",
    }
    tried = {title for title, *_ in callables()}
    assert {name for name in gn.__all__ if callable(getattr(gn, name))} <= tried


def test_what_passes_arguments_on():
    """The sentence is that of the one who refuses."""

    @gn.rule
    def told(p, g, /, lr, decay):
        return p - lr * decay * g

    p = np.zeros(3)
    try:
        for call, kind, name in [
            (lambda: gn.optimizer(told, p, learning_rate=0.1, decay=0.9), TypeError, "lr"),
            (lambda: gn.optimizer(told, p, lr=0.1, dekay=0.9), TypeError, "decay"),
            (lambda: gn.Phases(p, [gn.Phase(gn.Adam, learning_rate=0.1)]), TypeError, "lr"),
            (lambda: gn.Adam([{"params": p, "learning_rate": 0.1}]), ValueError, "lr"),
            (lambda: gn.Adam([{"params": p, "weight_dekay": 0.1}]), ValueError, "weight_decay"),
            (lambda: gn.Adam(p).groups[0].update(learning_rate=0.1), ValueError, "lr"),
        ]:
            assert_refused(call, kind, f"did you mean {name!r}?")
    finally:
        del gn.registry["told"]


HABITS = {
    "learning_rate of an optimizer": (lambda: gn.Adam(np.zeros(1), learning_rate=0.1), "lr"),
    "beta_1": (lambda: gn.Adam(np.zeros(1), beta_1=0.9), "betas"),
    "epsilon": (lambda: gn.Adam(np.zeros(1), epsilon=1e-8), "eps"),
    "clipnorm": (lambda: gn.SGD(np.zeros(1), clipnorm=1.0), "max_norm"),
    "alpha of RMSprop": (lambda: gn.RMSProp(np.zeros(1), alpha=0.99), "decay"),
    "rho of RMSprop": (lambda: gn.RMSProp(np.zeros(1), rho=0.9), "decay"),
    "alpha of leaky_relu": (lambda: gn.leaky_relu(np.zeros(1), alpha=0.1), "negative_slope"),
    "negative_slope of elu": (lambda: gn.elu(np.zeros(1), negative_slope=0.1), "alpha"),
    "weight of prelu": (lambda: gn.prelu(np.zeros(1), weight=0.1), "alpha"),
    "p of dropout": (lambda: gn.dropout(np.zeros(1), p=0.5, key=0), "rate"),
    "seed of dropout": (lambda: gn.dropout(np.zeros(1), 0.5, seed=0), "key"),
    "rng of dropout": (lambda: gn.dropout(np.zeros(1), 0.5, rng=0), "key"),
    "seed of init": (lambda: gn.init.he_normal((2, 3), seed=0), "rng"),
    "key of init": (lambda: gn.init.he_normal((2, 3), key=0), "rng"),
    "stddev of init": (lambda: gn.init.normal((2, 3), stddev=0.1), "std"),
    "batch of minibatches": (lambda: gn.minibatches(np.zeros(3), batch=2), "batch_size"),
    "seed of minibatches": (lambda: gn.minibatches(np.zeros(3), seed=2), "rng"),
    "max_value of clipping": (lambda: gn.clip_by_value(np.zeros(3), clip_value=1.0), "limit"),
    "file of a checkpoint": (lambda: gn.load_checkpoint(filename="run", params=np.zeros(3)), "path"),
}


@pytest.mark.parametrize(("call", "name"), HABITS.values(), ids=HABITS)
def test_arguments_of_other_libraries(call, name):
    """By their names here. (Schedules' are in test_schedules.)"""
    assert_refused(call, TypeError, "has no argument", f"did you mean {name!r}?")


@pytest.mark.parametrize("size", [32, None, lambda t: 32, np.int64(32)])
def test_a_batch_size_among_the_arrays(size):
    """Arrays come by position, whatever their number, so it cannot."""
    x = np.zeros((4, 2))
    assert_refused(lambda: gn.minibatches(x, x, size), TypeError, f"did you mean batch_size={size!r}?")


def test_optimizers_by_position():
    """PyTorch's calls."""
    for call in (lambda: gn.Adam(np.zeros(1), 0.1, (0.9, 0.99)), lambda: gn.SGD(np.zeros(1), 0.1, 0.9)):
        assert_refused(call, TypeError, "was given 3 arguments by position", "by name")


# Names of modules.

NAMES_ELSEWHERE = [
    (gn, "RMSprop", "RMSProp"),
    (gn, "Adagrad", "AdaGrad"),
    (gn, "adam", "Adam"),
    (gn, "LeakyReLU", "leaky_relu"),
    (gn, "kaiming_normal", "init.he_normal"),
    (gn, "he_normal", "init.he_normal"),
    (gn, "cosine", "schedules.cosine"),
    (gn, "StepLR", "schedules.step"),
    (gn, "clip_grad_norm_", "clip_by_global_norm"),
    (gn, "DataLoader", "minibatches"),
    (gn.init, "kaiming_normal", "he_normal"),
    (gn.init, "kaiming_uniform_", "he_uniform"),
    (gn.init, "glorot_uniform", "xavier_uniform"),
    (gn.init, "zeros", "constant(shape, 0.0)"),
    (gn.init, "ones_", "constant(shape, 1.0)"),
    (gn.init, "XavierNormal", "xavier_normal"),
    (gn.schedules, "CosineAnnealingLR", "cosine"),
    (gn.schedules, "CosineAnnealingWarmRestarts", "cosine_restarts"),
    (gn.schedules, "warmup_cosine_decay_schedule", "warmup_cosine"),
    (gn.schedules, "ReduceLROnPlateau", "ReduceOnPlateau"),
    (gn.schedules, "OneCycleLR", "one_cycle"),
    (gn.elementary, "Sqrt", "sqrt"),
    (gn.rules, "Adam", "adam"),
]


@pytest.mark.parametrize(
    ("module", "name", "found"), NAMES_ELSEWHERE, ids=lambda x: getattr(x, "__name__", x)
)
def test_names_of_other_libraries(module, name, found):
    """By their names here, and where they are."""
    expected = f"module {module.__name__!r} has no attribute {name!r}; did you mean {found!r}?"
    assert_refused(lambda: getattr(module, name), AttributeError, expected)


def test_every_habit_leads_somewhere():
    """Each row of both tables names at least one thing that there is, or that is planned."""
    names = set(_every_name())
    arguments = {name for _, _, _, those in callables() for name in those}
    arguments |= {"grads", "dy", "grad_scale", "schedule", "decay_mask", "beta"}
    for table, known in ((_suggest.NAMES, names | {"EMA"}), (_suggest.ARGUMENTS, arguments | {"momentum"})):
        for habit, candidates in table.items():
            assert any(each.partition("(")[0] in known for each in candidates), habit


def _every_name():
    for prefix, module in (("", gn), ("", gn.init), ("", gn.schedules)):
        yield from (prefix + name for name in module.__all__)


@pytest.mark.parametrize(
    "module", [gn, gn.init, gn.schedules, gn.elementary, gn.rules], ids=lambda m: m.__name__
)
def test_what_a_module_shows(module):
    """``dir`` and the Tab key: what is public, all of which is there, and nothing that was imported."""
    shown = set(dir(module)) - {"__version__"}
    assert shown == set(module.__all__)
    assert len(module.__all__) == len(shown)
    for name in module.__all__:
        thing = getattr(module, name)
        assert inspect.ismodule(thing) or getattr(thing, "__module__", "gnumba").startswith(
            ("gnumba", "builtins")
        )


def test_help_is_a_table_of_contents():
    """The docstring lists every public name once, under a heading, and no other."""
    lines = gn.__doc__.split("\n\n", 2)[2].splitlines()
    listed = [
        name
        for line in lines
        if line.startswith("    ") and line[4] != " "
        for name in line.strip().rstrip(",").split(", ")
    ]
    assert sorted(listed) == sorted(gn.__all__)


def test_functions_stay_what_they_are():
    """By name in a pickle, with their signature and docstring; a wrong call costs nobody else anything."""
    for function in (gn.minibatches, gn.init.he_normal, gn.clip_by_global_norm, gn.save_checkpoint):
        assert pickle.loads(pickle.dumps(function)) is copy.deepcopy(function) is function
        assert function.__globals__ is vars(sys.modules[function.__module__])  # where doctest looks
        assert "Parameters" in function.__doc__
        assert inspect.isfunction(function)


def test_difflib_is_imported_on_the_way_to_an_error():
    """Not by ``import gnumba``."""
    code = (
        "import numba, sys; sys.modules.pop('difflib', None); import gnumba; print('difflib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
