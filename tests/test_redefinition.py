"""A notebook's cells run again: rules and activations are what they are made of by now."""

import copy
import pickle
import sys
import types

import numpy as np
import pytest
from models import assert_equal_states

import gnumba as gn
from gnumba._engine.compile.snapshot import current

USERS = """
import gnumba as gn

@gn.rule
def pull(p, g, m, /, lr):
    return p - lr * value(g), m + value(g)

@gn.activation(derivative=lambda x: 2.0 * value(x))
def bend(x):
    return value(x)

@gn.loss(gradient=lambda p, t: 2.0 * value(p))
def lose(p, t):
    return value(p)
"""

# By what is redefined: a first cell, and one that changes value(1.0) from 2.0 to 0.5.
CHANGES = {
    "a global": ("K = 2.0\ndef value(x): return K * x", "K = 0.5"),
    "an integer": (
        "K = 4\ndef value(x): return 0.5 * (x if K > 2 else x * x) * 4.0 / (1.0 if K > 2 else 4.0)",
        "K = 1",
    ),
    "a tuple": ("K = (1.0, (2.0,))\ndef value(x): return K[1][0] * x", "K = (1.0, (0.5,))"),
    "a helper": ("def value(x): return 2.0 * x", "def value(x): return 0.5 * x"),
    "a helper's helper": (
        "def inner(x): return 2.0 * x\ndef value(x): return inner(x)",
        "def inner(x): return 0.5 * x",
    ),
    "a helper's global": (
        "K = 2.0\ndef inner(x): return K * x\ndef value(x): return inner(x)",
        "K = 0.5",
    ),
    "a default": ("def value(x, k=2.0): return k * x", "value.__defaults__ = (0.5,)"),
    "code, as autoreload does": (
        "def value(x): return 2.0 * x",
        "def other(x): return 0.5 * x\nvalue.__code__ = other.__code__",
    ),
    "a closure's cell": (
        "def make():\n    k = 2.0\n    def value(x): return k * x\n    def put(new):\n        nonlocal k\n"
        "        k = new\n    return value, put\nvalue, put = make()",
        "put(0.5)",
    ),
    "a module's attribute": (
        "import types\nlib = types.ModuleType('lib')\nlib.k = 2.0\ndef value(x): return lib.k * x",
        "lib.k = 0.5",
    ),
    "a module's module's function": (
        "import types\nlib = types.ModuleType('lib')\n"
        "lib.sub = types.ModuleType('lib.sub')\nlib.sub.lib = lib\n"
        "lib.sub.f = lambda x: 2.0 * x\ndef value(x): return lib.sub.f(x)",
        "lib.sub.f = lambda x: 0.5 * x",
    ),
    "an array in place": (
        "import numpy as np\nK = np.array([2.0, 1.0])\ndef value(x): return K[0] * x",
        "K[0] = 0.5",
    ),
    "a compiled helper": (
        "import numba\n@numba.njit\ndef value(x): return 2.0 * x",
        "@numba.njit\ndef value(x): return 0.5 * x",
    ),
    "another rule": (
        "import gnumba as gn\n@gn.rule\ndef inner(p, g, /): return 2.0 * p\ndef value(x): return inner(x, x)",
        "@gn.rule\ndef inner(p, g, /): return 0.5 * p",
    ),
    "a built-in that is shadowed": (
        "def value(x): return 2.0 * abs(x)",
        "def abs(x): return 0.25 * x",
    ),
}


class Notebook(types.ModuleType):
    """Cells that share their names."""

    def run(self, source):
        exec(compile(source, "<cell>", "exec"), vars(self))


@pytest.fixture
def notebook(monkeypatch):
    made = Notebook("a_notebook")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(gn._rule, "registry", dict(gn.registry))
    return made


def pulled(optimizer, p):
    """How far a step of lr 1 against a gradient of 1 goes."""
    before = p.copy()
    optimizer.step(np.ones_like(p))
    return (before - p).ravel()[0]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_compiled_is_what_is_there(change, notebook):
    """By kind: what the compiler is given, run as plain Python, and what was given before."""
    first, second = change
    notebook.run(first + USERS)
    things = notebook.pull, notebook.bend, notebook.lose
    rule, *_ = things
    former = [*map(current, things)]
    notebook.run(second)
    latter = [*map(current, things)]
    assert rule(1.0, 1.0, 0.0, 1.0) == (0.5, 0.5)
    for (made, bent, lost), value in ((former, 2.0), (latter, 0.5)):
        assert made._kernel.fn(1.0, 1.0, 0.0, 1.0) == (1.0 - value, value)
        assert bent._kernel.fn(1.0) == value
        assert [f.fn(1.0) for f in bent._functions[1:2]] == [2.0 * value]
        assert (lost.rule(1.0, 0.0), lost.gradient(1.0, 0.0)) == (value, 2.0 * value)
    assert [*map(current, things)] == latter


def test_what_is_redefined_is_used(notebook):
    """By new optimizers, ufuncs, and each call of an activation, as by plain Python."""
    first, second = CHANGES["a helper's global"]
    notebook.run(first + USERS)
    x, p = np.ones(3), np.zeros(3)
    for cell, expected in (("", 2.0), (second, 0.5), ("", 0.5)):
        notebook.run(cell)
        rule, act = notebook.pull, notebook.bend
        assert rule(1.0, 1.0, 0.0, 1.0) == (1.0 - expected, expected)
        assert pulled(gn.optimizer(rule, p, lr=1.0), p) == expected
        assert rule.ufuncs().m(0.0, 1.0, 0.0, 1.0) == expected
        assert act(x)[0] == act.ufunc()(1.0) == expected
        assert act.derivative(x)[0] == act.backward(x, x)[0] == 2.0 * expected
        assert act(x[::-2])[0] == expected
        assert notebook.lose(x, x)[0] == expected
        assert notebook.lose(x, x, reduction="sum", weight=0.5)[1][0] == expected
        assert gn.inspect(notebook.lose, dtype="float64")["llvm"]
        assert pickle.loads(pickle.dumps(notebook.lose)) is notebook.lose


def test_a_running_optimizer_keeps_its_rule(notebook, dtype, target):
    """It, its copies, their dense and sparse steps, until the end; a new one has the new rule."""
    notebook.run("K = 2.0\ndef value(x): return K * x" + USERS)
    a, b, c = np.zeros((3, 4, 2), dtype)
    with gn.use_target(target):
        optimizer = gn.optimizer(notebook.pull, a, lr=1.0)
        assert pulled(optimizer, a) == 2.0
        notebook.run("K = 0.5")
        twin = copy.deepcopy(optimizer)
        other = gn.optimizer(notebook.pull, b, lr=1.0)
        for _ in range(3):
            assert pulled(optimizer, a) == 2.0
            assert pulled(other, b) == 0.5
            twin.step(np.ones((4, 2), dtype))
        assert_equal_states(twin.state_dict(), optimizer.state_dict())
        a[...] = 0.0
        optimizer.step(gn.Rows([1], np.ones((1, 2), dtype)))
        assert a.tolist() == [[0.0, 0.0], [-2.0, -2.0], [0.0, 0.0], [0.0, 0.0]]
        late = gn.optimizer(notebook.pull, {"single": c.astype("f4"), "double": c.astype("f8")}, lr=1.0)
        notebook.run("K = 8.0")
        late.step({"single": np.ones((4, 2), "f4"), "double": np.ones((4, 2))})
        assert {value for m in late.state_dict()["state"].values() for value in m["m"].ravel()} == {0.5}


def test_a_pickled_optimizer_is_made_anew(notebook):
    """Of the rule that is found by its name."""
    notebook.run("K = 2.0\ndef value(x): return K * x" + USERS)
    p = np.zeros(2)
    optimizer = gn.optimizer(notebook.pull, {"w": p}, lr=1.0)
    data = pickle.dumps(optimizer)
    notebook.run("K = 0.5")
    again = pickle.loads(data)
    again.step({"w": np.ones(2)})
    assert again.rule is notebook.pull
    assert again.state_dict()["state"]["w"]["m"].tolist() == [0.5, 0.5]
    optimizer.step({"w": np.ones(2)})
    assert p.tolist() == [-2.0, -2.0]


def test_what_is_the_same_is_compiled_once(notebook):
    """A cell run again as it is, or back as it was."""
    notebook.run("K = 2.0\ndef value(x): return K * x" + USERS)
    first = current(notebook.pull)
    assert current(notebook.pull) is first
    notebook.run("K = 1.0 + 1.0\ndef value(x):\n    return K * x  # the same")
    assert current(notebook.pull) is first
    notebook.run("K = 0.5")
    assert current(notebook.pull) is not first
    notebook.run("K = 2.0")
    assert current(notebook.pull) is first
    assert current(gn.rules.adam) is gn.rules.adam


def test_inspect_and_precompile_take_the_present(notebook):
    """As the next optimizer would."""
    notebook.run("K = 2.0\ndef value(x): return K * x" + USERS)
    shown = {
        k: gn.inspect(notebook.pull, dtype="float64")["llvm"]
        for k in (1024.0, 4096.0)
        if notebook.run(f"K = {k}") is None
    }
    assert "1.024000e+03" in shown[1024.0]
    assert "4.096000e+03" in shown[4096.0]
    gn.precompile(notebook.bend, "float64")
    assert notebook.bend(np.ones(2))[0] == 4096.0


def test_a_helper_that_comes_later(notebook):
    """A call that failed for want of a name works once the name is defined."""
    notebook.run(USERS)
    for call in (lambda: gn.optimizer(notebook.pull, np.zeros(2), lr=1.0), lambda: notebook.bend(np.ones(2))):
        with pytest.raises(TypeError, match="'value', which is not defined"):
            call()
    notebook.run("def value(x): return 2.0 * x")
    p = np.zeros(2)
    assert pulled(gn.optimizer(notebook.pull, p, lr=1.0), p) == 2.0
    assert notebook.bend(np.ones(2))[0] == 2.0


def test_two_helpers_take_different_things_of_one_module(notebook, dtype):
    """Each finds its own, whichever is compiled first, though names of attributes are names of functions."""
    notebook.run(
        "import math\ndef value(x): return math.sqrt(root(x)) + math.sin(0.0) * x\n"
        "def root(x): return math.exp(math.log(x)) + 3.0\n"
        "def sin(x): return x\ndef exp(x): return value(x)" + USERS
    )
    assert notebook.bend(np.ones(2, dtype)).tolist() == [2.0, 2.0]
