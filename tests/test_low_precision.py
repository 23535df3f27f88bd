"""float16 and bfloat16: codecs, optimizers that step as on float32 masters, bit for bit, activations."""

import copy
import pickle
import re

import layouts
import numpy as np
import pytest
from cases import (
    one_a_class,
    one_a_kernel_shape,
    one_a_rule,
    one_an_activation,
    one_an_activation_shape,
    rule_of,
)
from judge import assert_same_bits
from processes import output
from test_grid import misaligned, run_sweep

import gnumba as gn
from gnumba import words
from gnumba._engine import host
from gnumba._engine.launch import launch
from gnumba._engine.storage import OF_DTYPE
from gnumba._engine.table import Table
from gnumba._narrow import BFLOAT16, FLOAT16
from gnumba._optim.masters import FLOAT32, LOW, MASTERS
from gnumba._rule import Elementwise
from gnumba.rules import storages

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = {FLOAT16: np.dtype(np.float16), BFLOAT16: np.dtype(ml_dtypes.bfloat16)}
NARROW = pytest.mark.parametrize("storage", DTYPES, ids=lambda each: each.name)
CODES = np.arange(1 << 16, dtype=np.uint16)
SAME = Elementwise(lambda x: x, ("x",), ("y",))
QUIET = {"over": "ignore", "invalid": "ignore"}


def patterns(count=1 << 20):
    """Bits of float32s: any, and those beside the numbers of 16 bits and halfway between them."""
    drawn = np.random.default_rng(0).integers(0, 1 << 32, count, np.uint32)
    high, low = np.uint32(CODES) << 16, np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    of_bfloat16 = (high[:, None] + low).ravel()
    steps = np.arange(-2, 3).astype(np.uint32)
    halves = np.float32(CODES.view(np.float16)).view(np.uint32)[:, None]
    of_float16 = np.concatenate([(halves + (0x1000 * k & 0xFFFFFFFF) + steps).ravel() for k in (-1, 0, 1)])
    return np.concatenate([drawn, of_bfloat16, of_float16])


def converted(x, storage, to):
    """Elements in another storage, by a kernel."""
    out = np.empty(x.shape, to.kept)
    launch([(Table(SAME, [(x, out)], (storage, to)), np.zeros(0))])
    return out


def check_codecs():
    """Every code and a million numbers, by kernels."""
    for storage, dtype in DTYPES.items():
        numbers = converted(CODES.view(storage.kept), storage, FLOAT32)
        with np.errstate(**QUIET):
            expected = CODES.view(dtype).astype(np.float32)
        np.testing.assert_array_equal(numbers, expected)
        assert (np.signbit(numbers) == np.signbit(expected)).all()
        x = patterns().view(np.float32)
        codes = converted(x, FLOAT32, storage).view(dtype)
        with np.errstate(**QUIET):
            expected = x.astype(dtype)
        nan = np.isnan(x)
        np.testing.assert_array_equal(codes.view(np.uint16)[~nan], expected.view(np.uint16)[~nan])
        assert (np.isnan(codes.astype(np.float32)) == nan).all()


def test_codecs():
    check_codecs()


@pytest.mark.parametrize("cpu", ["znver3", "haswell", "nehalem"])
def test_codecs_on_older_cpus(cpu, tmp_path):
    """Without AVX-512, without the conversions of F16C: the same bits, and no symbol that is missing."""
    code = "import test_low_precision as here; here.check_codecs(); here.check_masters()"
    output(
        "-c",
        code,
        NUMBA_CPU_NAME=cpu,
        NUMBA_CPU_FEATURES="",
        GNUMBA_CACHE_DIR=tmp_path,
        PYTHONPATH=__file__[:-22],
    )


def test_codecs_in_plain_python():
    """They are rules: functions of numbers."""
    few = patterns(2000)[::97]
    for storage, dtype in DTYPES.items():
        numbers = np.array([storage.decode(int(code)) for code in CODES], np.float32)
        np.testing.assert_array_equal(numbers, converted(CODES.view(storage.kept), storage, FLOAT32))
        x = few.view(np.float32)
        x = x[~np.isnan(x)]
        codes = [storage.encode(float(each)) for each in x]
        with np.errstate(**QUIET):
            np.testing.assert_array_equal(codes, x.astype(dtype).view(np.uint16))
        assert np.isnan(storage.decode(storage.encode(np.nan)))


@NARROW
def test_codecs_are_vectors(storage):
    """In registers of 32-bit lanes as wide as there are, and no call is left."""
    for kept in ((storage, FLOAT32), (FLOAT32, storage)):
        text = host.inspect(SAME, kept, "cpu", flat=False)["asm"]
        if "zmm" not in text:
            pytest.skip("no AVX-512 here")
        found = re.findall(r"\b(vcvtph2ps|vcvtps2ph|vpmovzxwd|vpmovdw)\b.*%zmm", text)
        assert len(found) >= 4
        assert not re.search(r"call.*(half|hf|bf)", text)


def check_masters():
    """A float32 is its two parts again, and the first is the bfloat16 nearest to it."""
    x = patterns().view(np.float32)
    high = converted(x, FLOAT32, MASTERS[BFLOAT16].shown)
    low = converted(x, FLOAT32, LOW)
    whole = np.empty_like(x)
    joined = Elementwise(storages.joined, ("p", "low"), ("x",))
    launch([(Table(joined, [(high, low, whole)], (BFLOAT16, LOW, FLOAT32)), np.zeros(0))])
    nan = np.isnan(x)
    np.testing.assert_array_equal(whole.view(np.uint32)[~nan], x.view(np.uint32)[~nan])
    shown = high.view(ml_dtypes.bfloat16).astype(np.float32)
    assert np.isnan(whole[nan]).all()
    assert np.isnan(shown[nan]).all()
    with np.errstate(**QUIET):
        even = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    ties = (x.view(np.uint32) & 0xFFFF) == 0x8000
    np.testing.assert_array_equal(shown[~nan & ~ties], even[~nan & ~ties])


def test_a_float32_in_two_parts():
    check_masters()


def test_words_are_cut_to_32_bits():
    """In plain Python as compiled."""
    assert words.add(0xFFFFFFFF, 2) == 1
    assert words.sub(1, 2) == 0xFFFFFFFF
    assert words.mul(0x10001, 0x10001) == 0x20001
    assert words.shl(0x80000001, 1) == 2
    assert (words.half_bits(65520.0), words.half_bits(-1e9)) == (0x7C00, 0xFC00)
    assert OF_DTYPE[np.dtype(np.float32)] is FLOAT32


# Optimizers: as on the float32 master, bit for bit.


def takes_narrow(case):
    kernel = rule_of(case)._kernel
    return case.make.takes_narrow and not (kernel.normed or kernel.lent)


def narrow(cases):
    return pytest.mark.parametrize("case", [*filter(takes_narrow, cases)], ids=str)


def drawn(shape, dtype, seed=0):
    """Numbers of many sizes that are of a dtype."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * np.exp(rng.standard_normal(shape))
    return np.asarray(values, np.float32).astype(dtype)


def whole(p, state):
    """The float32 master of a parameter with this state."""
    if "master" in state:
        return state["master"]
    high = p.view(np.uint16).astype(np.uint32) << 16
    return (high + state["low_bits"].astype(np.int64).astype(np.uint32)).view(np.float32)


def assert_on_masters(params, optimizer, wide, reference):
    """Masters and states are those of float32, and what is shown is the nearest."""
    ours, theirs = (each.state_dict()["state"] for each in (optimizer, reference))
    for (name, state), p, w in zip(ours.items(), params, wide, strict=True):
        master = whole(p, state)
        assert_same_bits(master, w, name)
        for key, value in theirs[name].items():
            assert_same_bits(state[key], value, f"{key} of {name}")
        error = np.abs(p.astype(np.float64) - master)
        assert (error <= np.spacing(np.abs(p)).astype(np.float64) / 2).all()


@NARROW
@narrow(one_a_rule())
def test_steps_are_those_of_the_master(case, storage):
    """With gradients of the parameter's dtype, of float32, and without one."""
    dtype = DTYPES[storage]
    params = [drawn(shape, dtype, k) for k, shape in enumerate(((33, 7), (), (0, 3), (4099,)))]
    wide = [p.astype(np.float32) for p in params]
    optimizer, reference = case.make(params, **case.hyper), case.make(wide, **case.hyper)
    for seed in range(1, 5):
        grads = [drawn(p.shape, dtype, 10 * seed + k) for k, p in enumerate(params)]
        given = [g.astype(np.float32) if (k + seed) % 3 == 0 else g for k, g in enumerate(grads)]
        if seed == 2:
            grads[0] = given[0] = None
        optimizer.step(given)
        reference.step([None if g is None else g.astype(np.float32) for g in grads])
    assert_on_masters(params, optimizer, wide, reference)


@NARROW
@narrow(one_a_kernel_shape())
@pytest.mark.parametrize("target", ["cpu", "parallel"])
def test_layouts(case, storage, target):
    """Of parameters and of gradients, whose strides differ."""
    dtype = DTYPES[storage]
    values = drawn((33, 7), dtype)
    params = [layout(values) for layout in layouts.WRITABLE.values()]
    wide = [p.astype(np.float32) for p in params]
    optimizer, reference = case.make(params, **case.hyper), case.make(wide, **case.hyper)
    with gn.use_target(target):
        for seed in (1, 2):
            g = drawn((33, 7), dtype, seed)
            grads = [g.reshape(p.shape) for p in params]
            optimizer.step(
                [
                    layouts.gaps(g) if seed == 2 and p.ndim == 2 else g
                    for p, g in zip(params, grads, strict=True)
                ]
            )
            reference.step([g.astype(np.float32) for g in grads])
    assert_on_masters([np.ascontiguousarray(p) for p in params], optimizer, wide, reference)


@NARROW
def test_rows(storage):
    """Only those that are named, summed in float64 first, to a float32; values of either dtype."""
    dtype = DTYPES[storage]
    p = drawn((9, 5), dtype)
    wide = p.astype(np.float32)
    optimizer, reference = gn.Adam(p, lr=0.1), gn.Adam(wide, lr=0.1)
    for seed, kept in ((1, dtype), (2, np.float32)):
        g = drawn((3, 5), dtype, seed)
        total = g[1].astype(np.float64) + g[2].astype(np.float64)
        twice = np.stack([g[0].astype(np.float32), total.astype(np.float32)])
        optimizer.step(gn.Rows([1, 7, 7], g.astype(kept)))
        reference.step(gn.Rows([1, 7], twice))
    assert_on_masters([p], optimizer, [wide], reference)


def test_sums_of_rows_do_not_overflow():
    """Five hundred gradients of 200 are more than a float16 holds, and less than a float32."""
    p = np.ones((3, 2), np.float16)
    rows = gn.Rows([1] * 500, np.full((500, 2), 200.0, np.float16))
    assert gn.global_norm({"w": rows}) == pytest.approx(1e5 * 2**0.5)
    gn.SGD(p, lr=2.0**-18).step(rows)
    assert_same_bits(p[1], np.full(2, 1.0 - 1e5 / 2.0**18, np.float16))


@NARROW
def test_beside_float32(storage):
    """In one optimizer, clipped by one norm, which is of what the gradients are."""
    dtype = DTYPES[storage]
    params = [drawn((33, 7), dtype), drawn(7, np.float32), drawn(7, np.float64)]
    wide = [params[0].astype(np.float32), *(x.copy() for x in params[1:])]
    arguments = {"lr": 0.1, "max_norm": 1.0, "nonfinite": "raise"}
    # in groups, as a norm is added up by tables
    optimizer, reference = (gn.AdamW([{"params": x} for x in each], **arguments) for each in (params, wide))
    for seed in (1, 2, 3):
        grads = [drawn(x.shape, x.dtype, seed) for x in params]
        optimizer.step(grads, grad_scale=4.0)
        reference.step([g.astype(x.dtype) for g, x in zip(grads, wide, strict=True)], grad_scale=4.0)
        assert optimizer.grad_norm == reference.grad_norm > 1.0
    assert_same_bits(whole(params[0], optimizer._state[0]), wide[0])
    assert_same_bits(params[1], wide[1])
    assert_same_bits(params[2], wide[2])


@NARROW
def test_what_is_not_finite(storage):
    """Named, and left or written as in float32; nan stays nan in the parameter and its master."""
    dtype = DTYPES[storage]
    p, g = drawn(17, dtype), drawn(17, dtype, 1)
    g[3] = np.inf
    with pytest.raises(FloatingPointError, match="gradient of w holds inf or nan"):
        gn.SGD({"w": p}, nonfinite="raise").step({"w": g})
    before, skipping = p.copy(), gn.SGD(p, nonfinite="skip")
    skipping.step(g)
    assert skipping.skipped == 1
    assert_same_bits(p, before)
    g[3] = np.nan
    optimizer = gn.SGD(p)
    for _ in range(2):
        optimizer.step(g)
    assert np.isnan(p[3])
    assert np.isnan(whole(p, optimizer._state[0])[3])
    assert np.isfinite(np.delete(p, 3).astype(np.float32)).all()


@NARROW
def test_a_gradient_near_the_largest_number(storage):
    """Over a scale below 1 it leaves float32, as nonfinite="skip" has it."""
    p = drawn(17, DTYPES[storage])
    g = np.full(17, np.finfo(np.float32).max / 2 if storage is BFLOAT16 else 60000.0, DTYPES[storage])
    optimizer = gn.SGD(p, nonfinite="skip")
    optimizer.step(g, grad_scale=0.25)
    assert optimizer.skipped == (storage is BFLOAT16)


@NARROW
def test_a_step_far_below_a_unit_is_kept(storage):
    """A thousand of them arrive; without a master none would."""
    p = np.ones(5, DTYPES[storage])
    optimizer = gn.SGD(p, lr=1.0)
    for _ in range(1000):
        optimizer.step(np.full(5, 1e-5, np.float32))
    assert np.abs(p.astype(np.float64) - 0.99).max() < 0.004


@NARROW
def test_writes_from_outside_are_taken_up(storage):
    """The master follows them, and where nothing was written it stays."""
    dtype = DTYPES[storage]
    p = drawn(100, dtype)
    optimizer = gn.SGD(p, lr=1e-4)
    optimizer.step(drawn(100, dtype, 1))
    kept = whole(p, optimizer._state[0]).copy()
    p[:50] = 3.0
    optimizer.step(np.zeros(100, dtype))
    found = whole(p, optimizer._state[0])
    assert_same_bits(found[50:], kept[50:])
    assert_same_bits(p[:50], np.full(50, 3.0, dtype))
    assert np.abs(found[:50] - 3.0).max() <= np.spacing(dtype.type(3.0)) / 2


@NARROW
@pytest.mark.parametrize("value", [0.0, -0.0, np.inf, -np.inf])
def test_zeros_from_outside_stay(storage, value):
    """Whatever the lower bits are, of which half would make nan of them."""
    dtype = DTYPES[storage]
    p = drawn(200, dtype)
    optimizer = gn.SGD(p, lr=1e-4)
    optimizer.step(drawn(200, dtype, 1))
    p[:] = value
    for _ in range(2):
        optimizer.step(np.zeros(200, dtype))
        assert_same_bits(np.abs(p), np.full(200, abs(value), dtype))


def test_phases_know_masters_by_their_arrays():
    """Names change where a phase's optimizer has groups."""
    p = drawn(100, np.float16)
    grouped = lambda params, **hyper: gn.SGD([{"params": params}], **hyper)  # noqa: E731
    plan = gn.Phases(p, [gn.Phase(gn.SGD, steps=1, lr=1e-4), gn.Phase(grouped, lr=1e-4)])
    plan.step(drawn(100, np.float16, 1))
    plan.step([np.zeros(100, np.float16)])
    wide = drawn(100, np.float16).astype(np.float32)
    gn.SGD(wide, lr=1e-4).step(drawn(100, np.float16, 1).astype(np.float32))
    assert_same_bits(whole(p, plan.optimizer._state[0]), wide)


def test_slopes_where_a_result_saturates():
    """A function of PyTorch's goes from x: y of 16 bits is the same number there."""
    torch = pytest.importorskip("torch")
    x = torch.tensor([-5.0, -9.0], dtype=torch.bfloat16, requires_grad=True)
    gn.torch_function(gn.selu)(x).sum().backward()
    wanted = 1.0507009873554805 * 1.6732632423543772 * np.exp([-5.0, -9.0])
    np.testing.assert_allclose(x.grad.float().numpy(), wanted, rtol=2.0**-8)


def test_states_in_jax_arrays():
    """Lower bits are integers, which no other state is."""
    jax = pytest.importorskip("jax")
    p = drawn(9, ml_dtypes.bfloat16)
    optimizer, loaded = (gn.Adam(x, lr=0.1) for x in (p, p.copy()))
    optimizer.step(drawn(9, np.float32, 1))
    state = optimizer.state_dict()
    name = next(iter(state["state"]))
    arrays = {
        k: jax.numpy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in state["state"][name].items()
    }
    loaded.load_state_dict({**state, "state": {name: arrays}})
    assert_same_bits(loaded._state[0]["low_bits"], optimizer._state[0]["low_bits"])


def test_memories_have_other_names_than_masters():
    @gn.rule
    def plain(p, g, /, lr):
        return p - lr * g

    gn.registry.pop("plain", None)
    with pytest.raises(TypeError, match="memory has the name 'master'"):
        gn.optimizer(
            plain,
            np.ones(3, np.float16),
            lr=0.1,
            memory={"master": 1.0},
            scalars=lambda t, lr, master: {"lr": lr},
        )


@NARROW
@narrow(one_a_class())
def test_stopped_and_resumed(case, storage):
    """By a state dict, a pickle or a copy, to the same bits."""
    dtype = DTYPES[storage]
    p = drawn((33, 7), dtype)
    optimizer = case.make({"w": p}, **case.hyper)
    for seed in (1, 2):
        optimizer.step({"w": drawn((33, 7), dtype, seed)})
    others = [p.copy()]
    others[0][...] = p
    loaded = case.make({"w": others[0]}, **case.hyper)
    loaded.load_state_dict(optimizer.state_dict())
    made = [loaded, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    for each in (optimizer, *made):
        for seed in (3, 4):
            each.step({"w": drawn((33, 7), dtype, seed)})
    expected = optimizer.state_dict()["state"]["w"]
    for each in made:
        assert_same_bits(each._params[0].given, p)
        for key, value in each.state_dict()["state"]["w"].items():
            assert_same_bits(value, expected[key], key)


def test_phases_keep_masters():
    """The second optimizer starts from those that the first has left."""
    p, wide = drawn(1000, ml_dtypes.bfloat16), drawn(1000, ml_dtypes.bfloat16).astype(np.float32)
    phases = [gn.Phase(gn.Adam, steps=3, lr=1e-4), gn.Phase(gn.SGD, lr=1e-4)]
    plans = [gn.Phases(each, phases) for each in (p, wide)]
    for seed in range(6):
        g = drawn(1000, ml_dtypes.bfloat16, seed)
        plans[0].step(g)
        plans[1].step(g.astype(np.float32))
    assert plans[0].phase == 1
    assert_same_bits(whole(p, plans[0].optimizer._state[0]), wide)


def test_a_group_that_is_added():
    first, second = drawn(9, np.float16), drawn(9, ml_dtypes.bfloat16, 1)
    optimizer = gn.SGD([{"params": first}], lr=0.5)
    optimizer.add_group({"params": second})
    optimizer.step([drawn(9, np.float16, 2), drawn(9, ml_dtypes.bfloat16, 3)])
    assert list(optimizer.state_dict()["state"]["1/0"]) == ["updates", "low_bits"]
    wide = drawn(9, ml_dtypes.bfloat16, 1).astype(np.float32)
    gn.SGD(wide, lr=0.5).step(drawn(9, ml_dtypes.bfloat16, 3).astype(np.float32))
    assert_same_bits(whole(second, optimizer._state[1]), wide)


def test_where_it_runs():
    """By bytes, of which there are half as many."""
    x = np.zeros(1 << 22, np.float16)
    assert gn.target_of(x[:10]) == "cpu"
    assert gn.target_of(x) == gn.target_of(x.astype(np.float32)) == gn.target_of(x.view(ml_dtypes.bfloat16))


def test_bytes_that_are_kept():
    """Beside 2 of the parameter, 2 of a bfloat16's master and 4 of a float16's, and 4 a state."""
    for dtype, expected in ((ml_dtypes.bfloat16, 10), (np.float16, 12)):
        optimizer = gn.Adam(drawn(1000, dtype))
        assert sum(x.nbytes for x in optimizer._state[0].values()) == 1000 * expected


@gn.rule
def kept_twice(p, g, low_bits, /, lr):
    """A rule whose state has the name of a master's."""
    return p - lr * g, low_bits


@gn.rule
def widening(p, g, /, lr):
    """A rule that computes in float64."""
    return p - (1 - lr) * g * 3


def test_refusals():
    """By name, and before anything has changed."""
    p = drawn((4, 4), ml_dtypes.bfloat16)
    wide = p.astype(np.float32)
    for make, words_ in (
        (
            lambda: gn.LAMB(p),
            "parameter 0 has dtype bfloat16, expected float32 or float64, as .*norms of whole",
        ),
        (lambda: gn.LARS(p), "parameter 0 has dtype bfloat16.*norms of whole parameters"),
        (lambda: gn.Muon(p), "dtype bfloat16, expected float32 or float64"),
        (lambda: gn.ScheduleFreeSGD(p), "parameter 0 has dtype bfloat16, expected float32 or float64"),
        (lambda: gn.optimizer(kept_twice, p, lr=1.0), "has a state 'low_bits'"),
        (lambda: gn.optimizer(widening, p, lr=1.0).step(p.copy()), "would compute in float64"),
        (lambda: gn.EMA(p), "parameter 0 has dtype bfloat16"),
        (lambda: gn.Lookahead(gn.SGD(p)), "parameter 0 has dtype bfloat16, .* as it is copied"),
        (lambda: gn.SAM(gn.SGD(p)), "parameter 0 has dtype bfloat16, .* as it is copied"),
        (lambda: gn.distributed(gn.SGD, p, comm="self"), "parameter 0 has dtype bfloat16"),
        (lambda: gn.Accumulator(p), "parameter 0 has dtype bfloat16"),
        (lambda: gn.EarlyStopping(params=p), "parameter 0 has dtype bfloat16"),
        (lambda: gn.prelu(p, 0.1), "x has dtype bfloat16, expected float32 or float64"),
        (lambda: gn.prelu(p, p[:1]), "alpha has dtype bfloat16, expected float32 or float64"),
        (lambda: gn.prelu.backward(p, p, 0.1), "dy has dtype bfloat16, expected float32 or float64"),
        (lambda: gn.relu(p, out=wide), "out has dtype float32, expected x's, bfloat16"),
        (lambda: gn.relu.backward(wide, p), "x has dtype bfloat16, expected dy's, float32"),
        (lambda: gn.softmax(p), "has dtype bfloat16, expected float32 or float64"),
        (lambda: gn.losses.mse(p, p), "has dtype bfloat16, expected float32 or float64"),
        (
            lambda: gn.init.normal((3,), dtype=np.int16),
            r"float32 or float64 \(float16, or bfloat16 of",
        ),
        (lambda: gn.inspect(gn.relu, dtype=ml_dtypes.bfloat16), "expected float32 or float64"),
        (
            lambda: gn.SGD(wide).step(p),
            "gradient of 0 has dtype bfloat16, expected its parameter's, float32$",
        ),
        (
            lambda: gn.SGD(p).step(p.astype(np.float16)),
            "gradient of 0 has dtype float16, expected its parameter's, bfloat16, or float32",
        ),
        (lambda: gn.SGD(p).step(p.astype(np.float64)), "has dtype float64, .* bfloat16, or float32"),
        (
            lambda: gn.SGD(p.astype(np.int16)),
            r"dtype int16, expected float32 or float64 \(float16 or bfloat16",
        ),
        (lambda: gn.SGD(wide.astype(">f2")), "has dtype >f2, expected float32 or float64"),
    ):
        before = p.copy()
        with pytest.raises(TypeError, match=words_):
            make()
        assert_same_bits(p, before)


def test_a_structure_is_no_bfloat16():
    """The fast path takes none for one, whose dtypes have one number."""
    torch = pytest.importorskip("torch")
    p = torch.ones(1, dtype=torch.bfloat16)
    optimizer = gn.SGD(p)
    optimizer.step(p.clone())
    g = np.zeros(1, [("a", np.int8), ("b", np.int8)])
    for _ in range(2):
        with pytest.raises(TypeError, match="gradient of 0 has dtype"):
            optimizer.step(g)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_tensors(name):
    """Written in place, with autograd told; NumPy's and PyTorch's of one dtype side by side."""
    torch = pytest.importorskip("torch")
    dtype = np.dtype(name if name == "float16" else ml_dtypes.bfloat16)
    values = drawn((33, 7), dtype)
    tensor = torch.tensor(values.astype(np.float32)).to(getattr(torch, name)).requires_grad_()
    optimizer, reference = gn.Adam(tensor, lr=0.1), gn.Adam(values, lr=0.1)
    version = tensor._version
    for seed in (1, 2, 3):
        g = drawn((33, 7), dtype, seed)
        own = torch.tensor(g.astype(np.float32)).to(tensor.dtype)
        optimizer.step((own, own.float(), own.t().contiguous().t())[seed - 1])
        reference.step(g)
        with torch.no_grad():
            assert_same_bits(tensor.float().numpy(), values.astype(np.float32))
    assert tensor._version > version
    optimizer.step(drawn((33, 7), dtype, 4))
    reference.step(torch.tensor(drawn((33, 7), dtype, 4).astype(np.float32)).to(tensor.dtype))
    with torch.no_grad():
        assert_same_bits(tensor.float().numpy(), values.astype(np.float32))
    assert optimizer.state_dict()["state"]["0"].keys() == reference.state_dict()["state"]["0"].keys()
    with pytest.raises(TypeError, match=f"gradient of 0 has dtype float64, expected its parameter's, {name}"):
        optimizer.step(own.double())


# Norms, clipping, checkpoints.


@NARROW
def test_norms_and_clipping(storage):
    """In float64 of what the elements are; results are the nearest of float32's."""
    dtype = DTYPES[storage]
    grads = [drawn((33, 7), dtype), layouts.gaps(drawn((33, 7), dtype, 1)), drawn((), dtype, 2)]
    wide = [g.astype(np.float32) for g in grads]
    expected = gn.global_norm(wide)
    assert gn.global_norm(grads) == pytest.approx(expected, rel=1e-15)
    assert gn.clip_by_global_norm(grads, 2.0) == pytest.approx(expected, rel=1e-15)
    gn.clip_by_global_norm(wide, 2.0)
    for g, w in zip(grads, wide, strict=True):
        np.testing.assert_allclose(g.astype(np.float32), w, rtol=2.0**-8, atol=2.0**-25)
    assert gn.global_norm(grads) == pytest.approx(2.0, rel=2.0**-8)
    wide = [g.astype(np.float32) for g in grads]
    gn.clip_by_value(grads, 0.125)
    for g, w in zip(grads, wide, strict=True):
        assert_same_bits(g.astype(np.float32), np.clip(w, -0.125, 0.125))
    rows = gn.Rows([1, 1, 2], drawn((3, 5), dtype, 3))
    once = rows.values.astype(np.float64)
    once = np.stack([(once[0] + once[1]).astype(np.float32).astype(np.float64), once[2]])
    assert gn.global_norm(rows) == pytest.approx(np.linalg.norm(once), rel=1e-12)
    gn.clip_by_norm([rows], 1.0)
    assert gn.global_norm(rows) == pytest.approx(1.0, rel=2.0**-7)


def test_a_checkpoint(tmp_path):
    """Of parameters of all dtypes, in PyTorch's arrays and NumPy's; the run goes on to the same bits."""
    torch = pytest.importorskip("torch")

    def made():
        values = drawn((33, 7), ml_dtypes.bfloat16, 5)
        tensor = torch.tensor(values.astype(np.float32)).to(torch.bfloat16)
        return {"a": drawn(9, np.float16), "b": drawn((4, 3), ml_dtypes.bfloat16, 1), "c": tensor,
                "d": drawn(3, np.float32), "e": drawn(3, np.float64), "f": layouts.gaps(values)}  # fmt: skip

    def grads(seed):
        return {name: drawn(tuple(x.shape), np.float32, seed).astype(getattr(x, "dtype", None)
                if name in "ae" else np.float32) for name, x in made().items()}  # fmt: skip

    params, path = made(), tmp_path / "run.safetensors"
    optimizer = gn.Adam(params, lr=0.1)
    for seed in (1, 2):
        optimizer.step(grads(seed))
    gn.save_checkpoint(path, params, optimizer, extra={'"dtype":"BF16"': '"dtype":"U16"'})
    others = made()
    resumed = gn.Adam(others, lr=0.1)
    assert gn.load_checkpoint(path, others, resumed) == {'"dtype":"BF16"': '"dtype":"U16"'}
    for each in (optimizer, resumed):
        each.step(grads(3))
    for name, x in params.items():
        mine, other = (each.float().numpy() if name == "c" else each for each in (x, others[name]))
        assert_same_bits(mine, other, name)
    for name, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            assert_same_bits(value, resumed.state_dict()["state"][name][key], f"{key} of {name}")
    from safetensors.torch import load_file

    assert load_file(path)["params/b"].dtype == torch.bfloat16
    swapped = made() | {"a": drawn(9, ml_dtypes.bfloat16), "b": drawn((4, 3), np.float16)}
    with pytest.raises(ValueError, match=r"parameter a is float16 .* expected bfloat16"):
        gn.load_checkpoint(path, swapped)


# Activations: computed in float32, and rounded once.


def values_for(case, dtype):
    """Numbers where the function has values."""
    x = drawn((33, 7), np.float32)
    return np.clip(x, -case.within / 2, case.within / 2).astype(dtype)


@pytest.mark.parametrize(
    ("case", "storage"),
    [(case, BFLOAT16) for case in one_an_activation()]
    + [(case, FLOAT16) for case in one_an_activation_shape()],
    ids=lambda each: getattr(each, "name", str(each)) if isinstance(each, tuple) else str(each),
)
def test_activations(case, storage):
    """The nearest to what float32 gives: forward, derivative, backward, backward from y."""
    if case.act is gn.prelu:
        pytest.skip("refused")
    dtype, act = DTYPES[storage], case.act
    x, dy = values_for(case, dtype), drawn((33, 7), dtype, 1)
    y = act(x, **case.hyper)
    wide = [each.astype(np.float32) for each in (x, dy, y)]
    with np.errstate(**QUIET):
        for found, expected in (
            (y, act(wide[0], **case.hyper)),
            (act.derivative(x, **case.hyper), act.derivative(wide[0], **case.hyper)),
            (act.backward(dy, x, **case.hyper), act.backward(*wide[1::-1], **case.hyper)),
            (act.backward(dy, x, **case.hyper, y=y), act.backward(*wide[1::-1], **case.hyper, y=wide[2])),
        ):
            assert found.dtype == dtype
            assert_same_bits(found, expected.astype(dtype))


@NARROW
def test_activations_of_any_layout(storage):
    """And in place, of numbers, on all cores, of two arrays, with dropout."""
    dtype = DTYPES[storage]
    x = drawn((33, 7), dtype)
    expected = gn.silu(x.astype(np.float32)).astype(dtype)
    for layout in (layouts.gaps, layouts.fortran, layouts.backwards, layouts.unaligned):
        assert_same_bits(gn.silu(layout(x)), expected)
        out = layout(np.zeros_like(x))
        assert gn.silu(x, out=out) is out
        assert_same_bits(out, expected)
        own = layout(x)
        gn.silu(own, out=own)
        assert_same_bits(own, expected)
    over = np.concatenate([x.ravel(), x.ravel()[:1]])
    gn.silu(over[:-1], out=over[1:])
    assert_same_bits(over[1:], expected.ravel())
    with gn.use_target("parallel"):
        assert_same_bits(gn.silu(x), expected)
    assert gn.silu(x[0, 0]) == expected[0, 0]
    wide = [x.astype(np.float32), x[::-1].astype(np.float32)]
    assert_same_bits(gn.swiglu(x, x[::-1]), gn.swiglu(*wide).astype(dtype))
    for ours, theirs in zip(
        gn.swiglu.backward(x, x, x[::-1]), gn.swiglu.backward(*wide[:1], *wide), strict=True
    ):
        assert_same_bits(ours, theirs.astype(dtype))
    for act in (gn.dropout, gn.alpha_dropout):
        assert_same_bits(act(x, 0.5, 3), act(wide[0], 0.5, 3).astype(dtype))
        assert_same_bits(act.backward(x, 0.5, 3), act.backward(wide[0], 0.5, 3).astype(dtype))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_activations_of_tensors(name):
    """In PyTorch's kind, also differentiated, and beside NumPy's."""
    torch = pytest.importorskip("torch")
    dtype = np.dtype(name if name == "float16" else ml_dtypes.bfloat16)
    x = drawn((33, 7), dtype)
    tensor = torch.tensor(x.astype(np.float32)).to(getattr(torch, name))
    expected = gn.silu(x).astype(np.float32)
    y = gn.silu(tensor)
    assert y.dtype == tensor.dtype
    assert_same_bits(y.float().numpy(), expected)
    out = torch.empty_like(tensor).t().contiguous().t()
    assert gn.silu(tensor, out=out) is out
    assert_same_bits(out.float().numpy(), expected)
    assert_same_bits(gn.silu(tensor, out=np.zeros_like(x)).astype(np.float32), expected)
    assert_same_bits(gn.silu.backward(tensor, x).float().numpy(), gn.silu.backward(x, x).astype(np.float32))
    leaf = tensor.clone().requires_grad_()
    gn.torch_function(gn.silu)(leaf).backward(tensor)
    assert_same_bits(leaf.grad.float().numpy(), gn.silu.backward(x, x).astype(np.float32))


def test_activations_of_jax_arrays():
    jax = pytest.importorskip("jax")
    for dtype in DTYPES.values():
        x = drawn((33, 7), dtype)
        y = gn.silu(jax.numpy.asarray(x))
        assert isinstance(y, jax.Array)
        assert y.dtype == dtype
        assert_same_bits(np.asarray(y), gn.silu(x))


# First weights.


@NARROW
def test_init(storage):
    """The numbers of float32, or of float64, rounded; by dtype and like arrays of several libraries."""
    torch = pytest.importorskip("torch")
    dtype = DTYPES[storage]
    wide = gn.init.he_normal((9, 5), rng=1, dtype=np.float64)
    with np.errstate(**QUIET):
        expected = (wide if storage is FLOAT16 else wide.astype(np.float32)).astype(dtype)
    found = gn.init.he_normal((9, 5), rng=1, dtype=dtype)
    assert found.dtype == dtype
    assert_same_bits(found, expected)
    assert_same_bits(gn.init.he_normal((9, 5), rng=1, like=found[:1]), expected)
    tensor = gn.init.he_normal((9, 5), rng=1, like=torch.zeros(1, dtype=getattr(torch, storage.name)))
    assert str(tensor.dtype) == f"torch.{storage.name}"
    assert_same_bits(tensor.float().numpy(), expected.astype(np.float32))
    assert (gn.init.constant((3,), 0.3, dtype=dtype) == dtype.type(0.3)).all()
    assert gn.init.normal((0, 3), dtype=dtype).shape == (0, 3)


# A GPU's kernels, run natively; test_device.py compiles them.


def kernel_row(storage, n, seed=0):
    """A row of Adam's: parameter, gradient, master and states."""
    p = drawn(n, DTYPES[storage], seed)
    optimizer = gn.Adam(p, lr=0.1)
    optimizer.step(drawn(n, DTYPES[storage], seed + 1))
    table = optimizer._plan.tables[0]
    (_, _, *state), g = table.rows[0], drawn(n, DTYPES[storage], seed + 2)
    scalars = optimizer._updates[0].scalars
    return table.function, table.storages, (p.view(storage.kept), g.view(storage.kept), *state), scalars


@NARROW
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_a_grid(storage, offset):
    for n in (1, 17, 4099):
        function, kept, row, scalars = kernel_row(storage, n)
        rows = [tuple(misaligned(x, offset) for x in row), tuple(x.copy() for x in row)]
        run_sweep(Table(function, rows[:1], kept), scalars)
        launch([(Table(function, rows[1:], kept), scalars)])
        for x, y, before in zip(*rows, row, strict=True):
            assert x.tobytes() == y.tobytes()
            assert (x.tobytes() == before.tobytes()) == (x is rows[0][1]) or n == 1
