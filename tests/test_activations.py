"""Every activation, its derivative and its backward pass: values, limits, layouts, kinds of arrays."""

import inspect
import math
import os
import pickle
import sys

import layouts
import mpmath
import numba
import numpy as np
import pytest
import reference
from cases import ACTIVATIONS, on_each_target, one_an_activation, one_an_activation_shape
from judge import assert_close, assert_same_bits, computed_in_double, computed_in_vectors
from without_numba import needs

import gnumba as gn

WIDE = gn.info()["simd_bits"] >= 256
FROM_Y = [case for case in ACTIVATIONS if case.from_y]
NAN, INF = np.nan, np.inf
PACKAGE = os.path.dirname(gn.__file__)


def arguments(dtype, count=400):
    """Both signs; evenly through where things happen, then in powers from the smallest to the largest."""
    limits = np.finfo(dtype)
    far = 110.0 if dtype == np.float32 else 750.0
    powers = np.geomspace(limits.smallest_subnormal, 0.5 * limits.max, count, dtype=np.float64)
    spread = np.concatenate([np.linspace(0.0, 8.0, count), np.linspace(8.0, far, count), powers])
    return np.concatenate([-spread[::-1], spread]).astype(dtype)


def arguments_of(case, dtype):
    """Those at which the case's function is a number."""
    x = arguments(dtype)
    return x[abs(x) <= case.within]


def near_arguments(rng, shape, dtype):
    """Numbers of both signs that no activation maps to a limit."""
    return np.asarray(rng.uniform(-6, 6, shape), dtype)


SOME = [
    c for c in one_an_activation() if c.act in (gn.sigmoid, gn.relu, gn.prelu, gn.selu)
]  # one of each form


def dx_of(case, dy, x, **given):
    """dL/dx by the backward pass; PReLU's has a second result."""
    result = case.act.backward(dy, x, **case.hyper, **given)
    return result[0] if case.act is gn.prelu else result


def having(name, cases=ACTIVATIONS):
    """Parameter ``case``: those that say this of their function."""
    return pytest.mark.parametrize("case", [case for case in cases if getattr(case, name)], ids=str)


# Against the formulas.


@on_each_target(ACTIVATIONS)
def test_follows_its_formula(case, dtype, target):
    """f(x) from the smallest to the largest x."""
    x = arguments_of(case, dtype)
    with gn.use_target(target):
        y = case.act(x, **case.hyper)
    assert_close(y, case.formula(x.astype(np.float64), **case.hyper), dtype, scale=case.scale)


@pytest.mark.parametrize("case", ACTIVATIONS, ids=str)
def test_derivative_follows_its_formula(case, dtype):
    """f′(x), near its zeros to a few roundings of 1."""
    x = arguments_of(case, dtype)
    expected = case.derivative(x.astype(np.float64), **case.hyper)
    assert_close(case.act.derivative(x, **case.hyper), expected, dtype, scale=max(1.0, case.scale))


@on_each_target(ACTIVATIONS, [np.dtype("float32")])
def test_backward_is_dy_times_the_derivative(case, dtype, target, rng):
    """In one pass."""
    x, dy = near_arguments(rng, (2, 1001), dtype)
    with gn.use_target(target):
        dx = dx_of(case, dy, x)
    assert_close(dx, dy * case.derivative(x.astype(np.float64), **case.hyper), dtype, scale=1.0)


@pytest.mark.parametrize("case", ACTIVATIONS, ids=str)
def test_backward_from_y(case, rng):
    """With the forward result given, whether it is used or not."""
    x, dy = near_arguments(rng, (2, 40, 25), np.float32)
    dx = dx_of(case, dy, x, y=case.act(x, **case.hyper))
    expected = dy * case.derivative(x.astype(np.float64), **case.hyper)
    assert_close(dx, expected, np.float32, scale=np.abs(dy).max())


@pytest.mark.parametrize("case", FROM_Y, ids=str)
def test_backward_uses_y_where_that_is_cheaper(case):
    """The values of y, not of x, decide; for a negative α y does not tell, and x decides."""
    x, dy, y = (np.array([number], np.float32) for number in (2.0, 1.0, -0.25))
    from_x, from_y = (dx_of(case, dy, x, y=given) for given in (None, y))
    assert (from_x == from_y) == (case.hyper.get("alpha", 1.0) < 0)


@pytest.mark.parametrize("case", one_an_activation(), ids=str)
def test_derivative_is_the_slope(case):
    """Central differences of f itself, beside kinks and jumps."""
    x = np.concatenate([np.linspace(-5.03, -0.13, 50), np.linspace(0.13, 5.03, 50)])
    h = 1e-5
    slope = (case.act(x + h, **case.hyper) - case.act(x - h, **case.hyper)) / (2 * h)
    np.testing.assert_allclose(case.act.derivative(x, **case.hyper), slope, rtol=1e-8, atol=1e-9)


# Accuracy.


def ulps(result, truth):
    """How far off in units of the last place; 0 where a subnormal result was flushed to 0."""
    kind = type(result)
    with np.errstate(over="ignore"):
        nearest = kind(float(truth))
    if not np.isfinite(nearest) or result == nearest:
        return 0.0 if result == nearest else INF
    if result == 0.0 and abs(nearest) < np.finfo(kind).tiny:
        return 0.0
    return float(abs(mpmath.mpf(float(result)) - truth) / mpmath.mpf(float(np.spacing(abs(nearest)))))


@having("max_ulp", one_an_activation())
def test_accuracy(case, dtype):
    """Against mpmath, over all magnitudes and both signs."""
    x = arguments_of(case, dtype)
    errors = []
    for each, y in zip(x.tolist(), case.act(x, **case.hyper), strict=True):
        with mpmath.workprec(150 - 2 * min(0, math.frexp(each)[1])):  # x and its square beside 1
            errors.append(ulps(y, case.exact(mpmath.mpf(each), **case.hyper)))
    worst = int(np.argmax(errors))
    assert errors[worst] <= case.max_ulp, f"{errors[worst]} ulp at {x[worst]!r}"


@having("exact")
def test_derivative_against_mpmath(case):
    """Differentiated numerically in 50 digits."""
    x = np.array([-30.0, -5.0, -1.5, -1e-3, 1e-3, 0.5, 2.0, 30.0])
    with mpmath.workdps(50):
        slopes = [float(mpmath.diff(lambda at: case.exact(at, **case.hyper), each)) for each in x]
    np.testing.assert_allclose(case.act.derivative(x, **case.hyper), slopes, rtol=1e-14, atol=1e-30)


# Limits, zeros, nan.


@having("limits")
def test_limits(case, dtype):
    """At ±∞ and at 0."""
    x = np.array([-INF, 0.0, INF], dtype)
    values = [*case.act(x, **case.hyper), *case.act.derivative(x, **case.hyper)]
    np.testing.assert_allclose(values, case.limits, rtol=np.finfo(dtype).eps)


@having("limits")
def test_backward_at_the_limits(case):
    """No nan from inf·0, from x or from y."""
    x = np.array([-INF, 0.0, INF], np.float32)
    y = case.act(x, **case.hyper)
    for given in (None, y):
        dx = dx_of(case, np.ones(3, np.float32), x, y=given)
        np.testing.assert_allclose(dx, case.limits[3:], rtol=np.finfo(np.float32).eps)


@pytest.mark.parametrize("case", ACTIVATIONS, ids=str)
def test_nan_in_nan_out(case, dtype):
    """Value and derivative."""
    nan = np.array([NAN], dtype)
    assert np.isnan(case.act(nan, **case.hyper)).all()
    assert np.isnan(case.act.derivative(nan, **case.hyper)).all()


@pytest.mark.parametrize("case", ACTIVATIONS, ids=str)
def test_nan_in_nan_out_backward(case):
    """From x and from y; from dy too."""
    nan, one = np.array([NAN], np.float32), np.array([1.0], np.float32)
    for dy, x, y in [(one, nan, None), (one, nan, nan), (nan, one, None), (nan, one, one)]:
        assert np.isnan(dx_of(case, dy, x, y=y)).all()


@pytest.mark.parametrize("act", [gn.tanh, gn.elu, gn.selu, gn.leaky_relu, gn.silu])
def test_zero_keeps_its_sign(act, dtype):
    """f(−0) = −0 where f is x near 0, or a multiple of it."""
    assert_same_bits(act(np.array([-0.0, 0.0], dtype)), np.array([-0.0, 0.0], dtype))


def test_relu_of_minus_zero_and_of_the_smallest_number(dtype):
    """A subnormal is not zero."""
    smallest = np.finfo(dtype).smallest_subnormal
    x = np.array([-smallest, smallest], dtype)
    np.testing.assert_array_equal(gn.relu(x), [0.0, smallest])
    np.testing.assert_array_equal(gn.relu.derivative(x), [0.0, 1.0])


def test_signs_of_zeros(dtype):
    """Where 0 is not right of 0: the sign is that of 0, of x, or of the slope times x."""
    zeros = np.array([-0.0, 0.0], dtype)
    assert_same_bits(gn.relu(zeros), np.array([0.0, 0.0], dtype))
    assert_same_bits(gn.relu.derivative(zeros), np.array([0.0, 0.0], dtype))
    assert_same_bits(gn.leaky_relu(zeros, -0.5), np.array([0.0, -0.0], dtype))
    assert_same_bits(gn.prelu(zeros, -0.5), np.array([0.0, -0.0], dtype))
    assert_same_bits(gn.elu(zeros, -0.5), zeros)


@pytest.mark.parametrize("case", ACTIVATIONS, ids=str)
def test_backward_at_0_is_the_slope_on_the_left(case):
    """From x, and from the y that is 0 there."""
    x, dy = np.array([-0.0, 0.0], np.float32), np.ones(2, np.float32)
    expected = case.derivative(x.astype(np.float64), **case.hyper)
    for y in (None, case.act(x, **case.hyper)):
        np.testing.assert_allclose(dx_of(case, dy, x, y=y), expected, rtol=1e-6)


# Layouts.


@pytest.mark.parametrize("shape", layouts.SHAPES.values(), ids=layouts.SHAPES.keys())
def test_any_shape(shape, dtype, target, rng):
    """From no element on."""
    x, dy = (near_arguments(rng, shape, dtype) for _ in range(2))
    with gn.use_target(target):
        y, dx = gn.sigmoid(x), gn.sigmoid.backward(dy, x)
    assert y.shape == dx.shape == shape
    assert_close(y, reference.sigmoid(x.astype(np.float64)), dtype)
    assert_close(dx, dy * reference.sigmoid_derivative(x.astype(np.float64)), dtype, scale=1.0)


@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE.keys())
@pytest.mark.parametrize("case", SOME, ids=str)
def test_any_layout(case, layout, rng):
    """The bits do not depend on the strides of x, nor on those of out."""
    values = near_arguments(rng, (33, 7), np.float32)
    dense = layout(values).copy(order="C")
    expected = case.act(dense, **case.hyper)
    out = layout(np.zeros_like(values))
    assert_same_bits(case.act(layout(values), **case.hyper), expected)
    assert case.act(layout(values), **case.hyper, out=out) is out
    assert_same_bits(out, expected)


@pytest.mark.parametrize("layout", [layouts.fortran, layouts.gaps, layouts.backwards])
def test_any_layout_in_parallel(layout, target, rng):
    """Strided work is dealt to all cores too."""
    x, dy = near_arguments(rng, (2, 331, 303), np.float32)
    with gn.use_target(target):
        assert_same_bits(gn.sigmoid(layout(x)), gn.sigmoid(x))
        assert_same_bits(gn.sigmoid.backward(layout(dy), x), gn.sigmoid.backward(dy, x))
        assert_same_bits(gn.sigmoid.backward(dy, layout(x)), gn.sigmoid.backward(dy, x))


@pytest.mark.parametrize("case", SOME, ids=str)
def test_backward_of_strided_arrays(case, rng):
    """dy, x and y each with strides of its own."""
    x, dy = near_arguments(rng, (2, 33, 7), np.float32)
    y = case.act(x, **case.hyper)
    dx = dx_of(case, layouts.gaps(dy), layouts.fortran(x), y=layouts.backwards(y))
    assert_same_bits(dx, dx_of(case, dy, x, y=y))


def test_broadcast_input(dtype, rng):
    """An input may have 0-strides; an output may not."""
    row = near_arguments(rng, 9, dtype)
    x = np.broadcast_to(row, (5, 9))
    assert_same_bits(gn.tanh(x), np.stack([gn.tanh(row)] * 5))


def test_large_arrays_go_parallel_to_the_same_bits(dtype, rng):
    """Whatever the size from which they do."""
    x = near_arguments(rng, 600_011, dtype)
    chosen = gn.silu(x)
    with gn.use_target("cpu"):
        assert_same_bits(chosen, gn.silu(x))
    with gn.use_target("parallel"):
        assert_same_bits(chosen, gn.silu(x))


# Where the result goes.


@pytest.mark.parametrize("case", SOME, ids=str)
def test_in_place(case, rng):
    """out=x: the array itself is returned, with the bits it would have had elsewhere."""
    x = near_arguments(rng, 1001, np.float32)
    expected = case.act(x, **case.hyper)
    assert case.act(x, **case.hyper, out=x) is x
    assert_same_bits(x, expected)


@pytest.mark.parametrize("case", SOME[:2], ids=str)
def test_derivative_in_place(case, rng):
    """out=x there too."""
    x = near_arguments(rng, 1001, np.float64)
    expected = case.act.derivative(x, **case.hyper)
    assert case.act.derivative(x, **case.hyper, out=x) is x
    assert_same_bits(x, expected)


@pytest.mark.parametrize("case", SOME, ids=str)
def test_backward_over_dy(case, rng):
    """out=dy, with and without y."""
    x, dy = near_arguments(rng, (2, 1001), np.float32)
    for y in (None, case.act(x, **case.hyper)):
        expected, given = dx_of(case, dy, x, y=y), dy.copy()
        assert dx_of(case, given, x, y=y, out=given) is given
        assert_same_bits(given, expected)


def test_backward_over_x_and_over_y(rng):
    """Any input may be the output."""
    x, dy = near_arguments(rng, (2, 101), np.float64)
    y = gn.sigmoid(x)
    expected, expected_from_y = gn.sigmoid.backward(dy, x), gn.sigmoid.backward(dy, x, y=y)
    assert_same_bits(gn.sigmoid.backward(dy, x, y=y, out=y), expected_from_y)
    assert_same_bits(gn.sigmoid.backward(dy, x, out=x), expected)


def test_in_place_through_a_view(target, rng):
    """The rest of the array is left alone."""
    whole = near_arguments(rng, (20, 30), np.float64)
    before = whole.copy()
    with gn.use_target(target):
        gn.relu(whole[2::3, 1:20:2], out=whole[2::3, 1:20:2])
    expected = before.copy()
    expected[2::3, 1:20:2] = np.maximum(before[2::3, 1:20:2], 0.0)
    assert_same_bits(whole, expected)


@pytest.mark.parametrize(
    ("source", "place"),
    [(np.s_[:-1], np.s_[1:]), (np.s_[1:], np.s_[:-1]), (np.s_[::-1], np.s_[:]), (np.s_[:50], np.s_[50:0:-1])],
    ids=["forward", "back", "reversed", "half reversed"],
)
def test_overlapping_out_gives_what_numpy_gives(source, place, target, rng):
    """As if the input had been copied first."""
    ours, numpys = near_arguments(rng, (2, 101), np.float64)
    numpys[:] = ours
    np.maximum(numpys[source], 0.0, out=numpys[place])
    with gn.use_target(target):
        gn.relu(ours[source], out=ours[place])
    np.testing.assert_array_equal(ours, numpys)


@pytest.mark.parametrize("over", ["dy", "x", "neither"])
def test_overlap_with_two_inputs(over, rng):
    """out may be one input exactly and overlap the other by a part."""
    ours = near_arguments(rng, 102, np.float64)
    dy, x = ours[1:-1], ours[:-2]
    expected = gn.sigmoid.backward(dy.copy(), x.copy())
    out = {"dy": dy, "x": x, "neither": ours[2:]}[over]
    gn.sigmoid.backward(dy, x, out=out)
    assert_same_bits(out, expected)


@pytest.mark.parametrize("over", ["dy", "x"])
def test_overlap_in_prelu(over, rng):
    """Its two results are right, too."""
    ours = near_arguments(rng, 101, np.float64)
    dy, x, alpha = ours[1:], ours[:-1], near_arguments(rng, 100, np.float64)
    expected = gn.prelu.backward(dy.copy(), x.copy(), alpha)
    dx, dalpha = gn.prelu.backward(dy, x, alpha, out={"dy": dy, "x": x}[over])
    np.testing.assert_array_equal(dx, expected[0])
    np.testing.assert_array_equal(dalpha, expected[1])


# What comes in and what goes out.


@pytest.mark.parametrize(
    "x",
    [[-1, 0, 2], (-1.5, 2.5), [[True], [False]], 3, -2.0, True, np.int8(-3), np.float64(-0.5), [], range(3)],
    ids=repr,
)
def test_what_numpy_takes(x):
    """Lists, numbers, ints and bools become float64, scalars stay scalars."""
    result, expected = gn.elu(x), reference.elu(np.asarray(x, np.float64))
    assert type(result) is type(np.negative(np.asarray(x, np.float64)))
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=1e-14)


@pytest.mark.parametrize("kind", ["i1", "u1", "i4", "i8", "u8", "?"])
def test_integer_arrays_become_float64(kind):
    """As in NumPy; in every position."""
    x = np.array([[0, 1], [1, 1]], kind)
    assert gn.sigmoid(x).dtype == np.float64
    np.testing.assert_array_equal(gn.sigmoid(x), gn.sigmoid(x.astype(np.float64)))
    np.testing.assert_array_equal(gn.tanh.backward(x, x), gn.tanh.derivative(x.astype(np.float64)) * x)


def test_float32_scalars_stay_float32():
    """As in NumPy."""
    assert type(gn.tanh(np.float32(0.5))) is np.float32
    assert type(gn.tanh(np.array(0.5, np.float32))) is np.float32


def test_hyperparameters_are_weak(rng):
    """No number, of whatever precision, changes the dtype."""
    x = near_arguments(rng, 5, np.float32)
    for slope in (0.25, np.float64(0.25), np.float32(0.25), np.float16(0.25), np.int64(0), True):
        y = gn.leaky_relu(x, slope)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, np.where(x > 0, x, np.float32(slope) * x))


def test_hyperparameters_by_position_name_and_default():
    """As the signature says."""
    x = np.array([-2.0])
    assert gn.elu(x) == gn.elu(x, 1.0) == gn.elu(x, alpha=1.0) != gn.elu(x, 0.5)
    assert gn.elu.derivative(x, 0.5) == gn.elu.derivative(x, alpha=0.5)
    assert gn.elu.backward(x, x, 0.5) == gn.elu.backward(x, x, alpha=0.5) != gn.elu.backward(x, x)


def test_swish_is_silu():
    """Two names."""
    assert gn.swish is gn.silu


@pytest.mark.parametrize("case", one_an_activation(), ids=str)
def test_pickles_and_prints(case):
    """It is a name for a thing in the module."""
    assert pickle.loads(pickle.dumps(case.act)) is case.act
    assert case.act.name in repr(case.act)


def test_torch_tensors():
    """Tensors in, tensors out, of any layout; out is written where it lies."""
    torch = pytest.importorskip("torch")
    x = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(3, 4).T
    for made in (gn.silu(x), gn.silu.derivative(x), gn.silu.backward(x, x), gn.prelu.backward(x, x, 0.5)[0]):
        assert isinstance(made, torch.Tensor)
        assert made.shape == x.shape
        assert made.dtype == torch.float64
    torch.testing.assert_close(gn.silu(x), torch.nn.functional.silu(x), rtol=1e-14, atol=0)
    out = torch.zeros(4, 3, dtype=torch.float64)
    assert gn.silu(x, out=out) is out
    assert torch.equal(out, gn.silu(x))


@pytest.mark.parametrize("case", one_an_activation(), ids=str)
def test_signature(case):
    """x, the hyperparameters with their defaults, and out: as it is called."""
    x, *hyper, out = inspect.signature(case.act).parameters.values()
    assert (x.name, out.name, out.kind, out.default) == ("x", "out", out.KEYWORD_ONLY, None)
    rule = list(inspect.signature(case.act.rule).parameters.values())[1:]
    assert [(p.name, p.default) for p in hyper] == [(p.name, p.default) for p in rule]
    assert case.act.__doc__ != gn.Activation.__doc__


# Interrupts.


class Interrupted(Exception):  # noqa: N818  no error
    """Exception raised by a signal handler."""


def interrupted_at(step, call):
    """Raise at the step-th line, call or return in gnumba, as a signal would; whether there was it.

    In the modules that launch kernels, at any instruction.
    """
    seen = 0

    def trace(frame, event, arg):
        nonlocal seen
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or code.co_flags & inspect.CO_GENERATOR:
            return None  # a generator is closed after its caller, and cannot raise then
        frame.f_trace_opcodes = os.path.basename(code.co_filename) in ("apply.py", "launch.py")
        seen += 1
        if seen == step:
            raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


def every_third(values):
    """A view with gaps."""
    return np.repeat(values, 3, axis=-1)[..., ::3]


WAYS = {
    "out": lambda x, out: gn.silu(x, out=out),
    "in place": lambda x, out: gn.silu(out, out=out),
    "with gaps": lambda x, out: gn.silu(every_third(out), out=out),
    "over a part of itself": lambda x, out: gn.silu(out[:-1], out=out[1:]),
    "backward": lambda x, out: gn.silu.backward(out, x, out=out),
    "prelu": lambda x, out: gn.prelu.backward(out, x, 0.25, out=out),
    "prelu of an array": lambda x, out: gn.prelu.backward(out, x, x[:1], out=out),
    "dropout": lambda x, out: gn.dropout(out, 0.5, 1, out=out),
    "torch": lambda x, out: gn.silu(
        sys.modules["torch"].from_numpy(out), out=sys.modules["torch"].from_numpy(out)
    ),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_an_interrupt_leaves_the_old_or_the_new(way, target, rng):
    """Wherever it comes: all of ``out`` is written by one compiled call."""
    if way == "torch":
        pytest.importorskip("torch")
    x, first = near_arguments(rng, (40, 25), np.float32), near_arguments(rng, (40, 25), np.float32)
    done = first.copy()
    with gn.use_target(target):
        WAYS[way](x, done)
        assert (done != first).any()
        step = old = new = 0
        more = True
        while more:
            step, out = step + 1, first.copy()
            more = interrupted_at(step, lambda out=out: WAYS[way](x, out))
            unchanged, finished = np.array_equal(out, first), np.array_equal(out, done)
            assert unchanged or finished
            old, new = old + unchanged, new + finished
    assert old > 5  # it was interrupted before and, the last call at least, not at all
    assert new > 0


# PReLU's α.

ALPHAS = {
    "0-d": (),
    "one": (1,),
    "channel": (4, 1, 1),
    "last": (6,),
    "(1, 1, 6)": (1, 1, 6),
    "full": (3, 4, 5, 6),
}


@pytest.mark.parametrize("shape", ALPHAS.values(), ids=ALPHAS.keys())
def test_prelu_with_an_array(shape, rng):
    """Values, dx, and dα summed over the axes along which α was broadcast."""
    dtype = np.dtype("float64" if shape == (6,) else "float32")
    x, dy = near_arguments(rng, (2, 3, 4, 5, 6), dtype)
    alpha = near_arguments(rng, shape, dtype)
    wide = x.astype(np.float64), alpha.astype(np.float64)
    assert_close(gn.prelu(x, alpha), reference.prelu(*wide), dtype)
    assert_close(gn.prelu.derivative(x, alpha), reference.prelu_derivative(*wide), dtype)
    dx, dalpha = gn.prelu.backward(dy, x, alpha)
    assert_close(dx, dy * reference.prelu_derivative(*wide), dtype)
    assert np.shape(dalpha) == shape
    expected = reference.prelu_dalpha(dy.astype(np.float64), *wide)
    assert_close(dalpha, expected, dtype, scale=np.abs(expected).max())


def test_prelu_with_a_number(rng):
    """dα is a number."""
    x, dy = near_arguments(rng, (2, 7, 11), np.float64)
    dx, dalpha = gn.prelu.backward(dy, x, 0.25)
    assert np.ndim(dalpha) == 0
    np.testing.assert_allclose(dalpha, (dy * np.minimum(x, 0.0)).sum(), rtol=1e-13)
    np.testing.assert_array_equal(dx, dy * np.where(x > 0, 1.0, 0.25))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 1)])
@pytest.mark.parametrize("name", [np.float32, np.float64])
def test_prelus_gradient_goes_to_a_step(shape, name, rng):
    """An array of α's shape and dtype, also of shape ()."""
    alpha, x = np.full(shape, 0.25, name), near_arguments(rng, (33, 7), name)
    optimizer = gn.SGD(alpha, lr=0.5)
    _, dalpha = gn.prelu.backward(np.ones_like(x), x, alpha)
    assert type(dalpha) is np.ndarray
    assert (dalpha.shape, dalpha.dtype) == (shape, alpha.dtype)
    optimizer.step(dalpha)
    np.testing.assert_array_equal(alpha, name(0.25) - name(0.5) * dalpha)


def test_prelu_sums_in_float64():
    """2²⁴ + 1 is 2²⁴ in float32."""
    dy = np.ones(1001, np.float32)
    dy[0] = 2.0**24
    _, dalpha = gn.prelu.backward(dy, np.full_like(dy, -1.0), 0.5)
    assert dalpha == -(2.0**24 + 1000.0)


@pytest.mark.parametrize("layout", [layouts.fortran, layouts.gaps, layouts.backwards])
def test_prelu_of_any_layout(layout, rng):
    """α's strides, x's and dy's."""
    x, dy = near_arguments(rng, (2, 12, 9), np.float32)
    alpha = near_arguments(rng, (12, 1), np.float32)
    expected = gn.prelu.backward(dy, x, alpha)
    dx, dalpha = gn.prelu.backward(layout(dy), layout(x), layout(alpha))
    np.testing.assert_array_equal(dx, expected[0])
    np.testing.assert_allclose(dalpha, expected[1], rtol=1e-6)
    np.testing.assert_array_equal(gn.prelu(layout(x), layout(alpha)), gn.prelu(x, alpha))


def test_prelu_learns_its_slope(rng):
    """dα goes to an optimizer as it is, and finds the slope that data were made with."""
    x, alpha = rng.standard_normal((200, 3)), np.full(3, 0.25)
    wanted = np.array([0.1, -0.3, 0.9])
    optimizer = gn.Adam(alpha, lr=0.05)
    for _ in range(300):
        _, dalpha = gn.prelu.backward(gn.prelu(x, alpha) - gn.prelu(x, wanted), x, alpha)
        optimizer.step(dalpha / len(x))
    np.testing.assert_allclose(alpha, wanted, atol=1e-3)


# ufuncs.


def defaults(act, dtype):
    """The hyperparameters of an activation, all of which have a default."""
    return [dtype.type(p.default) for p in list(inspect.signature(act.rule).parameters.values())[1:]]


@on_each_target(one_an_activation_shape())
def test_ufunc_gives_the_same_bits(case, dtype, target):
    """The ``numba.vectorize`` product."""
    x = arguments(dtype, count=50)
    numbers = [dtype.type(number) for number in case.hyper.values()] or defaults(case.act, dtype)
    y = case.act.ufunc(target)(x, *map(dtype.type, numbers))
    assert y.dtype == dtype
    assert_same_bits(y, case.act(x, **case.hyper))


@on_each_target(one_an_activation_shape())
def test_ufunc_does_not_warn(case, dtype, target):
    """Neither of nan, nor of what is computed on the way; compiled callers have it as before."""
    x = np.repeat(np.array([NAN, INF, -INF, np.finfo(dtype).max, -np.finfo(dtype).max, 1e-30], dtype), 17)
    numbers = [dtype.type(number) for number in case.hyper.values()] or defaults(case.act, dtype)
    with np.errstate(all="raise"):
        y = case.act.ufunc(target)(x, *map(dtype.type, numbers))
    assert_same_bits(y, case.act(x, **case.hyper))
    assert case.act.ufunc(target).nin == 1 + len(case.hyper or defaults(case.act, dtype))


@needs("ufunc_class")
def test_ufunc_in_compiled_code():
    """As numba has it."""
    relu = gn.relu.ufunc()

    @numba.njit
    def twice(x):
        return relu(x) + relu(x)

    np.testing.assert_array_equal(twice(np.array([-1.0, 2.0])), [0.0, 4.0])


def test_ufunc_broadcasts_and_takes_out():
    """Hyperparameters are operands like any other."""
    x, slopes = np.array([[-1.0], [2.0]]), np.array([0.1, 0.2, 0.3])
    out = np.zeros((2, 3))
    assert gn.leaky_relu.ufunc()(x, slopes, out=out) is out
    np.testing.assert_array_equal(out, np.where(x > 0, x, slopes * x))


@pytest.mark.parametrize("case", one_an_activation(), ids=str)
def test_rule_is_plain_python_with_the_same_bits(case):
    """`act.rule` on Python floats."""
    x = np.concatenate([arguments(np.float64, count=30), [NAN, INF, -INF]])
    python = np.array([case.act.rule(float(each), *case.hyper.values()) for each in x])
    assert_same_bits(python, case.act(x, **case.hyper))


# A user's own.


@gn.activation(derivative=lambda x, beta=1.0: gn.sigmoid(beta * x))
def softplus(x, beta=1.0):
    """log(1 + e^βx)/β."""
    return gn.elementary.log1p(gn.elementary.exp(beta * x)) / beta


def test_users_activation(target, rng):
    """Everything the built-in ones have; another activation may be called in it."""
    dtype = np.dtype("float32")
    x, dy = near_arguments(rng, (2, 50), dtype)
    wide = x.astype(np.float64)
    with gn.use_target(target):
        assert_close(softplus(x, 2.0), np.log1p(np.exp(2.0 * wide)) / 2.0, dtype, scale=0.1)
        assert_close(softplus.derivative(x, beta=2.0), reference.sigmoid(2.0 * wide), dtype)
        assert_close(softplus.backward(dy, x), dy * reference.sigmoid(wide), dtype, scale=0.1)
    np.testing.assert_array_equal(softplus.ufunc(target)(x, dtype.type(2.0)), softplus(x, 2.0))
    np.testing.assert_array_equal(softplus(x, 2.0, out=x), x)
    assert pickle.loads(pickle.dumps(softplus)) is softplus


def test_users_activation_keeps_its_docstring():
    """And its name."""
    assert (softplus.name, softplus.__doc__) == ("softplus", "log(1 + e^βx)/β.")
    assert softplus.rule(0.0) == pytest.approx(np.log(2.0))


# The machine code.


@pytest.fixture(scope="module", params=one_an_activation(), ids=str)
def inspected(request):
    """The float32 kernel of each activation."""
    return gn.inspect(request.param.act, "cpu", "float32")


def test_float32_kernel_computes_in_float32(inspected):
    """Nothing is widened."""
    assert computed_in_double(inspected["llvm"]) == []


@pytest.mark.skipif(not WIDE, reason="this CPU has no 256-bit vectors")
def test_float32_kernel_is_simd(inspected):
    """Whatever branches the rule is written with."""
    assert computed_in_vectors(inspected["asm"])


def test_precompile_compiles_what_a_loop_needs():
    """Forward, derivative and backward, from x and from y."""
    from gnumba._engine import host

    gn.precompile(gn.selu, "float64", "cpu")
    made = host.sweep.cache_info().misses
    x = np.zeros(3)
    with gn.use_target("cpu"):
        gn.selu(x)
        gn.selu.derivative(x)
        gn.selu.backward(x, x)
        gn.selu.backward(x, x, y=x)
    assert host.sweep.cache_info().misses == made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 15, 17, 2047, 2048, 2049, 100_001])
def test_prelu_sums_alpha_alike_everywhere(count, dtype):
    """Sums of equal bits for any target and layout, as near to the exact sum as float64 is."""
    rng = np.random.default_rng(count)
    dy, x = (rng.standard_normal(count).astype(dtype) for _ in range(2))
    gapped = np.stack([dy, dy], axis=-1)[..., 0], np.stack([x, x], axis=-1)[..., 0]
    found = [
        gn.prelu.backward(*gapped, 0.25)[1],
        gn.prelu.backward(dy.copy(), x, np.full(1, 0.25, dtype))[1],
    ]
    for target in ("cpu", "parallel"):
        with gn.use_target(target):
            dx, dalpha = gn.prelu.backward(dy, x, 0.25)
            found += [dalpha, gn.prelu.backward(over := dy.copy(), x, 0.25, out=over)[1]]
            np.testing.assert_array_equal(dx, over)
    assert [np.shape(each) for each in found] == [(), (1,), (), (), (), ()]
    assert len({float(np.squeeze(each)) for each in found}) == 1
    parts = [float(d * v) for d, v in zip(dy, np.minimum(x, 0), strict=True)]  # rounded to dtype, as there
    assert abs(float(dalpha) - math.fsum(parts)) <= np.finfo(dtype).eps * sum(map(abs, parts)) * 2
