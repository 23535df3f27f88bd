"""Accuracy in ulp, monotony and range, by a dense sample of what tools/accuracy.py tries in full."""

import importlib.util
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

import gnumba as gn

PATH = Path(__file__).parents[1] / "tools" / "accuracy.py"
if not PATH.exists():
    pytest.skip("there is no tools/accuracy.py beside the package", allow_module_level=True)
SPEC = importlib.util.spec_from_file_location("accuracy", PATH)
accuracy = sys.modules["accuracy"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(accuracy)

ROWS = accuracy.rows()
LONG = np.finfo(np.longdouble).nmant >= 63
SAMPLE = 2**15
# float32 exponents, both signs: a few neighbours in each, so that steps are single ones
EACH_BINADE = (np.arange(2**9, dtype=np.uint32)[:, None] << 23) + np.arange(
    0, 2**23, 2**17 + 1, dtype=np.uint32
)
TAILS = [
    ("silu", -91.28, -103.96),
    ("tanh", -44.4, -51.9),
    ("sigmoid", -88.7, -103.9),
    ("elu", -88.7, -103.9),
]


@pytest.fixture(autouse=True, scope="module")
def on_one_core():
    """By kernels that other tests compile too."""
    with gn.use_target("cpu"):
        yield


def found(row, dtype, seed):
    """Measure a row in hard inputs and, in float32, in each binade."""
    x = accuracy.hard(dtype, seed, SAMPLE)
    if dtype == np.float32:
        x = np.concatenate([x, EACH_BINADE.view(np.float32).ravel()])
    return accuracy.measure(row, np.unique(x), ascending=True)


@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_dense_sample(row, dtype):
    if dtype == np.float64 and not LONG:
        pytest.skip("long double is no longer than float64 here")
    seen = found(row, dtype, seed=1)
    assert list(accuracy.failures(row, seen, dtype)) == []


@pytest.mark.parametrize("row", [row for row in ROWS if row.shape[0]], ids=lambda row: row.name)
def test_neighbours_do_not_turn(row):
    """Around each change of a function's formula or of the range reduction, float32 after float32."""
    edges = np.concatenate([np.log(2.0) * np.arange(-152.0, 129.0), [0.9, 10.0, 20.0, 1e-17]])
    edges = np.concatenate([edges, edges + np.log(1.5), 0.5 * edges, 0.5 * (edges + np.log(1.5))])
    bits = np.concatenate([edges, -edges]).astype(np.float32).view(np.int32)
    x = np.sort((bits[:, None] + np.arange(-200, 200, dtype=np.int32)).view(np.float32), axis=1)
    with np.errstate(all="ignore"):
        wrong = np.diff(row.function(x), axis=1) * row.shape[0] < 0
    low, high = row.domains[0]
    assert x[:, 1:][wrong & (x[:, :-1] >= low) & (x[:, 1:] <= high)].tolist() == []


def normal(x):
    """Φ(x)."""
    return mp.erfc(-x / mp.sqrt(2)) / 2


def gate(x):
    """Twice the argument of the tanh in GELU's tanh form."""
    return mp.sqrt(8 / mp.pi) * (x + mp.mpf("0.044715") * x**3)


def logistic(x):
    return 1 / (1 + mp.exp(-x))


EXACT = {
    "erf": mp.erf,
    "erfc": mp.erfc,
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": lambda x: mp.log(x) if x > 0 else mp.nan,
    "log1p": lambda x: mp.log1p(x) if x > -1 else mp.nan,
    "tanh": mp.tanh,
    "sigmoid": logistic,
    "silu": lambda x: x * logistic(x),
    "sigmoid′": lambda x: mp.exp(-x) / (1 + mp.exp(-x)) ** 2,
    "tanh′": lambda x: 4 * mp.exp(-2 * x) / (1 + mp.exp(-2 * x)) ** 2,
    "silu′": lambda x: (1 + mp.exp(-x) * (1 + x)) / (1 + mp.exp(-x)) ** 2,
    "selu": lambda x: SCALE * x if x >= 0 else SCALE * ALPHA * mp.expm1(x),
    "selu′": lambda x: SCALE if x > 0 else SCALE * ALPHA * mp.exp(x),
    "gelu": lambda x: x * normal(x),
    "gelu′": lambda x: normal(x) + x * mp.npdf(x),
    "gelu_tanh": lambda x: x * logistic(gate(x)),
    "gelu_tanh′": lambda x: mp.diff(lambda t: t * logistic(gate(t)), x),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "mish′": lambda x: mp.diff(lambda t: t * mp.tanh(mp.log1p(mp.exp(t))), x),
    "softplus 0.75": lambda x: mp.log1p(mp.exp(0.75 * x)) / 0.75,
    "softplus 0.75′": lambda x: logistic(0.75 * x),
    "celu 0.75": lambda x: x if x >= 0 else 0.75 * mp.expm1(x / 0.75),
    "celu 0.75′": lambda x: 1 if x > 0 else mp.exp(x / 0.75),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "tanh_shrink": lambda x: x - mp.tanh(x),
    "tanh_shrink′": lambda x: mp.tanh(x) ** 2,
    "sine": lambda x: mp.sin(30 * x),
    "sine′": lambda x: 30 * mp.cos(30 * x),
}
with mp.workdps(40):
    SCALE, ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")


@pytest.mark.skipif(not LONG, reason="long double is no longer than float64 here")
@pytest.mark.parametrize("name", EXACT)
def test_references_are_right(name):
    """The long double formulas against mpmath: 1/100 ulp of float64, and near derivatives' zeros."""
    row = next(row for row in ROWS if row.name == name)
    x = np.concatenate([accuracy.hard(np.float64, 2, 300), MINIMA])
    x = x[np.isfinite(x) & (abs(x) < 1000) & (abs(x) > 1e-30)]
    with np.errstate(all="ignore"), mp.workprec(800):
        high, low = accuracy.in_long_double(row, x)
        exact = [EXACT[name](mp.mpf(float(a))) for a in x]
        for a, rounded, rest, r in zip(x, high, low, exact, strict=True):
            if np.isfinite(rounded) and abs(rounded) > 1e-290:
                assert abs(mp.mpf(float(rounded)) + mp.mpf(float(rest)) - r) <= abs(r) * mp.mpf(2) ** -59, (
                    float(a)
                )


MINIMA = np.array([-1.2784645427610737, -1.1924312145154952, -0.75179152469356447, -0.75246142207101629])


def test_every_function_has_its_rows():
    """Of the registry: one that is added has its own, or a sentence says which formula there has to be."""
    names = {row.name for row in ROWS}
    assert {"erfc", "pow 2.4", "gelu′", "swiglu", "tanh′ from y", "softplus 0.75′"} <= names
    public = {act.name for act in vars(gn).values() if isinstance(act, gn.Activation)}
    assert {name for act in public for name in (act, f"{act}′")} <= names
    added = gn.activation(derivative=lambda x: x)(lambda x: x)
    with pytest.raises(LookupError, match=r"tools/exact\.py has no <lambda>, the formula of <lambda>"):
        accuracy.rows([added])
    exact = accuracy.exact
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "<lambda>", lambda x: x, raising=False)
        patch.setattr(exact, "<lambda>_derivative", lambda x: x, raising=False)
        made = accuracy.rows([added])[-2:]
    assert [row.name for row in made] == ["<lambda>", "<lambda>′"]
    assert accuracy.measure(made[0], np.float32([1.0, 2.0])).error == 0.0


@pytest.mark.parametrize(("name", "first", "last"), TAILS)
def test_derivatives_where_they_leave_the_normal_numbers(name, first, last):
    """Once 51 ulp for SiLU."""
    row = next(row for row in ROWS if row.name == f"{name}′")
    seen = accuracy.measure(row, np.linspace(last, first, 20_000).astype(np.float32))
    assert seen.error <= row.limits[0]
    wide = 709.0 / 88.0 * np.array([first, last])
    if LONG:
        x = np.concatenate([np.linspace(*wide, 20_000), [-745.1]])
        assert accuracy.measure(row, x).error <= row.limits[1]


def test_a_wrong_digit_is_seen():
    """The measure itself: half an ulp, an overflow, a nan, a step the wrong way, a range that is left."""
    wrong, relu = np.float32(9.0), accuracy.exact.relu
    row = accuracy.Row("off", lambda x: np.nextafter(x, wrong), relu)
    x = np.array([1.0, 2.0, 1e-45], np.float32)
    assert accuracy.measure(row, x).error == 1.0
    row = accuracy.Row("nan", lambda x: np.where(x == 2.0, np.nan, x), relu)
    assert accuracy.measure(row, x).error == np.inf
    row = accuracy.Row("steps", lambda x: -x, relu)
    assert accuracy.measure(row, x[:2], ascending=True).descents == 1
    row = accuracy.Row("too far", lambda x: np.nextafter(np.tanh(x), wrong), np.tanh)
    seen = accuracy.measure(row, np.float32([9.0, 10.0]))
    assert next(accuracy.failures(row, seen, np.float32)).endswith(", 1.0000001192092896]")


def test_a_row_knows_its_shape():
    """Which way a function goes, its extremes, and how far they may be rounded."""
    of = {row.name: row for row in ROWS}
    assert [of[name].shape[0] for name in ("tanh", "log", "relu′", "erfc", "silu")] == [1, 1, 1, -1, 0]
    assert of["sigmoid"].within(np.float32).tolist() == [0.0, 1.0]
    low, high = of["silu"].within(np.float64)
    assert abs(low + 0.278464542761073795) < 1e-15
    assert high == np.inf
