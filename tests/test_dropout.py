"""Dropout: its bits against published ones, one mask by every way, the backward pass, the statistics."""

import inspect
import itertools
import pickle
import re

import layouts
import numba
import numpy as np
import pytest
import reference
from judge import assert_close, assert_same_bits, computed_in_double
from test_errors import assert_refused, f32, f64, masked, read_only, swapped
from without_numba import needs

import gnumba as gn

KEY = (7, 2, 31)
RATES = [0.001, 0.05, 0.25, 0.5, 0.9, 0.999]
NAN, INF = np.nan, np.inf
BOTH = {gn.dropout: reference.dropout, gn.alpha_dropout: reference.alpha_dropout}
EACH = pytest.mark.parametrize("act", BOTH, ids=lambda act: act.name)
WIDE = gn.info()["simd_bits"] >= 256


def drops(shape, rate=0.5, key=KEY, dtype=np.float32):
    """The mask: which elements become 0."""
    return gn.dropout(np.ones(shape, dtype), rate, key) == 0.0


def z_score(mask, probability):
    """By how many standard deviations the share of true elements is off."""
    return (mask.mean() - probability) / np.sqrt(probability * (1 - probability) / mask.size)


# The bits.

KNOWN_ANSWERS = [  # Random123's tests/kat_vectors for philox4x32 with 10 rounds: counter, key, words
    "00000000 00000000 00000000 00000000  00000000 00000000  6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff  ffffffff ffffffff  408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344  a4093822 299f31d0  d16cfe09 94fdcceb 5001e420 24126ea1",
]


@pytest.mark.parametrize("line", KNOWN_ANSWERS)
def test_philox_gives_the_published_words(line):
    """As plain Python, and as the tests' own."""
    words = [int(word, 16) for word in line.split()]
    assert list(gn.rules.philox(*words[:6])) == words[6:]
    assert [
        int(word[0]) for word in reference.philox(np.array(words[:4]).reshape(4, 1), words[4:6])
    ] == words[6:]


def test_philox_gives_jaxs_words(rng):
    """XLA's Philox counts from its state's second half; its first half is the key, and the counter's rest."""
    lax = pytest.importorskip("jax").lax
    for state in rng.integers(0, 2**32 - 8, (5, 4), np.uint32):
        _, words = lax.rng_bit_generator(state, (8, 4), algorithm=lax.RandomAlgorithm.RNG_PHILOX)
        k0, k1, low, high = map(int, state)
        ours = [gn.rules.philox(low + block, high, k0, k1, k0, k1) for block in range(8)]
        np.testing.assert_array_equal(ours, words)


@EACH
def test_rule_is_plain_python_with_the_same_bits(act, rng):
    """Integers of any size there, of 64 bits in compiled code."""
    x = rng.standard_normal(300)
    threshold, words, constants = act._read(0.25, KEY)
    python = [act.rule(i, float(each), threshold, *constants, *words) for i, each in enumerate(x)]
    assert_same_bits(np.array(python), act(x, 0.25, KEY))


# The mask.


@pytest.mark.parametrize("shape", [*layouts.SHAPES.values(), (3, 5, 7)], ids=str)
@EACH
def test_follows_its_formula(act, shape, dtype, target, rng):
    """By position in C order, on any size."""
    x = np.asarray(rng.standard_normal(shape), dtype)
    drop = reference.dropped(np.arange(x.size), 0.3, *KEY).reshape(shape)
    with gn.use_target(target):
        y, dx = act(x, 0.3, KEY), act.backward(x, 0.3, KEY)
    assert_close(y, BOTH[act](x.astype(np.float64), drop, 0.3), dtype, scale=1.0)
    np.testing.assert_array_equal(dx == 0.0, drop)


@pytest.mark.parametrize("rate", [*RATES, 0.0, 2.0**-24, 2.0**-26, 1 - 2.0**-24, 1 / 3])
def test_any_rate_drops_the_same_in_either_dtype(rate):
    """It is rounded to a multiple of 2⁻²⁴ once."""
    drop = reference.dropped(np.arange(20_000), rate, *KEY)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(drops(20_000, rate, dtype=dtype), drop)


def test_rate_is_rounded_to_the_nearest(dtype):
    """An element is dropped from half a step above its number on."""
    first = reference.uniforms([0], *KEY)[0]
    assert drops(1, first + 0.6 * 2.0**-24, dtype=dtype).all()
    assert not drops(1, first + 0.4 * 2.0**-24, dtype=dtype).any()


@pytest.mark.parametrize("layout", [*layouts.WRITABLE.values(), layouts.broadcast], ids=lambda f: f.__name__)
@EACH
def test_any_layout(act, layout, target, rng):
    """The mask is that of the elements in C order, wherever they lie; so with out's strides."""
    values = np.asarray(rng.standard_normal((33, 7)), np.float32)
    if layout is layouts.broadcast:
        values = np.repeat(values[:1], 33, axis=0)
    x = layout(values)
    with gn.use_target(target):
        for compute in (act, act.backward):
            expected = compute(values.reshape(x.shape), 0.5, KEY)
            out = layout(values).copy(order="K")
            assert_same_bits(compute(x, 0.5, KEY), expected)
            assert compute(values.reshape(x.shape), 0.5, KEY, out=out) is out
            assert_same_bits(out, expected)
            assert compute(out, 0.5, KEY, out=out) is out
            assert_same_bits(out, compute(expected, 0.5, KEY))


@pytest.mark.parametrize("layout", [layouts.fortran, layouts.gaps, layouts.backwards])
def test_large_arrays_of_any_layout(layout, target):
    """Dealt to all cores."""
    with gn.use_target(target):
        np.testing.assert_array_equal(
            gn.dropout(layout(np.ones((331, 303), np.float32)), 0.5, KEY) == 0.0,
            reference.dropped(np.arange(331 * 303), 0.5, *KEY).reshape(331, 303),
        )


@pytest.mark.parametrize("axes", list(itertools.permutations(range(4))), ids=str)
def test_any_order_of_axes(axes, rng):
    """Axes of length 1 and axes that could be merged among them."""
    x = rng.standard_normal((3, 1, 4, 5))
    laid = np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))
    assert_same_bits(gn.dropout(laid, 0.5, KEY), gn.dropout(x, 0.5, KEY))
    assert_same_bits(gn.dropout(laid[:, :, ::2], 0.5, KEY), gn.dropout(x[:, :, ::2].copy(), 0.5, KEY))


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 63, 64, 65, 1000])
def test_mask_of_a_part_is_part_of_the_mask(size, target):
    """The first elements do not know how many follow, nor in what shape."""
    with gn.use_target(target):
        whole = drops(5000)
        np.testing.assert_array_equal(drops(size), whole[:size])
        np.testing.assert_array_equal(drops((size, 5)).ravel(), whole[: 5 * size])


@pytest.mark.parametrize("count", [1, 2])
def test_any_number_of_threads(count):
    """Of those that numba has."""
    if count > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("numba has no more threads here")
    before = numba.get_num_threads()
    try:
        with gn.use_target("parallel"):
            gn.dropout(np.ones(1), 0.5, KEY)  # numba's threads have to be there
            numba.set_num_threads(count)
            found = drops(100_003)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(found, reference.dropped(np.arange(100_003), 0.5, *KEY))


def test_large_arrays_go_parallel_to_the_same_mask():
    """Whatever the size from which they do."""
    chosen = drops(600_011)
    for target in ("cpu", "parallel"):
        with gn.use_target(target):
            np.testing.assert_array_equal(chosen, drops(600_011))


@pytest.mark.parametrize("first", [2**31 - 8, 2**32 - 8, 2**40 + 3])
def test_positions_beyond_32_bits(first, dtype):
    """A sweep over sixteen elements that stand there, at an address which says so."""
    from gnumba._engine import host
    from gnumba._engine.storage import OF_DTYPE

    x = np.ones(16, dtype)
    threshold, words, (scale,) = gn.dropout._read(0.5, KEY)
    start = x.ctypes.data - first * x.itemsize
    kernel = host.sweep(gn.dropout._kernel.onto("y", "x"), (OF_DTYPE[dtype],), "cpu")
    pieces, shares = np.array([[0, first, first + 16]]), np.array([0, 1])
    kernel(np.array([[start]]), pieces, shares, np.array([threshold, scale, *words], np.float64))
    np.testing.assert_array_equal(x == 0.0, reference.dropped(first + np.arange(16), 0.5, *KEY))


# Keys.

PINNED = {0: "54d151ec", (0, 1, 0): "22452f8d", (-1,): "e7bb0a7f", (2**64, -(2**70), 5): "988d54d8"}


@pytest.mark.parametrize("key", PINNED, ids=str)
def test_a_key_keeps_its_meaning(key):
    """From process to process and from version to version."""
    assert np.packbits(drops(32, key=key)).tobytes().hex() == PINNED[key]


def test_an_int_is_a_tuple_of_one():
    """Of Python or of NumPy."""
    expected = drops(256, key=3)
    for key in ((3,), np.int64(3), np.uint8(3), (np.int32(3),)):
        np.testing.assert_array_equal(drops(256, key=key), expected)


def test_different_keys_have_different_masks():
    """Small tuples, their permutations, their signs, their lengths, and neighbours of large numbers."""
    keys = [key for length in (1, 2, 3) for key in itertools.product(range(-2, 14), repeat=length)]
    keys += [(0,) * length for length in range(4, 9)] + [
        (2**power + k,) for power in (31, 32, 63, 64, 200) for k in (-1, 0, 1)
    ]
    masks = {np.packbits(drops(128, key=key)).tobytes() for key in keys}
    assert len(masks) == len(keys)


# Statistics; keys are fixed, so that what passes once passes always.


@pytest.mark.parametrize("rate", RATES)
def test_share_of_dropped_elements(rate):
    """Within five standard deviations."""
    assert abs(z_score(drops(1_000_000, rate), rate)) < 5


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 64, 256, 1024, 65_536])
def test_neighbours_are_independent(lag):
    """As often equal as not."""
    mask = drops(1_000_000)
    assert abs(z_score(mask[lag:] == mask[:-lag], 0.5)) < 5


@pytest.mark.parametrize("axis", ["seed", "layer", "step"])
def test_neighbouring_keys_are_independent(axis):
    """So are an element's bits of key after key."""
    place = ("seed", "layer", "step").index(axis)
    keys = [tuple(k if part == place else 1 for part in range(3)) for k in range(64)]
    masks = np.array([drops(20_000, key=key) for key in keys])
    assert abs(z_score(masks, 0.5)) < 5
    for lag in (1, 2, 3, 32):
        assert abs(z_score(masks[lag:] == masks[:-lag], 0.5)) < 5
        assert np.abs([z_score(a == b, 0.5) for a, b in zip(masks[lag:], masks, strict=False)]).max() < 5


@pytest.mark.parametrize("rate", [0.5, 0.25])
def test_runs_of_eight_are_as_frequent_as_they_should_be(rate):
    """Chi-square over all 256 patterns, along the elements and along the steps."""
    stats = pytest.importorskip("scipy.stats")
    along_steps = np.array([drops(1000, rate, (0, 0, step)) for step in range(1000)]).T
    ones = np.array([bin(pattern).count("1") for pattern in range(256)])
    for mask in (drops(1_000_000, rate), along_steps.ravel()):
        observed = np.bincount(np.packbits(mask), minlength=256)
        expected = observed.sum() * rate**ones * (1 - rate) ** (8 - ones)
        assert 1e-4 < stats.chisquare(observed, expected).pvalue < 1 - 1e-4


def test_what_a_rate_drops_a_higher_one_drops_too():
    """24 bits an element are compared with the rate."""
    masks = [drops(10_000, rate) for rate in RATES]
    for low, high in itertools.pairwise(masks):
        assert (low <= high).all()
        assert (low < high).any()


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(rate, rng):
    """Of standardised units; the tolerance is five standard deviations of either."""
    count = 1_000_000
    y = gn.alpha_dropout(rng.standard_normal(count), rate, KEY)
    assert abs(y.mean()) < 5 / np.sqrt(count)
    fourth = np.mean((y - y.mean()) ** 4)
    assert abs(y.var() - 1) < 5 * np.sqrt((fourth - 1) / count)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(rate):
    """Of ones."""
    y = gn.dropout(np.ones(1_000_000), rate, KEY)
    assert abs(y.mean() - 1) < 5 * np.sqrt(rate / (1 - rate) / y.size)


# PyTorch's.


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@EACH
def test_torch_makes_the_same_values(act, rate, dtype, rng):
    """With a mask of its own, which is seen by the one value that all dropped units get."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = np.asarray(rng.uniform(1.0, 2.0, 4000), dtype)
    y = act(x, rate, KEY)
    theirs = getattr(torch.nn.functional, act.name)(torch.from_numpy(x), rate, training=True).numpy()
    values, counts = np.unique(theirs, return_counts=True)
    low = values[np.argmax(counts)]
    kept, kept_by_torch = ~drops(4000, rate), theirs != low
    assert abs(z_score(kept_by_torch, 1 - rate)) < 5
    assert_close(y[~kept], np.full(np.sum(~kept), low), dtype, scale=1.0)
    assert_close(y[kept & kept_by_torch], theirs[kept & kept_by_torch], dtype)


def test_torch_tensors():
    """Tensors in, tensors out, of any layout, with the mask of an array."""
    torch = pytest.importorskip("torch")
    x = torch.ones(7, 33, dtype=torch.float64).T
    y = gn.dropout(x, 0.5, KEY)
    assert isinstance(y, torch.Tensor)
    np.testing.assert_array_equal(y.numpy(), gn.dropout(np.ones((33, 7)), 0.5, KEY))
    out = torch.zeros(33, 7, dtype=torch.float64)
    assert gn.dropout(x, 0.5, KEY, out=out) is out
    assert torch.equal(out, y)


# The backward pass.


@EACH
def test_backward_is_the_slope(act, target, rng):
    """Both are straight lines: differences far apart are exact but for roundings."""
    x, dy = rng.standard_normal((2, 5000))
    with gn.use_target(target):
        slope = (act(x + 4, 0.3, KEY) - act(x - 4, 0.3, KEY)) / 8
        np.testing.assert_allclose(act.backward(dy, 0.3, KEY), dy * slope, rtol=1e-13, atol=1e-14)


@EACH
def test_backward_in_place(act, rng):
    """Over dy."""
    dy = np.asarray(rng.standard_normal(1001), np.float32)
    expected = act.backward(dy, 0.5, KEY)
    assert act.backward(dy, 0.5, KEY, out=dy) is dy
    assert_same_bits(dy, expected)


@EACH
def test_backward_of_a_dropped_unit_is_zero_whatever_comes(act, dtype):
    """Of dy = nan or ∞, too."""
    drop = drops(100)
    for strange in (NAN, INF, -INF):
        dx = act.backward(np.full(100, strange, dtype), 0.5, KEY)
        assert (dx[drop] == 0.0).all()
        np.testing.assert_array_equal(dx[~drop], dtype.type(strange))


# Values out of the ordinary.


@EACH
def test_nan_and_inf(act, dtype):
    """Selected, not multiplied by a mask: a dropped nan is gone, a kept one stays."""
    drop = drops(100)
    low = act(np.zeros(100, dtype), 0.5, KEY)[drop]
    for strange in (NAN, INF, -INF):
        y = act(np.full(100, strange, dtype), 0.5, KEY)
        np.testing.assert_array_equal(y[drop], low)
        np.testing.assert_array_equal(y[~drop], dtype.type(strange))


@EACH
def test_rate_0_is_the_identity(act, dtype):
    """To the bit, and a copy."""
    limits = np.finfo(dtype)
    x = np.array([-0.0, 0.0, 1.1, -limits.max, limits.smallest_subnormal, INF, NAN], dtype)
    for y in (act(x, 0.0, KEY), act.backward(x, 0, KEY)):
        assert_same_bits(y, x)
        assert not np.shares_memory(x, y)


@pytest.mark.parametrize("rate", [1 - 2.0**-10, 1 - 2.0**-23, 1 - 2.0**-24, np.nextafter(1.0, 0.0)])
@EACH
def test_rates_near_1(act, rate, dtype):
    """Few units, with a large factor, or none; no nan."""
    y = act(np.ones(50_000, dtype), rate, KEY)
    drop = reference.dropped(np.arange(y.size), rate, *KEY)
    assert np.isfinite(y).all()
    assert_close(y, BOTH[act](np.ones(y.size), drop, rate), dtype, scale=np.abs(y).max())


def test_what_is_too_large_for_the_dtype_is_inf():
    """As anywhere else."""
    y = gn.dropout(np.full(100, 3e38, np.float32), 0.5, KEY)
    assert set(y) == {np.float32(0.0), np.float32(INF)}


# What comes in and what goes out.


@pytest.mark.parametrize("x", [[1, 2, 3, 4], np.arange(1, 5, dtype="i4"), [1.0, 2.0, 3.0, 4.0]], ids=repr)
def test_what_numpy_takes(x):
    """Lists and integers become float64."""
    y = gn.dropout(x, 0.5, KEY)
    assert y.dtype == np.float64
    assert_same_bits(y, gn.dropout(np.array(x, np.float64), 0.5, KEY))


def test_scalars_stay_scalars():
    """Of float32, too."""
    assert type(gn.dropout(2.0, 0.0, KEY)) is np.float64
    assert type(gn.alpha_dropout(np.float32(2.0), 0.25, KEY)) is np.float32


@pytest.mark.parametrize("rate", [0.25, np.float32(0.25), np.float64(0.25), np.float16(0.25), 0, False])
def test_rate_is_weak(rate):
    """No number, of whatever precision, changes the dtype."""
    y = gn.dropout(f32(40) + 3, rate, KEY)
    assert_same_bits(y, gn.dropout(f32(40) + 3, float(rate), KEY))
    assert y.dtype == np.float32


@EACH
def test_in_place_and_over_a_part_of_itself(act, rng):
    """As if the input had been copied first."""
    whole = rng.standard_normal(101)
    expected = act(whole[:-1].copy(), 0.5, KEY)
    assert_same_bits(act(whole[:-1], 0.5, KEY, out=whole[1:]), expected)
    fresh = expected.copy()
    assert act(fresh, 0.5, KEY, out=fresh) is fresh
    assert_same_bits(fresh, act(expected, 0.5, KEY))


@EACH
def test_x_is_not_written(act, rng):
    """Read-only will do."""
    for x in (rng.standard_normal((8, 6)), rng.standard_normal((16, 6))[::2]):
        before = x.copy()
        act(read_only(x), 0.5, KEY)
        np.testing.assert_array_equal(x, before)


@EACH
def test_signature(act):
    """As it is called, not the scalar rule's."""
    assert str(inspect.signature(act)) == "(x, rate, key, *, out=None)"


@EACH
def test_pickles_and_prints(act):
    """It is a name for a thing in the module."""
    assert pickle.loads(pickle.dumps(act)) is act
    assert repr(act) == f"<{act.name}(x, rate, key)>"
    assert act.rule is getattr(gn.rules, act.name)


# Errors.

BAD_RATES = [
    (1.0, ValueError),
    (1, ValueError),
    (-0.1, ValueError),
    (1.5, ValueError),
    (NAN, ValueError),
    (INF, ValueError),
]
BAD_RATES += [
    ("0.5", TypeError),
    (None, TypeError),
    ([0.5], TypeError),
    (0.5j, TypeError),
    (abs, TypeError),
]
BAD_KEYS = [(1.0, TypeError), (True, TypeError), ((1, False), TypeError), ("7", TypeError), (None, TypeError)]
BAD_KEYS += [
    ([1, 2], TypeError),
    ((1, 2.0), TypeError),
    ((1, (2, 3)), TypeError),
    (np.bool_(True), TypeError),
    ((), ValueError),
]


@pytest.mark.parametrize(("rate", "kind"), BAD_RATES, ids=repr)
@EACH
def test_bad_rates(act, rate, kind):
    """Refused, and nothing written."""
    out = f64(5)
    for compute in (act, act.backward):
        message = assert_refused(
            lambda c=compute: c(f64(5) + 1, rate, KEY, out=out), kind, "rate is ", "expected"
        )
        assert "[0, 1)" in message
    assert (out == 0.0).all()


@pytest.mark.parametrize(("key", "kind"), BAD_KEYS, ids=repr)
@EACH
def test_bad_keys(act, key, kind):
    """A bool is no int here; floats are none."""
    out = f64(5)
    for compute in (act, act.backward):
        assert_refused(
            lambda c=compute: c(f64(5) + 1, 0.5, key, out=out), kind, f"key is {key!r}", "expected", "int"
        )
    assert (out == 0.0).all()


BAD_ARRAYS = {
    "longdouble": (np.ones(5, np.longdouble), TypeError, np.dtype(np.longdouble).name),
    "complex": (np.ones(5, complex), TypeError, "complex128"),
    "text": (np.array(["a"]), TypeError, "<U1"),
    "masked": (masked(f64(5)), TypeError, "masked"),
    "byte-swapped": (swapped(f64(5)), TypeError, ">f8"),
}


@pytest.mark.parametrize(("x", "kind", "word"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays(x, kind, word):
    """By the name that each has."""
    assert_refused(lambda: gn.dropout(x, 0.5, KEY), kind, "x ", word)
    assert_refused(lambda: gn.alpha_dropout.backward(x, 0.5, KEY), kind, "dy ", word)


BAD_OUTS = {
    "shape": (lambda: f64(4), ValueError, "(4,)"),
    "dtype": (lambda: f32(5), TypeError, "float32"),
    "read-only": (lambda: read_only(f64(5)), ValueError, "read-only"),
    "0-strides": (lambda: np.lib.stride_tricks.as_strided(f64(1), (5,), (0,)), ValueError, "strides"),
    "list": (lambda: [0.0] * 5, TypeError, "list"),
}


@pytest.mark.parametrize(("make", "kind", "word"), BAD_OUTS.values(), ids=BAD_OUTS)
@EACH
def test_bad_outs(act, make, kind, word):
    """Refused as they are, with nothing in them."""
    out = make()
    for compute in (act, act.backward):
        assert_refused(lambda c=compute: c(f64(5) + 1, 0.5, KEY, out=out), kind, "out", word)
    assert (np.asarray(out) == 0.0).all()


# The machine code.


@pytest.fixture(scope="module", params=BOTH, ids=lambda act: act.name)
def inspected(request):
    """The float32 kernel of each."""
    return gn.inspect(request.param, "cpu", "float32")


def test_float32_kernel_computes_in_float32(inspected):
    """And in integers; nothing is widened."""
    assert computed_in_double(inspected["llvm"]) == []


@needs("inlining")
@pytest.mark.skipif(not WIDE, reason="this CPU has no 256-bit vectors")
def test_float32_kernel_is_simd(inspected):
    """All ten rounds of it, in the widest registers."""
    assert len(re.findall(r"vpmuludq\b.*%[yz]mm", inspected["asm"])) >= 15


def test_bits_are_reckoned_as_dear_as_an_exponential(dtype):
    """So that all cores work from a quarter of the size on."""
    from gnumba._engine.compile.kernel import cost
    from gnumba._engine.storage import alike

    for act in BOTH:
        costs = [cost(function, alike(function, dtype)) for function in act._functions]
        assert costs == [cost(gn.sigmoid._kernel, alike(gn.sigmoid._kernel, dtype))] * 2


def test_precompile_compiles_what_a_loop_needs():
    """Forward and backward."""
    from gnumba._engine import host

    gn.precompile(gn.alpha_dropout, "float64")
    made = host.flat.cache_info().misses
    gn.alpha_dropout.backward(gn.alpha_dropout(np.zeros(3), 0.5, 1), 0.5, 1)
    assert host.flat.cache_info().misses == made
