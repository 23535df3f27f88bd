"""On a real GPU, with CuPy: the table of cases against the CPU. ``pytest -m gpu``."""

import cases
import layouts
import numpy as np
import pytest
from judge import assert_close

import gnumba as gn
from gnumba._engine.cuda import driver

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(driver.missing()), reason=f"no GPU can be used: {driver.missing()}"),
]

OPTIMIZERS = [pytest.param(case, id=str(case)) for case in cases.OPTIMIZERS]
ACTIVATIONS = [pytest.param(case, id=str(case)) for case in cases.ACTIVATIONS]


def model(dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (33, 7), (7,), (), (0, 3), (5001,), (300_007,)
    return [rng.standard_normal(shape).astype(dtype).reshape(shape) for shape in shapes]


def there(arrays):
    return [cupy.asarray(x) for x in arrays]


def assert_agree(x, expected, what=""):
    """To a last place or two of the largest."""
    scale = float(np.abs(expected).max(initial=0.0))
    assert_close(cupy.asnumpy(x), expected, expected.dtype, scale=scale, what=what)


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_steps(case, dtype):
    params = model(dtype)
    away = there(params)
    mine, other = case.make(params, **case.hyper), case.make(away, **case.hyper)
    for seed in (1, 2, 3):
        mine.step(model(dtype, seed))
        other.step(there(model(dtype, seed)))
    for k, (x, y) in enumerate(zip(away, params, strict=True)):
        assert_agree(x, y, f"parameter {k}")


@pytest.mark.parametrize("case", cases.OF_MATRICES, ids=str)
def test_steps_of_matrices(case, dtype):
    """Products are the libraries' own, whose roundings five rounds make some hundred times as large."""
    rng = np.random.default_rng(0)
    params, *steps = [[rng.standard_normal(s).astype(dtype) for s in ((33, 7), (7, 33))] for _ in range(4)]
    away = there(params)
    mine, other = case.make(params, **case.hyper), case.make(away, **case.hyper)
    for gradients in steps:
        mine.step(gradients)
        other.step(there(gradients))
    for x, y in zip(away, params, strict=True):
        np.testing.assert_allclose(cupy.asnumpy(x), y, atol=1e-10 if dtype == np.float64 else 1e-3)


def test_clipped_steps_sanitizer(dtype):
    params = model(dtype)
    away = there(params)
    mine, other = gn.Adam(params, max_norm=1.0), gn.Adam(away, max_norm=1.0)
    for seed in (1, 2):
        mine.step(model(dtype, seed))
        other.step(there(model(dtype, seed)))
    np.testing.assert_allclose(float(other.grad_norm), mine.grad_norm, rtol=1e-15)
    for x, y in zip(away, params, strict=True):
        assert_agree(x, y)


def test_skipped_steps():
    away = there(model("float32"))
    before = [cupy.asnumpy(x) for x in away]
    opt = gn.Adam(away, nonfinite="skip")
    bad = there(model("float32", 1))
    bad[-1][-1] = cupy.nan
    opt.step(bad)
    assert (opt.t, opt.skipped) == (0, 1)
    for x, y in zip(away, before, strict=True):
        np.testing.assert_array_equal(cupy.asnumpy(x), y)


@pytest.mark.parametrize("case", ACTIVATIONS)
@pytest.mark.parametrize("size", [1, 1003, 300_007])
def test_activations(case, size, dtype):
    rng = np.random.default_rng(0)
    x, dy = 3 * rng.standard_normal((2, size)).astype(dtype)
    act, hyper = case.act, case.hyper
    made = act(cupy.asarray(x), **hyper)
    assert isinstance(made, cupy.ndarray)
    assert_agree(made, act(x, **hyper))
    assert_agree(act.derivative(cupy.asarray(x), **hyper), act.derivative(x, **hyper))
    other, mine = act.backward(cupy.asarray(dy), cupy.asarray(x), **hyper), act.backward(dy, x, **hyper)
    if isinstance(mine, tuple):
        np.testing.assert_allclose(float(other[1]), float(mine[1]), rtol=1e-6)
        other, mine = other[0], mine[0]
    assert_agree(other, mine)


@pytest.mark.parametrize("layout", ["fortran", "gaps", "backwards", "permuted"])
def test_layouts(layout):
    x = np.random.default_rng(0).standard_normal((33, 8)).astype(np.float32)
    whole = cupy.zeros((66, 16), np.float32)
    view = {"fortran": cupy.asfortranarray(cupy.asarray(x)), "gaps": whole[::2, ::2]}.get(layout)
    if view is None:
        view = cupy.asarray(x)[::-1] if layout == "backwards" else cupy.asarray(x).T
    if layout == "gaps":
        view[...] = cupy.asarray(x)
    expected = gn.silu(cupy.asnumpy(view))
    gn.silu(view, out=view)
    assert_agree(view, expected)
    assert layout in {"permuted", *layouts.WRITABLE}


@pytest.mark.parametrize("shape", [(5, 10), (300, 1000), (3, 50_001), (100_001, 10), (4, 33, 70)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_row_functions_sanitizer(name, shape, dtype):
    f, rng = getattr(gn, name), np.random.default_rng(0)
    x, dy = 3 * rng.standard_normal((2, *shape)).astype(dtype)
    for axis in range(len(shape)):
        y = f(x, axis)
        assert_agree(f(cupy.asarray(x), axis), y)
        made = f.backward(cupy.asarray(dy), cupy.asarray(y), axis)
        assert_agree(made, f.backward(dy, y, axis))


@pytest.mark.parametrize("shape", [(5, 10), (300, 1000), (3, 50_001), (100_001, 10)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["labels", "ignored", "probabilities"])
def test_cross_entropy_sanitizer(kind, smoothing, shape, dtype):
    rng = np.random.default_rng(0)
    x, labels = 3 * rng.standard_normal(shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    weight, how = rng.random(shape[1]).astype(dtype), {"label_smoothing": smoothing}
    if kind == "ignored":
        labels[::3], how["ignore"] = -100, -100
    elif kind == "probabilities":
        labels = rng.random(shape).astype(dtype)
    loss, gradient = gn.losses.softmax_cross_entropy(x, labels, weight=weight, **how)
    found, made = gn.losses.softmax_cross_entropy(
        cupy.asarray(x), cupy.asarray(labels), weight=cupy.asarray(weight), **how
    )
    np.testing.assert_allclose(float(found), loss, rtol=1e-6)
    assert_agree(made, gradient)


def test_dropout_sanitizer():
    x = np.random.default_rng(0).standard_normal((101, 50)).astype(np.float32)
    np.testing.assert_array_equal(cupy.asnumpy(gn.dropout(cupy.asarray(x), 0.3, 7)), gn.dropout(x, 0.3, 7))


def test_rows_sanitizer():
    table = np.random.default_rng(0).standard_normal((100, 64)).astype(np.float32)
    away, values = cupy.asarray(table), np.ones((4, 64), np.float32)
    gn.AdaGrad(table).step(gn.Rows([1, 5, 1, -1], values))
    gn.AdaGrad(away).step(gn.Rows(cupy.asarray([1, 5, 1, -1]), cupy.asarray(values)))
    assert_agree(away, table)


def test_the_current_stream_is_used():
    p, stream = cupy.ones(1_000_000), cupy.cuda.Stream(non_blocking=True)
    opt = gn.SGD(p, lr=1.0)
    with stream:
        g = cupy.full(1_000_000, 0.5)
        opt.step(g)
        total = p.sum()
    assert float(total) == 500_000.0


def test_norms_lose_nothing_sanitizer():
    x = np.random.default_rng(0).standard_normal(1_000_003).astype(np.float32)
    assert float(gn.global_norm(cupy.asarray(x))) == gn.global_norm(x)


def test_checkpoints(tmp_path):
    away = there(model("float32"))
    opt = gn.Adam(away)
    opt.step(there(model("float32", 1)))
    gn.save_checkpoint(tmp_path / "run.safetensors", away, opt)
    params = model("float32", 5)
    gn.load_checkpoint(tmp_path / "run.safetensors", params, gn.Adam(params))
    for x, y in zip(away, params, strict=True):
        np.testing.assert_array_equal(cupy.asnumpy(x), y)
