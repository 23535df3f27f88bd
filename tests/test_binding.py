"""What is out of the ordinary in a step: among ordinary gradients, from step to step, on any Python."""

import tracemalloc

import numpy as np
import pytest
from cases import one_a_class, one_an_activation

import gnumba as gn
from gnumba._engine import launch, objects

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


@pytest.fixture
def unreadable(monkeypatch):
    """A Python whose objects lie in memory in another way."""
    monkeypatch.setattr(objects, "READABLE", False)
    monkeypatch.setattr(launch, "_SHORT", {})


@pytest.mark.parametrize("case", one_a_class(), ids=str)
def test_steps_without_reading_objects(case, request):
    """The same bits."""
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


@pytest.mark.parametrize("case", one_an_activation(), ids=str)
def test_activations_without_reading_objects(case, request):
    """The same bits."""
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


@pytest.mark.parametrize("case", one_a_class(), ids=str)
@pytest.mark.parametrize("target", ["cpu", "parallel"])
def test_a_step_allocates_nothing_of_a_parameters_size(case, target):
    """A few hundred bytes of tuples."""
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
    assert peak < 10_000


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
