"""Norms, clipping by them and by value, and steps that are clipped, scaled, skipped or refused."""

import copy
import math
from fractions import Fraction

import layouts
import numba
import numpy as np
import pytest
from cases import OPTIMIZERS, on_each_target, one_a_class, one_a_kernel_shape
from judge import assert_close, assert_same_bits
from models import assert_equal_models, assert_equal_states, copies, gradients_of, model

import gnumba as gn
from gnumba._engine.factor import factor

NAN, INF = math.nan, math.inf
CASES = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
EACH_CLASS = pytest.mark.parametrize("case", one_a_class(), ids=str)
LAYOUTS = pytest.mark.parametrize("lay_out", layouts.WRITABLE.values(), ids=layouts.WRITABLE.keys())


def exact_norm(arrays):
    """√Σg², summed without rounding."""
    return math.sqrt(math.fsum(float(x) ** 2 for g in arrays for x in np.ravel(g)))


# The norm.


@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 2047, 2048, 2049, 100_003])
def test_norm(size, dtype, target, rng):
    """To a few roundings of float64, whatever the dtype."""
    g = rng.standard_normal(size).astype(dtype)
    with gn.use_target(target):
        assert gn.global_norm(g) == pytest.approx(exact_norm([g]), rel=1e-15, abs=0)


def test_norm_of_structures(rng):
    """Lists, dicts, None, both dtypes, arrays with gaps, an empty one, nothing at all."""
    a, b = rng.standard_normal((7, 3)), rng.standard_normal(5).astype(np.float32)
    grads = {"x": [a[::2], None, a[1::2], {"y": b}], "z": np.zeros((0, 2)), "0-d": np.array(2.0)}
    assert gn.global_norm(grads) == pytest.approx(exact_norm([a, b, [2.0]]), rel=1e-15)
    assert gn.global_norm([]) == gn.global_norm(None) == gn.global_norm({"a": None}) == 0.0


@LAYOUTS
def test_norm_of_any_layout(lay_out, dtype, target, rng):
    """Also of one with more than a block of elements."""
    values = rng.standard_normal((99, 70)).astype(dtype)
    with gn.use_target(target):
        assert gn.global_norm(lay_out(values)) == pytest.approx(exact_norm([values]), rel=1e-15)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3e200, -4e200], 5e200),
        ([3e-200, 4e-200], 5e-200),
        ([3e-320, 4e-320], 5e-320),
        ([1e160, 1e-160], 1e160),
        ([0.0, -0.0], 0.0),
        ([1.0, INF], INF),
        ([1.0, -INF, 0.0], INF),
        ([NAN, 1.0], NAN),
        ([1e300, NAN], NAN),
    ],
    ids=str,
)
def test_norm_of_extremes(values, expected, target):
    """No square overflows or underflows."""
    with gn.use_target(target):
        for repeats in (1, 3000):
            norm = gn.global_norm(np.tile(values, repeats))
            assert norm == pytest.approx(expected * math.sqrt(repeats), rel=1e-3, nan_ok=True)
            assert repeats > 1 or norm == pytest.approx(
                expected, rel=1e-15 if norm > 1e-300 else 1e-3, nan_ok=True
            )


def test_norm_of_large_float32(target):
    """1e30 squared is beyond float32."""
    with gn.use_target(target):
        assert gn.global_norm(np.full(10_000, 1e30, np.float32)) == pytest.approx(1e32, rel=1e-7)


def test_norm_loses_nothing_over_many():
    """Ten million of one number, where a running float32 sum would stop growing at 2²⁴."""
    assert gn.global_norm(np.full(10_000_000, 0.5, np.float32)) == math.sqrt(10_000_000 / 4)


def test_norm_is_the_same_for_any_number_of_threads(rng, dtype):
    """Bit for bit, dense and strided."""
    g = rng.standard_normal((700, 301)).astype(dtype)
    found = set()
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        with gn.use_target("parallel"):
            found.add((gn.global_norm(g), gn.global_norm(g[::2, ::3])))
        numba.set_num_threads(before)
    with gn.use_target("cpu"):
        found.add((gn.global_norm(g), gn.global_norm(g[::2, ::3])))
    assert len(found) == 1


# Clipping in place.


@LAYOUTS
def test_clip_by_global_norm(lay_out, dtype, rng):
    """Down to the limit where it is above, untouched where it is not."""
    values = [rng.standard_normal((9, 4)).astype(dtype), rng.standard_normal((3, 2)).astype(dtype)]
    grads = {"a": lay_out(values[0]), "b": values[1].copy()}
    values[0] = values[0].reshape(grads["a"].shape)
    norm = exact_norm(values)
    assert gn.clip_by_global_norm(grads, norm * 1.01) == pytest.approx(norm, rel=1e-15)
    assert_same_bits(grads["a"], values[0])
    assert gn.clip_by_global_norm(grads, 0.5) == pytest.approx(norm, rel=1e-15)
    for g, value in zip(grads.values(), values, strict=True):
        assert_close(g, value.astype(np.float64) * (0.5 / norm), dtype)
    assert gn.global_norm(grads) == pytest.approx(0.5, rel=float(np.finfo(dtype).eps))


@pytest.mark.parametrize("bad", [NAN, INF])
def test_clip_by_a_norm_that_is_not_finite(bad):
    """Every gradient becomes nan, and the norm says why."""
    grads = [np.ones(3), np.array([1.0, bad])]
    assert not math.isfinite(gn.clip_by_global_norm(grads, 1.0))
    assert all(np.isnan(g).all() for g in grads)


def test_clip_by_norm_and_value(dtype, rng):
    """Each array by itself; each element by itself, and nan stays nan."""
    values = [rng.standard_normal((50, 3)).astype(dtype), np.full(4, 0.1, dtype)]
    grads = copies(values)
    assert gn.clip_by_norm(grads, 2.0) is None
    assert_close(grads[0], values[0].astype(np.float64) * (2.0 / exact_norm(values[:1])), dtype)
    assert_same_bits(grads[1], values[1])
    g = np.array([-INF, -2.0, -0.5, -0.0, 0.25, NAN, 3.0, INF], dtype)
    assert gn.clip_by_value([g], 0.5) is None
    assert_same_bits(g, np.array([-0.5, -0.5, -0.5, -0.0, 0.25, NAN, 0.5, 0.5], dtype))


def test_torch_clips_to_the_same(rng):
    """torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm; tensors are clipped in place here too."""
    torch = pytest.importorskip("torch")
    values = [rng.standard_normal((20, 7)), rng.standard_normal(5)]
    theirs = [torch.zeros(v.shape, dtype=torch.float64) for v in values]
    for tensor, value in zip(theirs, values, strict=True):
        tensor.grad = torch.from_numpy(value.copy())
    ours = [torch.from_numpy(v.copy()) for v in values]
    norm = torch.nn.utils.clip_grad_norm_(theirs, 1.5)
    assert gn.clip_by_global_norm(ours, 1.5) == pytest.approx(norm.item(), rel=1e-14)
    for tensor, mine in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(mine, tensor.grad, rtol=2e-6)
    torch.nn.utils.clip_grad_value_(theirs, 0.1)
    gn.clip_by_value(ours, 0.1)
    np.testing.assert_allclose(ours[0], theirs[0].grad, rtol=2e-6)


def shared(a):
    """Two views with an element in common."""
    return [a[:3], a[2:]]


def fixed(a):
    """An array that may not be written, after one that may."""
    b = a.copy()
    b.flags.writeable = False
    return [a, b]


WRONG = {
    "shared elements": (shared, 1.0, ValueError, "grads[0]"),
    "read-only": (fixed, 1.0, ValueError, "grads[1]"),
    "a number among them": (lambda a: [a, 1.0], 1.0, TypeError, "grads[1]"),
    "integers": (lambda a: [a, np.arange(3)], 1.0, TypeError, "grads[1]"),
    "a string": (lambda a: {"w": a, "b": "x"}, 1.0, TypeError, "grads['b']"),
    "zero": (lambda a: [a], 0.0, ValueError, "0.0"),
    "negative": (lambda a: [a], -1.0, ValueError, "-1.0"),
    "nan": (lambda a: [a], NAN, ValueError, "nan"),
    "no number": (lambda a: [a], None, TypeError, "None"),
}


@pytest.mark.parametrize(("grads", "limit", "kind", "word"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("clip", [gn.clip_by_global_norm, gn.clip_by_norm, gn.clip_by_value])
def test_wrong_input_to_clipping(clip, grads, limit, kind, word):
    """A sentence, and nothing changed."""
    a = np.arange(1.0, 6.0)
    with pytest.raises(kind) as caught:
        clip(grads(a), limit)
    assert word in str(caught.value)
    assert_same_bits(a, np.arange(1.0, 6.0))


# Inside the step.


@on_each_target(OPTIMIZERS)
def test_a_clipped_step_is_the_step_of_clipped_gradients(case, dtype, target, rng):
    """Bit for bit, over several steps, some clipped and some not; gradients are not written."""
    params = model(rng, dtype)
    others = copies(params)
    clipped, plain = case.make(params, **case.hyper, max_norm=3.0), case.make(others, **case.hyper)
    with gn.use_target(target):
        for k, g in enumerate(gradients_of(rng, params, 4)):
            g["b"] = g["b"] * dtype.type(10 if k % 2 else 0.01)
            before = copies(g)
            clipped.step(g)
            assert_equal_models(g, before)
            assert gn.clip_by_global_norm(before, 3.0) == clipped.grad_norm
            plain.step(before)
    assert_equal_models(params, others)
    assert_equal_states(clipped.state_dict(), plain.state_dict())


@on_each_target(one_a_kernel_shape())
@pytest.mark.parametrize("lay_out", [layouts.fortran, layouts.gaps, layouts.unaligned])
def test_clipping_any_layout(case, lay_out, dtype, target, rng):
    """Of parameter and gradient, against float64 formulas."""
    p, grads = rng.standard_normal((33, 7)).astype(dtype), rng.standard_normal((3, 33, 7)).astype(dtype)
    norms = [exact_norm([g]) for g in grads]
    expected = case.expected(p, [g * min(1.0, 2.0 / n) for g, n in zip(grads, norms, strict=True)])
    held = lay_out(p)
    opt = case.make([held], **case.hyper, max_norm=2.0)
    with gn.use_target(target):
        for g, norm in zip(grads, norms, strict=True):
            opt.step([lay_out(g)])
            assert opt.grad_norm == pytest.approx(norm, rel=1e-15)
    assert_close(held, expected["p"], p.dtype, scale=np.abs(expected["p"]).max())


def test_the_norm_is_over_all(rng):
    """Groups, dtypes, strides, rows, missing gradients."""
    a, b, c, d = rng.standard_normal((4, 6, 5))
    params = [
        {"params": [a, b.astype(np.float32)], "lr": 0.5},
        {"params": {"c": np.asfortranarray(c), "d": d, "e": np.ones(2)}},
    ]
    g = rng.standard_normal((4, 6, 5))
    rows = gn.Rows([1, 1, -1], g[3, :3])
    opt = gn.SGD(params, lr=1.0, max_norm=INF)
    opt.step([[g[0], g[1].astype(np.float32)], {"c": g[2], "d": rows, "e": None}])
    parts = [g[0], g[1].astype(np.float32), g[2], g[3, 0] + g[3, 1], g[3, 2]]
    assert opt.grad_norm == pytest.approx(exact_norm(parts), rel=1e-15)


def test_grad_norm_where_nobody_asked(rng):
    """None: the norm costs a pass."""
    opt = gn.SGD(np.zeros(3))
    assert opt.grad_norm is None
    opt.step(np.ones(3))
    assert opt.grad_norm is None
    opt.max_norm = 0.5
    opt.step(np.ones(3))
    assert opt.grad_norm == math.sqrt(3)
    opt.max_norm = None
    opt.step(np.ones(3))
    assert opt.grad_norm is None


def test_max_norm_may_be_a_schedule():
    """Asked with the steps taken, and checked then."""
    p = np.zeros(1)
    opt = gn.SGD(p, lr=1.0, max_norm=lambda t: 2.0 - t)
    opt.step(np.array([8.0]))
    assert p[0] == -2.0
    opt.step(np.array([8.0]))
    assert p[0] == -3.0
    with pytest.raises(ValueError, match=r"max_norm at step 2 is 0.0, expected a number > 0"):
        opt.step(np.array([8.0]))
    assert (p[0], opt.t) == (-3.0, 2)
    opt = gn.SGD(p, max_norm=lambda t: 0.0)
    with pytest.raises(ValueError, match="max_norm at step 0"):
        opt.step(np.array([8.0]))


# Scaled gradients.


@CASES
@pytest.mark.parametrize("limit", [None, 0.5])
def test_grad_scale(case, limit, dtype, rng):
    """A power of two, so that it is exact: the step of the gradients before they were multiplied."""
    params = model(rng, dtype)
    others = copies(params)
    first, second = (case.make(p, **case.hyper, max_norm=limit) for p in (params, others))
    for g in gradients_of(rng, params, 3):
        first.step({name: np.asarray(x * dtype.type(1024)) for name, x in g.items()}, grad_scale=1024.0)
        second.step(g)
        assert first.grad_norm == second.grad_norm
    assert_equal_models(params, others)


@pytest.mark.parametrize("scale", [3, 3.0])
def test_grad_scale_of_any_number(scale):
    """One rounding more than the quotient's, and before weight decay."""
    p = np.array([2.0])
    gn.SGD(p, lr=1.0, weight_decay=0.5).step(np.array([6.0]), grad_scale=scale)
    assert p[0] == pytest.approx(2.0 - (2.0 + 1.0), abs=1e-15)


@pytest.mark.parametrize(
    ("scale", "kind"),
    [
        (0.0, ValueError),
        (-1.0, ValueError),
        (NAN, ValueError),
        (INF, ValueError),
        ("2", TypeError),
        (True, TypeError),
    ],
)
def test_wrong_grad_scale(scale, kind):
    """Nothing changed."""
    p = np.zeros(2)
    opt = gn.SGD(p)
    with pytest.raises(kind, match="grad_scale is"):
        opt.step(np.ones(2), grad_scale=scale)
    assert opt.t == 0
    assert (p == 0).all()


# Factors that a dtype cannot hold, though it holds the gradients and what becomes of them.


def exact_factor(norm, limit, scale):
    """min(1, limit / norm) / scale without rounding, for a norm that is not that of scaled gradients."""
    norm, scale = Fraction(norm) / Fraction(scale), Fraction(scale)
    return (min(Fraction(1), Fraction(limit) / norm) if math.isfinite(limit) else 1) / scale


EXTREME = {
    "a factor below float32": ("float32", 3e38, 10_000, 1.0, 1.0),
    "far below float32": ("float32", 3e38, 1000, 1e-30, 1.0),
    "scaled and below float32": ("float32", 3e38, 1000, 1e-3, 1e2),
    "below float64": ("float64", 1e307, 9, 1e-5, 1.0),
    "far below float64": ("float64", 1e307, 9, 1e-290, 1.0),
    "scaled and below float64": ("float64", 1e307, 9, 1e-8, 1e3),
    "a quotient below float64, its product is not": ("float64", 1e10, 9, 1e-305, 1e-5),
    "beyond float32": ("float32", 1e-38, 9, INF, 1e-40),
    "beyond float32, subnormal": ("float32", 1e-40, 9, INF, 1e-42),
    "far beyond float32": ("float32", 1e-38, 9, INF, 1e-70),
    "beyond float64": ("float64", 1e-307, 9, INF, 1e-309),
    "beyond float64, subnormal": ("float64", 1e-310, 9, INF, 5e-324),
    "beyond float32, clipped": ("float32", 1e-38, 9, 1e-3, 1e-45),
}


@pytest.mark.parametrize("extreme", EXTREME.values(), ids=EXTREME.keys())
@pytest.mark.parametrize("lay_out", [np.ascontiguousarray, layouts.gaps], ids=["dense", "gaps"])
def test_no_digits_are_lost(extreme, lay_out, target, rng):
    """Every element within two roundings of g · factor, zeros stay zeros, inside the step and in place."""
    kind, value, size, limit, scale = extreme
    g = (value * rng.uniform(0.5, 1.0, (size, 2))).astype(kind)
    g[0] = 0.0
    g = lay_out(g)
    norm = gn.global_norm(g)
    exact = exact_factor(norm, limit, scale)
    expected = np.array([float(Fraction(float(x)) * exact) for x in g.ravel()]).reshape(g.shape)
    assert np.isfinite(expected).all()
    limits = np.finfo(kind)
    close = {"rtol": 2 * limits.eps, "atol": 2 * limits.smallest_subnormal}
    with gn.use_target(target):
        p = np.zeros_like(g)
        gn.SGD(p, lr=1.0, max_norm=limit).step(g, grad_scale=scale)
        np.testing.assert_allclose(-p.astype(np.float64), expected, **close)
        p = np.zeros_like(g)
        if limit == INF:
            gn.SGD(p, lr=1.0).step(g, grad_scale=scale)
            np.testing.assert_allclose(-p.astype(np.float64), expected, **close)
        elif scale == 1.0:
            others = [g.copy(), g.copy()]
            gn.clip_by_global_norm([others[0]], limit)
            gn.clip_by_norm([others[1]], limit)
            for other in others:
                np.testing.assert_allclose(other.astype(np.float64), expected, **close)


def test_two_dtypes_have_factors_of_their_own(rng):
    """3e38 in float32 and 1.0 in float64, clipped together."""
    a, b = np.full(10_000, 3e38, np.float32), rng.uniform(1e30, 1e31, 5)
    norm = exact_norm([a, b])
    p = [np.zeros_like(a), np.zeros_like(b)]
    gn.SGD(p, lr=1.0, max_norm=1.0).step([a, b])
    np.testing.assert_allclose(-p[0].astype(float), a.astype(float) / norm, rtol=2e-7)
    np.testing.assert_allclose(-p[1], b / norm, rtol=1e-15)
    gn.clip_by_global_norm([a, b], 1.0)
    assert_same_bits(a, -p[0])
    assert_same_bits(b, -p[1])


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_factor_is_as_it_was_where_it_is_ordinary(kind, rng):
    """(1, rest) with the bits of (limit / norm) / scale."""
    for norm, limit, scale in 10.0 ** rng.uniform(-12, 12, (1000, 3)):
        expected = (limit / norm if norm > limit else 1.0) / scale
        power, rest = factor(norm, limit, scale).split(np.dtype(kind))
        assert power * rest == expected
        assert power == 1.0 or kind == "float32"


# inf and nan.


def spoiled(grads, where, value):
    """With one element of one array bad."""
    made = copies(grads)
    made[where].reshape(-1)[-1] = value
    return made


@on_each_target(one_a_kernel_shape())
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("where", ["w", "b", "scale"])
@pytest.mark.parametrize("limit", [None, 1.0])
def test_a_bad_step_is_skipped(case, value, where, limit, dtype, target, rng):
    """Also where the bad value is the last one: parameters, state and t stay, and so do later steps."""
    params = model(rng, dtype)
    others = copies(params)
    guarded = case.make(params, **case.hyper, nonfinite="skip", max_norm=limit)
    plain = case.make(others, **case.hyper, max_norm=limit)
    grads = gradients_of(rng, params, 3)
    with gn.use_target(target):
        for g in grads:
            guarded.step(spoiled(g, where, value))
            assert not math.isfinite(guarded.grad_norm)
            guarded.step(g)
            plain.step(g)
            assert math.isfinite(guarded.grad_norm)
    assert (guarded.skipped, guarded.t) == (3, 3)
    assert_equal_models(params, others)
    assert_equal_states(guarded.state_dict(), plain.state_dict())


@EACH_CLASS
@pytest.mark.parametrize("where", ["w", "b", "scale"])
def test_a_bad_step_is_refused(case, where, rng):
    """By the name of the first parameter; nothing has changed."""
    params = model(rng)
    opt = case.make(params, **case.hyper, nonfinite="raise")
    opt.step(gradients_of(rng, params, 1)[0])
    before, state = copies(params), copy.deepcopy(opt.state_dict())
    bad = spoiled(spoiled(gradients_of(rng, params, 1)[0], "scale", INF), where, NAN)
    with pytest.raises(FloatingPointError, match=f"gradient of {where} holds inf or nan"):
        opt.step(bad)
    assert_equal_models(params, before)
    assert_equal_states(opt.state_dict(), state)
    assert (opt.skipped, opt.t) == (0, 1)


def test_a_bad_step_is_applied_by_default():
    """As NumPy would; with max_norm every gradient is nan."""
    p, q = np.zeros(2), np.zeros(2)
    gn.SGD(p).step(np.array([NAN, 1.0]))
    assert np.isnan(p).tolist() == [True, False]
    gn.SGD(q, max_norm=1.0).step(np.array([INF, 1.0]))
    assert np.isnan(q).all()


def test_what_overflows_by_unscaling_is_not_finite():
    """3e38 / 0.5 in float32, though the gradient is finite and so is its norm in float64."""
    p, g = np.zeros(2, np.float32), np.array([0.0, 3e38], np.float32)
    opt = gn.SGD(p, lr=1.0, nonfinite="skip")
    opt.step(g, grad_scale=0.5)
    assert (opt.skipped, opt.t) == (1, 0)
    opt.step(g, grad_scale=2.0)
    assert (opt.skipped, opt.t) == (1, 1)
    with pytest.raises(FloatingPointError, match="gradient of 0"):
        gn.SGD(p, nonfinite="raise").step(g, grad_scale=0.5)


def test_large_but_finite_is_finite():
    """The norm of many large float32 is beyond float32, and no reason to skip."""
    opt = gn.SGD(np.zeros(1000, np.float32), lr=0.0, nonfinite="skip")
    opt.step(np.full(1000, 3e38, np.float32))
    assert (opt.skipped, opt.t) == (0, 1)


@pytest.mark.parametrize(
    ("given", "kind", "word"),
    [
        ({"max_norm": 0.0}, ValueError, "max_norm is 0.0"),
        ({"max_norm": -1}, ValueError, "max_norm is -1"),
        ({"max_norm": NAN}, ValueError, "max_norm is nan"),
        ({"max_norm": "1"}, TypeError, "max_norm is '1'"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite is 'ignore'"),
        ({"nonfinite": None}, ValueError, "nonfinite is None"),
    ],
)
@EACH_CLASS
def test_wrong_policies(case, given, kind, word):
    """When made and when set."""
    with pytest.raises(kind, match=word):
        case.make(np.zeros(2), **given)
    opt = case.make(np.zeros(2))
    ((name, value),) = given.items()
    with pytest.raises(kind, match=word):
        setattr(opt, name, value)
    assert (opt.max_norm, opt.nonfinite) == (None, "apply")


def test_policies_are_kept(rng):
    """By copies and state dicts; a state without a limit leaves the one that is here."""
    opt = gn.Adam(np.zeros(3), max_norm=2.0, nonfinite="skip")
    opt.step(np.array([NAN, 0.0, 0.0]))
    twin = copy.deepcopy(opt)
    assert (twin.max_norm, twin.nonfinite, twin.skipped) == (2.0, "skip", 1)
    assert "max_norm=2.0, nonfinite=skip" in repr(opt)
    assert not any(word in repr(gn.Adam(np.zeros(3))) for word in ("max_norm", "nonfinite"))
    other = gn.Adam(np.zeros(3), max_norm=1.0)
    other.load_state_dict(opt.state_dict())
    assert (other.max_norm, other.nonfinite, other.skipped) == (2.0, "apply", 1)
    other.load_state_dict(gn.Adam(np.zeros(3)).state_dict())
    assert (other.max_norm, other.skipped) == (2.0, 0)
    state = opt.state_dict() | {"max_norm": -1.0}
    with pytest.raises(ValueError, match="max_norm is -1"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="max_norm is 2"):
        gn.Adam(np.zeros(3), max_norm=lambda t: 1.0).load_state_dict(opt.state_dict())


def test_own_rules_are_clipped_too():
    """``max_norm`` and ``nonfinite`` work for a user's rule as for every optimizer."""

    @gn.rule
    def descent(p, g, /, lr):
        return p - lr * g

    try:
        p = np.zeros(2)
        opt = gn.optimizer(descent, p, lr=1.0, max_norm=1.0, nonfinite="raise")
        opt.step(np.array([3.0, 4.0]))
        np.testing.assert_allclose(p, [-0.6, -0.8], rtol=1e-15)
        with pytest.raises(FloatingPointError):
            opt.step(np.array([3.0, NAN]))
    finally:
        del gn.registry["descent"]


def test_a_clipped_step_allocates_nothing_the_size_of_a_parameter():
    """Four bytes an element would be four million; sums of blocks are a two-thousandth."""
    import tracemalloc

    p, g = np.zeros(1_000_000, np.float32), np.ones(1_000_000, np.float32)
    opt = gn.Adam(p, max_norm=1.0)
    opt.step(g)
    tracemalloc.start()
    opt.step(g)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000
