"""The elementary functions: their accuracy in ulp against mpmath, their special values, and the same
bits in plain Python as compiled."""

import math
import runpy
from functools import cache
from math import inf, nan
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from judge import computed_in_double, computed_in_vectors
from without_numba import needs

import gnumba as gn
from gnumba import elementary
from gnumba.elementary import (
    FAR,
    clip,
    cos,
    erf,
    erfc,
    exp,
    exp_below,
    exp_plus,
    expm1,
    fma,
    horner,
    log,
    log1p,
    maximum,
    minimum,
    pow2,
    scaled_exp,
    scaled_one_plus_exp,
    sign,
    sin,
    split_exponent,
    sqrt,
    tanh,
    where,
)

DTYPES = [np.float32, np.float64]
COEFFICIENTS = (0.5, -0.25, 3.0)


@cache
def compiled(fn):
    return gn.activation(derivative=fn)(fn).ufunc("cpu")


@pytest.fixture(autouse=True)
def no_floating_point_warnings():
    """Branch-free code computes what it then does not take: flags are raised for nan and inf."""
    with np.errstate(all="ignore"):
        yield


# Rules of one argument around the functions that take or return two.


def elu(x):
    return x if not x < 0.0 else expm1(x)


def sigmoid(x):
    d, s = scaled_one_plus_exp(-x)
    return s / d


def silu(x):
    x = -FAR if x < -FAR else x
    d, s = scaled_one_plus_exp(-x)
    return x * s / d


def quotient(x):
    w, s = scaled_exp(x)
    return w / s


def positive_part(x):
    return maximum(x, 0.0)


def negative_part(x):
    return minimum(x, 0.0)


def at_most_1(x):
    return clip(x, -1.0, 1.0)


def chosen(x):
    return where((x > 1.0) | (x != x), x, -1.0)


def polynomial(x):
    return horner(x, COEFFICIENTS)


def mantissa(x):
    return split_exponent(x)[0]


def exponent(x):
    return split_exponent(x)[1]


def logistic(x):
    return 1 / (1 + mp.exp(-x))


# function, exact, largest error in ulp for float32 and float64
ACCURACY = [
    (exp, mp.exp, (0.9, 0.9)),
    (expm1, mp.expm1, (1.2, 1.3)),
    (tanh, mp.tanh, (1.0, 1.2)),
    (log, lambda x: mp.log(x) if x > 0 else None, (0.9, 0.9)),
    (log1p, lambda x: mp.log1p(x) if x > -1 else None, (0.9, 0.9)),
    (sqrt, lambda x: mp.sqrt(x) if x > 0 else None, (0.5, 0.5)),
    (erf, mp.erf, (2.0, 1.5)),
    (erfc, lambda x: mp.erfc(min(x, 100)), (2.5, 2.5)),
    (sin, lambda x: mp.sin(x) if abs(x) <= 2**18 else None, (0.9, 0.8)),
    (cos, lambda x: mp.cos(x) if abs(x) <= 2**18 else None, (0.9, 0.8)),
    (sigmoid, logistic, (2.5, 2.5)),
    (silu, lambda x: x * logistic(x), (2.5, 2.5)),
    (elu, lambda x: mp.expm1(x) if x < 0 else x, (1.0, 1.0)),
]
PLAIN = [row[0] for row in ACCURACY]
PLAIN += [quotient, positive_part, negative_part, at_most_1, sign, chosen, polynomial]


@cache
def arguments(dtype):
    """Finite arguments over the whole range, dense where a function has an edge or is at its worst."""
    info = np.finfo(dtype)
    normal = np.geomspace(float(info.tiny), float(info.max), 700).astype(dtype)
    subnormal = np.geomspace(1.0, 2.0**info.nmant, 60).astype(dtype) * info.smallest_subnormal
    near_0 = np.geomspace(float(info.eps) ** 2, 1.0, 400)
    # where exp's n changes, and where it over- and underflows
    edges = np.log(2.0) * np.arange(info.minexp - info.nmant - 2.0, info.maxexp + 2.0)
    edges = np.concatenate([edges, edges + np.log(1.5)]).astype(dtype)
    edges = np.concatenate([np.nextafter(edges, -info.max), edges, np.nextafter(edges, info.max)])
    far = np.linspace(708.0, 746.0, 200) if dtype is np.float64 else np.linspace(86.0, 104.0, 200)
    parts = [normal, subnormal, near_0, 1.0 - near_0, 1.0 + near_0, edges, far]
    parts += [np.linspace(0.2, 0.95, 500), np.linspace(16.0, 19.0, 300), np.linspace(36, 39, 300)]
    positive = np.concatenate([np.asarray(p, dtype) for p in parts])
    return np.unique(np.concatenate([positive, -positive]))


def error(y, exact, info):
    """|y - exact| in ulp of the exact result; inf where one overflows and the other does not."""
    size = abs(exact)
    if size >= mp.mpf(float(info.max)) * (1 + mp.mpf(2) ** -(info.nmant + 2)):
        return 0.0 if y == mp.sign(exact) * mp.inf else inf
    binade = max(mp.frexp(size)[1], int(info.minexp) + 1) if size else int(info.minexp) + 1
    return float(abs(mp.mpf(y) - exact) / mp.mpf(2) ** (binade - info.nmant - 1))


@pytest.mark.parametrize(("function", "exact", "bounds"), ACCURACY)
def test_accuracy(function, exact, bounds):
    x = arguments(np.float64)[::2]
    y = compiled(function)(x)
    assert y.dtype == np.float64
    info, bound = np.finfo(np.float64), bounds[1]
    with mp.workprec(120):
        results = [(a, b, exact(mp.mpf(a))) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        errors = [(error(b, r, info), a) for a, b, r in results if r is not None]
    assert len(errors) > 1500
    assert [worse for worse in errors if not worse[0] <= bound] == []  # nan too is worse


@pytest.mark.parametrize(("function", "bounds"), [(row[0], row[2]) for row in ACCURACY])
def test_accuracy_of_float32(function, bounds):
    """Against float64's results, which have 29 bits more and come of longer polynomials."""
    x = arguments(np.float32)
    y, exact = compiled(function)(x), compiled(function)(x.astype(np.float64))
    assert (y.dtype, exact.dtype) == (np.float32, np.float64)
    inside = ~np.isnan(exact)  # nan where x is outside the domain
    if function in (sin, cos):
        inside &= abs(x) <= 2.0**18
    x, y, exact = (each[inside] for each in (x, y, exact))
    assert len(x) > 3000
    info = np.finfo(np.float32)
    binade = np.where(exact == 0.0, info.minexp, np.maximum(np.frexp(exact)[1] - 1, info.minexp))
    errors = abs(np.ldexp(y - exact, info.nmant - binade))
    is_large = abs(exact) >= float(info.max) * (1.0 + 2.0 ** -(info.nmant + 2))
    errors = np.where(is_large, np.where(y == np.sign(exact) * inf, 0.0, inf), errors)
    assert x[~(errors <= bounds[0])].tolist() == []  # nan too is worse


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_below_is_accurate_down_to_where_it_is_0(dtype):
    edge = -87.0 if dtype is np.float32 else -708.0
    x = np.concatenate([np.linspace(edge, 0.0, 3000), -np.geomspace(1e-9, 1.0, 500)]).astype(dtype)
    y, info = compiled(exp_below)(x), np.finfo(dtype)
    with mp.workprec(120):
        assert (
            max(error(b, mp.exp(mp.mpf(a)), info) for a, b in zip(x.tolist(), y.tolist(), strict=True)) <= 1.3
        )
    outside = compiled(exp_below)(np.array([np.nextafter(dtype(edge), dtype(-inf)), -inf, nan], dtype))
    np.testing.assert_array_equal(outside, [0.0, 0.0, nan])
    assert [exp_below(float(a)) for a in x[:50].astype(np.float64)] == compiled(exp_below)(
        x[:50].astype(np.float64)
    ).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_exp_neither_overflows_nor_leaves_the_powers_of_two(dtype):
    x = arguments(dtype)
    lowest = -87.0 if dtype is np.float32 else -708.0
    y = compiled(quotient)(x)
    expected = compiled(exp)(np.maximum(x, dtype(lowest)))
    np.testing.assert_allclose(y, expected, rtol=2 * np.finfo(dtype).eps)
    for a in (-1e300, -1.0, 0.0, 700.0, 709.7, 710.0, 1100.0, 1e300):
        w, s = scaled_exp(a)
        assert 0.0 < w < inf
        assert math.frexp(s)[0] == 0.5  # a power of two
        assert s == 1.0 if a <= 709.0 else 0.0 < s <= 1.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_plus_has_the_digits_of_results_that_are_subnormal(dtype):
    """y is normal; y times the power of two is exp; the sum is as good as a sum can be."""
    far = float(FAR if dtype is np.float64 else FAR.float32)

    def mantissa_of(x):
        return exp_plus(x, 0.0)[0]

    def power_of(x):
        return exp_plus(x, 0.0)[2]

    def plus_1(x):
        return exp_plus(x, 1.0)[1]

    x = arguments(dtype)
    x = np.concatenate([x[(x < 0.0) & (x > -far)], [dtype(-far)]])
    y, power = compiled(mantissa_of)(x), compiled(power_of)(x)
    assert y.min() >= np.finfo(dtype).tiny
    assert set(np.frexp(power)[0]) == {dtype(0.5)}
    np.testing.assert_array_equal(y * power, compiled(exp)(x))
    np.testing.assert_allclose(
        compiled(plus_1)(x), 1.0 + np.exp(x.astype(np.float64)), rtol=np.finfo(dtype).eps
    )


SPECIAL = [
    (exp, [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0)]),
    (expm1, [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1.0)]),
    (tanh, [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (25.0, 1.0), (-1e30, -1.0)]),
    (log, [(0.0, -inf), (-0.0, -inf), (1.0, 0.0), (inf, inf), (-inf, nan), (-1.0, nan)]),
    (log1p, [(0.0, 0.0), (-0.0, -0.0), (-1.0, -inf), (inf, inf), (-inf, nan), (-2.0, nan)]),
    (sqrt, [(0.0, 0.0), (-0.0, -0.0), (4.0, 2.0), (inf, inf), (-inf, nan), (-1.0, nan)]),
    (erf, [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (30.0, 1.0), (-1e30, -1.0)]),
    (erfc, [(0.0, 1.0), (-0.0, 1.0), (inf, 0.0), (-inf, 2.0), (1e30, 0.0), (-30.0, 2.0)]),
    (sin, [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (1e30, nan)]),
    (cos, [(0.0, 1.0), (-0.0, 1.0), (inf, nan), (-inf, nan), (-1e30, nan)]),
    (sign, [(0.0, 0.0), (-0.0, -0.0), (2.0, 1.0), (-2.0, -1.0), (inf, 1.0), (-inf, -1.0)]),
    (sigmoid, [(0.0, 0.5), (inf, 1.0), (-inf, 0.0), (-1e30, 0.0), (1e30, 1.0)]),
    (silu, [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -0.0), (-1e30, -0.0)]),
    (positive_part, [(-1.0, 0.0), (2.0, 2.0), (inf, inf), (-inf, 0.0)]),
    (negative_part, [(-1.0, -1.0), (2.0, 0.0), (inf, 0.0), (-inf, -inf)]),
    (chosen, [(1.0, -1.0), (2.0, 2.0), (inf, inf), (-inf, -1.0)]),
    (at_most_1, [(-0.5, -0.5), (-2.0, -1.0), (inf, 1.0), (-inf, -1.0)]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "pairs"), SPECIAL)
def test_special_values(function, pairs, dtype):
    x, expected = np.array([*pairs, (nan, nan)], dtype).T
    for y in (compiled(function)(x), np.array([function(float(a)) for a in x], dtype)):
        np.testing.assert_array_equal(y, expected)
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(y[known]), np.signbit(expected[known]))


def test_nan_in_either_place():
    for function in (maximum, minimum):
        assert math.isnan(function(nan, 1.0))
        assert math.isnan(function(1.0, nan))
        y = compiled(function)(np.array([nan, 1.0]), np.array([1.0, nan]))
        assert np.isnan(y).all()


def same_bits(y, expected):
    y, expected = np.asarray(y), np.asarray(expected, np.float64)
    return np.array_equal(y, expected, equal_nan=True) and np.array_equal(
        np.signbit(y[y == 0]), np.signbit(expected[y == 0])
    )


@pytest.mark.parametrize("function", PLAIN)
def test_plain_python_has_the_bits_of_the_compiled_float64(function):
    x = np.concatenate([arguments(np.float64)[::17], [0.0, -0.0, inf, -inf, nan]])
    assert same_bits(compiled(function)(x), [function(float(a)) for a in x])


def test_fma():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2**64, (2, 800), np.uint64).view(np.float64)
    c = np.where(np.arange(800) % 2, -a * b, rng.integers(0, 2**64, 800, np.uint64).view(np.float64))
    special = [0.0, -0.0, 1.0, -1.0, inf, -inf, nan, 1e308, -1e308, 5e-324, 2.0**-1022]
    triples = np.array(np.meshgrid(special, special, special)).reshape(3, -1)
    a, b, c = np.concatenate([np.array([a, b, c]), triples], axis=1)
    plain = [fma(*map(float, triple)) for triple in zip(a, b, c, strict=True)]
    assert same_bits(compiled(fma)(a, b, c), plain)
    exact = [elementary._exact_fma(x, x, -x * x) for x in (0.1, 1e-160, 3.0)]
    assert exact == [elementary._fma(x, x, -x * x) for x in (0.1, 1e-160, 3.0)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_and_exponents(dtype):
    info = np.finfo(dtype)
    n = np.arange(info.minexp, info.maxexp).astype(dtype)
    np.testing.assert_array_equal(compiled(pow2)(n), np.ldexp(dtype(1), n.astype(int)))
    x = arguments(dtype)
    x = x[x >= info.tiny]
    m, e = compiled(mantissa)(x), compiled(exponent)(x)
    assert m.dtype == e.dtype == dtype
    assert m.min() >= dtype(math.sqrt(0.5))
    assert m.max() <= dtype(math.sqrt(2.0))
    np.testing.assert_array_equal(np.ldexp(m.astype(np.float64), e.astype(int)), x)
    if dtype is np.float64:
        assert [split_exponent(a) for a in x.tolist()] == list(zip(m, e, strict=True))


def power(x, exponent):
    return elementary.pow(x, exponent)


def powers(dtype):
    """Bases and exponents with results from underflow to overflow, half of them of bases near 1."""
    rng, info = np.random.default_rng(7), np.finfo(dtype)
    wide = np.exp(rng.uniform(math.log(info.smallest_subnormal), math.log(info.max), 3000))
    near = 1.0 + rng.uniform(-0.3, 0.42, 3000)
    x = np.concatenate([wide, near]).astype(dtype)
    x = x[(x != 1) & np.isfinite(x)]
    lowest, highest = math.log(info.smallest_subnormal), math.log(info.max)
    return x, (rng.uniform(lowest, highest, x.size) / np.log(x.astype(np.float64))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_accuracy_of_pow(dtype):
    x, exponent = powers(dtype)
    y, info = compiled(power)(x, exponent), np.finfo(dtype)
    with mp.workprec(200):
        triples = zip(x.tolist(), exponent.tolist(), y.tolist(), strict=True)
        errors = [error(c, mp.mpf(a) ** mp.mpf(b), info) for a, b, c in triples]
    worst = int(np.argmax(errors))
    assert errors[worst] <= 2.0, (x[worst], exponent[worst])


@pytest.mark.parametrize("dtype", DTYPES)
def test_pow_of_special_numbers_is_that_of_the_standard(dtype):
    """As math.pow, with nan and ±inf where that raises."""
    odd = 2.0**24 - 1.0 if dtype is np.float32 else 2.0**53 - 1.0
    special = [0.0, 1.0, 2.0, 0.5, 3.0, 1.5, inf, odd, odd + 1.0, nan]
    special += [-number for number in special[:-1]]
    for x in special:
        for exponent in special:
            try:
                expected = math.pow(x, exponent)
            except ValueError:  # 0 to a negative power, or a negative number to no integer
                negative = math.copysign(1.0, x) < 0 and abs(exponent) in (1.0, 3.0, odd)
                expected = nan if x else -inf if negative else inf
            except OverflowError:
                expected = -inf if x < 0 and abs(exponent) == odd else inf
            plain, made = elementary.pow(x, exponent), compiled(power)(dtype(x), dtype(exponent))
            for y in (plain, float(made)):
                if math.isfinite(expected) and expected and abs(math.log2(abs(expected))) < 100:
                    assert y == pytest.approx(expected, rel=2e-7), (x, exponent)
                elif dtype is np.float64 or expected in (0.0, inf, -inf) or expected != expected:
                    np.testing.assert_allclose(y, expected, rtol=1e-14, err_msg=f"{x} {exponent}")
                assert y != y or math.copysign(1.0, y) == math.copysign(1.0, expected), (x, exponent)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "exact"), [(sin, mp.sin), (cos, mp.cos)])
def test_sine_and_cosine_beside_multiples_of_a_right_angle(function, exact, dtype):
    """As far as they are numbers, where most digits of the reduced argument cancel; nan beyond."""
    last = float(2**18 if dtype is np.float32 else 2**47)
    n = np.random.default_rng(3).integers(0, int(last / 1.6), 3000)
    x = np.concatenate([n * (np.pi / 2), [last]]).astype(dtype)
    y = compiled(function)(x)
    with mp.workprec(200):
        errors = [
            error(b, exact(mp.mpf(a)), np.finfo(dtype)) for a, b in zip(x.tolist(), y.tolist(), strict=True)
        ]
    assert max(errors) <= 1.0
    assert np.isnan(compiled(function)(np.nextafter(dtype(last), dtype(inf))))


def test_in_a_rule_the_standard_library_s_names_mean_these():
    """math.erf and its kin, and NumPy's."""

    def by_names(x):
        return math.erf(x) + math.erfc(x) * math.sin(x) - math.pow(x, 3.0) * np.cos(x) + np.abs(x)

    def by_ours(x):
        return erf(x) + erfc(x) * sin(x) - elementary.pow(x, 3.0) * cos(x) + elementary.abs(x)

    x = np.linspace(-4, 4, 301, dtype=np.float32)
    np.testing.assert_array_equal(compiled(by_names)(x), compiled(by_ours)(x))


def test_primitives_take_one_float_type():
    def widening(x):
        return fma(x, 2, 1.0)

    with pytest.raises(Exception, match=r"fma takes floats of one type \(write 2.0, not 2\)"):
        compiled(widening)


def softplus(x):
    return log1p(exp(-abs(x)))


def square_root_of_the_third(x):
    return elementary.pow(abs(x), 1.5)


def soft_step(x):
    return exp(-abs(x)) + tanh(x)


COMPOSED = [exp, expm1, log, log1p, tanh, sqrt, sign, sigmoid, silu, softplus, soft_step]
COMPOSED += [erf, erfc, sin, cos, square_root_of_the_third]
COMPOSED += [quotient, positive_part, negative_part, at_most_1, chosen]


@needs("inlining")
@pytest.mark.skipif(gn.info()["simd_bits"] < 256, reason="no wide registers")
@pytest.mark.parametrize("function", COMPOSED)
def test_in_a_rule_of_any_form_they_are_simd(function):
    """Whatever bytecode Python, and whatever branches numba, makes of two calls in an expression."""

    @gn.rule
    def composed(p, g, /, lr):
        return p - lr * function(p) * function(g)

    made = gn.inspect(composed, "cpu", "float32")
    assert computed_in_vectors(made["asm"])
    assert computed_in_double(made["llvm"]) == []


def test_where_takes_one_float_type():
    def widening(x):
        return where(x > 0.0, x, 0)

    with pytest.raises(Exception, match=r"where takes floats of one type \(write 2.0, not 2\)"):
        compiled(widening)


def test_the_coefficients_are_what_the_tool_makes(capsys):
    root = Path(__file__).parents[1]
    runpy.run_path(str(root / "tools" / "polynomials.py"), run_name="__main__")
    assert capsys.readouterr().out in (root / "gnumba" / "elementary.py").read_text("utf-8")


def test_coefficients_are_polished_for_so_long():
    """However long the error goes on falling: a move takes an ulp, or two, off the 1000."""
    polished = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "polynomials.py"))["polished"]
    given = [1000.0], [mp.mpf(1)], [mp.mpf(2) ** 24], 24
    assert polished([1.0 - 1000 * 2.0**-24, 0.0], *given, most=10)[1] >= 980.0
    (first, second), errors = polished([1.0 - 1000 * 2.0**-24, 0.0], *given, most=2000)
    assert (first + second, errors) == (1.0, 0.0)


def test_constants_per_dtype():
    constant = elementary.per_dtype(float64=(1.0, 2.0), float32=(3.0,))
    assert constant == (1.0, 2.0)
    assert constant.float32 == (3.0,)
    assert FAR * math.exp(-FAR) == 0.0
    assert np.float32(FAR.float32 * math.exp(-FAR.float32)) == 0.0
