"""Wrong input: the right exception, in a sentence that names what and what was expected; nothing changed."""

import re
from pathlib import Path

import numpy as np
import pytest
from cases import one_a_class
from judge import on_each
from without_numba import needs

import gnumba as gn

NAN, INF = float("nan"), float("inf")
EACH_CLASS = pytest.mark.parametrize(
    "make", [case.make for case in one_a_class()], ids=lambda make: make.__name__
)


def f32(*shape):
    """Zeros in float32."""
    return np.zeros(shape, np.float32)


def f64(*shape):
    """Zeros in float64."""
    return np.zeros(shape)


def read_only(a):
    """Make an array read-only."""
    a.flags.writeable = False
    return a


def masked(a):
    """With one element masked."""
    mask = np.zeros(a.shape, bool)
    mask[...] = True
    return np.ma.masked_array(a, mask)


def swapped(a):
    """In the other byte order."""
    return a.astype(a.dtype.newbyteorder())


def assert_refused(call, kind, *words):
    """``call()`` raises exactly that kind, with all the words in its message, in a sentence."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert caught.type is kind
    for word in words:
        assert str(word) in message, f"{word!r} is not in {message!r}"
    return message


def overlapping(a):
    """Two parts with an element in common."""
    return {"left": a[:5], "right": a[4:]}


def crossing(a):
    """A row and a column, with an element in common."""
    return [a[1], a[:, 2]]


def contains_itself(params):
    """A dict with itself among its values."""
    params["self"] = params
    return params


def in_two_groups(a):
    """An array, and a view of it elsewhere."""
    return [{"params": a}, {"params": [f64(2), a[::3]], "name": "head"}]


# Parameters.

WRONG_PARAMETERS = {
    "a number": (lambda: 1.0, TypeError, ["float", "expected"]),
    "a NumPy number": (lambda: np.float64(1.0), TypeError, ["float64", "expected"]),
    "nothing": (lambda: None, TypeError, ["NoneType", "expected"]),
    "a list of numbers": (lambda: [1.0, 2.0], TypeError, ["parameter 0", "float"]),
    "a nested list": (
        lambda: [f64(2), [1.0, 2.0]],
        TypeError,
        ["parameter 1/0", "float", "expected an array"],
    ),
    "a dict of lists": (lambda: {"w": [1.0]}, TypeError, ["parameter w/0", "float", "expected an array"]),
    "a generator in a dict": (lambda: {"w": (f64(2) for _ in range(2))}, TypeError, ["w", "generator"]),
    "an empty generator": (lambda: iter([]), ValueError, ["params", "at least one"]),
    "itself": (lambda: contains_itself({"w": f64(2)}), ValueError, ["params", "contains itself"]),
    "a list of pairs": (lambda: [("w", f64(2))], TypeError, ["0/0", "str", "dict or an iterator"]),
    "text": (lambda: "w", TypeError, ["parameter 0", "str"]),
    "a name twice in pairs": (lambda: iter([("w", f64(2)), ("w", f64(2))]), ValueError, ["'w', 'w'", "once"]),
    "one path twice": (lambda: {"a": {"b": f64(2)}, "a/b": f64(2)}, ValueError, ["'a/b', 'a/b'", "once"]),
    "longdouble": (
        lambda: {"w": np.zeros(3, np.longdouble)},
        TypeError,
        ["parameter w", np.dtype(np.longdouble), "float32 or float64", "float16 or bfloat16"],
    ),
    "complex": (
        lambda: [np.zeros(3, complex)],
        TypeError,
        ["parameter 0", "complex128", "float32 or float64"],
    ),
    "integers": (lambda: [np.zeros(3, int)], TypeError, ["parameter 0", "int64", "float32 or float64"]),
    "objects": (lambda: [np.zeros(3, object)], TypeError, ["parameter 0", "object", "float32 or float64"]),
    "long double": (
        lambda: [np.zeros(3, np.longdouble)],
        TypeError,
        ["parameter 0", np.dtype(np.longdouble)],
    ),
    "byte-swapped": (lambda: [swapped(f64(3))], TypeError, ["parameter 0", swapped(f64(3)).dtype.str]),
    "masked": (lambda: [masked(f64(3))], TypeError, ["parameter 0", "masked"]),
    "read-only": (lambda: {"w": read_only(f64(3))}, ValueError, ["parameter w", "read-only"]),
    "0-strides": (
        lambda: [np.lib.stride_tricks.as_strided(f64(1), (3,), (0,))],
        ValueError,
        ["parameter 0", "strides"],
    ),
    "overlapping itself": (
        lambda: [np.lib.stride_tricks.as_strided(f64(9), (4, 3), (16, 8))],
        ValueError,
        ["parameter 0", "strides"],
    ),
    "broadcast": (lambda: [np.broadcast_to(f64(3), (2, 3))], ValueError, ["parameter 0"]),
    "one array twice": (lambda: dict.fromkeys("ab", f64(3)), ValueError, ["a", "b", "share"]),
    "overlapping": (
        lambda: overlapping(f64(9)),
        ValueError,
        ["left", "right", "share"],
    ),
    "a row and a column": (lambda: crossing(f64(4, 4)), ValueError, ["0", "1", "share"]),
    "a view in another group": (
        lambda: in_two_groups(f64(9)),
        ValueError,
        ["0/0", "head/1", "share"],
    ),
    "an empty list": (lambda: [], ValueError, ["params", "at least one"]),
    "an empty dict": (lambda: {}, ValueError, ["params", "at least one"]),
    "empty groups": (lambda: [{"params": []}, {"params": {}}], ValueError, ["params", "at least one"]),
    "two of one name": (lambda: {1: f64(2), "1": f64(2)}, ValueError, ["params", "1"]),
    "a group without params": (lambda: [{"lr": 0.1}], TypeError, ["0/lr", "expected an array"]),
    "an array among groups": (lambda: [{"params": f64(2)}, f64(2)], ValueError, ["params[1]", "expected"]),
    "a group with a typing error": (
        lambda: [{"params": f64(2), "ir": 0.1}],
        ValueError,
        ["params[0]", "ir", "lr"],
    ),
    "two groups of one name": (
        lambda: [{"params": f64(2), "name": "a"}, {"params": f64(2), "name": "a"}],
        ValueError,
        ["names", "a"],
    ),
}


@pytest.mark.parametrize("wrong", WRONG_PARAMETERS.values(), ids=WRONG_PARAMETERS.keys())
def test_wrong_parameters(wrong):
    """Refused when the optimizer is made."""
    params, kind, words = wrong
    assert_refused(lambda: gn.Adam(params()), kind, *words)


def test_interleaved_views_are_fine():
    """Apart is apart, however close in memory."""
    a = f64(6, 6)
    gn.SGD([a[::2, ::2], a[1::2, ::2], a[::2, 1::2], a[1::2, 1::2]])
    diagonal = np.lib.stride_tricks.as_strided(f64(20), (4, 3), (8 * 4, 8))
    gn.SGD(diagonal)
    records = np.zeros(5, [("a", "f8"), ("b", "f8")])
    gn.SGD([records["a"], records["b"]])


def test_torch_tensors_that_will_not_do():
    """Complex, of 8 bits, expanded."""
    torch = pytest.importorskip("torch")
    eight = torch.zeros(3, dtype=torch.float8_e4m3fn)
    assert_refused(lambda: gn.SGD([torch.zeros(3).cfloat()]), TypeError, "parameter 0", "complex64")
    assert_refused(lambda: gn.SGD([eight]), TypeError, "parameter 0", "Tensor")
    assert_refused(lambda: gn.SGD([torch.zeros(1).expand(3)]), ValueError, "parameter 0")


def test_floats_of_8_bits():
    """As dtypes of NumPy arrays."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for kind in (ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn):
        assert_refused(
            lambda kind=kind: gn.SGD(np.zeros(3, kind)), TypeError, np.dtype(kind), "float32 or float64"
        )
        assert_refused(
            lambda kind=kind: gn.relu(np.zeros(3, kind)), TypeError, np.dtype(kind), "float32 or float64"
        )


# Gradients.


@pytest.fixture
def trained():
    """A dict of parameters, its optimizer after a step, and what both looked like then."""
    params = {"w": np.ones((2, 3)), "b": np.ones(3, np.float32)}
    optimizer = gn.Adam(params, lr=0.1)
    optimizer.step({"w": np.ones((2, 3)), "b": np.ones(3, np.float32)})
    return params, optimizer, snapshot(params, optimizer)


def snapshot(params, optimizer):
    """Everything that a refused call must leave."""
    state = optimizer.state_dict()["state"]
    arrays = {name: p.tolist() for name, p in params.items()}
    states = {
        name: {key: np.asarray(value).tolist() for key, value in s.items()} for name, s in state.items()
    }
    return arrays, states, optimizer.t, [dict(group) for group in optimizer.groups]


def good(**others):
    """Gradients for the model above, some exchanged."""
    return {"w": np.full((2, 3), 2.0), "b": np.full(3, 2.0, np.float32)} | others


WRONG_GRADIENTS = {
    "another shape": (lambda: good(b=f32(4)), ValueError, ["b", (4,), (3,)]),
    "transposed": (lambda: good(w=f64(3, 2)), ValueError, ["w", (3, 2), (2, 3)]),
    "a broadcastable shape": (lambda: good(w=f64(3)), ValueError, ["w", (3,), (2, 3)]),
    "0-d": (lambda: good(b=np.float32(1.0)), ValueError, ["b", (), (3,)]),
    "0-d of another dtype": (lambda: good(b=np.float64(1.0)), TypeError, ["b", "float64", "float32"]),
    "float64 for float32": (lambda: good(b=f64(3)), TypeError, ["b", "float64", "float32"]),
    "float32 for float64": (lambda: good(w=f32(2, 3)), TypeError, ["w", "float32", "float64"]),
    "float16": (lambda: good(b=np.zeros(3, np.float16)), TypeError, ["b", "float16"]),
    "integers": (lambda: good(w=np.zeros((2, 3), int)), TypeError, ["w", "int64"]),
    "complex": (lambda: good(w=np.zeros((2, 3), complex)), TypeError, ["w", "complex128"]),
    "byte-swapped": (lambda: good(w=swapped(f64(2, 3))), TypeError, ["w", swapped(f64(1)).dtype.str]),
    "masked": (lambda: good(w=masked(f64(2, 3))), TypeError, ["w", "masked"]),
    "a list": (lambda: good(b=[0.0, 0.0, 0.0]), TypeError, ["b", "list"]),
    "a number": (lambda: good(b=0.0), TypeError, ["b", "float"]),
    "an unknown name": (lambda: good(c=f64(1)), ValueError, ["grads", "c"]),
    "a missing name": (lambda: {"w": f64(2, 3)}, ValueError, ["grads", "b"]),
    "a list for a dict": (lambda: list(good().values()), TypeError, ["grads", "list", "dict"]),
    "an array for a dict": (lambda: f64(2, 3), TypeError, ["grads", "dict"]),
    "nothing": (lambda: None, TypeError, ["grads", "dict"]),
}


@pytest.mark.parametrize("wrong", WRONG_GRADIENTS.values(), ids=WRONG_GRADIENTS.keys())
def test_wrong_gradients(wrong, trained):
    """Refused before the first array is written, wherever in the model the wrong one is."""
    params, optimizer, before = trained
    grads, kind, words = wrong
    assert_refused(lambda: optimizer.step(grads()), kind, *words)
    assert snapshot(params, optimizer) == before


def test_after_a_refused_step_the_next_is_as_if_it_had_not_been(trained):
    """Nothing of the refused gradients stays behind."""
    params, optimizer, _ = trained
    others = {name: p.copy() for name, p in params.items()}
    other = gn.Adam(others, lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    for wrong in ("another shape", "float64 for float32", "a missing name"):
        assert_refused(
            lambda wrong=wrong: optimizer.step(WRONG_GRADIENTS[wrong][0]()), WRONG_GRADIENTS[wrong][1]
        )
    for grads in (good(b=None), good()):
        optimizer.step(grads)
        other.step(grads)
    assert snapshot(params, optimizer)[:3] == snapshot(others, other)[:3]


@pytest.mark.parametrize(
    ("params", "grads", "kind", "words"),
    [
        ([f64(2), f64(2)], [f64(2)], ValueError, ["grads", "1", "2"]),
        ([f64(2), f64(2)], [f64(2)] * 3, ValueError, ["grads", "3", "2"]),
        ([f64(2)], {"0": f64(2)}, TypeError, ["grads", "dict", "list"]),
        ([f64(2)], f64(1, 2), TypeError, ["grads", "list"]),
        (f64(2), [f64(2)], TypeError, ["list"]),
        ([{"params": f64(2)}], [f64(2), f64(2)], ValueError, ["grads", "1"]),
        ([{"params": f64(2)}], f64(1, 2), ValueError, ["grads"]),
        ([{"params": [f64(2)], "name": "body"}], [f64(2)], TypeError, ["body", "list"]),
        ([{"params": [f64(2)], "name": "body"}], [[f64(3)]], ValueError, ["body/0", (3,)]),
    ],
)
def test_gradients_in_another_structure(params, grads, kind, words):
    """Too few, too many, another container."""
    optimizer = gn.SGD(params)
    assert_refused(lambda: optimizer.step(grads), kind, *words)
    assert optimizer.t == 0


# Hyperparameters.

BAD_RATES = [-0.1, -1e-300, NAN, INF, -INF]
HYPER = {
    "lr": BAD_RATES,
    "weight_decay": BAD_RATES,
    "eps": BAD_RATES,
    "eps_root": BAD_RATES,
    "momentum": [-0.1, 1.0, 1.5, NAN],
    "dampening": [-0.1, 1.5, NAN],
    "decay": [-0.1, 1.0, NAN],
    "betas": [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, NAN), (0.9,), (0.9, 0.9, 0.9, 0.9)],
    "etas": [(1.0, 1.2), (0.0, 1.2), (0.5, 1.0), (0.5, INF), (0.5, NAN), (0.5,)],
    "step_sizes": [(0.0, 1.0), (1.0, 0.5), (1.0, INF), (NAN, 1.0), (1.0,)],
}


OUT_OF_RANGE = [  # every class with every hyperparameter it has
    pytest.param(case.make, name, value, id=f"{case.make.__name__}-{name}-{value}")
    for case in one_a_class()
    for name in case.make(np.zeros(1)).groups[0]
    for value in HYPER.get(name, [])
]


@on_each("make, name, value", OUT_OF_RANGE)
def test_hyperparameter_out_of_range(make, name, value):
    """At the start, for all or in a group."""
    words = [name, "expected"]
    if name == "betas":
        words.append(next((item for item in value if not 0 <= item < 1), value))
    elif not isinstance(value, tuple):
        words.append(value)
    assert_refused(lambda: make(f64(2), **{name: value}), ValueError, *words)
    assert_refused(lambda: make([{"params": f64(2), name: value}]), ValueError, *words)


@on_each("make, name, value", OUT_OF_RANGE)
def test_hyperparameter_set_out_of_range(make, name, value):
    """Refused at once or at the next step; nothing is changed."""
    params = {"w": np.ones(2)}
    optimizer = make(params)
    optimizer.step({"w": np.ones(2)})
    right, before = optimizer.groups[0][name], snapshot(params, optimizer)
    assert_refused(lambda: set_and_step(optimizer, name, value), ValueError, name, "expected")
    optimizer.groups[0][name] = right
    assert snapshot(params, optimizer) == before


def set_and_step(optimizer, name, value):
    """As a user would."""
    optimizer.groups[0][name] = value
    optimizer.step({"w": np.ones(2)})


@on_each("make, name, value", OUT_OF_RANGE)
def test_schedule_out_of_range(make, name, value):
    """It says at which step; nothing is changed, in any group."""
    params = {"w": np.ones(2), "b": np.ones(2)}
    right = make(f64(1)).groups[0][name]
    groups = [
        {"params": {"w": params["w"]}},
        {"params": {"b": params["b"]}, name: lambda t: value if t == 1 else right},
    ]
    optimizer = make(groups)
    optimizer.step([{"w": np.ones(2)}, {"b": np.ones(2)}])
    before = snapshot(params, optimizer)
    assert_refused(
        lambda: optimizer.step([{"w": np.ones(2)}, {"b": np.ones(2)}]), ValueError, name, "1", "expected"
    )
    assert snapshot(params, optimizer) == before


@pytest.mark.parametrize("value", ["0.1", None, 1j, [0.1], (0.1, 0.2), f64(1), {}])
def test_hyperparameter_that_is_no_number(value):
    """A list, say."""
    assert_refused(lambda: gn.SGD(f64(2), lr=value), TypeError, "lr", "expected")
    optimizer = gn.SGD(f64(2), lr=lambda t: value if t else 0.5)
    optimizer.step(f64(2))
    assert_refused(lambda: optimizer.step(f64(2)), TypeError, "lr", "expected")


@pytest.mark.parametrize("value", ["0.9", None, 0.9])
def test_betas_that_are_no_pair(value):
    """One number is not two."""
    assert_refused(lambda: gn.Adam(f64(2), betas=value), TypeError, "betas", "expected")


@EACH_CLASS
def test_unknown_hyperparameter(make):
    """As Python says it."""
    with pytest.raises(TypeError, match="learning_rate"):
        make(f64(2), learning_rate=0.1)


def test_setting_lr_out_of_range_changes_nothing():
    """Not even the first of several groups."""
    optimizer = gn.SGD([{"params": f64(2)}, {"params": f64(2)}], lr=0.5)
    for value in BAD_RATES:
        assert_refused(lambda value=value: setattr(optimizer, "lr", value), ValueError, "lr", value)
    assert [group["lr"] for group in optimizer.groups] == [0.5, 0.5]


def test_a_schedule_that_raises_changes_nothing():
    """Its own exception comes out."""
    params = {"w": np.ones(2)}
    optimizer = gn.SGD(params, lr=lambda t: [0.5][t])
    optimizer.step({"w": np.ones(2)})
    with pytest.raises(IndexError):
        optimizer.step({"w": np.ones(2)})
    assert (params["w"][0], optimizer.t) == (0.5, 1)


# States that do not fit.


def saved():
    """A state that would fit."""
    state = gn.Adam({"w": np.ones((2, 3)), "b": np.ones(3, np.float32)}, lr=0.5).state_dict()
    return state | {"t": 7}


def changed(value, *path):
    """The state with something else at ``path``."""
    state = saved()
    inner = state
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return state


def without(*path):
    """The state with nothing at ``path``."""
    state = saved()
    inner = state
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return state


WRONG_STATES = {
    "nothing": ({}, ["state"]),
    "another rule": (gn.SGD({"w": f64(2, 3), "b": f32(3)}).state_dict(), ["rule", "sgd", "adam"]),
    "a name less": (without("state", "b"), ["b"]),
    "a name more": (changed({}, "state", "c"), ["c"]),
    "an array less": (without("state", "w", "v"), ["w", "v"]),
    "another shape": (changed(f32(4), "state", "b", "m"), ["b", "m", (4,), (3,)]),
    "another dtype": (changed(f64(3), "state", "b", "m"), ["b", "m", "float64", "float32"]),
    "a list": (changed([0.0] * 3, "state", "b", "m"), ["b", "m", "list"]),
    "no count": (changed(-1, "state", "w", "updates"), ["w", "updates", "-1"]),
    "half a step": (changed(0.5, "t"), ["t", "0.5"]),
    "another group": (changed({"head": saved()["groups"]["0"]}, "groups"), ["groups", "head"]),
    "a number less": (without("groups", "0", "lr"), ["groups", "lr"]),
    "a bad number": (changed(-1.0, "groups", "0", "lr"), ["lr", "-1.0"]),
    "a bad pair": (changed((0.9, 1.0), "groups", "0", "betas"), ["betas", "1.0"]),
    "not a number": (changed("0.1", "groups", "0", "lr"), ["lr", "0.1"]),
    "a short pair": (changed((0.9,), "groups", "0", "betas"), ["betas", "0.9"]),
    "more updates than steps": (changed(8, "state", "w", "updates"), ["w", "updates", "8"]),
}


@pytest.mark.parametrize("wrong", WRONG_STATES.values(), ids=WRONG_STATES.keys())
def test_state_that_does_not_fit(wrong, trained):
    """Nothing of it is loaded."""
    params, optimizer, before = trained
    state, words = wrong
    assert_refused(lambda: optimizer.load_state_dict(state), ValueError, *words)
    assert snapshot(params, optimizer) == before


def test_state_that_is_no_dict(trained):
    """A list of arrays, say."""
    params, optimizer, before = trained
    for wrong in (None, [f64(2)], 3):
        with pytest.raises((TypeError, ValueError), match="state"):
            optimizer.load_state_dict(wrong)
    assert snapshot(params, optimizer) == before


# Activations.

WRONG_INPUTS = {
    "longdouble": (lambda: gn.relu(np.zeros(3, "g")), TypeError, ["x", np.dtype("g"), "float32 or float64"]),
    "a longdouble number": (lambda: gn.relu(np.longdouble(1)), TypeError, ["x", np.dtype("g")]),
    "complex": (lambda: gn.relu(np.zeros(3, complex)), TypeError, ["x", "complex128"]),
    "a complex list": (lambda: gn.relu([1j]), TypeError, ["x", "complex128"]),
    "objects": (lambda: gn.relu(np.array([1.0, None])), TypeError, ["x", "object"]),
    "nothing": (lambda: gn.relu(None), TypeError, ["x", "object"]),
    "a string": (lambda: gn.relu("1.0"), TypeError, ["x", "expected"]),
    "dates": (lambda: gn.relu(np.zeros(3, "M8[s]")), TypeError, ["x", "datetime64"]),
    "byte-swapped": (lambda: gn.relu(swapped(f32(3))), TypeError, ["x", swapped(f32(1)).dtype.str]),
    "masked": (lambda: gn.relu(masked(f32(3))), TypeError, ["x", "masked"]),
    "masked integers": (lambda: gn.relu(masked(np.zeros(3, int))), TypeError, ["x", "masked"]),
    "dy of another dtype": (
        lambda: gn.relu.backward(f32(3), f64(3)),
        TypeError,
        ["x", "float64", "dy", "float32"],
    ),
    "dy of another shape": (lambda: gn.relu.backward(f32(3), f32(4)), ValueError, ["x", (4,), "dy", (3,)]),
    "dy that would broadcast": (
        lambda: gn.relu.backward(f32(1), f32(4)),
        ValueError,
        ["x", (4,), "dy", (1,)],
    ),
    "y of another dtype": (
        lambda: gn.tanh.backward(f32(3), f32(3), y=f64(3)),
        TypeError,
        ["y", "float64", "float32"],
    ),
    "y of another shape": (lambda: gn.tanh.backward(f32(3), f32(3), y=f32(4)), ValueError, ["y", (4,), (3,)]),
    "a masked dy": (lambda: gn.tanh.backward(masked(f32(3)), f32(3)), TypeError, ["dy", "masked"]),
    "an unknown name": (lambda: gn.elu(f32(3), slope=0.1), TypeError, ["elu", "slope", "alpha"]),
    "a number too many": (lambda: gn.relu(f32(3), 0.1), TypeError, ["relu"]),
    "an array for a number": (
        lambda: gn.elu(f32(3), f32(3)),
        TypeError,
        ["elu", "alpha", "ndarray", "number"],
    ),
    "a string for a number": (
        lambda: gn.leaky_relu(f32(3), "0.1"),
        TypeError,
        ["leaky_relu", "negative_slope", "str"],
    ),
    "alpha of another dtype": (lambda: gn.prelu(f32(3), f64(3)), TypeError, ["alpha", "float64", "float32"]),
    "alpha of a wrong shape": (lambda: gn.prelu(f32(2, 3), f32(2)), ValueError, ["alpha", (2,), (2, 3)]),
    "alpha larger than x": (lambda: gn.prelu(f32(3), f32(2, 3)), ValueError, ["alpha", (2, 3), (3,)]),
    "alpha larger than x of one": (lambda: gn.prelu(f32(1), f32(3)), ValueError, ["alpha", (3,), (1,)]),
    "an unknown target": (lambda: gn.relu.ufunc("gpu"), ValueError, ["target", "gpu", "cpu"]),
    "an unknown target of a rule": (lambda: gn.rules.sgd.ufuncs("gpu"), ValueError, ["target", "gpu", "cpu"]),
    "an unknown target to use": (
        lambda: gn.use_target("gpu").__enter__(),
        ValueError,
        ["target", "gpu", "cpu"],
    ),
    "an unknown target to inspect": (
        lambda: gn.inspect(gn.relu, "gpu"),
        ValueError,
        ["target", "gpu", "cpu"],
    ),
    "another dtype to inspect": (
        lambda: gn.inspect(gn.relu, dtype="float16"),
        TypeError,
        ["dtype", "float16"],
    ),
    "something else to inspect": (lambda: gn.inspect(np.exp), TypeError, ["rule", "exp", "expected"]),
    "something else to precompile": (lambda: gn.precompile(np.exp), TypeError, ["exp", "expected"]),
    "a list for its target": (lambda: gn.target_of([1.0]), TypeError, ["array 0", "list"]),
}


@pytest.mark.parametrize("wrong", WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys())
def test_wrong_input(wrong):
    """To activations and to the functions around."""
    assert_refused(*wrong[:2], *wrong[2])


def broadcast_out():
    """Writable, and yet of one element."""
    return np.lib.stride_tricks.as_strided(np.full(1, 7.0, np.float32), (3,), (0,))


WRONG_OUTS = {
    "another dtype": (np.full(3, 7.0), TypeError, ["out", "float64", "float32"]),
    "another shape": (np.full(4, 7.0, np.float32), ValueError, ["out", (4,), (3,)]),
    "a larger shape": (np.full((2, 3), 7.0, np.float32), ValueError, ["out", (2, 3), (3,)]),
    "integers": (np.full(3, 7), TypeError, ["out", "int64"]),
    "read-only": (read_only(np.full(3, 7.0, np.float32)), ValueError, ["out", "read-only"]),
    "0-strides": (broadcast_out(), ValueError, ["out", "strides"]),
    "masked": (masked(np.full(3, 7.0, np.float32)), TypeError, ["out", "masked"]),
    "a list": ([7.0, 7.0, 7.0], TypeError, ["out", "list"]),
}


@pytest.mark.parametrize("wrong", WRONG_OUTS.values(), ids=WRONG_OUTS.keys())
@pytest.mark.parametrize(
    "call",
    [
        lambda x, out: gn.relu(x, out=out),
        lambda x, out: gn.relu.derivative(x, out=out),
        lambda x, out: gn.relu.backward(x, x, out=out),
        lambda x, out: gn.tanh.backward(x, x, y=x, out=out),
        lambda x, out: gn.prelu(x, 0.5, out=out),
        lambda x, out: gn.prelu.backward(x, x, x.copy(), out=out),
    ],
    ids=["forward", "derivative", "backward", "backward from y", "prelu", "prelu backward"],
)
def test_wrong_out(call, wrong):
    """Nothing is written."""
    out, kind, words = wrong
    assert_refused(lambda: call(np.ones(3, np.float32), out), kind, *words)
    assert (np.asarray(out) == 7.0).all()


def test_wrong_input_leaves_out_alone():
    """Whatever is wrong beside it."""
    out = np.full(3, 7.0)
    for call in (
        lambda: gn.relu(np.zeros(3, complex), out=out),
        lambda: gn.elu(f64(3), "1", out=out),
        lambda: gn.relu.backward(f64(3), f64(4), out=out),
        lambda: gn.relu.backward(f64(3), f32(3), out=out),
        lambda: gn.prelu(f64(3), f64(2), out=out),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    assert (out == 7.0).all()


# Rules.


def halved(x):
    """A callee that widens."""
    return x / 2


@gn.rule
def one_minus(p, g, m, /, lr, beta):
    """An integer literal."""
    return p - lr * m, beta * m + (1 - beta) * g  # widens


@gn.rule
def rectified(p, g, /, lr):
    """An integer in a branch."""
    return p - lr * (g if g > 0 else 0)  # widens


@gn.rule
def by_a_callee(p, g, /, lr):
    """Somewhere else."""
    return p - lr * halved(g)


@gn.rule
def constant_by_name(p, g, /, lr):
    """An integer that has a name."""
    return p - lr * (TWO * g)  # widens


TWO = 2
WIDENING = {
    "one_minus": (one_minus, {"lr": 0.1, "beta": 0.9}, "(1 - beta) * g"),
    "rectified": (rectified, {"lr": 0.1}, "else 0)"),
    "by_a_callee": (by_a_callee, {"lr": 0.1}, "return x / 2"),
    "constant_by_name": (constant_by_name, {"lr": 0.1}, "TWO * g"),
}


@needs("inference")
@pytest.mark.parametrize(
    ("name", "target"), [*((name, "cpu") for name in WIDENING), ("one_minus", "parallel")]
)
def test_widening_is_refused(name, target):
    """In float32, with the rule's name, the line and the cure; in float64 there is nothing to refuse."""
    rule, hyper, line = WIDENING[name]
    p = np.ones(5, np.float32)
    optimizer = gn.optimizer(rule, p, **hyper)
    with gn.use_target(target):
        message = assert_refused(
            lambda: optimizer.step(p.copy()), TypeError, rule.name, "float64", "float32", line
        )
    source = Path(__file__).read_text(encoding="utf-8").splitlines()
    number = 1 + next(k for k, text in enumerate(source) if line in text)
    assert re.search(rf"{re.escape(__file__)}\D+{number}\b", message)
    assert (optimizer.t, p.tolist()) == (0, [1.0] * 5)
    gn.optimizer(rule, np.ones(5), **hyper).step(np.ones(5))


@needs("inference")
def test_widening_is_refused_in_every_form():
    """Strided arrays and ufuncs too, every time it is tried."""
    optimizer = gn.optimizer(rectified, f32(6, 8)[::2, ::3], lr=0.1)
    for _ in range(2):
        assert_refused(lambda: optimizer.step(f32(3, 3)), TypeError, "rectified", "float64")
        assert_refused(lambda: rectified.ufuncs("cpu"), TypeError, "rectified", "float64")


@needs("inference")
def test_widening_is_refused_before_anything_is_written():
    """Not after the float64 part of the model has been updated."""
    params = {"double": np.ones(3), "single": np.ones(3, np.float32)}
    optimizer = gn.optimizer(one_minus, params, lr=0.1, beta=0.9)
    grads = {"double": np.ones(3), "single": np.ones(3, np.float32)}
    assert_refused(lambda: optimizer.step(grads), TypeError, "one_minus")
    assert optimizer.t == 0
    assert (params["double"] == 1.0).all()
    assert not optimizer.state_dict()["state"]["double"]["m"].any()


@needs("inference")
def test_widening_in_an_activation():
    """In its derivative here."""

    @gn.activation(derivative=lambda x: 1 if x > 0.0 else x)
    def hinge(x):
        return x if x > 0.0 else 0.0

    x = np.ones(3, np.float32)
    assert hinge(x).dtype == np.float32
    assert_refused(lambda: hinge.backward(x, x), TypeError, "float64", "line")


@gn.rule
def forgetful(p, g, m, /, lr):
    """Returns no state."""
    return p - lr * g


@gn.rule
def generous(p, g, /, lr):
    """Returns a state it has not."""
    return p - lr * g, g


@pytest.mark.parametrize(("rule", "words"), [(forgetful, ["1", "2"]), (generous, ["2", "1"])])
def test_wrong_number_of_results(rule, words):
    """Said with the rule's name; nothing is changed."""
    p = np.ones(3)
    optimizer = gn.optimizer(rule, p, lr=0.1)
    assert_refused(lambda: optimizer.step(np.ones(3)), TypeError, rule.name, "returns", "expected", *words)
    assert (optimizer.t, p.tolist()) == (0, [1.0] * 3)


def no_slash(p, g, lr):
    pass


def no_gradient(p, /, lr):
    pass


def keywords(p, g, /, *, lr):
    pass


def anything(p, g, /, *lr):
    pass


@pytest.mark.parametrize("fn", [no_slash, no_gradient, keywords, anything])
def test_wrong_signature_of_a_rule(fn):
    """Refused with the signature and the form expected; not registered."""
    assert_refused(lambda: gn.rule(fn), ValueError, fn.__name__, "(p", "expected", "/")
    assert fn.__name__ not in gn.registry


def test_initial_of_no_state():
    """Names the state that there is."""
    assert_refused(lambda: gn.rule(initial={"n": 1.0})(keyed), ValueError, "keyed", "n", "m")
    assert "keyed" not in gn.registry


def keyed(p, g, m, /, lr):
    """A right signature."""
    return p, m


def test_name_of_a_built_in_rule():
    """It stays what it is."""

    def adam(p, g, /, lr):
        return p - lr * g

    assert_refused(lambda: gn.rule(adam), ValueError, "adam", "expected")
    assert gn.registry["adam"] is gn.rules.adam


@pytest.mark.parametrize("fn", [lambda *x: x, lambda **x: x, lambda: 0.0])
def test_wrong_signature_of_an_activation(fn):
    """It needs an x, and a fixed number of arguments."""
    assert_refused(lambda: gn.activation(derivative=fn)(fn), ValueError, "lambda", "expected", "(x")


@pytest.mark.parametrize(
    ("hyper", "words"),
    [({}, ["beta1", "lr"]), ({"lr": 0.1, "beta1": 0.9, "momentum": 0.9}, ["momentum", "beta2"])],
)
def test_hyperparameters_that_are_not_the_rule_s(hyper, words):
    """Missing or unknown ones are named."""
    rule = gn.rule(schooled)
    assert_refused(lambda: gn.optimizer(rule, f64(2), **hyper), TypeError, "schooled", *words)


def schooled(p, g, m, /, lr, beta1, beta2):
    """Three scalars."""
    return p - lr * (beta1 * g), beta2 * m


def test_scalars_that_lack_one_of_the_rule_s():
    """Said when the optimizer is made."""
    rule = gn.rule(schooled)
    call = lambda: gn.optimizer(rule, f64(2), scalars=lambda t, lr: {"lr": lr}, lr=0.1)  # noqa: E731
    assert_refused(call, TypeError, "schooled", "beta1", "beta2")


def test_what_is_no_rule():
    """A function that was not decorated."""
    assert_refused(lambda: gn.optimizer(schooled, f64(2), lr=0.1), TypeError, "rule", "schooled", "expected")


def test_users_rate_out_of_range():
    """lr is lr in anybody's rule."""
    rule = gn.rule(gentle)
    for value in BAD_RATES:
        assert_refused(lambda value=value: gn.optimizer(rule, f64(2), lr=value), ValueError, "lr", value)
    p = np.ones(2)
    optimizer = gn.optimizer(rule, p, lr=lambda t: 0.5 - t)
    optimizer.step(np.ones(2))
    assert_refused(lambda: optimizer.step(np.ones(2)), ValueError, "lr", "-0.5")
    assert (optimizer.t, p[0]) == (1, 0.5)


def gentle(p, g, /, lr):
    """θ − ηg."""
    return p - lr * g


@pytest.mark.parametrize(
    "change", [lambda p: (p[::-1],), lambda p: (p[1:], p[:-1])], ids=["reversed", "shifted"]
)
def test_gradient_that_the_step_would_change(change):
    """Refused: what is read late would have been written early. A parameter may be its own gradient."""
    memory = np.arange(5.0)
    g, *others = change(memory)
    p = others[0] if others else memory
    optimizer = gn.SGD({"w": p}, lr=1.0)
    assert_refused(
        lambda: optimizer.step({"w": g}), ValueError, "gradient of w", "shares memory", "parameter w"
    )
    assert (memory == np.arange(5.0)).all()
    optimizer.step({"w": p})
    assert not p.any()


def test_gradients_that_are_each_others_parameters():
    """As of a bilinear form: the second would be read after it was written."""
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    optimizer = gn.SGD([a, b], lr=1.0)
    optimizer.step([a.copy(), b.copy()])
    a[:], b[:] = [1.0, 2.0], [3.0, 4.0]
    assert_refused(lambda: optimizer.step([b, a]), ValueError, "gradient of 0", "parameter 1")
    assert (a.tolist(), b.tolist(), optimizer.t) == ([1.0, 2.0], [3.0, 4.0], 1)


def test_parameter_frozen_later():
    """As one that was read-only from the start."""
    p = np.ones(3)
    optimizer = gn.SGD([np.ones(3), p], lr=1.0)
    p.flags.writeable = False
    assert_refused(
        lambda: optimizer.step([np.ones(3)] * 2), ValueError, "parameter 1", "read-only", "expected"
    )
    assert (p == 1.0).all()
    assert optimizer.t == 0
    p.flags.writeable = True
    optimizer.step([np.ones(3)] * 2)
    assert (p == 0.0).all()
