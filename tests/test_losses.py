"""Losses and row functions against naive formulas in float64, PyTorch, and themselves on other targets."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import layouts
import numpy as np
import pytest
import reference
from judge import assert_close, assert_same_bits

import gnumba as gn

DTYPES = [np.dtype("float32"), np.dtype("float64")]
torch = pytest.importorskip("torch")
F = torch.nn.functional


@dataclass(frozen=True)
class LossCase:
    """A loss with these arguments is this formula, and PyTorch's function; targets are drawn so."""

    make: Any
    formula: Any
    peer: Any
    targets: Any
    hyper: dict[str, float] = field(default_factory=dict)

    def __str__(self):
        return "-".join([self.make.name, *map(str, self.hyper.values())])


CROSS = gn.losses.softmax_cross_entropy


def tensor(x):
    """A copy, as PyTorch has no negative strides."""
    return torch.tensor(np.ascontiguousarray(x))


def kl_of_elements(x, t):
    """PyTorch's "mean", of which it warns."""
    return F.kl_div(x, t, reduction="sum") / x.numel()


def normal(rng, shape):
    return 3.0 * rng.standard_normal(shape)


def probability(rng, shape):
    drawn = rng.random(shape)
    return np.where(drawn < 0.2, 0.0, np.where(drawn > 0.8, 1.0, drawn))


def side(rng, shape):
    return np.sign(rng.standard_normal(shape))


LOSSES = [
    LossCase(gn.losses.mse, reference.mse, F.mse_loss, normal),
    LossCase(gn.losses.mae, reference.mae, F.l1_loss, normal),
    LossCase(gn.losses.huber, reference.huber, F.huber_loss, normal),
    LossCase(gn.losses.huber, reference.huber, F.huber_loss, normal, {"delta": 0.3}),
    LossCase(gn.losses.log_cosh, reference.log_cosh, None, normal),
    LossCase(
        gn.losses.sigmoid_cross_entropy,
        reference.sigmoid_cross_entropy,
        F.binary_cross_entropy_with_logits,
        probability,
    ),
    LossCase(gn.losses.hinge, reference.hinge, None, side),
    LossCase(gn.losses.kl_divergence, reference.kl_divergence, kl_of_elements, probability),
]
EVERY = pytest.mark.parametrize("case", LOSSES, ids=str)
REDUCTIONS = ("mean", "sum", "none")


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param


def drawn(case, shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return normal(rng, shape).astype(dtype), case.targets(rng, shape).astype(dtype)


def expected(case, p, t, weight=1.0, reduction="mean"):
    """The loss and its gradient by the naive formula."""
    value, slope = case.formula(np.asarray(p, float), np.asarray(t, float), **case.hyper)
    value, slope = value * weight, slope * weight
    if reduction == "none":
        return value, slope
    n = value.size if reduction == "mean" else 1
    return value.sum() / n, slope / n


def judge_loss(found, wanted, dtype):
    loss, gradient = found
    assert_close(gradient, wanted[1], dtype, scale=np.abs(wanted[1]).max(initial=0.0))
    few = 16 * np.finfo(dtype).eps
    np.testing.assert_allclose(loss, wanted[0], rtol=few, atol=few * np.abs(wanted[0]).max(initial=0.0))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@EVERY
def test_losses_are_their_formulas(case, reduction, dtype):
    for shape in ((17,), (33, 7), (5001,)):
        p, t = drawn(case, shape, dtype)
        found = case.make(p, t, **case.hyper, reduction=reduction)
        judge_loss(found, expected(case, p, t, reduction=reduction), dtype)
        assert found[1].dtype == dtype
        assert isinstance(found[0], float) or reduction == "none"


@pytest.mark.parametrize("reduction", REDUCTIONS)
@EVERY
def test_weights_broadcast_and_a_weight_of_0_is_off(case, reduction):
    p, t = drawn(case, (33, 7), np.float64)
    weight = np.random.default_rng(1).random((33, 1))
    weight[4] = 0.0
    wanted = expected(case, p, t, weight, reduction)
    judge_loss(case.make(p, t, **case.hyper, weight=weight, reduction=reduction), wanted, np.dtype(float))
    p[4] = np.nan
    judge_loss(case.make(p, t, **case.hyper, weight=weight, reduction=reduction), wanted, np.dtype(float))


@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE)
@EVERY
def test_losses_in_any_layout(case, layout, dtype):
    p, t = (layout(x) for x in drawn(case, (33, 7), dtype))
    wanted = expected(case, p, t)
    judge_loss(case.make(p, t, **case.hyper), wanted, dtype)
    judge_loss(case.make(tensor(p), tensor(t), **case.hyper), wanted, dtype)
    out = layout(np.zeros((33, 7), dtype))
    loss, gradient = case.make(p, t, **case.hyper, out=out)
    assert gradient is out
    judge_loss((loss, out), wanted, dtype)
    loss, gradient = case.make(p, t, **case.hyper, out=p)
    judge_loss((loss, p), wanted, dtype)


@EVERY
def test_losses_have_the_same_bits_on_every_target(case, dtype):
    p, t = drawn(case, (100_003,), dtype)
    found = []
    for target in ("cpu", "parallel"):
        with gn.use_target(target):
            found.append(case.make(p, t, **case.hyper))
    assert found[0][0] == found[1][0]
    assert_same_bits(found[0][1], found[1][1])
    assert case.make(p[:5001][::-1], t[:5001][::-1], **case.hyper)[0] == pytest.approx(
        case.make(p[:5001], t[:5001], **case.hyper)[0], rel=1e-14
    )


@pytest.mark.parametrize("case", [case for case in LOSSES if case.peer], ids=str)
def test_losses_are_those_of_pytorch(case):
    p, t = drawn(case, (64, 9), np.float64)
    x = torch.tensor(p, requires_grad=True)
    loss = case.peer(x, torch.tensor(t), **case.hyper)
    loss.backward()
    found = case.make(p, t, **case.hyper)
    np.testing.assert_allclose(found[0], loss.item(), rtol=1e-12)
    np.testing.assert_allclose(found[1], x.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("p", [1e4, -1e4, np.inf, -np.inf, np.nan])
def test_extreme_logits(p, dtype):
    for t in (0.0, 1.0, 0.25):
        x = torch.tensor([p], dtype=torch.float64, requires_grad=True)
        loss, gradient = gn.losses.sigmoid_cross_entropy(np.array([p], dtype), np.array([t], dtype))
        right = (t == 1.0 and p > 0) or (t == 0.0 and p < 0)
        wanted = math.nan if p != p else 0.0 if right else abs(p) * (1 - t if p > 0 else t)
        np.testing.assert_allclose(loss, wanted, rtol=1e-6)
        np.testing.assert_allclose(gradient, torch.sigmoid(x).detach().numpy() - t)


def test_small_losses_are_exact():
    """Where PyTorch's formulas have lost the digits."""
    mpmath = pytest.importorskip("mpmath")
    for d in (1e-9, 1e-4, 0.3, 0.99, 1.01, 5.0, 40.0):
        with mpmath.workdps(40):
            wanted = float(mpmath.log(mpmath.cosh(mpmath.mpf(d))))
            wanted_side = float(-mpmath.expm1(-d) - 1) if d > 1 else None
        found, _ = gn.losses.log_cosh(np.array([d]), np.zeros(1))
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
        if wanted_side is not None:
            _, gradient = gn.losses.sigmoid_cross_entropy(np.array([d + 30.0]), np.ones(1))
            with mpmath.workdps(40):
                np.testing.assert_allclose(gradient[0], float(-1 / (1 + mpmath.exp(d + 30))), rtol=1e-14)


# Errors.


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: gn.losses.mse(np.ones(3), np.ones(4)), ValueError, "target has shape"),
        (lambda: gn.losses.mse(np.ones(3), np.ones(3, "f4")), TypeError, "target has dtype"),
        (lambda: gn.losses.mse(np.ones(3), np.ones(3), reduction="avg"), ValueError, "reduction is 'avg'"),
        (lambda: gn.losses.mse(np.ones(0), np.ones(0)), ValueError, "no elements have no mean"),
        (lambda: gn.losses.mse(np.ones(3), np.ones(3), weight=np.ones(2)), ValueError, "weight has shape"),
        (lambda: gn.losses.mse(np.ones(3)), TypeError, "lacks target"),
        (lambda: gn.losses.mse(np.ones(3), np.ones(3), wieght=1.0), TypeError, "weight"),
        (lambda: gn.losses.huber(np.ones(3), np.ones(3), delta=0.0), ValueError, "delta is 0.0"),
        (lambda: CROSS(np.ones((2, 3)), [0, 3]), IndexError, r"labels\[1\] is 3"),
        (lambda: CROSS(np.ones((2, 3)), [-1, 0]), IndexError, r"labels\[0\] is -1"),
        (lambda: CROSS(np.ones((2, 3)), [0]), ValueError, "labels has shape"),
        (lambda: CROSS(np.ones((2, 3)), np.ones((2, 3), "f4")), TypeError, "labels"),
        (lambda: CROSS(np.ones((2, 3)), [0, 1], weight=np.ones(2)), ValueError, "one a class"),
        (lambda: CROSS(np.ones((2, 3)), [0, 1], label_smoothing=2.0), ValueError, "smooth"),
        (lambda: CROSS(np.ones((0, 3)), np.ones(0, int)), ValueError, "no elements"),
        (lambda: CROSS(np.ones((2, 3)), [0, 1], axis=2), ValueError, "axis is 2"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_a_refused_call_has_written_nothing():
    x = np.ones((2, 3))
    with pytest.raises(IndexError):
        gn.losses.softmax_cross_entropy(x, [0, 5], out=x)
    assert (x == 1.0).all()


def test_sums_of_nothing():
    loss, gradient = gn.losses.mse(np.ones((0, 3)), np.ones((0, 3)), reduction="sum")
    assert loss == 0.0
    assert gradient.shape == (0, 3)


def test_own_losses():
    @gn.loss(gradient=lambda p, t, q: 2.0 * q * (p - t))
    def scaled(p, t, q=2.0):
        return q * (p - t) * (p - t)

    p, t = np.array([1.0, 4.0], "f4"), np.array([0.0, 2.0], "f4")
    loss, gradient = scaled(p, t, q=3.0)
    assert loss == 7.5
    assert_same_bits(gradient, np.array([3.0, 6.0], "f4"))
    assert scaled(p, t)[0] == 5.0
    with pytest.raises(TypeError, match="gradient by name"):
        gn.loss(lambda p, t: p)
    with pytest.raises(ValueError, match="signature"):
        gn.loss(gradient=lambda p: p)(lambda p, t: p)


# Row functions.

SHAPES = [(5, 10), (3, 1), (4, 32), (7, 257), (3, 1000), (2, 2048), (2, 5000), (2, 3, 4)]


def rows(shape, dtype, seed=0):
    return (4.0 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_row_functions_are_those_of_pytorch(name, shape, dtype):
    f, peer, few = getattr(gn, name), getattr(torch, name), 16 * np.finfo(dtype).eps
    x, dy = rows(shape, dtype), rows(shape, dtype, 1)
    for axis in range(-1, len(shape) - 1):
        at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        y = peer(at, axis)
        found = f(x, axis)
        np.testing.assert_allclose(
            found, y.detach().numpy(), rtol=few if name == "softmax" else 0, atol=16 * few
        )
        y.backward(torch.tensor(dy, dtype=torch.float64))
        back = f.backward(dy, y.detach().numpy().astype(dtype), axis)
        scale = np.abs(dy).sum(axis, keepdims=True).max()
        np.testing.assert_allclose(back, at.grad.numpy(), rtol=few, atol=few * scale)
        assert found.dtype == back.dtype == dtype


@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_row_functions_in_any_layout_and_place(name, layout, dtype):
    f, x, dy = getattr(gn, name), rows((33, 7), dtype), rows((33, 7), dtype, 1)
    shape = layout(x).shape
    for axis in range(len(shape)):
        plain = np.ascontiguousarray(layout(x))
        y = f(plain, axis)
        assert_same_bits(f(layout(x), axis), y)
        out = layout(np.zeros((33, 7), dtype))
        assert f(layout(x), axis, out=out) is out
        assert_same_bits(out, y)
        over = layout(x)
        f(over, axis, out=over)
        assert_same_bits(over, y)
        there = torch.tensor(plain)
        assert_same_bits(f(there, axis).numpy(), y)
        dx = f.backward(np.ascontiguousarray(layout(dy)), y, axis)
        over = layout(dy)
        f.backward(over, y, axis, out=over)
        assert_same_bits(over, dx)


@pytest.mark.parametrize("shape", [(64, 300), (3, 5000), (50, 3)], ids=str)
def test_row_functions_have_the_same_bits_on_every_target(shape, dtype):
    x, labels = rows(shape, dtype), np.arange(shape[0]) % shape[1]
    found = []
    for target in ("cpu", "parallel"):
        with gn.use_target(target):
            y = gn.softmax(x)
            loss, gradient = gn.losses.softmax_cross_entropy(x, labels, label_smoothing=0.1)
            found.append((y, gn.log_softmax(x), gn.softmax.backward(x, y), np.array(loss), gradient))
    for a, b in zip(*found, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("width", [4, 40, 3000])
def test_rows_with_infinities_and_nan(width, dtype):
    x = np.zeros((6, width), dtype)
    x[0, 1], x[1, 1], x[2], x[3, 2], x[4, :-1], x[5, 0] = np.inf, np.nan, -np.inf, -np.inf, -np.inf, 1e4
    for f, peer in ((gn.softmax, torch.softmax), (gn.log_softmax, torch.log_softmax)):
        np.testing.assert_allclose(f(x), peer(torch.tensor(x), -1).numpy(), rtol=1e-6)


# Cross-entropy.


@pytest.mark.parametrize("shape", [(5, 10), (64, 33), (3, 2500), (4, 3, 5)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["labels", "ignored", "probabilities"])
def test_cross_entropy_is_that_of_pytorch(kind, weighted, smoothing, shape, dtype):
    rng, axis = np.random.default_rng(0), 1
    x = rows(shape, dtype)
    classes, rest = shape[axis], shape[:axis] + shape[axis + 1 :]
    weight = rng.random(classes).astype(dtype) if weighted else None
    labels, ignore = rng.integers(0, classes, rest), None
    if kind == "ignored":
        labels.flat[::3], ignore = -100, -100
    elif kind == "probabilities":
        labels = np.exp(rows(shape, dtype, 1))
        labels = (labels / labels.sum(axis, keepdims=True)).astype(dtype)
    few = 32 * np.finfo(dtype).eps
    for reduction in REDUCTIONS:
        at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        t = torch.tensor(labels, dtype=torch.float64 if kind == "probabilities" else torch.int64)
        w = None if weight is None else torch.tensor(weight, dtype=torch.float64)
        loss = F.cross_entropy(at, t, w, reduction=reduction, label_smoothing=smoothing)
        loss.sum().backward()
        found, gradient = gn.losses.softmax_cross_entropy(
            x, labels, weight=weight, label_smoothing=smoothing, ignore=ignore, axis=axis, reduction=reduction
        )
        assert gradient.dtype == dtype
        np.testing.assert_allclose(
            found, loss.detach().numpy(), rtol=few, atol=few
        )  # PyTorch's cancels near 0
        wanted = at.grad.numpy()
        np.testing.assert_allclose(gradient, wanted, rtol=few, atol=few * np.abs(wanted).max())
        over = x.copy()
        again, _ = gn.losses.softmax_cross_entropy(
            over, labels, weight=weight, label_smoothing=smoothing, ignore=ignore, axis=axis,
            reduction=reduction, out=over,
        )  # fmt: skip
        assert_same_bits(over, gradient)
        assert_same_bits(np.asarray(again), np.asarray(found))


@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE)
def test_cross_entropy_in_any_layout(layout, dtype):
    x = layout(rows((33, 7), dtype))
    labels = np.random.default_rng(0).integers(0, x.shape[-1], x.shape[:-1])
    for smoothing in (0.0, 0.1):
        wanted = gn.losses.softmax_cross_entropy(np.ascontiguousarray(x), labels, label_smoothing=smoothing)
        found = gn.losses.softmax_cross_entropy(x, labels, label_smoothing=smoothing)
        assert found[0] == wanted[0]
        assert_same_bits(found[1], wanted[1])
        made = gn.losses.softmax_cross_entropy(tensor(x), tensor(labels), label_smoothing=smoothing)
        assert made[0] == wanted[0]
        assert_same_bits(made[1].numpy(), wanted[1])


def test_extreme_rows_of_logits(dtype):
    x = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0], [0, -np.inf, 0], [np.nan, 0, 0], [np.inf, 0, 0]], dtype)
    losses, gradient = gn.losses.softmax_cross_entropy(x, [0, 0, 0, 0, 0], reduction="none")
    np.testing.assert_allclose(losses, [0.0, 2e4, math.log(2), np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(gradient[:3], [[0, 0, 0], [-1, 1, 0], [-0.5, 0, 0.5]])
    assert np.isnan(gradient[3:]).all()
    losses, gradient = gn.losses.softmax_cross_entropy(x, [1, 1, 1, -1, -1], ignore=-1, reduction="none")
    np.testing.assert_allclose(losses, [2e4, 0.0, np.inf, 0.0, 0.0])
    assert (gradient[3:] == 0.0).all()
    targets = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5]], dtype)  # where the target is 0, −inf is none
    losses, _ = gn.losses.softmax_cross_entropy(x[:3], targets, reduction="none")
    np.testing.assert_allclose(losses, [0.0, 0.0, math.log(2)], rtol=1e-6)


def test_a_mean_of_ignored_rows_is_nan_and_moves_nothing():
    loss, gradient = gn.losses.softmax_cross_entropy(np.ones((2, 3)), [7, 7], ignore=7)
    assert math.isnan(loss)
    assert (gradient == 0.0).all()


def test_the_gradient_is_that_of_the_loss():
    """By differences, for every reduction's scale."""
    x, labels = rows((4, 5), np.float64), [1, 0, 4, 2]
    for reduction, (i, j) in itertools.product(("mean", "sum"), ((0, 1), (2, 3))):
        _, gradient = gn.losses.softmax_cross_entropy(x, labels, reduction=reduction)
        step = np.zeros_like(x)
        step[i, j] = 1e-5
        up, _ = gn.losses.softmax_cross_entropy(x + step, labels, reduction=reduction)
        down, _ = gn.losses.softmax_cross_entropy(x - step, labels, reduction=reduction)
        np.testing.assert_allclose((up - down) / 2e-5, gradient[i, j], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in gn.losses.__all__ if name != "softmax_cross_entropy"][1:])
def test_gradients_are_those_of_the_losses(name):
    """Differences of the seven, at targets where each has a value."""
    assert gn.check_derivative(getattr(gn.losses, name)) < 1e-11


def test_a_wrong_gradient_is_found():
    """With prediction and target; hyperparameters and targets are given as in a call."""
    half = gn.loss(gradient=lambda p, t, q: 2.0 * q * (p - t))(lambda p, t, q=0.5: 0.5 * (p - t) * (p - t))
    assert gn.check_derivative(half) < 1e-11
    with pytest.raises(
        ValueError, match=r"^the gradient of loss '<lambda>' is 6 at p = 3, t = 2, where .* give 1"
    ):
        gn.check_derivative(half, [3.0], [2.0], 3.0)
    with pytest.raises(ValueError, match=r"is 6 at p = 3, t = 2, where"):
        gn.check_derivative(half, [3.0], t=2.0, q=3.0)
    gone = gn.loss(gradient=lambda p, t: (p - t) / (p - t))(lambda p, t: p - t)
    with pytest.raises(ValueError, match="is nan at p = 1, t = 1"):
        gn.check_derivative(gone, [0.0, 1.0], 1.0)
    with pytest.raises(ValueError, match=r"target has shape \(3,\), expected one that broadcasts to \(2,\)"):
        gn.check_derivative(gn.losses.mse, [1.0, 2.0], np.ones(3))
    with pytest.raises(ValueError, match="loss 'kl_divergence' is nan at every point"):
        gn.check_derivative(gn.losses.kl_divergence, [1.0, 2.0], -1.0)
    with pytest.raises(TypeError, match="expected an activation or an elementwise loss"):
        gn.check_derivative(gn.losses.softmax_cross_entropy)
