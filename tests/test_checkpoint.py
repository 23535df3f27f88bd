"""Checkpoints: what goes in comes out to the bit, what is damaged or foreign changes nothing, and a
crash at any moment leaves a whole file."""

import hashlib
import io
import itertools
import json
import signal
from pathlib import Path

import layouts
import numpy as np
import pytest
from cases import one_a_class
from interrupts import interrupted_at
from models import Halving, assert_equal_models, assert_equal_states, copies, falling, gradients_of, model
from safetensors.numpy import load_file, save
from test_errors import assert_refused, read_only

import gnumba as gn
from gnumba._io import checkpoint

EACH_CLASS = pytest.mark.parametrize("case", one_a_class(), ids=str)


@pytest.fixture
def path(tmp_path):
    """Where to save."""
    return tmp_path / "run.safetensors"


class Carrier:
    """An optimizer that is nothing but its state."""

    def __init__(self, state):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def frozen(value):
    """A nested value with its types, floats and arrays to the bit, to be compared by ``==``."""
    if isinstance(value, dict):
        return [(frozen(key), frozen(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [frozen(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return type(value).__name__, value.dtype.str, value.shape, value.tobytes()
    return type(value).__name__, value.hex() if isinstance(value, float) else value


def everything(params, optimizer, rng):
    """All that loading may change."""
    return frozen([params, optimizer.state_dict(), rng.bit_generator.state])


def trained(rng, make=gn.Adam, steps=3, **hyper):
    """A model and its optimizer after some steps."""
    params = model(rng)
    optimizer = make(params, **hyper)
    for grads in gradients_of(rng, params, steps):
        optimizer.step(grads)
    return params, optimizer


DIGITS = checkpoint.DIGITS


def parts_of(data):
    """A file's header, and its body."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def joined(header, body):
    """A file of these, with the right lengths."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def sealed(data):
    """With the right checksum."""
    digest = hashlib.sha256(data[: DIGITS.start] + data[DIGITS.stop :]).hexdigest().encode()
    return data[: DIGITS.start] + digest + data[DIGITS.stop :]


# What goes in comes out.

SPECIAL = {
    "float32": [0, 0x80000000, 1, 0x807FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345, 0x7F800001],
    "float64": [
        *(0, 1 << 63, 1, 0x800FFFFFFFFFFFFF, 0x7FF0000000000000),
        *(0x7FF8000000000000, 0xFFF8000012345678, 0x7FF0000000000001),
    ],
}  # zeros, denormals, infinities, nans quiet and signalling, with payloads


def special(dtype, shape):
    """Numbers of every kind, bit patterns given."""
    bits = np.resize(np.array(SPECIAL[dtype], f"u{np.dtype(dtype).itemsize}"), shape)
    return bits.view(dtype) if bits.ndim else np.array(bits).view(dtype)


ARRAYS = {
    **{
        f"{name} {dtype}": (lay_out, dtype, (6, 8))
        for dtype in SPECIAL
        for name, lay_out in layouts.WRITABLE.items()
    },
    **{
        f"{name} {dtype}": (np.array, dtype, shape)
        for dtype in SPECIAL
        for name, shape in layouts.SHAPES.items()
    },
    "an axis of one with any stride": (lambda x: np.zeros((6, 5))[3:4, ::2], "float64", (1, 3)),
}


def test_arrays_of_any_layout_to_the_bit(path):
    """Both dtypes in one file; the arrays they come back to lie elsewhere, and otherwise."""
    params = {name: lay_out(special(dtype, shape)) for name, (lay_out, dtype, shape) in ARRAYS.items()}
    before = {name: x.tobytes() for name, x in params.items()}
    others = {name: np.ones(x.shape[::-1], x.dtype).T for name, x in params.items()}
    gn.save_checkpoint(path, params, Carrier({}))
    gn.load_checkpoint(path, others, Carrier({}))
    assert {name: x.tobytes() for name, x in others.items()} == before
    gn.load_checkpoint(path, others | {name: np.ones_like(x) for name, x in params.items()}, Carrier({}))
    for x in params.values():
        x[...] = 1.0
    gn.load_checkpoint(path, params, Carrier({}))
    assert {name: x.tobytes() for name, x in params.items()} == before


def test_the_file_is_safetensors(path, rng):
    """Another reader finds every parameter, and every state, under its name."""
    params = {"w": rng.standard_normal((4, 6))[::2, ::-3], "deep/b": np.ones((), np.float32)}
    optimizer = gn.Adam(params)
    optimizer.step(copies(params))
    gn.save_checkpoint(path, params, optimizer, rng=rng)
    tensors = load_file(path)
    states = {f"optimizer/state/{name}/{key}" for name in ("w", "deep~1b") for key in "mv"}
    assert tensors.keys() == {"params/w", "params/deep/b"} | states
    np.testing.assert_array_equal(tensors["params/w"], params["w"])
    np.testing.assert_array_equal(tensors["optimizer/state/w/m"], optimizer.state_dict()["state"]["w"]["m"])


CONTAINERS = {
    "one array": (lambda a, b: a, ["0"]),
    "a list": (lambda a, b: [a, b], ["0", "1"]),
    "a tuple": (lambda a, b: (a, b), ["0", "1"]),
    "a dict": (lambda a, b: {"a": a, "b": b}, ["a", "b"]),
    "numbers as names": (lambda a, b: {1: a, (2, "x"): b}, ["1", "(2, 'x')"]),
    "groups": (
        lambda a, b: [{"params": a, "lr": 0.5}, {"params": {"w": b}, "name": "head"}],
        ["0/0", "head/w"],
    ),
    "groups of lists": (lambda a, b: [{"params": [a, b], "name": "all"}], ["all/0", "all/1"]),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container, path):
    """Named as the optimizer names them, so that what it updates is what is saved."""
    build, names = CONTAINERS[container]
    a, b = np.arange(3.0), np.arange(4.0, dtype=np.float32)
    params = build(a, b)
    optimizer = gn.Momentum(params, lr=0.1)
    assert list(optimizer.state_dict()["state"]) == names
    gn.save_checkpoint(path, params, optimizer)
    assert {name for name in load_file(path) if name.startswith("params/")} == {f"params/{n}" for n in names}
    theirs = np.zeros(3), np.zeros(4, np.float32)
    gn.load_checkpoint(path, build(*theirs), gn.Momentum(build(*theirs)))
    assert theirs[0].tobytes() == a.tobytes()
    assert theirs[1].tobytes() == (b if len(names) == 2 else np.zeros_like(b)).tobytes()


NAMES = [
    *("", " ", "/", "a/b", "a~1b", "a~0b", "~", "..", "params/w", "optimizer/state/w/m", "rng/state"),
    *("__metadata__", "gnumba", "sha256", '"sha256":"', '\\"sha256\\":\\"' + "0" * 64, "$array", "$tuple"),
    *("\0", "\n", "θ → 0", "重み", "🙂", "x" * 300, "t", "updates", "m"),
]


def test_odd_names(path):
    """Slashes, escapes, the file's own words, any Unicode: none is lost or taken for another."""
    params = {name: np.full(3, float(k)) for k, name in enumerate(NAMES)}
    optimizer = gn.Momentum(params, lr=0.5)
    optimizer.step(copies(params))
    others = {name: np.zeros(3) for name in NAMES}
    twin = gn.Momentum(others)
    gn.save_checkpoint(path, params, optimizer)
    gn.load_checkpoint(path, others, twin)
    assert_equal_models(others, params)
    assert_equal_states(twin.state_dict(), optimizer.state_dict())


VALUES = {
    "numbers": [0, -1, 2**200, True, False, 0.1, -0.0, 5e-324, 1e308, float("inf"), -float("inf")],
    "nan": float("nan"),
    "text": ["", "é\0\ud800", "$tuple"],
    "none": None,
    "tuples": ((), (1, (2.0, None)), [(3,)], {"in": ({"a": ()},)}),
    "empty": [{}, [], ""],
    "keys": {1: "a", "1": "b", 2.5: "c", None: "d", (1, "x"): "e", False: "f"},
    "marks": {"$array": "x", "$dict": [], "$tuple": 1, "$number": {"$array": 2}},
    "a/b": {"c": np.arange(3.0)},
    "a": {"b/c": np.arange(4.0), "b": {"c": np.arange(5.0)}, "b~1c": np.arange(6.0)},
    "arrays": [np.arange(5).astype(kind) for kind in "?bBhHiIlLqQefd"],
    "laid out": (np.arange(24.0).reshape(4, 6)[::2, ::-3], np.zeros(()), np.zeros((3, 0)), np.ones(3)[::2]),
    "NumPy's numbers": [np.float32(0.1), np.float64(-0.0), np.int64(3), np.bool_(True), np.uint8(7)],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_state_of_any_kind(name, path):
    """Equal values of the same types, whatever an optimizer's state is made of."""
    state = {"t": 1, name: VALUES[name]}
    theirs = Carrier(None)
    gn.save_checkpoint(path, np.zeros(1), Carrier(state))
    gn.load_checkpoint(path, np.zeros(1), theirs)
    assert frozen(theirs.state) == frozen(state)


def test_arrays_in_the_other_byte_order(path):
    """Come back in the machine's own."""
    theirs, x = Carrier(None), np.arange(3.0)
    gn.save_checkpoint(path, np.zeros(1), Carrier({"x": x.astype(x.dtype.newbyteorder())}))
    gn.load_checkpoint(path, np.zeros(1), theirs)
    assert frozen(theirs.state) == frozen({"x": x})


def test_states_within_states(path, rng):
    """An optimizer made of optimizers."""
    params, first = trained(rng)
    _, second = trained(rng, gn.Momentum)
    state = {"phase": 1, "phases": [first.state_dict(), second.state_dict()], "best": np.inf}
    theirs = Carrier(None)
    gn.save_checkpoint(path, params, Carrier(state))
    gn.load_checkpoint(path, params, theirs)
    assert frozen(theirs.state) == frozen(state)


def test_loaded_state_is_the_optimizers_own(path):
    """Arrays can be written, as they could before."""
    theirs = Carrier(None)
    gn.save_checkpoint(path, np.zeros(1), Carrier({"x": np.zeros(3)}))
    gn.load_checkpoint(path, np.zeros(1), theirs)
    theirs.state["x"] += 1.0


BIT_GENERATORS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


@pytest.mark.parametrize("name", BIT_GENERATORS)
def test_random_numbers_go_on(name, path):
    """Of every bit generator, between the halves of a 64-bit draw too."""
    kind = getattr(np.random, name)
    mine, theirs = np.random.Generator(kind(1)), np.random.Generator(kind(2))
    mine.standard_normal(7)
    mine.integers(9, size=3, dtype=np.uint32)
    state = frozen(mine.bit_generator.state)
    gn.save_checkpoint(path, np.zeros(1), Carrier({}), rng=mine)
    gn.load_checkpoint(path, np.zeros(1), Carrier({}), rng=theirs)
    assert frozen(mine.bit_generator.state) == state
    assert theirs.integers(9, size=5, dtype=np.uint32).tolist() == (
        mine.integers(9, size=5, dtype=np.uint32).tolist()
    )
    assert theirs.standard_normal(999).tobytes() == mine.standard_normal(999).tobytes()


def test_a_saved_generator_may_be_left(path):
    """Without rng, the state in the file is passed over."""
    gn.save_checkpoint(path, np.zeros(1), Carrier({}), rng=np.random.default_rng(0))
    assert gn.load_checkpoint(path, np.zeros(1), Carrier({})) is None


def nested(depth):
    """A list in a list in a list …"""
    return [nested(depth - 1)] if depth else []


EXTRAS = {
    "none": None,
    "numbers": [0, 10**50, -0.0, 0.1, float("inf"), True, None],
    "nested": {"epoch": 3, "losses": [0.5, 0.25], "config": {"name": "é\0", "": {}, "$tuple": [1]}},
    "text": "just text",
    "deep": nested(99),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_extra_comes_back(name, path):
    """Equal, and of the same types."""
    gn.save_checkpoint(path, np.zeros(1), Carrier({}), extra=EXTRAS[name])
    assert frozen(gn.load_checkpoint(path, np.zeros(1), Carrier({}))) == frozen(EXTRAS[name])


def test_a_loss_of_numpys_in_extra(path):
    """np.float64 is a float."""
    gn.save_checkpoint(path, np.zeros(1), Carrier({}), extra={"loss": np.mean([0.1, 0.2])})
    assert gn.load_checkpoint(path, np.zeros(1), Carrier({})) == {"loss": float(np.mean([0.1, 0.2]))}


def test_the_same_content_gives_the_same_bytes(path, rng):
    """Whatever was there before."""
    params, optimizer = trained(rng)
    gn.save_checkpoint(path, params, optimizer, rng=rng, extra={"a": 1})
    data = path.read_bytes()
    gn.save_checkpoint(path, params, optimizer, rng=rng, extra={"a": 2})
    assert path.read_bytes() != data
    gn.save_checkpoint(path, params, optimizer, rng=rng, extra={"a": 1})
    assert path.read_bytes() == data


def test_other_arrays_than_the_optimizers(path, rng):
    """Names, shapes and dtypes decide; those that the optimizer has are left alone."""
    params, optimizer = trained(rng)
    before, averages = copies(params), {name: np.zeros_like(p) for name, p in params.items()}
    gn.save_checkpoint(path, {name: np.asarray(2.0 * p) for name, p in params.items()}, optimizer)
    gn.load_checkpoint(path, averages, optimizer)
    assert_equal_models(params, before)
    assert_equal_models(averages, {name: 2.0 * p for name, p in before.items()})


def test_read_only_parameters_can_be_saved(path):
    """Not loaded."""
    w = read_only(np.arange(3.0))
    gn.save_checkpoint(path, {"w": w}, Carrier({}))
    theirs = np.zeros(3)
    gn.load_checkpoint(path, {"w": theirs}, Carrier({}))
    np.testing.assert_array_equal(theirs, w)


def test_torch_tensors(path):
    """Saved and loaded where they are; those that require grad too."""
    torch = pytest.importorskip("torch")

    def made():
        return {"w": torch.randn(4, 6).T[::2].requires_grad_(), "b": torch.randn(3, dtype=torch.float64)}

    params, others = made(), made()
    optimizer, twin = gn.Adam(params), gn.Adam(others)
    optimizer.step({name: torch.ones(p.shape, dtype=p.dtype) for name, p in params.items()})
    held = dict(others)
    gn.save_checkpoint(path, params, optimizer)
    gn.load_checkpoint(path, others, twin)
    assert all(others[name] is held[name] and torch.equal(held[name], p) for name, p in params.items())
    assert_equal_states(twin.state_dict(), optimizer.state_dict())


# Going on.


def in_groups(params, case, told=0):
    """Groups, with a schedule and with a schedule that has a state."""
    groups = [
        {"params": {"w": params["w"], "scale": params["scale"]}, "lr": Halving(0.2, told), "name": "body"},
        {"params": [params["b"]]},
    ]
    return case.make(groups, **case.hyper | {"lr": falling(0.1)})


def train(params, optimizer, rng, steps=5):
    """With gradients drawn as they are needed; one parameter misses some."""
    for _ in range(steps):
        w, scale, b = (rng.standard_normal(params[name].shape).astype("f4") for name in ("w", "scale", "b"))
        optimizer.step([{"w": w, "scale": scale}, [b if rng.random() < 0.5 else None]])
        optimizer.groups[0]["lr"].told += 1


@pytest.mark.parametrize("name", BIT_GENERATORS)
@EACH_CLASS
def test_going_on_as_if_never_stopped(case, name, path, rng):
    """Parameters, state, schedules and random numbers equal an uninterrupted run's bit for bit."""
    params, mine = model(rng, np.float32), np.random.Generator(getattr(np.random, name)(3))
    optimizer = in_groups(params, case)
    train(params, optimizer, mine)
    gn.save_checkpoint(path, params, optimizer, rng=mine)
    train(params, optimizer, mine)

    others = {name: np.full_like(p, np.nan) for name, p in params.items()}
    twin, theirs = in_groups(others, case, told=9), np.random.Generator(getattr(np.random, name)(4))
    gn.load_checkpoint(path, others, twin, rng=theirs)
    assert (twin.t, twin.groups[0]["lr"].told) == (5, 5)
    train(others, twin, theirs)
    assert everything(others, twin, theirs) == everything(params, optimizer, mine)


@pytest.mark.parametrize("told", [True, False])
def test_schedules_and_clipping_go_on(told, path, rng):
    """The best loss so far (at first inf), counts and limits: of the optimizer and of its schedules."""

    def made(params):
        plateau = gn.schedules.ReduceOnPlateau(0.5, factor=0.5, patience=1)
        return gn.Adam(params, lr=gn.schedules.warmup(plateau, 2), max_norm=1.5, nonfinite="skip"), plateau

    def go_on(optimizer, plateau, tell):
        for grads in gradients:
            optimizer.step(grads)
            if tell:
                plateau.observe(1.0)

    params = model(rng)
    gradients = gradients_of(rng, params, 4)
    gradients[2]["b"][1] = np.nan
    optimizer, plateau = made(params)
    go_on(optimizer, plateau, told)
    gn.save_checkpoint(path, params, optimizer)
    others = {name: np.zeros_like(p) for name, p in params.items()}
    twin, theirs = made(others)
    twin.max_norm = 7.0
    gn.load_checkpoint(path, others, twin)
    assert (twin.t, twin.skipped, twin.max_norm) == (3, 1, 1.5)
    assert (theirs.best, theirs.rate) == ((1.0, 0.25) if told else (np.inf, 0.5))
    go_on(optimizer, plateau, True)
    go_on(twin, theirs, True)
    assert everything(others, twin, rng) == everything(params, optimizer, rng)


# What does not fit.


def run(w=None, make=gn.Adam, rng="PCG64", **others):
    """A model, its optimizer and a generator."""
    params = {"w": np.arange(3.0) if w is None else w, "b": np.ones(2, np.float32)} | others
    params = {name: p for name, p in params.items() if p is not None}
    return params, make(params), np.random.Generator(getattr(np.random, rng)(5))


WRONG = {
    "another name": (lambda: run(b=None, c=np.ones(2, np.float32)), ["['b']", "['c']", "expected"]),
    "one less": (lambda: run(b=None), ["['b']", "expected"]),
    "one more": (lambda: run(c=np.ones(2)), ["['c']", "expected"]),
    "another shape": (lambda: run(np.zeros((3, 1))), ["parameter w", "(3,)", "expected", "(3, 1)"]),
    "a shape that would broadcast": (lambda: run(np.zeros((2, 3))), ["parameter w", "(3,)", "(2, 3)"]),
    "another dtype": (lambda: run(np.zeros(3, np.float32)), ["parameter w", "float64", "expected float32"]),
    "another rule": (lambda: run(make=gn.AdamW), ["'adam'", "expected 'adamw'"]),
    "a rule with less state": (lambda: run(make=gn.Momentum), ["expected"]),
    "a schedule where a number was": (
        lambda: run(make=lambda params: gn.Adam(params, lr=lambda t: 0.1)),
        ["lr", "expected a schedule"],
    ),
    "another bit generator": (lambda: run(rng="MT19937"), ["rng is Generator(MT19937)", "PCG64"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused(wrong, path):
    """With what and where, and nothing has changed."""
    make, words = WRONG[wrong]
    params, optimizer, rng = run()
    gn.save_checkpoint(path, params, optimizer, rng=rng)
    params, optimizer, rng = make()
    before = everything(params, optimizer, rng)
    assert_refused(lambda: gn.load_checkpoint(path, params, optimizer, rng=rng), ValueError, *words)
    assert everything(params, optimizer, rng) == before


def test_what_has_no_state_is_refused(path):
    """Before a file is written or read."""
    for call in (gn.save_checkpoint, gn.load_checkpoint):
        assert_refused(lambda call=call: call(path, np.zeros(2), 3), TypeError, "optimizer is of type int")
    assert not path.exists()


def test_read_only_parameters_are_refused(path):
    """One is enough, and nothing has changed."""
    params, optimizer, rng = run()
    gn.save_checkpoint(path, params, optimizer, rng=rng)
    optimizer.step({"w": np.ones(3), "b": np.ones(2, np.float32)})
    read_only(params["b"])
    before = everything(params, optimizer, rng)
    call = lambda: gn.load_checkpoint(path, params, optimizer, rng=rng)  # noqa: E731
    assert_refused(call, ValueError, "parameter b", "read-only")
    assert everything(params, optimizer, rng) == before


def test_a_generator_where_none_was_saved(path):
    """It would go on with numbers of its own."""
    params, optimizer, rng = run()
    gn.save_checkpoint(path, params, optimizer)
    assert_refused(
        lambda: gn.load_checkpoint(path, params, optimizer, rng=rng),
        ValueError,
        "rng is Generator(PCG64)",
        "expected None",
    )


@pytest.mark.parametrize("wrong", [0, np.random.PCG64(0), np.random.RandomState(0), np.random])
def test_what_is_no_generator(wrong, path):
    """On both ways."""
    params, optimizer, rng = run()
    call = lambda: gn.save_checkpoint(path, params, optimizer, rng=wrong)  # noqa: E731
    assert_refused(call, TypeError, "rng", type(wrong).__name__, "Generator")
    assert not path.exists()
    gn.save_checkpoint(path, params, optimizer, rng=rng)
    call = lambda: gn.load_checkpoint(path, params, optimizer, rng=wrong)  # noqa: E731
    assert_refused(call, TypeError, "rng", type(wrong).__name__, "Generator")


def test_an_optimizer_that_refuses_leaves_all_as_it_was(path):
    """A schedule of its, say."""
    params, optimizer, rng = run()
    gn.save_checkpoint(path, params, optimizer, rng=rng)
    params, optimizer, rng = run(np.full(3, 7.0), make=lambda params: gn.Adam(params, lr=0.5))
    optimizer.load_state_dict = lambda state: _raise(ValueError("not today"))
    rng.random()
    before = everything(params, optimizer, rng)
    assert_refused(lambda: gn.load_checkpoint(path, params, optimizer, rng=rng), ValueError, "not today")
    assert everything(params, optimizer, rng) == before


def _raise(error):
    raise error


UNFIT = {
    "no array": ({"w": 1.0}, TypeError, ["parameter w", "float"]),
    "integers": ({"w": np.zeros(3, int)}, TypeError, ["parameter w", "int64"]),
    "a name twice": ({1: np.zeros(1), "1": np.zeros(1)}, ValueError, ["'1', '1'", "once"]),
    "groups of one name": ([{"params": np.zeros(1), "name": "a"}] * 2, ValueError, ["'a', 'a'", "once"]),
    "a group without params": ([{"params": np.zeros(1)}, {"lr": 1.0}], ValueError, ["params[1]", "group"]),
    "a name that is no text": ({"\ud800": np.zeros(1)}, ValueError, ["surrogates"]),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_params_that_cannot_be_saved(unfit, path):
    """Nothing is written."""
    params, kind, words = UNFIT[unfit]
    assert_refused(lambda: gn.save_checkpoint(path, params, Carrier({})), kind, *words)
    assert not list(path.parent.iterdir())


loop = []
loop.append({"again": loop})

UNSAVABLE = {
    "an array": ({"a": [0, np.zeros(2)]}, TypeError, ["extra['a'][1]", "ndarray"]),
    "a tuple": ({"a": (1, 2)}, TypeError, ["extra['a']", "tuple"]),
    "a set": ([{1}], TypeError, ["extra[0]", "set"]),
    "bytes": (b"", TypeError, ["extra", "bytes"]),
    "a function": (len, TypeError, ["extra", "function"]),
    "a number as a key": ({"a": {1: 2}}, TypeError, ["extra['a']", "key 1", "strings"]),
    "a path": ({"p": Path()}, TypeError, ["extra['p']", "Path"]),
    "itself": (loop, ValueError, ["extra[0]", "holds itself"]),
    "very deep": (nested(101), ValueError, ["extra[0]", "deep"]),
}


@pytest.mark.parametrize("extra", UNSAVABLE)
def test_extra_that_json_has_not(extra, path):
    """Said with its place, before anything is written."""
    value, kind, words = UNSAVABLE[extra]
    assert_refused(lambda: gn.save_checkpoint(path, np.zeros(1), Carrier({}), extra=value), kind, *words)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("value", [{1}, b"", len, np.zeros(1, complex), np.zeros(1, object), np.array("a")])
def test_a_state_that_cannot_be_saved(value, path):
    """Said with its place; a former file is as it was."""
    path.write_bytes(b"former")
    call = lambda: gn.save_checkpoint(path, np.zeros(1), Carrier({"a": [value]}))  # noqa: E731
    assert_refused(call, TypeError, "optimizer/a/0", "expected")
    assert path.read_bytes() == b"former"
    assert list(path.parent.iterdir()) == [path]


def test_more_text_than_safetensors_takes(path):
    """Refused on the way in, not on the way out."""
    call = lambda: gn.save_checkpoint(path, np.zeros(1), Carrier({}), extra="x" * 100_000_000)  # noqa: E731
    with pytest.raises(ValueError, match=r"header too large|100000\d+ characters, expected below"):
        call()
    assert not list(path.parent.iterdir())


# Weights alone, other objects, open files.


def test_weights_alone(path, rng):
    """Written without an optimizer, and read from any checkpoint."""
    params, optimizer = trained(rng)
    for saved in ((params,), (params, optimizer)):
        gn.save_checkpoint(path, *saved, extra=3)
        others = {name: np.zeros_like(p) for name, p in params.items()}
        assert gn.load_checkpoint(path, others) == 3
        assert_equal_models(others, params)
    gn.save_checkpoint(path, params)
    assert load_file(path).keys() == {f"params/{name}" for name in params}
    before = everything(params, optimizer, rng)
    assert_refused(
        lambda: gn.load_checkpoint(path, params, optimizer), ValueError, "no state for optimizer", str(path)
    )
    assert everything(params, optimizer, rng) == before


def test_other_objects(path, rng):
    """Whatever has a state, by name; those that are not asked for are passed over."""
    params, optimizer = trained(rng)
    batches = gn.minibatches(np.arange(10), batch_size=3, rng=1)
    first = next(iter(batches))[0]
    other = Carrier({"x": np.arange(3.0), "$": (1, 2)})
    gn.save_checkpoint(path, params, optimizer, also={"batches": batches, "a/b $": other})
    rest = gn.minibatches(np.arange(10), batch_size=3, rng=2)
    theirs = Carrier(None)
    gn.load_checkpoint(path, params, also={"a/b $": theirs, "batches": rest})
    assert frozen(theirs.state) == frozen(other.state)
    rows = np.concatenate([first, *(rows for (rows,) in rest)])
    assert sorted(rows) == list(range(10))
    gn.load_checkpoint(path, params, optimizer)


def test_other_objects_that_are_wrong(path, rng):
    """Nothing has changed, nor where one refuses after others took up theirs."""
    params, optimizer = trained(rng)
    gn.save_checkpoint(path, params, optimizer, also={"batches": gn.minibatches(np.arange(9))})
    params, optimizer = trained(rng, steps=1, lr=0.25)
    good, bad = gn.minibatches(np.arange(9), rng=1), gn.minibatches(np.arange(9), rng=np.random.MT19937(0))
    before = everything(params, optimizer, rng), good.state_dict()
    for wrong, kind, word in (
        ({"ema": good}, ValueError, "no state for also/ema"),
        ({"batches": bad}, ValueError, "expected a state of MT19937"),
        ({"batches": 3}, TypeError, "also['batches'] is of type int"),
        ([good], TypeError, "also is [Minibatches"),
        ({1: good}, TypeError, "also is {1"),
    ):
        assert_refused(lambda w=wrong: gn.load_checkpoint(path, params, optimizer, also=w), kind, word)
        assert (everything(params, optimizer, rng), good.state_dict()) == before
    assert_refused(lambda: gn.save_checkpoint(path, params, also={"batches": 3}), TypeError, "of type int")


def test_open_files(path, rng):
    """The bytes that a path gets, where the file stands; also one that takes few at a time."""
    params, optimizer = trained(rng)
    gn.save_checkpoint(path, params, optimizer, rng=rng)
    data = path.read_bytes()

    class Slow(io.RawIOBase):
        def __init__(self):
            self.taken = b""

        def write(self, piece):
            self.taken += bytes(piece[:1000])
            return min(len(piece), 1000)

    memory, slow = io.BytesIO(b"xyz"), Slow()
    memory.seek(3)
    gn.save_checkpoint(memory, params, optimizer, rng=rng)
    gn.save_checkpoint(slow, params, optimizer, rng=rng)
    with path.with_name("other").open("w+b", buffering=0) as file:
        gn.save_checkpoint(file, params, optimizer, rng=rng)
        file.seek(0)
        assert memory.getvalue() == b"xyz" + data
        assert slow.taken == file.read() == data
        file.seek(0)
        memory.seek(3)
        for each in (file, memory):
            others, twin = trained(rng, steps=1)
            gn.load_checkpoint(each, others, twin)
            assert_equal_models(others, params)
            assert_equal_states(twin.state_dict(), optimizer.state_dict())
    assert_refused(lambda: gn.load_checkpoint(io.BytesIO(b"x"), params), ValueError, "cannot be loaded")
    assert_refused(lambda: gn.load_checkpoint(io.StringIO("x"), params), TypeError, "gives str")
    text = io.StringIO()
    assert_refused(lambda: gn.save_checkpoint(text, params), TypeError, "takes text")
    assert text.getvalue() == ""


def test_numpys_scalars_in_extra(path):
    """As Python's."""
    extra = {"a": np.float32(0.5), "b": [np.int64(3), {"c": np.bool_(True)}], "d": np.uint8(7)}
    gn.save_checkpoint(path, np.zeros(1), extra=extra)
    expected = {"a": 0.5, "b": [3, {"c": True}], "d": 7}
    assert frozen(gn.load_checkpoint(path, np.zeros(1))) == frozen(expected)
    for wrong in (np.complex64(1), np.longdouble(1), np.datetime64("2020"), np.zeros(2)):
        with pytest.raises(TypeError, match="extra"):
            gn.save_checkpoint(path, np.zeros(1), extra=wrong)


# Interrupts.


def test_interrupts_while_saving(path, rng):
    """At every line: the file is the old one or the new one, and nothing lies beside it."""
    params, optimizer = trained(rng)
    gn.save_checkpoint(path, params, optimizer, extra="new")
    new = path.read_bytes()
    gn.save_checkpoint(path, params, optimizer, extra="old")
    old, found = path.read_bytes(), []
    for k in itertools.count():
        path.write_bytes(old)
        reached = interrupted_at(
            k, lambda: gn.save_checkpoint(path, params, optimizer, extra="new"), event="line"
        )
        found.append(path.read_bytes())
        assert found[-1] in (old, new)
        assert list(path.parent.iterdir()) == [path]
        if not reached:
            break
    assert old in found
    assert found[-1] == new


def test_interrupts_while_loading(path, rng):
    """At every line: parameters, optimizer, schedules, batches and rng are all the old or all the new."""

    def made(seed, steps):
        rng = np.random.default_rng(seed)
        params, optimizer = trained(rng, gn.Adam, steps, lr=Halving(0.1, steps))
        return params, optimizer, rng, gn.minibatches(np.arange(9), rng=seed)

    def frozen_all(params, optimizer, rng, batches):
        return everything(params, optimizer, rng), frozen(batches.state_dict())

    params, optimizer, generator, batches = made(1, 3)
    gn.save_checkpoint(path, params, optimizer, rng=generator, also={"batches": batches})
    new, found = frozen_all(params, optimizer, generator, batches), []
    for k in itertools.count():
        params, optimizer, generator, batches = mine = made(2, 1)
        old, handler = frozen_all(*mine), signal.getsignal(signal.SIGINT)

        def load(params=params, optimizer=optimizer, generator=generator, batches=batches):
            gn.load_checkpoint(path, params, optimizer, rng=generator, also={"batches": batches})

        reached = interrupted_at(k, load, event="line")
        found.append(frozen_all(*mine))
        assert found[-1] in (old, new)
        assert signal.getsignal(signal.SIGINT) is handler
        if not reached:
            break
    assert found.count(new) > 50
    assert len(found) - found.count(new) > 50


# Damage.


def flipped(data, k, bit):
    """With one bit the other way."""
    return data[:k] + bytes([data[k] ^ 1 << bit]) + data[k + 1 :]


HEADERS = [
    lambda header: header.update({"params/v": header.pop("params/w")}),
    lambda header: header["params/w"].update(shape=[3, 5]),
    lambda header: header["params/w"].update(shape=[2**40, 2**40]),
    lambda header: header["params/w"].update(dtype="I64"),
    lambda header: header["params/w"].update(data_offsets=[0, 2**62]),
    lambda header: header["__metadata__"].update(gnumba="{}"),
    lambda header: header["__metadata__"].update(more=""),
    lambda header: header.pop("__metadata__"),
]


def damaged(data, rng):
    """More than a thousand files that are not ``data``, most of them nearly."""
    end = 8 + int.from_bytes(data[:8], "little")
    text = 8 + len(data[8:end].rstrip())
    assert text < end, "there is no padding to damage"
    bits = [*range(8), *range(DIGITS.start, DIGITS.stop), *range(text, end)]
    # Flipped: every bit of the length, the checksum and the padding, one of every other byte.
    yield from (flipped(data, k, bit) for k in bits for bit in range(8))
    yield from (flipped(data, k, rng.integers(8)) for k in range(len(data)))
    # Cut, and longer.
    yield from (data[:k] for k in {0, 1, 7, 8, 9, DIGITS.start, DIGITS.stop, text, end, len(data) - 1})
    yield from (data[:k] for k in rng.integers(len(data), size=200))
    yield from (data[k:] for k in rng.integers(1, len(data), size=50))
    yield from (data + more for more in (b"\0", b"\n", b" ", bytes(8), data))
    # The length, the checksum, the padding, the header, with all else to fit.
    yield from (n.to_bytes(8, "little") + data[8:] for n in (0, 1, text - 8, end, 2**40, 2**63, 2**64 - 1))
    digits = data[DIGITS]
    for wrong in (digits.upper(), digits[::-1], b"0" * 64, digits[:-2], digits + b"00"):
        yield data[: DIGITS.start] + wrong + data[DIGITS.stop :]
    yield data[:text] + b"\n" + data[text + 1 :]
    yield end.to_bytes(8, "little") + data[8:end] + b" " * 8 + data[end:]
    for edit in HEADERS:
        header, body = parts_of(data)
        edit(header)
        yield joined(header, body)
    # Garbage, in whole and in part; blocks moved; others' files.
    yield from (rng.bytes(n) for n in rng.integers(1, 2 * len(data), size=20))
    yield from (data[:k] + rng.bytes(len(data) - k) for k in (8, DIGITS.start, DIGITS.stop, end))
    for i, j in rng.integers(len(data) - 32, size=(50, 2)):
        yield data[:i] + data[j : j + 16] + data[i + 16 :]
    yield from (save({"params/w": np.zeros((5, 3))}, metadata) for metadata in (None, {"gnumba": "{}"}))
    yield from (b"PK\x03\x04", b"\x80\x04}.", b"{}" * 100)


def test_a_thousand_damaged_files(path, rng):
    """Cut, flipped, moved, edited, garbage: all are refused, and nothing has changed."""
    params, optimizer = trained(rng)
    data = b""
    for n in range(8):
        if b"}} " not in data:  # until there is padding
            gn.save_checkpoint(path, params, optimizer, rng=rng, extra="x" * n)
            data = path.read_bytes()
    params, optimizer = trained(rng, steps=1, lr=0.25)
    before, wrongs = everything(params, optimizer, rng), set(damaged(data, np.random.default_rng(1)))
    assert len(wrongs - {data}) > 1000
    for wrong in wrongs - {data}:
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"run\.safetensors cannot be loaded"):
            gn.load_checkpoint(path, params, optimizer, rng=rng)
        assert everything(params, optimizer, rng) == before
    path.write_bytes(data)
    gn.load_checkpoint(path, params, optimizer, rng=rng)
    assert everything(params, optimizer, rng) != before


EDITS = {
    "a later version": lambda header, content: content.update(version=2),
    "no version": lambda header, content: content.pop("version"),
    "no optimizer": lambda header, content: content.pop("optimizer"),
    "no generator": lambda header, content: content.pop("rng"),
    "no extra": lambda header, content: content.pop("extra"),
    "an optimizer of nothing": lambda header, content: content.update(optimizer=None),
    "an optimizer of numbers": lambda header, content: content.update(optimizer=[1.0, 2.0]),
    "steps below zero": lambda header, content: content["optimizer"].update(t=-1),
    "an item too many": lambda header, content: content["optimizer"].update(more=1),
    "a rate below zero": lambda header, content: content["optimizer"]["groups"]["0"].update(lr=-1.0),
    "a state without its array": lambda header, content: content["optimizer"]["state"]["w"].pop("m"),
    "an array that is nowhere": lambda header, content: content["optimizer"].update(t={"$array": "x"}),
    "an array without a name": lambda header, content: content["optimizer"].update(t={"$array": []}),
    "a tuple of no items": lambda header, content: content["optimizer"].update(t={"$tuple": 1}),
    "a dict of no pairs": lambda header, content: content["optimizer"].update(t={"$dict": [1]}),
    "a list as a key": lambda header, content: content["optimizer"].update(t={"$dict": [[[], 1]]}),
    "a generator of nothing": lambda header, content: content.update(rng={}),
    "a generator of numbers": lambda header, content: content.update(rng=[1]),
    "a generator of no such state": lambda header, content: content["rng"].update(state=1),
    "a generator of half a state": lambda header, content: content["rng"]["state"].pop("inc"),
    "a parameter renamed": lambda header, content: header.update({"params/v": header.pop("params/w")}),
    "a state of another dtype": lambda header, content: header["optimizer/state/w/m"].update(dtype="I64"),
    "a dtype of no meaning": lambda header, content: header["params/w"].update(dtype="X64"),
    "a dtype that NumPy has not": lambda header, content: header["params/b"].update(dtype="BF16", shape=[12]),
    "a shape too large": lambda header, content: header["params/w"].update(shape=[2**40, 2**40]),
    "tensors that overlap": lambda header, content: header["params/w"].update(
        data_offsets=header["params/b"]["data_offsets"]
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_whole_files_that_do_not_make_sense(edit, path, rng):
    """The checksum is right; all the same they are refused, and nothing has changed."""
    params, optimizer = trained(rng)
    gn.save_checkpoint(path, params, optimizer, rng=rng)
    header, body = parts_of(path.read_bytes())
    content = json.loads(header["__metadata__"]["gnumba"])
    path.write_bytes(sealed(joined(header, body)))
    gn.load_checkpoint(path, params, optimizer, rng=rng)
    EDITS[edit](header, content)
    header["__metadata__"]["gnumba"] = json.dumps(content, separators=(",", ":"))
    path.write_bytes(sealed(joined(header, body)))
    params, optimizer = trained(rng, steps=1, lr=0.25)
    before = everything(params, optimizer, rng)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        gn.load_checkpoint(path, params, optimizer, rng=rng)
    assert "SHA-256" not in str(caught.value)
    assert everything(params, optimizer, rng) == before


def test_a_file_that_cannot_be_read(path):
    """The error that reading gave."""
    with pytest.raises(FileNotFoundError):
        gn.load_checkpoint(path, np.zeros(1), Carrier({}))
    path.mkdir()
    with pytest.raises(OSError, match=r"run\.safetensors"):
        gn.load_checkpoint(path, np.zeros(1), Carrier({}))
