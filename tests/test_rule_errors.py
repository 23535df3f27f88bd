"""Errors in a user's rule or activation are reported in one sentence with the line."""

import copy
import pickle
import subprocess
import sys
import traceback
import types

import numba
import numpy as np
import pytest
from without_numba import needs

import gnumba as gn
from gnumba._engine import grid
from gnumba._engine.storage import alike

# By what is wrong: a function `value` whose faulty line ends in "# here", words of the sentence, and
# whether it is the compiler that finds it.
FAULTS = {
    "a misspelt name": (
        "def value(x):\n    return sgn(x)  # here",
        ["'sgn'", "not defined", "elementary.sign'"],
        False,
    ),
    "a misspelt local": (
        "def value(x):\n    total = x\n    return totl  # here",
        ["'totl'", "'total'"],
        False,
    ),
    "a misspelt function of a module": (
        "import math\ndef value(x):\n    return math.epx(x)  # here",
        ["epx", "'exp'"],
        True,
    ),
    "a string": ("def value(x):\n    return x + 'a'  # here", ["add(float"], True),
    "a method of arrays": ("def value(x):\n    return x.sum()  # here", ["'sum'", "float"], True),
    "an index": ("def value(x):\n    return x[0]  # here", ["getitem(float"], True),
    "results of two kinds": (
        "def value(x):  # here\n    if x > 0.0:\n        return x\n    return 'a'",
        ["unify"],
        True,
    ),
    "a dict": ("K = {'a': 1.0}\ndef value(x):\n    return K['a'] * x  # here", ["dict"], True),
    "a wrong call": (
        "def one(x): return x\ndef value(x):\n    return one(x, x)  # here",
        ["arguments"],
        True,
    ),
    "an object": ("class K: pass\nK = K()\ndef value(x):  # here\n    return K.a * x", ["K object"], None),
    "print": ("def value(x):\n    print(x)  # here\n    return x", ["prints", "plain Python"], False),
    "raise": ("def value(x):\n    if x > 1.0: raise ValueError  # here\n    return x", ["raises"], False),
    "assert": ("def value(x):\n    assert x > 1.0  # here\n    return x", ["raises"], False),
    "try": (
        "def value(x):\n    try:\n        return x\n    except ValueError:\n        return 2.0 * x",
        ["try"],
        False,
    ),
    "import": ("def value(x):\n    import math  # here\n    return math.exp(x)", ["import", "top"], False),
    "a global assigned": (
        "def value(x):\n    global K\n    K = 1.0  # here\n    return x",
        ["global"],
        False,
    ),
    "a generator": ("def value(x):  # here\n    yield x", ["generator"], False),
    "recursion": (
        "def value(x):  # here\n    return x if x > 9.0 else value(2.0 * x)",
        ["calls itself"],
        False,
    ),
}
USERS = """
import gnumba as gn

@gn.rule
def pull(p, g, /, lr):
    return p - lr * value(g)

@gn.activation(derivative=lambda x: value(x))
def bend(x):
    return value(x)

@gn.activation(derivative=lambda x: value(x))
def straight(x):
    return x
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """``users(source)``: a user's file as a module."""

    def made(source):
        path = tmp_path / "users.py"
        path.write_text(source)
        module = types.ModuleType("users_module")
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, str(path), "exec"), vars(module))
        return module

    monkeypatch.setattr(gn._rule, "registry", dict(gn.registry))
    return made


def refused(call, *words):
    """The TypeError, whose message is one line that has these words and comes last."""
    with pytest.raises(TypeError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert not [word for word in words if word not in message], message
    lines = traceback.format_exception(caught.value)
    assert message in lines[-1]
    assert len("".join(lines).splitlines()) < 90
    return caught.value


@needs("compilations", "folding")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_fault_in_a_function(fault, users):
    """In a rule, an activation, a derivative; by every way to compile it; nothing has changed."""
    source, words, compiled = fault
    module = users(source + USERS)
    line = 1 + next((k for k, text in enumerate(source.splitlines()) if "# here" in text), -1)
    place = [f"{module.__file__}, line {line}"] if line and compiled is not None else []
    p, x = np.ones(3), np.ones(3)

    def step():
        gn.optimizer(module.pull, p, lr=0.1).step(x)

    derivative = "the derivative of activation 'straight'" if compiled else "activation 'straight'"
    errors = [
        refused(step, "rule 'pull'", *words, *place),
        refused(module.pull.ufuncs, "rule 'pull'", *words, *place),
        refused(lambda: module.bend(x), "activation 'bend'", *words, *place),
        refused(lambda: module.straight.backward(x, x), derivative, *words, *place),
    ]
    if compiled:
        for error in errors:
            assert isinstance(error.__cause__, (numba.core.errors.NumbaError, AttributeError))
    assert (p == 1.0).all()
    refused(lambda: gn.precompile(module.pull, target="parallel"), *words, *place)


@needs("compilations")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fault_that_a_gpu_s_kernel_would_have(dtype, users):
    """It is looked for on this CPU, before the GPU's compiler is asked."""
    module = users("def value(x):\n    return x + 'a'" + USERS)
    body = grid.sweep(module.pull._kernel, alike(module.pull._kernel, np.dtype(dtype)))
    refused(body.approve, "rule 'pull'", f"add({dtype}", "line 2")
    module = users("def value(x):\n    return x, x\n" + USERS.replace("p - lr * ", ""))
    body = grid.sweep(module.pull._kernel, alike(module.pull._kernel, np.dtype(dtype)))
    refused(body.approve, "rule 'pull'", "returns 2 values", "1 number: p")


RESULTS = {"None": "None", "2 values": "(value, value)", "complex128": "value * 1j", "list": "[value]"}


@needs("compilations", "folding")
@pytest.mark.parametrize("words", RESULTS)
def test_results_that_are_not_the_outputs(words, users):
    """A rule's, an activation's, a derivative's."""
    result = RESULTS[words].replace("value", "x")
    module = users(f"def value(x):\n    return {result}" + USERS.replace("p - lr * ", ""))
    p, x = np.ones(3), np.ones(3)
    refused(lambda: gn.optimizer(module.pull, p, lr=0.1).step(x), "rule 'pull' returns", words, "1 number: p")
    refused(lambda: module.bend(x), "activation 'bend' returns", words, "1 number: y")
    refused(lambda: module.straight.derivative(x), "derivative of activation 'straight' returns", words)
    refused(lambda: module.straight.backward(x, x), "derivative of activation 'straight' returns", words)
    assert (p == 1.0).all()


@needs("inference")
@pytest.mark.parametrize("source", ["np.float64(g)", "np.zeros(1)[0] + g", "max(g, 0)"])
def test_widening_has_a_line_wherever_it_comes_from(source, users):
    """Where no number is wide to begin with too."""
    module = users(
        "import numpy as np\nimport gnumba as gn\n@gn.rule\n"
        f"def r(p, g, /, lr):\n    return p - lr * ({source})"
    )
    call = lambda: gn.optimizer(module.r, np.ones(2, "f4"), lr=0.5).step(np.ones(2, "f4"))  # noqa: E731
    refused(call, "rule 'r'", "float64", f"{module.__file__}, line 5", source)


def test_an_array_of_constants_takes_the_dtype(users, dtype):
    """As a constant does: a table in float64 does not widen a float32 rule."""
    module = users(
        "import numpy as np\nTABLE = np.array([0.1, 0.5])\nimport gnumba as gn\n@gn.rule\n"
        "def r(p, g, /, lr):\n    return p - lr * (TABLE[0] if g > 0.0 else TABLE[1])"
    )
    p = np.zeros(2, dtype)
    gn.optimizer(module.r, p, lr=1.0).step(np.array([1.0, -1.0], dtype))
    assert p.tolist() == [-dtype.type(0.1), -0.5]


# Signatures.


@gn.rule
def easy(p, g, m=0.5, /, lr=0.25, beta=0.5):
    """Defaults everywhere."""
    return p - lr * g * m, beta * m


def test_defaults_of_a_rule_are_used():
    """Those of scalars by gn.optimizer and under scalars=, those of states as first values."""
    assert (easy.defaults, easy.initial) == ({"lr": 0.25, "beta": 0.5}, {"m": 0.5})
    p = np.zeros(1)
    optimizer = gn.optimizer(easy, p, beta=1.0)
    optimizer.step(np.ones(1))
    assert (p[0], optimizer.lr) == (-0.125, 0.25)
    gn.optimizer(easy, p, scalars=lambda t, rate: {"lr": rate}, rate=1.0).step(np.ones(1))
    assert p[0] == -0.625
    assert gn.rule(initial={"m": 1.0})(easy._kernel.fn).initial == {"m": 1.0}
    with pytest.raises(TypeError, match="beta1"):
        gn.optimizer(easy, p, beta1=0.9)


@pytest.mark.parametrize(
    ("fn", "error", "words"),
    [
        (lambda p, g=0.0, /, lr=0.1: p, ValueError, "gradient g"),
        (lambda p, g, /, lr=None: p, TypeError, "lr=None"),
        (lambda p, g, m="0", /, lr=1.0: (p, m), TypeError, "m='0'"),
        (lambda p, g, updates, /, lr: (p, updates), ValueError, "'updates'"),
        (np.tanh, TypeError, "Python"),
        (print, TypeError, "Python"),
        (3, TypeError, "fn is 3"),
    ],
)
def test_what_is_no_rule(fn, error, words):
    """Said where it is decorated."""
    with pytest.raises(error, match=words):
        gn.rule(fn)


def test_a_hyperparameter_called_t():
    """And others that have the names of arguments beside them."""
    made = gn.rule(lambda p, g, /, t: p - t * g)
    p = np.zeros(1)
    gn.optimizer(made, p, t=0.5).step(np.ones(1))
    gn.optimizer(made, p, scalars=lambda n, t: {"t": n * t}, t=0.5).step(np.ones(1))
    gn.optimizer(made, p, scalars=lambda t, /, **hyper: {"t": t * hyper["t"]}, t=0.5).step(np.ones(1))
    assert p[0] == -1.5
    with pytest.raises(TypeError, match="t is a hyperparameter and the first argument of scalars"):
        gn.optimizer(made, p, scalars=lambda t, **hyper: hyper, t=0.5)
    for name in ("params", "name", "max_norm", "nonfinite", "scalars", "rule"):
        scope = {}
        exec(f"def r(p, g, /, {name}): return p - {name} * g", scope)
        with pytest.raises(TypeError, match=f"called '{name}'"):
            gn.optimizer(gn.rule(scope["r"]), p, **({name: 1.0} if name in ("max_norm", "name") else {}))


def test_activation_without_its_derivative():
    """The usual slip, and its kin."""
    fn = lambda x: x  # noqa: E731
    for call in (lambda: gn.activation(fn), gn.activation, lambda: gn.activation(fn, derivative=fn)):
        refused(call, "@gnumba.activation(derivative=...)")
    for derivative in (np.tanh, 1.0, "x"):
        refused(lambda: gn.activation(derivative=derivative), "derivative is", "Python")  # noqa: B023
    refused(lambda: gn.activation(derivative=fn)(np.tanh), "Python")
    assert gn.activation(derivative=numba.njit(fn))(fn).backward(np.ones(1), np.ones(1))[0] == 1.0


SIGNATURES = {
    "too few": (lambda x: x, False),
    "too many": (lambda x, a, b, c: x, False),
    "by name only": (lambda x, *, a, b: x, False),
    "in another order": (lambda x, b, a: x, False),
    "other names": (lambda z, c, d: z, True),
    "more that have defaults": (lambda x, a, b, c=1.0: x, True),
    "any number": (lambda x, *hyper: x, True),
}


@pytest.mark.parametrize(("derivative", "fits"), SIGNATURES.values(), ids=SIGNATURES.keys())
def test_signature_of_a_derivative(derivative, fits):
    """Compared with the function's when that is decorated."""

    def f(x, a=1.0, b=2.0):
        return x

    if fits:
        assert gn.activation(derivative=derivative)(f).derivative(np.full(2, 3.0)).tolist() == [3.0, 3.0]
        return
    with pytest.raises(
        ValueError, match=r"derivative of activation 'f' has the signature .* expected .*x, a=1.0"
    ):
        gn.activation(derivative=derivative)(f)


@pytest.mark.parametrize(
    ("fn", "error"),
    [
        (lambda x, *, beta=1.0: x, ValueError),
        (lambda x, out=1.0: x, ValueError),
        (lambda x, y=1.0: x, ValueError),
        (lambda x, beta=None: x, TypeError),
        (lambda x, beta="1": x, TypeError),
    ],
)
def test_signature_of_an_activation(fn, error):
    """None was taken for nan, "1" for 1."""
    with pytest.raises(error, match="activation '<lambda>' has"):
        gn.activation(derivative=fn)(fn)


def test_lambdas():
    """They have no name that Python could compile under, in ufuncs too."""
    rule = gn.rule(lambda p, g, _m, /, lr: (p - lr * g, _m))
    assert rule.ufuncs()[0](1.0, 1.0, 0.0, 0.5) == 0.5
    assert gn.activation(derivative=lambda x: 1.0 * x)(lambda x: 2.0 * x).ufunc()(1.5) == 3.0
    assert grid.sweep(rule._kernel, alike(rule._kernel, np.dtype("float64"))).name.isidentifier()


# Attributes and copies.


@gn.activation(derivative=lambda x, beta: beta)
def line(x, beta=0.5):
    """βx."""
    return beta * x


@pytest.mark.parametrize(
    ("thing", "name", "words"),
    [
        (gn.relu, "negative_slope", "activation 'relu' has no attribute 'negative_slope'"),
        (gn.leaky_relu, "negative_slope", r"leaky_relu\(x, negative_slope=\.\.\.\)"),
        (gn.prelu, "alpha", r"prelu\(x, alpha=\.\.\.\)"),
        (line, "beta", r"line\(x, beta=\.\.\.\)"),
        (line, "ruel", "did you mean 'rule'"),
        (line, "rule", "cannot be set"),
        (easy, "lr", "give lr to gnumba.optimizer"),
        (easy, "intial", "did you mean 'initial'"),
        (easy, "scalars", "cannot be set"),
        (gn.rules.adam, "lr", "give lr to gnumba.optimizer"),
        (gn.dropout, "rate", "no attribute 'rate'"),
    ],
)
def test_attributes_that_would_be_ignored(thing, name, words):
    """Refused, with the name or the way that works."""
    with pytest.raises(AttributeError, match=words):
        setattr(thing, name, 0.1)


@pytest.mark.parametrize(
    ("thing", "names"),
    [
        (gn.relu, {"name", "rule", "derivative", "backward", "takes_y", "ufunc"}),
        (gn.prelu, {"name", "rule", "derivative", "backward", "takes_y", "ufunc"}),
        (line, {"name", "rule", "derivative", "backward", "takes_y", "ufunc"}),
        (gn.dropout, {"name", "rule", "backward"}),
        (
            gn.rules.adam,
            {"name", "state", "scalars", "initial", "defaults", "normed", "given", "lent", "ufuncs"},
        ),
        (easy, {"name", "state", "scalars", "initial", "defaults", "normed", "given", "lent", "ufuncs"}),
    ],
)
def test_attributes_that_there_are(thing, names):
    """None is of the kernels, which are a member's."""
    assert {name for name in dir(thing) if not name.startswith("_")} == names


@pytest.mark.parametrize(
    "thing", [gn.relu, gn.prelu, gn.rules.adam, easy, line], ids=lambda thing: thing.name
)
def test_copies_are_the_thing_itself(thing):
    """By name in a pickle."""
    assert copy.copy(thing) is copy.deepcopy([thing])[0] is pickle.loads(pickle.dumps(thing)) is thing


def test_made_in_no_module():
    """By exec with globals that have no name, as documentation does."""
    scope = {"gn": gn}
    exec(
        "@gn.rule\ndef f(p, g, /, lr): return p - lr * g\n@gn.activation(derivative=lambda x: 2.0 * x)\n"
        "def a(x): return x * x\n@gn.loss(gradient=lambda p, t: 2.0 * p)\ndef l(p, t): return p * p",
        scope,
    )
    one = np.ones(2)
    assert scope["a"](one).tolist() == [1.0, 1.0]
    assert scope["l"](one, one)[0] == 1.0
    gn.optimizer(scope["f"], one, lr=0.5).step(one.copy())
    assert one.tolist() == [0.5, 0.5]


def test_what_a_pickle_cannot_name():
    """A local rule, one bound to another name, one that was defined anew."""
    local = gn.rule(lambda p, g, /, lr: p)
    nameless = gn.activation(derivative=lambda x: x)(lambda x: x)
    former = gn.rule(types.FunctionType(easy._kernel.fn.__code__, globals(), "easy"))
    for thing in (local, nameless, former):
        with pytest.raises(
            pickle.PicklingError, match=r"cannot be pickled, as it is not found as .*test_rule_errors"
        ):
            pickle.dumps(thing)
        assert copy.copy(thing) is copy.deepcopy(thing) is thing


def test_a_pickle_from_elsewhere():
    """Of a module that this process does not have, as of another's notebook."""
    program = (
        "import pickle, sys, gnumba as gn\n@gn.rule\ndef far(p, g, /, lr): return p\n"
        "sys.stdout.buffer.write(pickle.dumps(far))"
    )
    data = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    with pytest.raises(
        pickle.UnpicklingError, match=r"rule 'far' as __main__\.far, which this process does not have"
    ):
        pickle.loads(data)
