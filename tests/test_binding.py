"""Gradients and parameters off the fast path: among others, from step to step, on any Python."""

import copy
import os
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from cases import one_a_class, one_a_kernel_shape, one_an_activation_shape

import gnumba as gn
from gnumba._engine import apply, binding, checks, flat, objects

SHAPES = [(4, 6), (3, 5), (40,), (1,), (2, 3, 4), (7, 2)]


def gradient(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def strided(g):
    return np.stack([g, g], axis=-1)[..., 0]


def read_only(g):
    g.flags.writeable = False
    return g


KINDS = [
    lambda g: g,
    strided,
    lambda g: None,
    np.asfortranarray,
    read_only,
    lambda g: g[::-1].copy()[::-1],
    lambda g: g.view(type("Sub", (np.ndarray,), {})),
]


def test_objects_are_readable():
    """Or all that follows tries the long way only."""
    assert objects.READABLE


def test_kinds_of_gradients_change_places():
    """Every parameter meets every kind, after and before every other, and updates as if it were alone."""
    params = [gradient(shape, k) for k, shape in enumerate(SHAPES)]
    alone = [p.copy() for p in params]
    together, single = gn.Adam(params, lr=0.1), [gn.Adam(p, lr=0.1) for p in alone]
    order = np.random.default_rng(0).permuted(np.tile(np.arange(len(KINDS)), (len(SHAPES), 6)), axis=1)
    for step, kinds in enumerate(order.T):
        plain = [gradient(shape, 100 * step + k) for k, shape in enumerate(SHAPES)]
        together.step([KINDS[kind](g.copy()) for kind, g in zip(kinds, plain, strict=True)])
        for optimizer, kind, g in zip(single, kinds, plain, strict=True):
            if KINDS[kind](g.copy()) is not None:
                optimizer.step(g)
    for p, q in zip(params, alone, strict=True):
        np.testing.assert_array_equal(p, q)


# Equal dtypes, and other things that need not be one object or one number.


def misaligned(x):
    """Copy of an array at an address one byte off alignment."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    made = np.ndarray(x.shape, x.dtype, memory, 1)
    made[...] = x
    assert not made.flags.aligned or not x.size
    return made


def of_dtype(make):
    """An array with another dtype object, which is equal."""

    def made(x):
        dtype = make(x.dtype)
        assert dtype == x.dtype
        return np.frombuffer(bytearray(x.tobytes()), dtype).reshape(x.shape)

    return made


def odd_strides(x):
    """Strides that never count, on axes of length 1."""
    strides = [s if n != 1 else 7 * x.itemsize for n, s in zip(x.shape, x.strides, strict=True)]
    return np.lib.stride_tricks.as_strided(x.copy(), x.shape, strides)


ALIKE = {
    "unpickled": lambda x: pickle.loads(pickle.dumps(x)),
    "unpickled from buffers": lambda x: pickle.loads(pickle.dumps(x, protocol=5)),
    "deep-copied": copy.deepcopy,
    "deep-copied dtype": of_dtype(copy.deepcopy),
    "aligned dtype": of_dtype(lambda dtype: np.dtype(dtype.str, align=True)),
    "native byte order": of_dtype(lambda dtype: dtype.newbyteorder("=")),
    "swapped twice": of_dtype(lambda dtype: dtype.newbyteorder("S").newbyteorder("S")),
    "by its letter": of_dtype(lambda dtype: np.dtype(dtype.char)),
    "metadata": of_dtype(lambda dtype: np.dtype(dtype, metadata={"unit": "m"})),
    "field of a structure": of_dtype(lambda dtype: np.dtype([("w", dtype)], align=True)["w"]),
    "read-only": lambda x: read_only(x.copy()),
    "misaligned": misaligned,
    "odd strides": odd_strides,
}


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("which", ["gradients", "parameters", "both"])
def test_alike_gradients_are_ordinary(kind, which, dtype, monkeypatch):
    """No second look at any, and the bits of plain arrays."""
    if kind == "read-only" and which != "gradients":
        pytest.skip("a parameter is written")
    alike = ALIKE[kind]
    plain = [gradient(shape, k).astype(dtype) for k, shape in enumerate([*SHAPES, (5, 1), (), (1, 4, 1)])]
    ours = [alike(p) if which != "gradients" else p.copy() for p in plain]
    optimizers = gn.Adam(ours, lr=0.1), gn.Adam(plain, lr=0.1)
    monkeypatch.setattr(checks, "check_gradient", None)
    for step in range(3):
        gradients = [gradient(p.shape, 10 * step + k).astype(dtype) for k, p in enumerate(plain)]
        optimizers[0].step([alike(g) if which != "parameters" else g for g in gradients])
        optimizers[1].step(gradients)
    for p, q in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("case", one_an_activation_shape(), ids=str)
def test_alike_operands_go_the_short_way(case, kind, dtype, monkeypatch):
    """Of activations and of dropout, also as ``out``."""
    alike, values = ALIKE[kind], gradient((30, 7, 1), 0).astype(dtype)
    expected = case.act(values, **case.hyper), gn.dropout(values, 0.5, 1)
    monkeypatch.setattr(apply, "_apply_checked", None)
    for x in (values, alike(values)):
        for out in (None, np.empty_like(values), *([] if kind == "read-only" else [alike(values)])):
            np.testing.assert_array_equal(case.act(x, **case.hyper, out=out), expected[0])
            np.testing.assert_array_equal(gn.dropout(x, 0.5, 1, out=out), expected[1])
    case.act.backward(alike(values), values, **case.hyper)


def test_other_dtypes_are_no_less_refused():
    """Swapped, and integers of the size."""
    p = np.zeros(3, np.float32)
    optimizer = gn.SGD(p)
    optimizer.step(np.ones(3, np.float32))
    for name in (">f4", "<i4", "<f8", "<u4", "<f2"):
        with pytest.raises(TypeError, match="gradient of 0 has"):
            optimizer.step(np.ones(3, name))
    for name in (">f4", ">f2"):
        with pytest.raises(TypeError, match="x has"):
            gn.relu(np.ones(3, name))


@pytest.mark.parametrize("name", [np.float32, np.float64])
def test_numpy_scalars_are_gradients(name):
    """Of parameters of shape (), as NumPy's sums are."""
    p, dy = np.ones((), name), np.arange(5, dtype=name)
    optimizer = gn.SGD([p], lr=0.5, max_norm=20.0, nonfinite="raise")
    optimizer.step([dy.sum()])
    assert p == name(-4.0)
    assert optimizer.grad_norm == gn.global_norm([dy.sum()]) == 10.0
    with pytest.raises(FloatingPointError, match="gradient of 0"):
        optimizer.step([name(np.nan)])
    with pytest.raises(TypeError, match="updated in place"):
        gn.SGD([name(1.0)])
    with pytest.raises(TypeError, match="updated in place"):
        gn.clip_by_value([name(1.0)], 0.5)
    with pytest.raises(ValueError, match="out is read-only"):
        gn.relu(np.ones((), name), out=name(1.0))


@pytest.fixture
def unreadable(monkeypatch):
    """A Python whose objects lie in memory in another way."""
    monkeypatch.setattr(objects, "READABLE", False)
    monkeypatch.setattr(flat, "_SHORT", {})


@pytest.mark.parametrize("case", one_a_class(), ids=str)
def test_steps_without_reading_objects(case, request):
    """Bits equal those of steps with the fast path."""
    results = []
    for fixtures in ((), ("unreadable",)):
        for name in fixtures:
            request.getfixturevalue(name)
        params = {f"p{k}": gradient(shape, k) for k, shape in enumerate(SHAPES)}
        optimizer = case.make(params, lr=0.1)
        for step in range(3):
            optimizer.step({name: gradient(p.shape, step) for name, p in params.items()})
        results.append(np.concatenate([p.ravel() for p in params.values()]))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("case", one_an_activation_shape(), ids=str)
def test_activations_without_reading_objects(case, request):
    """Bits equal those of calls with the fast path."""
    x, dy = gradient((30, 70), 0), gradient((30, 70), 1)
    results = []
    for fixtures in ((), ("unreadable",)):
        for name in fixtures:
            request.getfixturevalue(name)
        out = np.empty_like(x)
        assert case.act(x, **case.hyper, out=out) is out
        back = case.act.backward(dy, x, **case.hyper)
        results.append([out, *(back if isinstance(back, tuple) else (back,))])
    for with_reading, without in zip(*results, strict=True):
        np.testing.assert_array_equal(with_reading, without)


@pytest.mark.parametrize("elements", [10, 100_000])
def test_a_parameter_that_was_resized(elements):
    """Smaller or larger: its memory is not what it was, whatever gradient comes."""
    for g in (np.ones(1000), np.ones(elements)):
        p = np.zeros(1000)
        optimizer = gn.SGD(p, lr=1.0)
        optimizer.step(np.ones(1000))
        p.resize(elements, refcheck=False)
        before = p.copy()
        with pytest.raises(ValueError, match="no longer the array"):
            optimizer.step(g)
        np.testing.assert_array_equal(p, before)
        assert optimizer.t == 1


@pytest.mark.parametrize("case", one_a_kernel_shape(), ids=str)
@pytest.mark.parametrize("target", ["cpu", "parallel"])
def test_a_step_allocates_nothing_of_a_parameters_size(case, target):
    """A few hundred bytes of tuples; for norms a block of values a thread."""
    params = [np.zeros(500_000, np.float32), np.zeros((300, 1000), np.float32)]
    optimizer, grads = case.make(params, lr=0.1), [np.ones_like(p) for p in params]
    with gn.use_target(target):
        optimizer.step(grads)
        tracemalloc.start()
        try:
            optimizer.step(grads)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < (25_000 * gn.info()["threads"] if optimizer.rule.normed else 10_000)


def test_scalars_that_are_no_numbers():
    """Named, before anything has changed."""
    p = np.ones(3)
    rule = gn.rules.sgd
    optimizer = gn.optimizer(
        rule, p, scalars=lambda t, lr: dict.fromkeys(rule.scalars, lr if t < 2 else "0.1"), lr=0.0
    )
    optimizer.step(np.ones(3))
    with pytest.raises(TypeError, match=r"scalars of rule 'sgd' are .*'0.1'.*expected numbers"):
        optimizer.step(np.ones(3))
    assert optimizer.t == 1
    np.testing.assert_array_equal(p, np.ones(3))


# JAX's arrays.


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def test_jax_gradients_tell_where_they_lie(jax, monkeypatch):
    """From the second step on none is given a view of, nor held longer than the step."""
    shapes = [*SHAPES, (), (5, 1), (1, 4, 1), (300, 200)]
    ours, expected = ([gradient(shape, k) for k, shape in enumerate(shapes)] for _ in range(2))
    optimizers = gn.Adam(ours, lr=0.1), gn.Adam(expected, lr=0.1)
    for step in range(4):
        if step == 1:
            monkeypatch.setattr(binding, "viewer_of", None)
            monkeypatch.setattr(checks, "check_gradient", None)
        gradients = [gradient(shape, 100 * step + k) for k, shape in enumerate(shapes)]
        arrays = [jax.numpy.asarray(g) for g in gradients]
        counts = [sys.getrefcount(g) for g in arrays]
        optimizers[0].step(arrays)
        optimizers[1].step(gradients)
        assert counts == [sys.getrefcount(g) for g in arrays]
    for p, q in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(p, q)


def test_jax_gradients_that_are_still_computed(jax):
    """Are waited for."""
    p, product = np.zeros((1000, 1000), np.float32), jax.jit(lambda x: x @ x @ x @ x)
    optimizer = gn.SGD(p, lr=1.0)
    for k in range(4):
        before, x = p.copy(), jax.numpy.asarray(gradient(p.shape, k))
        optimizer.step(g := product(x))
        np.testing.assert_array_equal(p, before - np.asarray(g))


def test_jax_gradients_that_do_not_fit(jax):
    """Or that are gone: refused, after ordinary ones and among them, and nothing has changed."""
    p = [np.zeros((3, 4), np.float32), np.zeros((2,), np.float32)]
    optimizer, good = gn.SGD(p, lr=1.0), [jax.numpy.ones((3, 4)), jax.numpy.ones(2)]
    optimizer.step(good)
    optimizer.step(good)
    with jax.enable_x64(True):
        double = jax.numpy.ones(2, "f8")
    names = ("int32", "uint32", "bfloat16", "float16", "bool")
    bad = [jax.numpy.ones(2, name) for name in names] + [double]
    gone = jax.numpy.ones(2) + 1
    gone.delete()
    for error, message, each in (
        (TypeError, "has dtype", bad),
        (ValueError, "has shape", [jax.numpy.ones(3), jax.numpy.ones((1, 2)), jax.numpy.ones(())]),
        (TypeError, "has been deleted", [gone]),
    ):
        for g in each:
            count = sys.getrefcount(g)
            with pytest.raises(error, match=f"gradient of 1 .*{message}"):
                optimizer.step([good[0], g])
            optimizer.step(good)
            assert sys.getrefcount(g) == count
    assert (p[1] == -optimizer.t).all()
    assert (p[0] == -optimizer.t).all()


def test_jax_gradients_of_a_parameter_with_another_layout(jax):
    """Are walked by their strides, in the midst of others."""
    p = [np.asfortranarray(gradient((3, 4), 0)), gradient((5,), 1)]
    before, optimizer = [x.copy() for x in p], gn.SGD(p, lr=1.0)
    for k in range(3):
        gradients = [gradient(x.shape, k) for x in p]
        optimizer.step([jax.numpy.asarray(g) for g in gradients])
        before = [x - g for x, g in zip(before, gradients, strict=True)]
    for x, y in zip(p, before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_jax_gradients_on_several_devices(jax):
    """Are refused, before and after others; those on another one are taken as on the first."""
    program = """
import jax, numpy as np, gnumba as gn
from jax.sharding import Mesh, NamedSharding, PartitionSpec
first, other = jax.devices()
apart = NamedSharding(Mesh([first, other], "k"), PartitionSpec("k"))
p = np.zeros(8, "f4")
optimizer = gn.SGD(p, lr=1.0)
for where in (apart, first, other, apart, first, apart, other):
    try:
        optimizer.step(jax.device_put(jax.numpy.arange(8.0), where))
        assert where is not apart
    except TypeError:
        assert where is apart
assert (p == -4.0 * np.arange(8)).all(), p
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", program], env=os.environ | flags, check=True)
