"""First weights: moments, limits, PyTorch's fans and gains, Haar's measure, and whose arrays they are."""

import inspect
import math

import numpy as np
import pytest
from cases import ACTIVATIONS
from test_errors import assert_refused, f64

import gnumba as gn
from gnumba import init

stats = pytest.importorskip("scipy.stats", reason="comes with scikit-learn")

# Each initialiser with the variance it is to have for a shape, naively from the fans.


def he(fan_in, fan_out, slope=0.0):
    return 2.0 / ((1.0 + slope**2) * fan_in)


def xavier(fan_in, fan_out, gain=1.0):
    return gain**2 * 2.0 / (fan_in + fan_out)


def lecun(fan_in, fan_out):
    return 1.0 / fan_in


SCALED = [
    (init.he_normal, init.he_uniform, he, ()),
    (init.he_normal, init.he_uniform, he, (0.5,)),
    (init.he_normal, init.he_uniform, he, (-2.0,)),
    (init.xavier_normal, init.xavier_uniform, xavier, ()),
    (init.xavier_normal, init.xavier_uniform, xavier, (5 / 3,)),
    (init.lecun_normal, init.lecun_uniform, lecun, ()),
]
FANS = {  # shape: fan_in, fan_out
    (300, 200): (300, 200),
    (50, 800): (50, 800),
    (3, 5, 16, 256): (240, 3840),
    (9, 40, 100): (360, 900),
}
EVERY = {
    "normal": lambda shape, **k: init.normal(shape, 0.1, **k),
    "uniform": lambda shape, **k: init.uniform(shape, -0.5, 0.5, **k),
    "constant": lambda shape, **k: init.constant(shape, 0.25, **k),
    **{
        name: getattr(init, name)
        for name in init.__all__
        if name not in ("normal", "uniform", "constant", "for_activation")
    },
}
EACH = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
RANDOM = pytest.mark.parametrize("make", [EVERY[n] for n in EVERY if n != "constant"])
WEIGHTS = [name for name in EVERY if name not in ("normal", "uniform", "constant")]


def assert_normal(sample, variance):
    """No sign against it in mean, variance and shape, each at a level of 1e-4; the seed is fixed."""
    z = np.asarray(sample, np.float64).ravel() / math.sqrt(variance)
    assert abs(z.mean()) < 4.0 / math.sqrt(z.size)
    assert abs((z**2).mean() - 1.0) < 4.0 * math.sqrt(2.0 / z.size)
    assert stats.kstest(z, "norm").pvalue > 1e-4


def assert_uniform(sample, low, high):
    """No sign against a uniform distribution, at a level of 1e-4; no number outside the bounds."""
    u = (np.asarray(sample, np.float64).ravel() - low) / (high - low)
    few = np.finfo(sample.dtype).eps
    assert -few <= u.min() < 20.0 / u.size
    assert 1.0 - 20.0 / u.size < u.max() <= 1.0 + few
    assert stats.kstest(u, "uniform").pvalue > 1e-4


# Moments and distributions.


@pytest.mark.parametrize("std", [0.01, 1.0, 30.0])
def test_normal(std, dtype, rng):
    """Of mean 0."""
    assert_normal(init.normal((200, 300), std, rng=rng, dtype=dtype), std**2)


def test_normal_by_default(rng):
    """A standard deviation of 0.01."""
    assert_normal(init.normal(60_000, rng=rng), 1e-4)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 0.25), (-3, -2)])
def test_uniform(low, high, dtype, rng):
    """From one end to the other."""
    assert_uniform(init.uniform((200, 300), low, high, rng=rng, dtype=dtype), low, high)


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize(("normal", "uniform", "variance", "given"), SCALED)
def test_scaled_to_the_fans(normal, uniform, variance, given, shape, dtype, rng):
    """Normal and uniform of one variance."""
    expected = variance(*FANS[shape], *given)
    assert_normal(normal(shape, *given, rng=rng, dtype=dtype), expected)
    limit = math.sqrt(3.0 * expected)
    assert_uniform(uniform(shape, *given, rng=rng, dtype=dtype), -limit, limit)


def test_constant(dtype):
    """The value, everywhere."""
    for value in (0.25, -3, math.inf, np.float32(0.1), np.array(2)):
        made = init.constant((3, 4), value, dtype=dtype)
        np.testing.assert_array_equal(made, np.full((3, 4), value, dtype))
    assert_refused(lambda: init.constant(3, True), TypeError, "value is True", "expected a number")


def test_nothing_random_about_no_spread():
    """A standard deviation of 0, and an interval of one number, are allowed."""
    assert not init.normal((3, 4), 0).any()
    assert (init.uniform(5, 0.5, 0.5) == 0.5).all()
    assert not init.xavier_uniform((3, 4), gain=0.0).any()


@pytest.mark.parametrize("a", [0.0, 0.01, 1.0])
def test_torch_fans_and_gains(a):
    """PyTorch's weights are the transpose: the same standard deviation to rounding, and the same limit."""
    torch = pytest.importorskip("torch")
    for shape, fans in FANS.items():
        theirs = torch.empty(shape).permute(*reversed(range(len(shape))))  # (fan_out, fan_in, field)
        assert torch.nn.init._calculate_fan_in_and_fan_out(theirs) == fans
        gain = torch.nn.init.calculate_gain("leaky_relu", a)
        spread = scale_of(init.he_normal, shape, a)
        np.testing.assert_allclose(spread, gain / math.sqrt(fans[0]), rtol=1e-12)
        np.testing.assert_allclose(scale_of(init.he_uniform, shape, a), math.sqrt(3.0) * spread, rtol=1e-12)
        gain = torch.nn.init.calculate_gain("tanh")
        spread = scale_of(init.xavier_normal, shape, gain)
        np.testing.assert_allclose(spread, gain * math.sqrt(2.0 / sum(fans)), rtol=1e-12)
        spread = scale_of(init.lecun_normal, shape)
        gain = torch.nn.init.calculate_gain("linear")
        np.testing.assert_allclose(spread, gain / math.sqrt(fans[0]), rtol=1e-12)


class Ones:
    """In the place of numbers: what the scale makes of a 1."""

    def standard_normal(self, size):
        return np.ones(size)

    def uniform(self, low, high, size):
        assert low == -high
        return np.full(size, high)


def scale_of(make, shape, *given):
    """The standard deviation or the limit itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", lambda seed: Ones())
        made = make(shape, *given, dtype=np.float64)
    assert (made == made.flat[0]).all()
    return made.flat[0]


@pytest.mark.parametrize("name", ["kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"])
def test_torch_draws_from_the_same_distribution(name, rng):
    """Two samples, one law."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(20240229)
    theirs = getattr(torch.nn.init, name)(torch.empty(300, 200)).numpy()
    ours = getattr(init, name.replace("kaiming", "he").rstrip("_"))((200, 300), rng=rng)
    assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 1e-4


# Orthogonal matrices.


@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 5), (7, 3), (3, 7), (3, 3, 4), (3, 3, 2, 16), (1, 6), (6, 1), (2, 3, 6), (40, 40)]
)
@pytest.mark.parametrize("gain", [1.0, 1.5, 0.0])
def test_orthogonal(shape, gain, dtype, rng):
    """Rows or columns orthonormal, whichever are fewer, times the gain; leading axes flattened."""
    made = init.orthogonal(shape, gain, rng=rng, dtype=dtype)
    assert made.shape == shape
    w = made.reshape(-1, shape[-1]).astype(np.float64)
    product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=30 * np.finfo(dtype).eps)


def sample(draw, count):
    """Many matrices in one array."""
    return np.stack([draw() for _ in range(count)])


HAAR = {
    "square": (6, 6),
    "tall": (9, 4),
    "wide": (4, 9),
    "small": (2, 2),
}


@pytest.mark.parametrize("shape", HAAR.values(), ids=HAAR)
def test_orthogonal_is_haar_distributed(shape, rng):
    """Every entry has mean 0 and variance 1/n, and its square is Beta(½, (n − 1)/2)."""
    n = max(shape)
    matrices = sample(lambda: init.orthogonal(shape, rng=rng, dtype=np.float64), 4000)
    assert np.abs(matrices.mean(axis=0)).max() < 5.0 / math.sqrt(4000 * n)
    assert np.abs(n * (matrices**2).mean(axis=0) - 1.0).max() < 5.0 * math.sqrt(2.0 / 4000)
    for i, j in np.ndindex(*shape):
        entries = matrices[:, i, j]
        assert stats.kstest((1.0 + entries) / 2.0, stats.beta((n - 1) / 2, (n - 1) / 2).cdf).pvalue > 1e-5


def test_orthogonal_is_scipy_s(rng):
    """The trace, which the signs of R decide, and the determinant are ortho_group's."""
    ours = sample(lambda: init.orthogonal((5, 5), rng=rng, dtype=np.float64), 4000)
    theirs = stats.ortho_group.rvs(5, 4000, random_state=7)
    for statistic in (np.trace, lambda q: np.trace(q @ q)):
        samples = [[statistic(q) for q in each] for each in (ours, theirs)]
        assert stats.ks_2samp(*samples).pvalue > 1e-4
    turned = [np.sign(np.linalg.det(each)).mean() for each in (ours, theirs)]
    assert np.abs(turned).max() < 4.0 / math.sqrt(4000)


def test_orthogonal_phases_repel(rng):
    """A rotation of two axes is by any angle alike; a half turn is no likelier than any other."""
    matrices = sample(lambda: init.orthogonal((2, 2), rng=rng, dtype=np.float64), 4000)
    angles = np.array([math.atan2(q[1, 0], q[0, 0]) for q in matrices])
    assert stats.kstest(angles / (2 * math.pi) + 0.5, "uniform").pvalue > 1e-4


# Shapes.


@EACH
@pytest.mark.parametrize("shape", [(3, 4), [3, 4], (np.int64(3), np.int32(4)), (2, 3, 4), (1, 1)])
def test_shapes(make, shape):
    """As NumPy takes them; contiguous, to be updated in place."""
    made = make(shape, rng=0)
    assert made.shape == tuple(shape)
    assert made.flags.c_contiguous
    assert made.flags.writeable
    gn.SGD(made, lr=1.0).step(np.ones_like(made))


@EACH
@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_empty_arrays(make, shape):
    """Are empty."""
    made = make(shape, rng=0)
    assert made.shape == shape
    assert made.dtype == np.float32


@pytest.mark.parametrize("name", ["normal", "uniform", "constant"])
def test_any_number_of_axes(name):
    """None of them too: an array, not a number, as it is to be updated in place."""
    make = EVERY[name]
    assert make(5, rng=0).shape == (5,)
    assert make(np.int64(5), rng=0).shape == (5,)
    for like in (None, np.zeros(3)):
        made = make((), rng=0, like=like)
        assert type(made) is np.ndarray
        assert made.shape == ()


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("shape", [5, (5,), (), [5]])
def test_weights_of_one_axis(name, shape):
    """Have no fans."""
    assert_refused(lambda: EVERY[name](shape), ValueError, f"shape is {shape}", "fan_in", "expected")


@EACH
def test_wrong_shapes(make):
    """Refused before a number is drawn."""
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    for shape in [(-1, 3), (3, -1), (2, -3, 4)]:
        assert_refused(lambda shape=shape: make(shape, rng=generator), ValueError, f"shape is {shape}", "≥ 0")
    for shape in [(2.0, 3), (2.5, 3), "ab", None, 2.5, (None, 3), f64(2, 3), {3, 4}]:
        assert_refused(lambda shape=shape: make(shape, rng=generator), TypeError, "shape is", "whole numbers")
    assert generator.bit_generator.state == before


# Generators.


@RANDOM
def test_seeds_and_generators(make):
    """Equal seeds draw equal numbers; a generator's next draw differs."""
    first = make((4, 5), rng=7)
    for rng in (7, np.int64(7), np.random.default_rng(7), np.random.SeedSequence(7), np.random.PCG64(7)):
        np.testing.assert_array_equal(make((4, 5), rng=rng), first)
    generator = np.random.default_rng(7)
    np.testing.assert_array_equal(make((4, 5), rng=generator), first)
    assert not np.array_equal(make((4, 5), rng=generator), first)
    assert not np.array_equal(make((4, 5), rng=8), first)
    assert not np.array_equal(make((4, 5)), make((4, 5)))


@RANDOM
def test_float32_is_float64_rounded(make):
    """One seed, the same numbers in both."""
    double = make((6, 5), rng=3, dtype=np.float64)
    np.testing.assert_array_equal(make((6, 5), rng=3), double.astype(np.float32))
    assert (double != double.astype(np.float32)).any()


def test_numbers_are_numpy_s():
    """Numbers equal those of Generator.normal and Generator.uniform with the same seed."""
    theirs = np.random.default_rng(5)
    np.testing.assert_array_equal(
        init.normal((3, 4), 0.5, rng=5, dtype="float64"), theirs.normal(0.0, 0.5, (3, 4))
    )
    ours = np.random.default_rng(5)
    ours.standard_normal(12)
    np.testing.assert_array_equal(
        init.uniform((3, 4), -2, 3, rng=ours, dtype="float64"), theirs.uniform(-2, 3, (3, 4))
    )


@EACH
def test_wrong_seeds(make):
    """With what was given, and what NumPy says of it."""
    for seed in ("zero", 0.5, -1):
        with pytest.raises((TypeError, ValueError), match=f"rng is {seed!r}, expected"):
            make((3, 4), rng=seed)


# Dtypes and kinds.


@EACH
def test_dtypes(make, dtype):
    """float32 if nothing is said."""
    assert make((3, 4)).dtype == np.float32
    for given in (dtype, dtype.type, dtype.name):
        assert make((3, 4), dtype=given).dtype == dtype


@EACH
def test_wrong_dtypes(make):
    """Refused before a number is drawn."""
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    for dtype in (np.int8, int, complex, np.longdouble, ">f4"):
        assert_refused(
            lambda dtype=dtype: make((3, 4), rng=generator, dtype=dtype), TypeError, "dtype is", "float32 or"
        )
    for like in (np.zeros(3, int), [1.0], 1.0, np.ma.zeros(3)):
        assert_refused(
            lambda like=like: make((3, 4), rng=generator, like=like), TypeError, "like", "expected"
        )
    assert generator.bit_generator.state == before


@EACH
def test_like_an_array(make, dtype):
    """Of its dtype, whatever dtype says; not of its shape, and none of its memory."""
    like = np.ones((2, 2), dtype)
    for given in ({}, {"dtype": np.float32}, {"dtype": np.float64}):
        made = make((3, 4), rng=1, like=like, **given)
        assert type(made) is np.ndarray
        np.testing.assert_array_equal(made, make((3, 4), rng=1, dtype=dtype))
        assert made.dtype == dtype
    assert (like == 1.0).all()


@EACH
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_like_a_torch_tensor(make, name):
    """A tensor of its dtype, to be trained in place."""
    torch = pytest.importorskip("torch")
    made = make((3, 4), rng=1, like=torch.zeros(2, dtype=getattr(torch, name), requires_grad=True))
    assert isinstance(made, torch.Tensor)
    assert (made.dtype, made.shape) == (getattr(torch, name), (3, 4))
    np.testing.assert_array_equal(made.numpy(), make((3, 4), rng=1, dtype=name))
    before = made.clone()
    gn.SGD([made], lr=1.0).step([torch.ones_like(made)])
    assert torch.equal(made, before - 1.0)


def test_like_a_torch_tensor_without_axes():
    """A tensor too."""
    torch = pytest.importorskip("torch")
    made = init.constant((), 0.25, like=torch.zeros(3))
    assert isinstance(made, torch.Tensor)
    assert made.shape == ()
    assert made == 0.25


# Wrong numbers.

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("name", "make", "values"),
    [
        ("std", lambda value: init.normal((3, 4), value), [-0.1, NAN, INF]),
        ("low", lambda value: init.uniform((3, 4), value, 1.0), [NAN, INF, -INF]),
        ("high", lambda value: init.uniform((3, 4), 0.5, value), [NAN, INF, 0.4]),
        ("value", lambda value: init.constant((3, 4), value), [NAN]),
        ("gain", lambda value: init.xavier_normal((3, 4), value), [-0.1, NAN, INF]),
        ("gain", lambda value: init.xavier_uniform((3, 4), value), [-0.1, NAN, INF]),
        ("gain", lambda value: init.orthogonal((3, 4), value), [-0.1, NAN, INF]),
        ("negative_slope", lambda value: init.he_normal((3, 4), value), [NAN, INF]),
        ("negative_slope", lambda value: init.he_uniform((3, 4), value), [NAN, INF]),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_wrong_numbers(name, make, values):
    """By name and value."""
    for value in values:
        assert_refused(lambda value=value: make(value), ValueError, f"{name} is {value}", "expected")
    for value in ("0.1", None, [0.1]):
        assert_refused(lambda value=value: make(value), TypeError, f"{name} is {value!r}", "expected")


# Which goes with which activation.

PAIRS = {
    "sigmoid": init.xavier_normal,
    "tanh": init.xavier_normal,
    "relu": init.he_normal,
    "prelu": init.he_normal,
    "elu": init.he_normal,
    "silu": init.he_normal,
    "swish": init.he_normal,
    "selu": init.lecun_normal,
}


@pytest.mark.parametrize("name", PAIRS)
def test_for_activation(name):
    """The one that it names."""
    assert init.for_activation(getattr(gn, name)) is PAIRS[name]


def test_for_every_activation(dtype):
    """With which one goes: it is called as all are."""
    for case in ACTIVATIONS:
        if case.act._init is None:
            assert_refused(lambda act=case.act: init.for_activation(act), ValueError, "act is", "expected")
            continue
        made = init.for_activation(case.act)((3, 4), rng=0, dtype=dtype)
        assert (made.shape, made.dtype) == ((3, 4), dtype)


def test_for_leaky_relu():
    """With its default slope; another may be given."""
    slope = inspect.signature(gn.leaky_relu.rule).parameters["negative_slope"].default
    make, shape = init.for_activation(gn.leaky_relu), (64, 32)
    np.testing.assert_array_equal(make(shape, rng=0), init.he_normal(shape, slope, rng=0))
    np.testing.assert_array_equal(make(shape, rng=0, negative_slope=0.3), init.he_normal(shape, 0.3, rng=0))


def test_for_what_is_no_activation_of_gnumba():
    """A user's own, a name, a function, nothing."""

    @gn.activation(derivative=lambda x: 1.0)
    def straight(x):
        return x

    for act in (straight, "relu", gn.relu.rule, np.tanh, None, [], gn.relu.ufunc):
        assert_refused(lambda act=act: init.for_activation(act), ValueError, "act is", "relu", "expected")


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "selu", "tanh"])
def test_signals_keep_their_size(name, rng):
    """Through thirty layers, forward: what all this is for. Small weights would die out at once."""
    act, x = getattr(gn, name), rng.standard_normal((256, 128)).astype(np.float32)
    start = np.square(x).mean()
    dying = x
    for _ in range(30):
        x = act(x @ init.for_activation(act)((128, 128), rng=rng))
        dying = act(dying @ init.normal((128, 128), rng=rng))
    assert 0.01 * start < np.square(x).mean() < 10.0 * start
    assert np.square(dying).mean() < 1e-20


def test_dtypes_of_other_libraries(dtype):
    """PyTorch's and JAX's are those of NumPy; others are refused in a sentence."""
    torch = pytest.importorskip("torch")
    expected = init.he_normal((3, 4), rng=0, dtype=dtype)
    made = init.he_normal((3, 4), rng=0, dtype=getattr(torch, dtype.name))
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, expected)
    for wrong in (torch.complex64, torch.int64, "float33", 3.0, object, np.int32):
        assert_refused(
            lambda w=wrong: init.he_normal((3, 4), dtype=w), TypeError, "dtype is", "float32 or float64"
        )
