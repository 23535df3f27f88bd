"""Every update rule by every way there is to run it, against the formulas and against each other."""

import inspect

import layouts
import numpy as np
import pytest
from cases import OPTIMIZERS, on_each_target, one_a_kernel_shape, one_a_rule, rule_of
from judge import assert_close, assert_same_bits, computed_in_double, computed_in_vectors

import gnumba as gn
from gnumba._engine.compile import ufunc
from gnumba._rule import Elementwise

STEPS = 7  # RAdam rectifies the sixth
WIDE = gn.info()["simd_bits"] >= 256


SHAPES = one_a_kernel_shape()
SHAPED = [rule_of(case) for case in SHAPES]
OF_A_SHAPE = [case for case in OPTIMIZERS if rule_of(case) in SHAPED]  # every variant of these rules
EACH_SHAPE = pytest.mark.parametrize("case", SHAPES, ids=str)
ON_EACH_TARGET = on_each_target(SHAPES)
WAYS = {(rule_of(case), dtype, target) for case, dtype, target in ON_EACH_TARGET.args[1]}


def values(rng, shape, dtype):
    """Numbers of both signs and many magnitudes, small enough for any ε to matter."""
    return np.asarray(rng.standard_normal(shape) * 10.0 ** rng.uniform(-5, 0.5, shape), dtype)


def gradients_for(rng, p):
    """One gradient a step, some of them zero."""
    made = [values(rng, p.shape, p.dtype) for _ in range(STEPS)]
    for g in made:
        g.reshape(-1)[3::5] = 0.0
    return made


def by_class(case, p, gradients, target):
    """The optimizer, in place: the sweep, or for arrays with gaps the walk."""
    with gn.use_target(target):
        optimizer = case.make(p, **case.hyper)
        for g in gradients:
            optimizer.step(g)
    state = optimizer.state_dict()["state"]["0"]
    return {"p": p} | {name: state[name] for name in case.state}


def by_function(case, p, gradients, update):
    """``update(arrays, scalars) -> new arrays``, with the scalars that the class gives the rule."""
    optimizer = case.make(np.zeros(1), **case.hyper)
    hyper = {key: value for key, value in optimizer.groups[0].items() if key not in ("params", "name")}
    state, memory = [np.zeros_like(p) for _ in case.state], dict(optimizer.memory)
    for t, g in enumerate(gradients, 1):
        scalars = with_norms(optimizer.rule, (p, g, *state), optimizer.scalars(t, **hyper, **memory))
        memory = {name: scalars[name] for name in memory}
        p, *state = update(optimizer.rule, (p, g, *state), [scalars[name] for name in optimizer.rule.scalars])
    return dict(zip(("p", *case.state), (p, *state), strict=True))


def with_norms(rule, arrays, scalars):
    """The scalars, with norms as of arrays of what is normed, which ufuncs compute."""
    given = dict.fromkeys(rule.normed, 0.0) | dict(scalars)
    numbers = [arrays[0].dtype.type(given[name]) for name in rule.scalars]
    with np.errstate(all="ignore"):
        values = [ufunc._ufunc(of, "cpu", 0)(*arrays, *numbers) for of in rule._kernel.norm_functions]
    return given | {name: gn.global_norm(x) for name, x in zip(rule.normed, values, strict=True)}


def by_ufuncs(case, p, gradients, target):
    """One ``numba.vectorize`` ufunc an output."""

    def update(rule, arrays, scalars):
        scalars = [p.dtype.type(number) for number in scalars]
        return [np.asarray(each(*arrays, *scalars)) for each in rule.ufuncs(target)]

    return by_function(case, p, gradients, update)


def by_python(case, p, gradients):
    """The rule itself, on Python floats, element by element."""

    def update(rule, arrays, scalars):
        rows = [rule(*map(float, row), *scalars) for row in zip(*map(np.ravel, arrays), strict=True)]
        columns = np.array(rows, np.float64).reshape(len(rows), 1 + len(case.state)).T
        return [column.reshape(p.shape) for column in columns]

    return by_function(case, p, gradients, update)


def assert_follows(result, expected, dtype):
    """Parameters and state, all of them, to a few roundings."""
    assert result.keys() == expected.keys()
    for name, array in expected.items():
        assert_close(result[name], array, dtype, scale=np.abs(array).max(initial=0.0), what=name)


def assert_all_same(results):
    """Parameters and state, bit for bit, whichever way they came about."""
    (first, expected), *others = results.items()
    for way, result in others:
        for name, array in expected.items():
            assert_same_bits(result[name], array, f"{name}: {way} and {first}")


# Against the formulas.


@on_each_target(OPTIMIZERS)
def test_optimizer_follows_its_formula(case, dtype, target, rng):
    """In place, state included."""
    check_formula(case, (33, 7), dtype, target, rng)


@pytest.mark.parametrize("shape", layouts.SHAPES.values(), ids=layouts.SHAPES.keys())
@ON_EACH_TARGET
def test_any_size(case, shape, dtype, target, rng):
    """From no element on."""
    check_formula(case, shape, dtype, target, rng)


def check_formula(case, shape, dtype, target, rng):
    p = values(rng, shape, dtype)
    gradients = gradients_for(rng, p)
    expected = case.expected(p, gradients)
    assert_follows(by_class(case, p, gradients, target), expected, dtype)


@on_each_target(OF_A_SHAPE)
def test_ufuncs_follow_the_formula(case, dtype, target, rng):
    """One ufunc an output, broadcasting scalars."""
    p = values(rng, (33, 7), dtype)
    gradients = gradients_for(rng, p)
    result = by_ufuncs(case, p, gradients, target)
    assert {array.dtype for array in result.values()} == {dtype}
    assert_follows(result, case.expected(p, gradients), dtype)


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_plain_python_follows_the_formula(case, rng):
    """A rule is a function that one can call."""
    p = values(rng, 17, np.float64)
    gradients = gradients_for(rng, p)
    assert_follows(by_python(case, p, gradients), case.expected(p, gradients), np.float64)


# Layouts.


@ON_EACH_TARGET
@pytest.mark.parametrize("gradient_layout", ["same", "C", "broadcast"])
@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE.keys())
def test_any_layout_of_parameter_and_gradient(case, layout, gradient_layout, dtype, target, rng):
    """Updated where it lies, whatever its strides and its gradient's."""
    start = values(rng, (33, 7), dtype)
    gradients = gradients_for(rng, start)
    if gradient_layout == "broadcast":
        gradients = [np.broadcast_to(g[:1], g.shape) for g in gradients]
    expected = case.expected(start, gradients)
    p = layout(start)
    shaped = [g.reshape(p.shape) for g in gradients]
    given = [layout(g) for g in gradients] if gradient_layout == "same" else shaped
    result = by_class(case, p, given, target)
    result = {name: array.reshape(start.shape) for name, array in result.items()}
    assert_follows(result, expected, dtype)


@ON_EACH_TARGET
@pytest.mark.parametrize("layout", ["fortran", "gaps", "backwards"])
def test_parameter_in_c_order_with_a_gradient_in_another(case, layout, dtype, target, rng):
    """A transposed gradient, say."""
    p = values(rng, (33, 7), dtype)
    gradients = gradients_for(rng, p)
    expected = case.expected(p, gradients)
    given = [layouts.WRITABLE[layout](g) for g in gradients]
    assert_follows(by_class(case, p, given, target), expected, dtype)


@EACH_SHAPE
def test_a_view_is_updated_and_its_surroundings_are_not(case, rng):
    """Whoever holds the array that a parameter is a view of sees the update."""
    whole = values(rng, (9, 10), np.float64)
    before = whole.copy()
    view = whole[1::2, 2:8:3]
    gradients = gradients_for(rng, view)
    expected = case.expected(view, gradients)
    by_class(case, view, gradients, "cpu")
    np.testing.assert_allclose(whole[1::2, 2:8:3], expected["p"], rtol=1e-13)
    whole[1::2, 2:8:3] = before[1::2, 2:8:3]
    np.testing.assert_array_equal(whole, before)


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 32, 33, 127, 129])
def test_no_element_beyond_the_ends_is_touched(size, dtype, target):
    """Nor one missed: vector body, remainder and shares meet without gap or overlap."""
    case = one_a_rule()[0]
    whole = np.ones(size + 2, dtype)
    by_class(case, whole[1:-1], [np.full(size, 2.0, dtype)], target)
    assert whole[0] == whole[-1] == 1.0
    np.testing.assert_array_equal(whole[1:-1], whole[1])
    assert whole[1] != 1.0


@EACH_SHAPE
def test_gradients_are_never_written(case, rng):
    """Read-only ones will do, dense or not."""
    p = values(rng, (8, 6), np.float64)
    for given in (values(rng, (8, 6), np.float64), values(rng, (16, 6), np.float64)[::2]):
        before = given.copy()
        given.flags.writeable = False
        by_class(case, p, [given], "cpu")
        np.testing.assert_array_equal(given, before)


# The same bits by every way.


def every_way(case, start, gradients):
    """The results of one computation, by the name of the way it was done."""
    ways = {"sweep cpu": by_class(case, start.copy(), gradients, "cpu")}
    for target in ("cpu", "parallel"):
        if (rule_of(case), start.dtype, target) in WAYS:
            ways[f"sweep {target}"] = by_class(case, start.copy(), gradients, target)
            ways[f"walk {target}"] = by_class(case, layouts.gaps(start), gradients, target)
            with np.errstate(all="ignore"):
                ways[f"ufuncs {target}"] = by_ufuncs(case, start, gradients, target)
    return ways


@pytest.mark.parametrize("case", OF_A_SHAPE, ids=str)
def test_same_bits_by_every_way(case, dtype, rng):
    """One core, all cores, strided, ufuncs."""
    start = values(rng, (331, 303), dtype)
    assert_all_same(every_way(case, start, gradients_for(rng, start)))


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_same_bits_in_plain_python(case, rng):
    """float64 is what Python computes in."""
    start = values(rng, (33, 7), np.float64)
    gradients = gradients_for(rng, start)
    python = {"python": by_python(case, start, gradients)}
    assert_all_same(python | {"sweep": by_class(case, start, gradients, "cpu")})


@pytest.mark.parametrize("case", one_a_rule(), ids=str)
def test_same_bits_for_strange_gradients(case, dtype):
    """nan, inf, zeros, the smallest and the largest numbers."""
    limits = np.finfo(dtype)
    strange = [np.nan, np.inf, -np.inf, 0.0, -0.0, limits.smallest_subnormal, -limits.tiny, limits.max, 1.0]
    gradients = [np.array([strange], dtype), np.array([strange[::-1]], dtype)]
    start = np.full((1, len(strange)), 0.5, dtype)
    ways = every_way(case, start, gradients)
    if dtype == np.float64:
        ways["python"] = by_python(case, start, gradients)
    assert_all_same(ways)
    assert np.isnan(ways["sweep cpu"]["p"][0, 0])


# The machine code.


@pytest.fixture(scope="module", params=[rule_of(case) for case in one_a_rule()], ids=lambda rule: rule.name)
def inspected(request):
    """The float32 kernel of each update rule."""
    return gn.inspect(request.param, "cpu", "float32")


def test_float32_kernel_computes_in_float32(inspected):
    """Nothing is widened."""
    assert computed_in_double(inspected["llvm"]) == []


@pytest.mark.skipif(not WIDE, reason="this CPU has no 256-bit vectors")
def test_float32_kernel_is_simd(inspected):
    """Packed arithmetic in the widest registers."""
    assert computed_in_vectors(inspected["asm"])


@pytest.mark.parametrize(
    "make", [gn.AdamW, lambda p, **kw: gn.SGD(p, decoupled=True, **kw)], ids=["AdamW", "SGD"]
)
def test_small_decoupled_decay_keeps_its_rate(make):
    """ηλ = 1e-7, AdamW's default: as a float32 factor, 1 − ηλ would decay 19 % too fast."""
    p = (2.0 ** np.random.default_rng(0).uniform(0.0, 1.0, 100_000)).astype(np.float32)
    before = p.astype(np.float64)
    make(p, lr=1e-3, weight_decay=1e-4).step(np.zeros_like(p))
    assert np.sum(before - p) == pytest.approx(1e-7 * np.sum(before), rel=0.1)


KINDS = [name for name, p in inspect.signature(Elementwise).parameters.items() if p.default is False]


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_a_function_is_of_the_same_kind(kind):
    """Its last output is summed, its gradient scaled, its index an argument, as out of place."""
    function = Elementwise(lambda *x: x, ("p", "g"), ("q", "r"), (), **{kind: True})
    assert [name for name in KINDS if getattr(function.onto("q", "p"), name)] == [kind]
