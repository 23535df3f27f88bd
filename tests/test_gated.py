"""Activations of two arrays, and the check of a derivative."""

import pickle

import layouts
import numpy as np
import pytest
from cases import GATED, on_each_target
from judge import assert_close, assert_same_bits

import gnumba as gn
from gnumba._nn.gated import Gated

ALL = pytest.mark.parametrize("case", GATED, ids=str)


def arrays(rng, dtype=np.float32, shape=(33, 31)):
    """dy, x and gate."""
    return rng.uniform(-6, 6, (3, *shape)).astype(dtype)


@gn.activation(
    derivative=lambda x, gate, beta: (gn.silu(beta * gate), x * beta * gn.rules.silu_derivative(gate))
)
def wrong(x, gate, /, beta=1.0):
    """x·SiLU(βgate), whose derivative to the gate is right for β = 1 only."""
    return x * gn.silu(beta * gate)


@gn.activation(derivative=lambda x, gate, beta: (beta * gate, beta * x))
def product(x, gate, /, beta=1.0):
    """β·x·gate."""
    return beta * x * gate


@on_each_target(GATED)
def test_follows_its_formula(case, dtype, target, rng):
    """f, both derivatives, and both gradients."""
    dy, x, gate = arrays(rng, dtype)
    wide = [each.astype(np.float64) for each in (x, gate)]
    slopes = case.derivative(*wide)
    with gn.use_target(target):
        assert_close(case.act(x, gate), case.formula(*wide), dtype, scale=0.01)
        for found, slope in zip(case.act.derivative(x, gate), slopes, strict=True):
            assert_close(found, slope, dtype, scale=6.0)
        for found, slope in zip(case.act.backward(dy, x, gate), slopes, strict=True):
            assert_close(found, dy * slope, dtype, scale=36.0)


@ALL
def test_as_pytorch(case, rng):
    """Values and gradients, by hand and through autograd."""
    torch = pytest.importorskip("torch")
    dy, x, gate = (torch.from_numpy(each) for each in arrays(rng, np.float64))
    theirs = [each.clone().requires_grad_() for each in (x, gate)]
    y = case.in_torch(torch.nn.functional, *theirs)
    y.backward(dy)
    np.testing.assert_allclose(case.act(x, gate), y.detach(), rtol=1e-13, atol=1e-14)
    ours = [each.clone().requires_grad_() for each in (x, gate)]
    gn.torch_function(case.act)(*ours).backward(dy)
    for found, at_once, expected in zip(ours, case.act.backward(dy, x, gate), theirs, strict=True):
        assert isinstance(at_once, torch.Tensor)
        np.testing.assert_allclose(at_once, expected.grad, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(found.grad, at_once)
    with pytest.raises(TypeError, match=r"gate is of type float, expected a torch\.Tensor"):
        gn.torch_function(case.act)(x, 1.0)


@ALL
def test_nan_and_limits(case):
    """nan from either array; a gate that is closed or open for good."""
    nan, one = np.array([np.nan], np.float32), np.ones(1, np.float32)
    for x, gate in ((nan, one), (one, nan)):
        assert np.isnan(case.act(x, gate)).all()
        assert np.isnan(np.concatenate(case.act.backward(nan, one, one))).all()
    closed, opened = np.float32([-np.inf]), np.float32([np.inf])
    np.testing.assert_array_equal(case.act(one, closed), [0.0])
    np.testing.assert_array_equal(case.act.backward(one, one, closed), [[0.0], [0.0]])
    assert case.act(one, opened) == (1.0 if case.act is gn.glu else np.inf)


@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE.keys())
def test_any_layout(layout, rng):
    """Each array with strides of its own."""
    dy, x, gate = arrays(rng, shape=(33, 7))
    dy, x, gate = (layout(each).copy(order="C") for each in (dy, x, gate))
    expected = gn.swiglu.backward(dy, x, gate)
    out = np.zeros_like(x), np.asfortranarray(np.zeros_like(x))
    found = gn.swiglu.backward(dy, np.asfortranarray(x), gate, out=out)
    assert all(a is b for a, b in zip(found, out, strict=True))
    for one, two in zip(found, expected, strict=True):
        assert_same_bits(one, two)
    strided = np.zeros((*x.shape, 2), x.dtype)
    gn.swiglu.backward(dy, x, gate, out=(strided[..., 0], strided[..., 1]))
    assert_same_bits(np.moveaxis(strided, -1, 0), np.stack(expected))


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1), (0, None), (None, 0)])
def test_over_arrays_that_are_read(pair, target, rng):
    """Any two of dy, x and gate may take the results."""
    given = list(arrays(rng))
    expected = gn.glu.backward(*given)
    with gn.use_target(target):
        out = [np.empty_like(given[0]) if k is None else given[k] for k in pair]
        gn.glu.backward(*given, out=tuple(out))
    for found, right in zip(out, expected, strict=True):
        assert_same_bits(found, right)


def test_over_what_overlaps(rng):
    """As if all had been read first."""
    dy, x, _ = arrays(rng, shape=(100,))
    whole = rng.uniform(-6, 6, 101).astype(np.float32)
    expected = gn.glu.backward(dy, x, whole[:-1].copy())
    gn.glu.backward(dy, x, whole[:-1], out=(dy, whole[1:]))
    assert_same_bits(dy, expected[0])
    assert_same_bits(whole[1:], expected[1])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda a, b: gn.glu(a, b[:2]), ValueError, r"gate has shape \(2,\), expected x's, \(3,\)"),
        (lambda a, b: gn.glu(a, b.astype(np.float64)), TypeError, "gate"),
        (lambda a, b: gn.glu.backward(a, a, b, out=a), TypeError, "expected a tuple of two arrays"),
        (lambda a, b: gn.glu.backward(a, a, b, out=(b, b)), ValueError, "share elements"),
        (lambda a, b: gn.glu.backward(a, a, b, out=(a, b[:2])), ValueError, r"out\[1\]"),
        (lambda a, b: product(a, b, gamma=1.0), TypeError, "gamma"),
        (lambda a, b: gn.swiglu(a), TypeError, r"^swiglu\(\) lacks gate$"),
        (lambda a, b: product(), TypeError, r"^product\(\) lacks x and gate$"),
        (lambda a, b: gn.glu.derivative(a), TypeError, r"^glu\.derivative\(\) lacks gate$"),
        (lambda a, b: gn.glu.backward(a, b), TypeError, r"^glu\.backward\(\) lacks gate$"),
        (lambda a, b: gn.glu.backward(x=a, gate=b), TypeError, r"^glu\.backward\(\) lacks dy$"),
    ],
)
def test_errors_change_nothing(call, error, words):
    """Full sentences, before anything is written."""
    a, b = np.arange(3, dtype=np.float32), np.ones(3, np.float32)
    with pytest.raises(error, match=words):
        call(a, b)
    assert (a.tolist(), b.tolist()) == ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])


def test_users_own(target, rng):
    """Hyperparameters, ufunc, pickle, plain Python, repr; three arrays are too many."""
    _, x, gate = arrays(rng)
    with gn.use_target(target):
        assert_same_bits(product(x, gate, 2.0), 2.0 * x * gate)
        assert_same_bits(product.derivative(x, gate, beta=2.0)[1], 2.0 * x)
    assert_same_bits(product.ufunc(target)(x, gate, np.float32(2.0)), product(x, gate, 2.0))
    assert isinstance(product, Gated)
    assert pickle.loads(pickle.dumps(product)) is product
    assert product.rule(2.0, 3.0, 4.0) == 24.0
    assert repr(product) == "<activation product(x, gate, beta=1.0)>"
    with pytest.raises(ValueError, match="expected one or two"):
        gn.activation(derivative=lambda x, y1, y2: (x, x, x))(eval("lambda x, y1, y2, /: x"))
    with pytest.raises(ValueError, match="has a default for its array gate, expected none"):
        gn.activation(derivative=lambda x, gate: (x, x))(eval("lambda x, gate=1.0, /: x"))


def test_a_wrong_derivative_is_found():
    """With the array it is of, and where; a right one has an error of rounding."""
    assert gn.check_derivative(product, None, 3.0) < 1e-10
    assert gn.check_derivative(wrong) < 1e-10
    with pytest.raises(ValueError, match=r"'wrong' in gate is .* at x = .*, gate = "):
        gn.check_derivative(wrong, beta=2.0)
    off = gn.activation(derivative=lambda x: 2.00001 * x)(lambda x: x * x)
    with pytest.raises(ValueError, match=r"is 6\.00003 at x = 3, where differences give 6"):
        gn.check_derivative(off, 3.0)
    gone = gn.activation(derivative=lambda x: x / x)(lambda x: x)
    with pytest.raises(ValueError, match="is nan at x = 0"):
        gn.check_derivative(gone, [1.0, 0.0])
    with pytest.raises(
        TypeError, match="act is of type function, expected an activation or an elementwise loss"
    ):
        gn.check_derivative(lambda x: x)
