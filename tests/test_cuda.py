"""The host's part of CUDA, on a driver made of host memory: bit for bit what the CPU computes."""

import contextlib
import copy
import functools
import gc
import os
import pickle
import sys
import types

import cases
import layouts
import numpy as np
import pytest
from fake_cuda import CupyArray, FakeArray, FakeCuda, FakeCupy, Libcuda
from judge import assert_same_bits
from models import assert_equal_states
from test_memory import Averaged
from test_normed import HYPER, seen, trust
from without_numba import needs

import gnumba as gn
from gnumba._engine import grid
from gnumba._engine.arrays import as_view
from gnumba._engine.cuda import compiler as device
from gnumba._engine.cuda import driver
from gnumba._engine.cuda.memory import DeviceArray

DTYPES = ("float32", "float64")
SHAPES = dict(cases.in_turns(map(cases.rule_of, cases.one_a_kernel_shape())))
STEPS = pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, SHAPES[rule]) for case in cases.OPTIMIZERS if (rule := cases.rule_of(case)) in SHAPES],
    ids=str,
)
ACTIVATIONS = pytest.mark.parametrize(
    ("case", "dtype"), cases.in_turns(cases.one_an_activation_shape()), ids=str
)


LAYOUTS = {
    name: layout for name, layout in layouts.WRITABLE.items() if name not in ("unaligned", "of_a_record")
}


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(driver, "_current", [fake])
    return fake


def model(dtype, seed=0, shapes=((33, 7), (7,), (), (0, 3), (5001,))):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype).reshape(shape) for shape in shapes]


def on_device(arrays, **how):
    return [FakeArray(x.copy(order="K"), **how) for x in arrays]


def host(x):
    """Values of a result, as a host array."""
    return np.asarray(x) if isinstance(x, DeviceArray) else x.values


# Steps.


@STEPS
def test_steps_are_those_of_the_cpu(case, dtype):
    params = model(dtype)
    there = on_device(params)
    here, away = case.make(params, **case.hyper), case.make(there, **case.hyper)
    for seed in (1, 2, 3):
        gradients = model(dtype, seed)
        here.step(gradients)
        away.step(on_device(gradients))
    for k, (x, y) in enumerate(zip(params, there, strict=True)):
        assert_same_bits(y.values, x, f"parameter {k}")
    mine, other = here.state_dict(), away.state_dict()
    for name, state in mine["state"].items():
        for key, value in state.items():
            assert_same_bits(other["state"][name][key], value, f"{key} of {name}")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("which", ["parameter", "gradient", "both"])
def test_any_layout(which, layout):
    rng = np.random.default_rng(0)
    p, g = rng.standard_normal((2, 33, 7))
    p, g = (x.reshape(layout(x).shape) for x in (p, g))  # `permuted` has three axes
    values = [x.reshape(33, 7) for x in (p, g)]
    there = FakeArray(layout(values[0]) if which != "gradient" else p.copy())
    gradient = FakeArray(layout(values[1]) if which != "parameter" else g)
    here, away = gn.Adam(p, max_norm=1.0), gn.Adam(there, max_norm=1.0)
    for _ in range(2):
        here.step(g)
        away.step(gradient)
    np.testing.assert_allclose(there.values, p, rtol=1e-15)
    np.testing.assert_allclose(float(away.grad_norm), here.grad_norm, rtol=1e-15)


def test_a_step_is_one_launch_and_tables_are_uploaded_once(cuda):
    there = on_device(model("float32"))
    gradients = on_device(model("float32", 1))
    opt = gn.Adam(there)
    opt.step(gradients)
    cuda.forget()
    opt.step(gradients)
    assert cuda.names() == ["launch"]
    opt.step(on_device(model("float32", 2)))
    assert cuda.names() == ["launch", "upload", "launch"]  # other addresses


def test_a_clipped_step_is_two_launches_and_waits_for_nothing(cuda):
    gradients = on_device(model("float32", 1))
    opt = gn.Adam(on_device(model("float32")), max_norm=1.0)
    opt.step(gradients)
    cuda.forget()
    opt.step(gradients)
    assert cuda.names() == ["launch", "launch"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"max_norm": 0.5}, {"nonfinite": "skip"}], ids=str)
def test_norms_of_rows_are_those_of_the_cpu(options, dtype, cuda):
    """In three launches, beside that of the norm of all; some without gradients, one step skipped."""
    params = model(dtype)
    there = on_device(params)
    mine, other = (gn.optimizer(trust, x, **HYPER, **options) for x in (params, there))
    for k in range(5):
        gradients = model(dtype, k)
        if k == 1:
            gradients[1] = None
        if k == 3 and "nonfinite" in options:
            gradients[4][7] = np.inf
        given = [g if g is None else FakeArray(g.copy()) for g in gradients]
        cuda.forget()
        other.step(given)
        mine.step(gradients)
        if k == 0:
            assert cuda.names().count("launch") == (4 if options else 3)
    for x, y in zip(params, there, strict=True):
        assert_same_bits(y.values, x)
    assert_equal_states(other.state_dict(), mine.state_dict())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_of_rows_of_any_layout(layout, dtype):
    p, g = np.random.default_rng(0).standard_normal((2, 72, 90)).astype(dtype)
    q, h, beside = layout(p), layout(g), np.ones(5, dtype)
    mine, there = layout(p), [FakeArray(q), FakeArray(beside.copy())]
    optimizers = gn.optimizer(trust, [mine, beside], **HYPER), gn.optimizer(trust, there, **HYPER)
    for _ in range(2):
        optimizers[0].step([layout(g), np.ones(5, dtype)])
        optimizers[1].step([FakeArray(h), FakeArray(np.ones(5, dtype))])
    assert_same_bits(there[0].values, mine)
    assert_same_bits(there[1].values, beside)


@pytest.mark.parametrize("value", [1e200, 1e-200, 0.0, np.nan])
def test_norms_of_rows_of_large_and_small_numbers(value):
    gradients = [np.full(5000, value), np.ones(3)]
    params = [np.zeros(5000), np.zeros(3)]
    there = on_device(params)
    mine, other = gn.optimizer(seen, params), gn.optimizer(seen, there)
    mine.step(gradients)
    other.step(on_device(gradients))
    assert_equal_states(other.state_dict(), mine.state_dict())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_clipped_steps_are_those_of_the_cpu(dtype, limit):
    params = model(dtype)
    there = on_device(params)
    here, away = gn.Adam(params, max_norm=limit), gn.Adam(there, max_norm=limit)
    for seed in (1, 2):
        here.step(model(dtype, seed), grad_scale=4.0)
        away.step(on_device(model(dtype, seed)), grad_scale=4.0)
    for x, y in zip(params, there, strict=True):
        assert_same_bits(y.values, x)
    assert float(away.grad_norm) == here.grad_norm


@pytest.mark.parametrize(
    ("kind", "value", "limit", "scale"),
    [
        ("float32", 3e38, 1.0, 1.0),
        ("float32", 3e38, 1e-3, 1e2),
        ("float32", 1e-38, None, 1e-40),
        ("float64", 1e307, 1e-5, 1.0),
        ("float64", 1e-310, 1e300, 5e-324),
    ],
)
def test_factors_beyond_a_dtype_are_those_of_the_cpu(kind, value, limit, scale):
    """Dense and with gaps, inside the step and in place; no digit is lost (see test_clipping)."""
    g = np.full(9000, value, kind) * np.linspace(0.0, 1.0, 9000, dtype=kind)
    for each in (g, np.repeat(g, 2)[::2]):
        here, away = np.zeros(9000, kind), FakeArray(np.zeros(9000, kind))
        gn.SGD(here, lr=1.0, max_norm=limit).step(each, grad_scale=scale)
        gn.SGD(away, lr=1.0, max_norm=limit).step(FakeArray(each), grad_scale=scale)
        np.testing.assert_allclose(host(away), here, rtol=2 * np.finfo(kind).eps)
        assert here[1:].all()
    if limit and scale == 1.0:
        theirs = FakeArray(g.copy())
        gn.clip_by_global_norm([g], limit)
        gn.clip_by_global_norm([theirs], limit)
        np.testing.assert_allclose(host(theirs), g, rtol=2 * np.finfo(kind).eps)


def test_a_copy_is_made_after_the_device_has_been_heard():
    there, gradients = on_device(model("float32")), model("float32", 1)
    gradients[-1][-1] = np.inf
    opt = gn.Adam(there, nonfinite="skip")
    opt.step(on_device(gradients))
    twin = copy.copy(opt)
    assert opt._pending is None
    assert (twin.t, twin.skipped, opt.t, opt.skipped) == (0, 1, 0, 1)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_skipped_step_changes_nothing_and_is_heard_of_later(cuda, bad):
    params = model("float32")
    there = on_device(params)
    opt = gn.Adam(there, nonfinite="skip")
    gradients = model("float32", 1)
    opt.step(on_device(gradients))
    before = [x.values.copy() for x in there]
    gradients[-1][-1] = bad
    cuda.forget()
    opt.step(on_device(gradients))
    assert "download" not in cuda.names()
    for x, y in zip(there, before, strict=True):
        assert_same_bits(x.values, y)
    assert (opt.t, opt.skipped) == (1, 1)
    opt.step(on_device(model("float32", 2)))
    mine = gn.Adam(params)
    mine.step(model("float32", 1))
    mine.step(model("float32", 2))
    assert opt.t == 2
    for x, y in zip(params, there, strict=True):
        assert_same_bits(y.values, x)


def test_a_skipped_step_leaves_counts_of_parameters_alone():
    there = on_device(model("float32"))
    opt = gn.Adam(there, nonfinite="skip")
    gradients = on_device(model("float32", 1))
    bad = [*gradients[:-1], FakeArray(np.full(5001, np.nan, np.float32))]
    bad[0] = None
    opt.step(bad)
    assert [s["updates"] for s in opt.state_dict()["state"].values()] == [0] * 5
    opt.step([None, *gradients[1:]])
    assert [s["updates"] for s in opt.state_dict()["state"].values()] == [0, 1, 1, 1, 1]


def test_a_skipped_step_leaves_what_scalars_remember():
    """Each parameter's own memory goes on with its own updates; which steps these are is heard of later."""
    params = model("float32")
    there = on_device(params)
    optimizers = [Averaged(x, nonfinite="skip") for x in (params, there)]
    for k, bad in enumerate([False, True, False, True, False]):
        gradients = model("float32", k)
        gradients[-1][0] = np.nan if bad else 1.0
        missing = k % 2
        for opt, given in zip(optimizers, (gradients, on_device(gradients)), strict=True):
            given[missing] = None
            opt.step(given)
    for x, y in zip(params, there, strict=True):
        assert_same_bits(y.values, x)
    assert_equal_states(*(opt.state_dict() for opt in optimizers))
    assert optimizers[1].t == 3


def test_raise_names_the_gradient_and_changes_nothing():
    there = on_device(model("float64"))
    before = [x.values.copy() for x in there]
    opt = gn.Adam(there, nonfinite="raise")
    gradients = model("float64", 1)
    gradients[1][3] = np.inf
    with pytest.raises(FloatingPointError, match="gradient of 1 holds inf or nan"):
        opt.step(on_device(gradients))
    for x, y in zip(there, before, strict=True):
        assert_same_bits(x.values, y)
    assert opt.t == 0


@pytest.mark.parametrize("layout", [np.array, lambda x: np.repeat(x, 2)[::2]], ids=["dense", "gaps"])
@pytest.mark.parametrize(
    ("kind", "value", "scale", "finite"),
    [
        ("float32", 1e10, 1e-30, False),
        ("float32", -3e38, 0.5, False),
        ("float32", 3e38, 1.0, True),  # the norm is beyond float32, and no reason to skip
        ("float32", 1e10, 1e-27, True),
        ("float64", 1e300, 1e-10, False),
        ("float64", 1e300, 1e-5, True),
    ],
)
def test_gradients_that_only_grad_scale_makes_infinite(kind, value, scale, finite, layout):
    g = np.zeros(9000, kind)
    g[4000:5000] = value
    here, away = np.ones(9000, kind), FakeArray(np.ones(9000, kind))
    mine, other = (gn.SGD(p, lr=1e-20, nonfinite="skip") for p in (here, away))
    mine.step(layout(g), grad_scale=scale)
    other.step(FakeArray(layout(g)), grad_scale=scale)
    assert (other.t, other.skipped) == (mine.t, mine.skipped) == (int(finite), int(not finite))
    assert_same_bits(away.values, here)
    for p, gradient in ((here, layout(g)), (away, FakeArray(layout(g)))):
        strict = gn.SGD(p, lr=1e-20, nonfinite="raise")
        with contextlib.nullcontext() if finite else pytest.raises(FloatingPointError, match="gradient of 0"):
            strict.step(gradient, grad_scale=scale)


def test_apply_with_inf_makes_nan_as_on_the_cpu():
    params = [np.ones(5)]
    there = on_device(params)
    g = np.array([1.0, np.inf, 0, 0, 0])
    for opt, gradient in (
        (gn.SGD(params, lr=0.1, max_norm=1.0), [g]),
        (gn.SGD(there, lr=0.1, max_norm=1.0), on_device([g])),
    ):
        opt.step(gradient)
    assert_same_bits(there[0].values, params[0])


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1.0])
def test_norms_neither_overflow_nor_underflow(scale):
    x = np.random.default_rng(0).standard_normal(9999) * scale
    assert float(gn.global_norm(FakeArray(x))) == gn.global_norm(x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nested_parameters_with_a_decay_mask_and_their_average(dtype):
    """As on the host, the average in arrays of the device; values exchanged and given back."""
    values = model(dtype)

    def nested(arrays):
        first, second, *rest = arrays
        return {"fc": {"w": first, "b": second}, "rest": list(rest)}

    here, there = nested(values), nested(on_device(values))
    decays = {"weight_decay": 0.5, "decay_mask": lambda name, array: name.endswith("w")}
    optimizers = [gn.Adam(params, lr=0.1, **decays) for params in (here, there)]
    averages = [gn.EMA(params, decay=0.75, warmup=True) for params in (here, there)]
    for seed in (1, 2, 3):
        optimizers[0].step(nested(model(dtype, seed)))
        optimizers[1].step(nested(on_device(model(dtype, seed))))
        for average in averages:
            average.update()
    mine, other = (average.state_dict() for average in averages)
    assert mine["t"] == other["t"] == 3
    for name, average in mine["average"].items():
        assert_same_bits(other["average"][name], average, name)
    assert_same_bits(host(averages[1].arrays["fc"]["w"]), averages[0].arrays["fc"]["w"])
    before = there["fc"]["w"].values.copy()
    with averages[1].swapped():
        assert_same_bits(there["fc"]["w"].values, mine["average"]["fc/w"])
    assert_same_bits(there["fc"]["w"].values, before)
    again = pickle.loads(pickle.dumps(averages[0]))
    again.load_state_dict(other)
    again.update()
    assert again.t == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wrappers_on_a_device(dtype):
    """Slow weights, ascents, sums and the best weights: the host's bits, and no waiting to step."""

    def values(seed):
        return [x for x in model(dtype, seed) if x.ndim and x.size]

    def run(make):
        params = make(values(0))
        opt = gn.Lookahead(gn.SAM(gn.Adam(params, lr=0.1), rho=0.1), every=2)
        acc, stopping = gn.Accumulator(params), gn.EarlyStopping(1, params)
        for seed in (1, 2, 3):
            opt.ascend(make(values(seed)))
            acc.add(make(values(seed + 3)))
            acc.add(make(values(seed + 6)))
            opt.step(acc.grads, grad_scale=acc.count)
            acc.clear()
            stopping.observe(-1.0 if seed == 2 else 0.0)
        return params, opt.state_dict()["slow"], stopping.arrays

    (here, slow, best), (there, slow_there, best_there) = run(list), run(on_device)
    for mine, other in zip([*here, *best], [*there, *best_there], strict=True):
        assert_same_bits(host(other), mine)
    for name, mine in slow.items():
        assert_same_bits(slow_there[name], mine)


def test_groups_dtypes_and_missing_gradients():
    def run(make):
        a, b, c = (make(x) for x in (np.ones(5), np.ones((3, 2), np.float32), np.ones(7)))
        params = [{"params": {"a": a, "b": b}, "lr": 0.1}, {"params": [c], "weight_decay": 0.5}]
        opt = gn.AdamW(params, max_norm=3.0)
        g = [
            {"a": make(np.full(5, 2.0)), "b": make(np.full((3, 2), 0.5, np.float32))},
            [make(np.arange(7.0))],
        ]
        opt.step(g)
        opt.step([g[0], [None]])
        opt.step(g)
        return [a, b, c], opt

    here, mine = run(lambda x: x)
    there, other = run(FakeArray)
    np.testing.assert_allclose(float(other.grad_norm), mine.grad_norm, rtol=1e-15)
    for x, y in zip(here, there, strict=True):
        np.testing.assert_allclose(y.values, x, rtol=1e-6 if x.dtype == np.float32 else 1e-14)


def test_host_and_device_in_one_optimizer():
    host_param, there = np.ones(5), FakeArray(np.ones(5))
    opt = gn.Adam([host_param, there])
    opt.step([np.full(5, 2.0), FakeArray(np.full(5, 2.0))])
    assert_same_bits(there.values, host_param)
    assert host_param[0] != 1.0
    with pytest.raises(
        ValueError, match=r"max_norm is given and parameters live in \['CUDA device 0', 'host memory'\]"
    ):
        opt.max_norm = 1.0
    with pytest.raises(ValueError, match="nonfinite is given"):
        gn.Adam([host_param, there], nonfinite="skip")


def test_streams_are_followed(cuda):
    p, g = FakeArray(np.ones(5), stream=7), FakeArray(np.ones(5), stream=9)
    opt = gn.Adam(p)
    cuda.forget()
    opt.step(g)
    assert ("order", 9, 7) in cuda.calls
    assert [stream for _, stream in cuda.launched()] == [7]
    p.stream = 11
    cuda.forget()
    opt.step(g)
    assert {("order", 9, 11), ("wait", 11)} <= {*cuda.calls[:3]}  # before anything else
    assert ("order", 7, 11) not in cuda.calls  # that stream may be gone
    assert [stream for _, stream in cuda.launched()] == [11]


def test_rows():
    rng = np.random.default_rng(0)
    for rows in ([1, 3, 1, -1], [2], [], [0, 0, 0]):
        values = rng.standard_normal((len(rows), 4)).astype(np.float32)
        table = rng.standard_normal((10, 4)).astype(np.float32)
        there = FakeArray(table.copy())
        for opt, g in ((gn.AdaGrad(table), values), (gn.AdaGrad(there), FakeArray(values))):
            opt.step(gn.Rows(rows, g))
        assert_same_bits(there.values, table)
    table, there = np.ones((10, 4)), FakeArray(np.ones((10, 4)))
    gn.AdaGrad(table, max_norm=0.5).step(gn.Rows(np.array([1, 2]), np.ones((2, 4))))
    gn.AdaGrad(there, max_norm=0.5).step(gn.Rows(FakeArray(np.array([1, 2])), FakeArray(np.ones((4, 2)).T)))
    assert_same_bits(there.values, table)


# CuPy's arrays, whose attributes are read in place of the interface.


@pytest.fixture
def cupy(monkeypatch):
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_cupy_steps_are_those_of_the_cpu(cupy, cuda):
    params = model("float32")
    there = [CupyArray(x.copy()) for x in params]
    here, away = gn.Adam(params), gn.Adam(there)
    for seed in (1, 2):
        here.step(model("float32", seed))
        away.step([CupyArray(x) for x in model("float32", seed)])
    for x, y in zip(params, there, strict=True):
        assert_same_bits(y.values, x)
    assert {stream for _, stream in cuda.launched()} == {5}
    cupy.stream = 6
    cuda.forget()
    away.step([CupyArray(x) for x in model("float32", 3)])
    assert cuda.calls[0] == ("wait", 6)
    assert {stream for _, stream in cuda.launched()} == {6}


def test_muon_on_a_device(cupy, cuda, dtype):
    """Its two passes are the CPU's, its products CuPy's, a step is skipped where only the device knows."""
    shapes = (3, 5), (5, 3), (3, 5), (0, 2)
    params = model(dtype, 0, shapes)
    there = [CupyArray(x.copy()) for x in params]
    here, away = (gn.Muon(x, nonfinite="skip", max_norm=2.0) for x in (params, there))
    for seed in range(4):
        gradients = model(dtype, seed, shapes)
        gradients[2][0] = np.inf if seed == 1 else 1.0
        left = [*map(CupyArray, gradients)]
        if seed == 2:
            gradients[0] = left[0] = None
            cupy.stream = 6
        here.step(gradients)
        away.step(left)
    for x, y in zip(params, there, strict=True):
        assert_same_bits(y.values, x)
    assert_equal_states(away.state_dict(), here.state_dict())
    assert (away.t, away.skipped) == (3, 1)
    names = [name.partition("_")[0] for name, _ in cuda.launched()]
    assert names.count("ahead") == names.count("muon") == 5  # two in the last step
    assert {stream for name, stream in cuda.launched() if "muon" in name} == {5, 6}


def test_muon_needs_a_library_that_multiplies():
    """Others have no matmul; the sentence names the parameter and what was expected."""
    with pytest.raises(TypeError, match=r"parameter w is a FakeArray on a device.*CuPy or PyTorch"):
        gn.Muon({"w": FakeArray(np.ones((2, 2)))})


@pytest.mark.parametrize(
    "kind", ["shape", "dtype", "device", "layout", "host", "overlap", "misaligned", "moved", "replaced"]
)
def test_cupy_gradients_out_of_the_ordinary(cupy, kind):
    """Whatever is not as the parameter gets the careful look."""
    p = CupyArray(np.ones((4, 3), np.float32))
    opt = gn.SGD([p], lr=1.0)
    g = {
        "shape": CupyArray(np.ones((3, 4), np.float32)),
        "dtype": CupyArray(np.ones((4, 3))),
        "device": CupyArray(np.ones((4, 3), np.float32), device=1),
        "host": np.ones((4, 3), np.float32),
        "layout": CupyArray(np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3))),
        "overlap": CupyArray(p.values[::-1]),
        "misaligned": CupyArray(np.ndarray((4, 3), np.float32, np.zeros(50, np.uint8), 1)),
    }.get(kind, CupyArray(np.ones((4, 3), np.float32)))
    if kind == "moved":
        p.values = np.ones((4, 3), np.float32)
        p.data.ptr = p.values.ctypes.data
    if kind == "replaced":
        opt.groups[0]["params"][0] = CupyArray(np.ones((4, 3), np.float32))
    if kind == "layout":
        opt.step([g])
        assert_same_bits(p.values, 1 - np.arange(12, dtype=np.float32).reshape(4, 3))
        return
    with pytest.raises((TypeError, ValueError)):
        opt.step([g])
    assert_same_bits(p.values, np.ones((4, 3), np.float32))


def test_cupy_results_are_cupys(cupy):
    x = CupyArray(np.linspace(-1, 1, 50))
    made = gn.silu(x)
    assert isinstance(made, CupyArray)
    assert_same_bits(made.values, gn.silu(x.values))
    opt = gn.Adam(x, max_norm=1.0)
    opt.step(CupyArray(np.full(50, 2.0)))
    assert isinstance(opt.grad_norm, CupyArray)
    assert opt.grad_norm.values == gn.global_norm(np.full(50, 2.0))
    assert isinstance(gn.init.normal((2, 3), like=x), CupyArray)
    assert isinstance(gn.prelu.backward(x, x, 0.25)[1], CupyArray)


# State.


def test_state_goes_over_between_places():
    params, there = model("float32"), on_device(model("float32"))
    here, away = gn.Adam(params), gn.Adam(there)
    away.step(on_device(model("float32", 1)))
    here.step(model("float32", 1))
    fresh = gn.Adam(there)
    fresh.load_state_dict(here.state_dict())
    fresh.step(on_device(model("float32", 2)))
    here.step(model("float32", 2))
    for x, y in zip(params, there, strict=True):
        assert_same_bits(y.values, x)


def test_copies_have_memory_of_their_own():
    there = on_device(model("float32"))
    opt = gn.Adam(there, max_norm=1.0)
    opt.step(on_device(model("float32", 1)))
    twin = copy.deepcopy(opt)
    kept = pickle.loads(pickle.dumps(opt.state_dict()))
    state = [s["m"].copy() for s in opt.state_dict()["state"].values()]
    twin.step(on_device(model("float32", 2)))
    for s, before in zip(opt.state_dict()["state"].values(), state, strict=True):
        assert_same_bits(s["m"], before)
    opt.load_state_dict(kept)
    assert opt.t == 1


def test_checkpoints(tmp_path):
    there = on_device(model("float32"))
    opt = gn.Adam(there)
    opt.step(on_device(model("float32", 1)))
    gn.save_checkpoint(tmp_path / "run.safetensors", there, opt)
    params = model("float32", 5)
    here = gn.Adam(params)
    gn.load_checkpoint(tmp_path / "run.safetensors", params, here)
    for x, y in zip(params, there, strict=True):
        assert_same_bits(x, y.values)
    opt.step(on_device(model("float32", 2)))
    here.step(model("float32", 2))
    gn.save_checkpoint(tmp_path / "run.safetensors", params, here)
    for x, y in zip(params, there, strict=True):
        assert_same_bits(x, y.values)
    others = on_device([x.copy("F") for x in model("float32", 6)])
    gn.load_checkpoint(tmp_path / "run.safetensors", others, gn.Adam(others))
    for x, y in zip(params, others, strict=True):
        assert_same_bits(x, y.values)


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("kind", [FakeArray, CupyArray])
def test_empty_arrays_in_a_step(kind, null, cupy):
    """Wherever a library says that an array without elements is: most say at 0."""
    empty = [kind(np.zeros((0, 3), np.float32)), kind(np.ones(5, np.float32))]
    for x in empty:
        x.null = null
    opt = gn.Adam(empty, max_norm=1.0)
    for _ in range(2):
        opt.step([kind(np.zeros((0, 3), np.float32)), kind(np.ones(5, np.float32))])
    assert opt.t == 2
    assert host(gn.relu(kind(np.zeros((0, 3), np.float32)))).shape == (0, 3)
    assert copy.copy(opt).t == 2


def test_phases_carry_momentum():
    def run(make):
        p = make(np.ones(5))
        phases = gn.Phase(gn.Adam, steps=2, lr=0.1), gn.Phase(gn.Momentum, carry="momentum", lr=0.1)
        plan = gn.Phases(p, phases)
        for k in range(4):
            plan.step(make(np.full(5, k - 1.5)))
        return p

    np.testing.assert_allclose(run(FakeArray).values, run(lambda x: x), rtol=1e-14)


# Activations.


@ACTIVATIONS
def test_activations_are_those_of_the_cpu(case, dtype):
    rng = np.random.default_rng(0)
    x, dy = 3 * rng.standard_normal((2, 101, 50)).astype(dtype)
    act, hyper = case.act, case.hyper
    assert_same_bits(host(act(FakeArray(x), **hyper)), act(x, **hyper))
    assert_same_bits(host(act.derivative(FakeArray(x), **hyper)), act.derivative(x, **hyper))
    mine, other = act.backward(dy, x, **hyper), act.backward(FakeArray(dy), FakeArray(x), **hyper)
    if isinstance(mine, tuple):
        assert float(other[1]) == mine[1]
        mine, other = mine[0], other[0]
    assert_same_bits(host(other), mine)
    y = act(x, **hyper)
    if case.from_y:
        other = act.backward(FakeArray(dy), FakeArray(x), y=FakeArray(y), **hyper)
        assert_same_bits(host(other), act.backward(dy, x, y=y, **hyper))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_activations_of_any_layout(layout):
    x = np.random.default_rng(0).standard_normal((33, 7)).astype(np.float32)
    expected = gn.silu(x).reshape(layout(x).shape)
    assert_same_bits(host(gn.silu(FakeArray(layout(x)))), expected)
    out = FakeArray(layout(np.zeros_like(x)))
    assert gn.silu(FakeArray(x.reshape(out.shape)), out=out) is out
    assert_same_bits(out.values, expected)
    over = FakeArray(layout(x))
    gn.silu(over, out=over)
    assert_same_bits(over.values, expected)


def test_out_that_overlaps_its_input():
    memory = np.linspace(-1, 1, 12)
    expected = gn.tanh(memory[:-1])
    gn.tanh(FakeArray(memory[:-1]), out=FakeArray(memory[1:]))
    assert_same_bits(memory[1:], expected)


def test_prelu_by_channel():
    rng = np.random.default_rng(0)
    dy, x = rng.standard_normal((2, 4, 3, 50))
    alpha = rng.random((3, 1))
    mine = gn.prelu.backward(dy, x, alpha)
    other = gn.prelu.backward(FakeArray(dy), FakeArray(x), FakeArray(alpha))
    assert_same_bits(host(other[0]), mine[0])
    np.testing.assert_allclose(host(other[1]), mine[1], rtol=1e-13)
    one = gn.prelu.backward(FakeArray(dy), FakeArray(x), FakeArray(np.array([0.25])))
    np.testing.assert_allclose(host(one[1]), gn.prelu.backward(dy, x, np.array([0.25]))[1], rtol=1e-13)
    assert host(one[1]).shape == (1,)


def test_dropout_masks_are_those_of_the_cpu():
    x = np.random.default_rng(0).standard_normal((101, 50)).astype(np.float32)
    for kind in (gn.dropout, gn.alpha_dropout):
        assert_same_bits(host(kind(FakeArray(x), 0.3, (1, 2))), kind(x, 0.3, (1, 2)))
        assert_same_bits(host(kind(FakeArray(np.asfortranarray(x)), 0.3, 7)), kind(x, 0.3, 7))
        assert_same_bits(host(kind.backward(FakeArray(x), 0.3, 7)), kind.backward(x, 0.3, 7))


# The rest of the face.


def test_clipping_functions():
    def run(make):
        a, b = make(np.array([3.0, 4.0])), make(np.arange(12.0).reshape(3, 4).T)
        n = float(gn.clip_by_global_norm([a, b], 2.5))
        gn.clip_by_norm([a, {"b": b}], 0.5)
        gn.clip_by_value([a, b], 0.2)
        return n, a, b

    n, a, b = run(lambda x: x)
    m, c, d = run(FakeArray)
    np.testing.assert_allclose(m, n, rtol=1e-15)
    np.testing.assert_allclose(c.values, a, rtol=1e-15)
    np.testing.assert_allclose(d.values, b, rtol=1e-15)


def test_what_lies_in_gaps_has_no_norm():
    """An array of every second column, nan between them."""
    memory = np.full((9, 8), np.nan)
    memory[:, ::2] = 3.0
    for clip in (gn.clip_by_global_norm, gn.clip_by_norm):
        g = FakeArray(memory.copy()[:, ::2])
        clip(g, 1.0)
        np.testing.assert_allclose(g.values, np.full((9, 4), 1 / 6), rtol=1e-15)


def test_clipping_of_rows():
    rng = np.random.default_rng(0)
    indices, values = rng.integers(0, 9, 20), rng.standard_normal((20, 4))

    def run(make):
        rows, b = gn.Rows(indices, make(values.copy())), make(np.arange(3.0))
        norms = [float(gn.global_norm([rows, b])), float(gn.clip_by_global_norm([rows, b], 2.5))]
        gn.clip_by_norm([rows, b], 0.5)
        norms.append(float(gn.global_norm(rows)))
        gn.clip_by_value({"rows": rows}, 0.02)
        return norms, rows.values, b

    (norms, values_here, b), (others, there, c) = run(lambda x: x), run(FakeArray)
    np.testing.assert_allclose(others, norms, rtol=1e-14)
    np.testing.assert_allclose(there.values, values_here, rtol=1e-14)
    np.testing.assert_allclose(c.values, b, rtol=1e-15)


def test_init_like_a_device_array():
    like = FakeArray(np.zeros(3, np.float32))
    made = gn.init.he_normal((4, 5), rng=0, like=like)
    assert isinstance(made, DeviceArray)
    assert_same_bits(host(made), gn.init.he_normal((4, 5), rng=0))


def test_target_of():
    x = FakeArray(np.zeros(3))
    assert gn.target_of(x, x) == "cuda"
    with pytest.raises(TypeError, match="array 1 is in host memory, expected array 0's place, CUDA device 0"):
        gn.target_of(x, np.zeros(3))


def test_results_know_their_values():
    made = gn.relu(FakeArray(np.array([-1.0, 2.0])))
    assert np.asarray(made).tolist() == [0.0, 2.0]
    assert "2." in repr(made)
    assert len(made) == 2
    assert gn.relu(made).shape == (2,)


# Refusals.


def test_places_that_differ_are_named():
    p = FakeArray(np.ones(3))
    with pytest.raises(
        TypeError, match="gradient of 0 is in host memory, expected parameter 0's place, CUDA device 0"
    ):
        gn.Adam(p).step(np.ones(3))
    with pytest.raises(TypeError, match="gradient of 0 is in CUDA device 1"):
        gn.Adam(p).step(FakeArray(np.ones(3), device=1))
    with pytest.raises(TypeError, match="out is in host memory"):
        gn.relu(p, out=np.ones(3))
    with pytest.raises(
        TypeError, match="gradient of 0 is in CUDA device 0, expected parameter 0's place, host memory"
    ):
        gn.Adam(np.ones(3)).step(FakeArray(np.ones(3)))


@pytest.mark.parametrize("dtype", ["float16", "complex64", ">f4", "int32"])
def test_dtypes_that_are_refused(dtype):
    with pytest.raises(TypeError, match="dtype"):
        gn.Adam(FakeArray(np.ones(3, dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["address", "strides"])
def test_misaligned_arrays_are_refused(case, dtype, cuda):
    """A GPU loads no float from an odd address, and after such a load the process has lost the device."""
    memory, size = np.zeros(200, np.uint8), np.dtype(dtype).itemsize
    if case == "address":
        x = np.ndarray(16, dtype, memory, 1)
    else:
        x = np.ndarray(16, dtype, memory, 0, (size + 1,))
    right = FakeArray(np.zeros(16, dtype))
    opt = gn.SGD(right, lr=1.0)
    for call in (
        lambda: gn.Adam(FakeArray(x)),
        lambda: opt.step(FakeArray(x)),
        lambda: gn.relu(FakeArray(x)),
        lambda: gn.relu(right, out=FakeArray(x)),
        lambda: gn.clip_by_global_norm([FakeArray(x)], 1.0),
        lambda: gn.Rows(np.arange(16), FakeArray(x)),
    ):
        with pytest.raises(ValueError, match=f"misaligned: it is at .* expected multiples of {size}"):
            call()
    assert opt.t == 0
    assert cuda.launched() == []
    gn.relu(FakeArray(np.ndarray((1, 4), dtype, memory, 0, (size + 1, size))))  # no step along one row


def test_the_stream_is_that_of_the_arrays_device(cupy, cuda):
    gn.relu(CupyArray(np.ones(5), device=1))
    assert [stream for _, stream in cuda.launched()] == [105]


def test_read_only_and_overlapping_parameters():
    memory = np.ones(5)
    with pytest.raises(ValueError, match="read-only"):
        gn.Adam(FakeArray(memory, read_only=True))
    with pytest.raises(ValueError, match="share elements"):
        gn.Adam([FakeArray(memory[:3]), FakeArray(memory[2:])])
    opt = gn.Adam(FakeArray(memory[:3]))
    with pytest.raises(ValueError, match="shares memory with parameter 0"):
        opt.step(FakeArray(memory[1:4]))


def test_a_parameter_that_moved():
    p = FakeArray(np.ones(3))
    opt = gn.Adam(p)
    p.values = np.ones(3)
    with pytest.raises(ValueError, match="no longer the array"):
        opt.step(FakeArray(np.ones(3)))


def test_a_parameter_that_became_read_only():
    p = FakeArray(np.ones(3))
    opt = gn.Adam(p)
    p.read_only = True
    with pytest.raises(ValueError, match="read-only by now"):
        opt.step(FakeArray(np.ones(3)))


def test_views_are_not_read():
    """An array on a device has a layout for NumPy's arithmetic and no elements, in parts of it neither."""
    x = np.arange(24.0).reshape(2, 3, 4)
    view = as_view("x", FakeArray(x))
    assert not isinstance(view, np.ndarray)
    assert not hasattr(view, "__array_interface__")
    assert np.asarray(view).dtype == object
    for index in (1, (0, slice(1, 3)), (1, 2, 3), (..., 0), slice(None, None, 2)):
        part, expected = view[index], x[index]
        assert part.shape == np.shape(expected)
        assert part.place is view.place
    assert view[1, 2, 3].address == x.ctypes.data + 8 * 23
    assert view.reshape((6, 4)).strides == (32, 8)
    assert repr(view) == "View(CUDA device 0, shape=(2, 3, 4), dtype=float64)"
    assert pickle.loads(pickle.dumps(view.place)) is view.place


def test_without_cuda_it_is_said_what_is_missing(monkeypatch):
    monkeypatch.setattr(driver, "_current", [])
    monkeypatch.setattr(driver, "missing", lambda: "no such thing; get one")
    with pytest.raises(
        RuntimeError, match="parameter 0 is a CUDA array, and CUDA cannot be used: no such thing; get one"
    ):
        gn.Adam(FakeArray(np.ones(3)))
    with pytest.raises(RuntimeError, match="x is a CUDA array, and CUDA cannot be used"):
        gn.relu(FakeArray(np.ones(3)))
    with pytest.raises(RuntimeError, match="CUDA cannot be used: no such thing"):
        gn.relu.ufunc("cuda")
    assert gn.info()["cuda"] == "not usable: no such thing; get one"


@needs("compilations")
def test_a_rule_that_does_not_compile_changes_nothing(cuda):
    @gn.rule
    def widening(p, g, /, lr):
        "In float64 for float32."
        return p - lr * (2 * g)

    p = FakeArray(np.ones(3, np.float32))
    opt = gn.optimizer(widening, p, lr=0.1)
    with pytest.raises(TypeError, match="widening"):
        opt.step(FakeArray(np.ones(3, np.float32)))
    assert p.values.tolist() == [1, 1, 1]
    assert opt.t == 0


def test_blocks_are_as_many_as_the_work_wants(cuda, monkeypatch):
    seen = []
    launch = FakeCuda.launch
    monkeypatch.setattr(
        FakeCuda,
        "launch",
        lambda self, d, k, blocks, *rest: (seen.append(blocks), launch(self, d, k, blocks, *rest)),
    )
    gn.relu(FakeArray(np.ones(3)))
    gn.relu(FakeArray(np.ones(3 * grid.CHUNK)))
    gn.relu(FakeArray(np.ones(100 * grid.CHUNK)))
    assert seen == [1, 3, 16]


# The driver class, on a library whose streams do their work when somebody waits for it.


@pytest.fixture
def library(monkeypatch, request):
    """A fake of ``cuda.bindings.driver``; parameters are its own."""
    gc.freeze()  # collections are of what the test makes, not of all that numba and others hold
    made = Libcuda(**getattr(request, "param", {}))
    bindings = types.ModuleType("cuda.bindings")
    bindings.driver = made
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", made)
    monkeypatch.setattr(driver, "_current", [])
    monkeypatch.setattr(driver, "lacks_compiler", lambda: "")
    monkeypatch.setattr(driver, "compiler_major", lambda: 13)
    monkeypatch.setattr(driver, "arch_of", lambda capability: "sm_90")
    monkeypatch.setattr(driver, "cubin", lambda body, arch: device.Cubin(body, "kernel"))
    driver.missing.cache_clear()
    yield made
    gc.collect()
    assert made.contexts == 0
    driver.missing.cache_clear()


def programs(there, gaps):
    """Calls with all kinds of work; each returns what it worked with."""
    rng = np.random.default_rng(0)
    x, y, table = rng.standard_normal(5001), rng.standard_normal((33, 8)), rng.standard_normal((10, 4))
    clipped, params = None, [there(x), gaps(y)]
    rows, embedding = None, there(table)
    wide_values = rng.standard_normal((2, 2100))

    def skip():
        nonlocal clipped
        clipped = clipped or gn.Adam(params, max_norm=1.0, nonfinite="skip")
        g = [there(x), gaps(y)]
        clipped.step(g)
        return [g, params, clipped.grad_norm]

    def sparse():
        nonlocal rows
        rows = rows or gn.AdaGrad(embedding)
        g = there(table[:5].T.copy().T)
        rows.step(gn.Rows([1, 2, 1, 1, 3], g))
        rows.step(gn.Rows([1, 2, 3, 4, 5], g))
        return [g, embedding]

    def clip(by):
        g = [there(x), gaps(y), there(y)]
        return [g, by(g, 1.0)]

    def backward():
        here = there(x)
        return [here, gn.relu.backward(gn.silu(here), here)]

    def softmax():
        here, wide = there(y), gaps(wide_values)
        made, long = gn.softmax(here), gn.log_softmax(wide)
        across = gaps(y)
        return [here, wide, across, long, gn.softmax.backward(here, made), gn.log_softmax(across, 0)]

    def cross_entropy():
        here, there_too, labels = there(y), gaps(y), there(np.arange(33) % 8)
        weight, targets = there(np.linspace(0.5, 2.0, 8)), there(y * y)
        plain = gn.losses.softmax_cross_entropy(here, labels, ignore=3)
        smooth = gn.losses.softmax_cross_entropy(
            there_too, labels, weight=weight, label_smoothing=0.1, reduction="none"
        )
        soft = gn.losses.softmax_cross_entropy(here, targets)
        return [here, there_too, labels, weight, targets, *plain, *smooth, *soft]

    def prelu(alpha):
        dy, here = there(y), there(y)
        return [dy, here, alpha, gn.prelu.backward(dy, here, alpha)]

    return {
        "global_norm": lambda: clip(lambda g, limit: gn.global_norm(g)),
        "clip_by_global_norm": lambda: clip(gn.clip_by_global_norm),
        "clip_by_norm": lambda: clip(gn.clip_by_norm),
        "steps that skip": skip,
        "rows": sparse,
        "activations": backward,
        "softmax": softmax,
        "cross-entropy": cross_entropy,
        "prelu": lambda: prelu(0.25),
        "prelu by channel": lambda: prelu(there(np.full(8, 0.25))),
    }


def with_gaps(values):
    made = np.full((values.shape[0], 2 * values.shape[1]), np.nan)
    made[:, ::2] = values
    return made[:, ::2]


def on_stream(stream):
    """The programs with arrays on a stream."""
    return programs(
        lambda values: FakeArray(np.array(values), stream=stream),
        lambda values: FakeArray(with_gaps(values), stream=stream),
    )


def values(made):
    """All numbers in a program's result."""
    if isinstance(made, (list, tuple)):
        return [x for each in made for x in values(each)]
    return (
        [] if made is None else [np.array(host(made) if hasattr(made, "__cuda_array_interface__") else made)]
    )


PROGRAMS = [*programs(np.array, with_gaps)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_whatever_order_the_device_works_in(library, name, seed):
    """On streams of their own, which overtake one another wherever nothing orders them."""
    library.random = np.random.default_rng(seed)
    here, one, two = programs(np.array, with_gaps)[name], on_stream(7)[name], on_stream(9)[name]
    for _ in range(3):
        expected, made = values(here()), [one(), two()]
        library.run()
        for each in made:
            for x, y in zip(values(each), expected, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-13)


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_leaks_and_nothing_waits(library, name):
    """Memory, page-locked memory and events are as many after some calls as after many."""
    run = on_stream(7)[name]

    def some(count):
        made = [run() for _ in range(count)]  # the caller's arrays live until the device has done with them
        calls = library.calls.copy()
        library.run()
        made.clear()
        gc.collect()
        library.run()
        return library.live(), calls

    some(12)
    before, _ = some(3)
    library.calls.clear()
    after, calls = some(10)
    assert after == before
    for waits in (
        "cuCtxSynchronize",
        "cuMemAlloc",
        "cuMemFree",
        "cuMemHostAlloc",
        "cuMemFreeHost",
        "cuMemcpyDtoH",
    ):
        assert calls[waits] == 0, waits


def test_an_optimizer_that_is_dropped_leaves_nothing(library):
    def run():
        opt = gn.Adam(FakeArray(np.ones(5), stream=7), max_norm=1.0, nonfinite="skip")
        gradients = [FakeArray(np.ones(5), stream=7) for _ in range(3)]
        for g in gradients:
            opt.step(g)  # whether the last one was taken, nobody asks
        return gradients

    def after():
        held = run()
        gc.collect()
        library.run()
        held.clear()
        return library.live()

    assert after() == after()
    assert len(library.memory) == 0


@pytest.mark.parametrize("kind", ["ordinary", "raises", "gaps"])
def test_a_stream_that_is_gone(library, kind):
    """Nothing is said to a stream that the caller has destroyed since the last call."""
    g = np.linspace(-1, 1, 33 * 8).reshape(33, 8)
    here, there = np.ones((33, 8)), FakeArray(np.ones((33, 8)), stream=7)
    mine, other = (gn.Adam(p, max_norm=1.0, nonfinite="raise") for p in (here, there))
    first = np.full((33, 8), np.nan) if kind == "raises" else with_gaps(g) if kind == "gaps" else g
    for opt, gradient in ((mine, first), (other, FakeArray(first, stream=7))):
        with pytest.raises(FloatingPointError) if kind == "raises" else contextlib.nullcontext():
            opt.step(gradient)
    library.run()
    library.dead.add(7)
    there.stream = 8
    mine.step(g)
    other.step(FakeArray(g, stream=8))
    library.run()
    np.testing.assert_allclose(there.values, here, rtol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_memory_is_freed_after_its_last_use(library, seed):
    """By whichever stream that was, and though the stream is gone."""
    library.random = np.random.default_rng(seed)
    x, y = np.random.default_rng(1).standard_normal((2, 5001))
    there, other = FakeArray(x, stream=7), FakeArray(y, stream=8)
    first = gn.relu.backward(gn.silu(there), there)
    second = gn.relu.backward(other, gn.tanh(there))
    p = FakeArray(np.ones(5001), stream=8)
    gn.SGD(p, lr=1.0).step(gn.silu(there))
    gc.collect()
    library.dead.update((7, 8))
    library.run()
    assert_same_bits(host(first), gn.relu.backward(gn.silu(x), x))
    assert_same_bits(host(second), gn.relu.backward(y, gn.tanh(x)))
    assert_same_bits(p.values, 1.0 - gn.silu(x))
    del first, second
    gc.collect()
    library.run()
    assert len(library.memory) == 0


@pytest.mark.parametrize("pools", [0, 1])
@pytest.mark.parametrize("stream", [None, 7])
@pytest.mark.parametrize("following", ["end", "allocation"])
def test_memory_that_ends_while_work_is_captured_is_freed_later(library, pools, stream, following):
    """The default stream must not be used while another one's work is captured for a graph."""
    library.attributes["pools"] = pools
    kept, ended = (gn.relu(FakeArray(np.ones(5001), stream=stream)) for _ in range(2))
    library.run()
    before = len(library.memory)
    library.captured = True
    refused = []
    with pytest.MonkeyPatch.context() as patched:  # an error in a finalizer goes nowhere else
        patched.setattr(sys, "unraisablehook", refused.append)
        patched.setattr(sys, "excepthook", lambda *error: refused.append(error))
        del ended
        gc.collect()
    assert not refused
    assert len(library.memory) == before
    library.captured = False
    if following == "end":
        del kept
        gc.collect()
    else:
        there = gn.relu(FakeArray(np.ones(3), stream=stream))
        assert there.size == 3
    library.run()
    assert len(library.memory) == before - (2 if following == "end" else 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [copy.copy, copy.deepcopy])
def test_a_copys_state_is_there_before_its_first_step(library, kind, seed):
    library.random = np.random.default_rng(seed)
    p, g = np.ones(200_001), np.linspace(-1, 1, 200_001)
    here, there = gn.Adam(p), gn.Adam(FakeArray(np.ones(200_001), stream=7))
    gradients = [FakeArray(g.copy(), stream=7) for _ in range(2)]
    for opt, each in ((here, g), (there, gradients[0])):
        opt.step(each)
    library.run()
    twin = kind(there)
    calls = library.calls["cuCtxSynchronize"]
    twin.step(gradients[1])
    here.step(g)
    assert library.calls["cuCtxSynchronize"] == calls
    library.run()
    assert_same_bits(twin.groups[0]["params"].values, p)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", ["activation", "clip", "step", "strided step", "softmax", "cross-entropy"])
def test_arrays_of_two_streams(library, case, seed):
    """The callers' work on each stream, before the call and after it, is not overtaken."""
    library.random = np.random.default_rng(seed)
    x, y = np.random.default_rng(1).standard_normal((2, 33, 8))
    made = [FakeArray(np.full((33, 8), np.nan), stream=stream) for stream in (7, 9)]
    if case == "strided step":
        made[1] = FakeArray(with_gaps(np.full((33, 8), np.nan)), stream=9)
    for each, values in zip(made, (x, y), strict=True):
        library.put(each.stream, functools.partial(np.copyto, each.values, values))
    expected, first, found = [x.copy(), y.copy()], made[0], {}
    if case == "activation":
        first, expected[0] = gn.relu.backward(*made), gn.relu.backward(x, y)
    elif case == "softmax":
        first, expected[0] = gn.softmax.backward(*made), gn.softmax.backward(x, y)
    elif case == "cross-entropy":
        first, expected[0] = (gn.losses.softmax_cross_entropy(*each)[1] for each in (made, (x, y)))
    elif case == "clip":
        gn.clip_by_global_norm(made, 1.0)
        gn.clip_by_global_norm(expected, 1.0)
    else:
        gn.SGD(first, lr=1.0).step(made[1])
        expected[0] -= y
    seen = first.view().geometry if isinstance(first, DeviceArray) else first.values
    library.put(7, lambda: found.update(first=np.array(seen)))
    library.put(9, lambda: (found.update(second=made[1].values.copy()), made[1].values.fill(np.nan)))
    library.run()
    np.testing.assert_allclose(found["first"], expected[0], rtol=1e-14)
    np.testing.assert_allclose(found["second"], expected[1], rtol=1e-14)


@pytest.mark.parametrize("size", [1, 4096, 100_000])
def test_uploads_may_change_at_once(library, size):
    """The host's memory is the caller's again when the call returns, however late the copy is."""
    cuda, count = driver.get(), 300
    there = np.zeros((count, size))
    for k in range(count):
        source = np.full(size, k + 1.0)
        cuda.upload(0, there[k].ctypes.data, source, 7)
        source[:] = np.nan
    library.run()
    assert (there == np.arange(1.0, count + 1)[:, None]).all()
    assert sum(each.bytes.size for each in library.pinned.values()) < 5e6


@pytest.mark.parametrize("library", [{"pools": 1}, {"pools": 0}], ids=["pools", "no pools"], indirect=True)
def test_pools_of_memory(library):
    """A pool's threshold is set once, and not below that of another library; without pools it works too."""
    library.threshold = 5
    for _ in range(2):
        x = FakeArray(np.linspace(-1, 1, 50), stream=7)
        assert_same_bits(host(gn.silu(x)), gn.silu(x.values))
        assert float(gn.global_norm(with_gaps_on_device(x))) > 0
    assert library.calls["cuMemPoolSetAttribute"] == library.attributes["pools"]
    assert (library.calls["cuMemAllocAsync"] > 0) == (library.attributes["pools"] > 0)
    if library.attributes["pools"]:
        assert library.threshold == driver.KEPT
        driver._current.clear()
        library.threshold = 1 << 40
        gn.silu(FakeArray(np.ones(5), stream=7))
        assert library.threshold == 1 << 40


def with_gaps_on_device(x):
    return FakeArray(with_gaps(x.values.reshape(10, 5)), stream=x.stream)


@pytest.mark.parametrize("library", [{"version": 12080}], ids=["12.8"], indirect=True)
def test_a_driver_older_than_the_compiler(library):
    with pytest.raises(
        RuntimeError, match=r"knows CUDA up to 12\.8 and .* CUDA 13: pip install 'gnumba\[cuda12"
    ):
        gn.relu(FakeArray(np.ones(3)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore")  # of libraries with threads, if another test has imported one
def test_a_forked_child_is_told_so(library):
    """And what the parent had is not freed there."""
    x = gn.relu(FakeArray(np.ones(5), stream=7))
    library.run()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        before = library.calls.copy()
        del x
        freed = library.calls - before
        try:
            gn.relu(FakeArray(np.ones(5)))
        except RuntimeError as error:
            os.write(write, f"{freed}: {error}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as heard:
        text = heard.read()
    assert text.startswith("Counter(): x is a CUDA array, and CUDA cannot be used: this process was forked")
    assert "spawn" in text
    assert_same_bits(host(x), np.ones(5))


def test_as_many_scalars_as_a_rule_has(cuda):
    names = [f"a{k}" for k in range(300)]
    scope = {}
    exec(
        f"def many(p, g, /, {', '.join(names)}):\n    'Many.'\n    return p - g * ({' + '.join(names)})",
        scope,
    )
    many = gn.rule(scope["many"])
    here, there = np.ones(5), FakeArray(np.ones(5))
    hyper = dict(zip(names, np.linspace(0.0, 1.0, 300).tolist(), strict=True))
    for p, g in ((here, np.ones(5)), (there, FakeArray(np.ones(5)))):
        gn.optimizer(many, p, **hyper).step(g)
    assert_same_bits(there.values, here)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["mse", "sigmoid_cross_entropy"])
def test_losses_are_those_of_the_cpu_without_a_wait(name, dtype, cuda):
    loss_of = getattr(gn.losses, name)
    p, t = model(dtype, 0, ((33, 70),))[0], model(dtype, 1, ((33, 70),))[0]
    here, gradient = loss_of(p, t)
    cuda.forget()
    there, away = loss_of(*on_device([p, t]))
    assert not {"finish", "download", "copy"} & set(cuda.names())
    assert_same_bits(host(away), gradient)
    assert np.shape(there) == ()
    assert float(host(there)) == here


# Rows.


@pytest.mark.parametrize("layout", [np.array, *LAYOUTS.values()], ids=["dense", *LAYOUTS])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_row_functions_are_those_of_the_cpu_without_a_wait(name, layout, cuda):
    f, (x, dy) = getattr(gn, name), model("float32", 0, ((33, 7), (33, 7)))
    x, dy = layout(x), layout(dy)
    for axis in range(x.ndim):
        y, away = f(x, axis), FakeArray(dy)
        there = FakeArray(layout(x) if x.ndim == 2 else x)
        cuda.forget()
        made, back = f(there, axis), f.backward(away, FakeArray(y), axis)
        assert f.backward(away, FakeArray(y), axis, out=away) is away
        assert not {"finish", "download", "copy"} & set(cuda.names())
        assert_same_bits(host(made), y)
        assert_same_bits(away.values, host(back))
        dy = layout(model("float32", 0, ((33, 7), (33, 7)))[1])
        assert_same_bits(host(back), f.backward(dy, y, axis))


def test_long_rows_are_three_launches(cuda):
    x = model("float32", 0, ((2, 5001),))[0]
    (there,) = on_device([x])
    made = gn.softmax(there)
    assert cuda.names() == ["upload", *["launch"] * 3]
    assert_same_bits(host(made), gn.softmax(x))
    assert host(gn.softmax(FakeArray(np.empty((3, 0), "f4")))).shape == (3, 0)


def test_a_row_function_whose_result_overlaps_what_it_reads():
    memory = np.random.default_rng(0).standard_normal(61).astype("f4")
    expected = gn.softmax(memory[:60].reshape(6, 10))
    gn.softmax(FakeArray(memory[:60].reshape(6, 10)), out=FakeArray(memory[1:].reshape(6, 10)))
    assert_same_bits(memory[1:].reshape(6, 10), expected)


CROSS = gn.losses.softmax_cross_entropy


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["labels", "ignored", "of the host", "probabilities"])
def test_cross_entropies_are_those_of_the_cpu_without_a_wait(kind, smoothing, weighted, reduction, cuda):
    rng = np.random.default_rng(0)
    x, labels, weight = model("float32", 0, ((33, 7, 2),))[0], rng.integers(0, 7, (33, 2)), rng.random(7)
    how = {"label_smoothing": smoothing, "axis": 1, "reduction": reduction}
    if kind == "ignored":
        labels[::3], how["ignore"] = 99, 99
    elif kind == "probabilities":
        labels = rng.random(x.shape, "f4")
    loss, gradient = CROSS(x, labels, weight=weight if weighted else None, **how)
    there, t, w = *on_device([x]), labels if kind == "of the host" else FakeArray(labels), FakeArray(weight)
    cuda.forget()
    found, made = CROSS(there, t, weight=w if weighted else None, out=there, **how)
    assert not {"finish", "download", "copy"} & set(cuda.names())
    assert made is there
    assert_same_bits(there.values, gradient)
    assert_same_bits(host(found), loss)


def test_a_label_on_a_device_that_is_no_class():
    """Nobody looks at it before: its row is nan, and with it what is divided by the labels' weights."""
    x = model("float32", 0, ((3, 4),))[0]
    _, expected = CROSS(x, [0, 0, 2], reduction="none")
    for labels in ([0, 4, 2], [0, -1, 2]):
        loss, gradient = CROSS(FakeArray(x), FakeArray(np.array(labels)), reduction="none")
        assert np.isnan(host(loss)).tolist() == [False, True, False]
        assert np.isnan(host(gradient)[1]).all()
        assert_same_bits(host(gradient)[::2], expected[::2])
        loss, gradient = CROSS(FakeArray(x), FakeArray(np.array(labels)))
        assert np.isnan(host(loss))
        assert np.isnan(host(gradient)).all()
    with pytest.raises(IndexError, match=r"labels\[1\] is 4"):
        CROSS(FakeArray(x), [0, 4, 2])


@pytest.mark.parametrize(
    ("labels", "weight", "kind", "words"),
    [
        (np.zeros(3, int), np.ones(4), TypeError, "weight is in host memory, expected logits's place"),
        (np.ones((3, 4)), None, TypeError, "labels is in host memory, expected logits's place"),
        (FakeArray(np.zeros(2, int)), None, ValueError, r"labels has shape \(2,\), expected \(3,\)"),
        (FakeArray(np.zeros(3, bool)), None, TypeError, "labels has dtype bool, expected integers"),
        (FakeArray(np.ones((3, 4), "f4")), None, TypeError, "labels has dtype float32"),
        (FakeArray(np.zeros(3, int)), FakeArray(np.ones(3)), ValueError, "one a class"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_errors_of_cross_entropies_come_before_any_work(labels, weight, kind, words, cuda):
    x = FakeArray(np.ones((3, 4)))
    with pytest.raises(kind, match=words):
        CROSS(x, labels, weight=weight, out=x)
    assert (x.values == 1.0).all()
    assert not cuda.launched()


def test_a_mean_of_ignored_rows_is_nan_and_moves_nothing():
    loss, gradient = CROSS(FakeArray(np.ones((2, 3), "f4")), FakeArray(np.array([7, 7])), ignore=7)
    assert np.isnan(float(loss))
    assert (host(gradient) == 0.0).all()


def test_cupy_results_of_rows_are_cupys(cupy):
    x = np.random.default_rng(0).standard_normal((5, 6)).astype("f4")
    made = gn.softmax(CupyArray(x.copy()))
    loss, gradient = CROSS(CupyArray(x.copy()), CupyArray(np.arange(5)), label_smoothing=0.1)
    assert {type(made), type(loss), type(gradient)} == {CupyArray}
    expected = CROSS(x, np.arange(5), label_smoothing=0.1)
    assert_same_bits(made.values, gn.softmax(x))
    assert_same_bits(gradient.values, expected[1])
    assert loss.values == expected[0]
    assert loss.shape == ()
