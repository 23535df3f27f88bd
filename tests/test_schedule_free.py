"""Schedule-free optimizers: evaluation at the mean, which is nowhere else to be seen."""

import contextlib
import copy

import numpy as np
import pytest
from judge import assert_same_bits
from models import copies, gradients_of, model

import gnumba as gn

EACH = pytest.mark.parametrize("make", [gn.ScheduleFreeSGD, gn.ScheduleFreeAdamW])


def beta_of(make, value):
    return {"beta": value} if make is gn.ScheduleFreeSGD else {"betas": (value, 0.99)}


def test_the_mean_is_that_of_all_z():
    """x of SGD is the mean of θ₀ − ηΣg weighted by the largest η² so far; β by a schedule, a None."""
    p, rates, slopes = np.zeros(3), [0.5, 0.25, 1.0, 0.5], np.random.default_rng(0).standard_normal((4, 3))
    opt = gn.ScheduleFreeSGD([p], lr=lambda t: rates[t // 2], beta=lambda t: 0.9 - 0.1 * (t // 2))
    z, total, largest, mean = np.zeros(3), 0.0, 0.0, np.zeros(3)
    for lr, g in zip(rates, slopes, strict=True):
        opt.step([g])
        opt.step([None])
        z, largest = z - lr * g, max(largest, lr)
        total += largest**2
        mean += largest**2 / total * (z - mean)
        with opt.averaged():
            np.testing.assert_allclose(p, mean, rtol=1e-13)


@EACH
def test_averaged_leaves_no_trace(make, dtype, rng):
    """Parameters are the same bits after it, whatever happens inside; the run goes on as without it."""
    params, groups = model(rng, dtype), gradients_of(rng, model(rng, dtype), 6)
    others = copies(params)
    ours, plain = make(params, lr=0.1, warmup_steps=2), make(others, lr=0.1, warmup_steps=2)
    for k, g in enumerate(groups):
        before = copies(params)
        with contextlib.suppress(KeyError), ours.averaged():
            assert k < 2 or any((params[name] != before[name]).any() for name in params)
            params["w"] += 1.0
            raise KeyError
        for name, p in before.items():
            assert_same_bits(params[name], p)
        ours.step(g)
        plain.step(g)
    for name, p in others.items():
        assert_same_bits(params[name], p)


@EACH
def test_what_is_refused_inside(make):
    """A step would be one of x, and a state of y would be saved beside x."""
    opt = make(np.ones(3))
    opt.step(np.ones(3))
    with opt.averaged():
        for name, call in {
            "step": lambda: opt.step(np.ones(3)),
            "state_dict": opt.state_dict,
            "averaged": lambda: opt.averaged().__enter__(),
        }.items():
            with pytest.raises(RuntimeError, match=rf"^{name} is called inside averaged\(\)"):
                call()
    opt.step(np.ones(3))
    assert opt.t == 2


@EACH
def test_a_copy_and_a_loaded_state_average_alike(make, rng):
    """1 − β of the last update goes along, whatever β is next."""
    p, other = rng.standard_normal(5), np.zeros(5)
    opt = make(p, lr=0.1, **beta_of(make, 0.5))
    for g in rng.standard_normal((3, 5)):
        opt.step(g)
    twin = copy.deepcopy(opt)
    other[...] = p
    loaded = make(other, lr=0.1, **beta_of(make, 0.5))
    loaded.load_state_dict(opt.state_dict())
    for name, value in beta_of(make, 0.25).items():
        opt.groups[0][name] = value
    with opt.averaged(), loaded.averaged(), twin.averaged():
        assert_same_bits(other, p)


@EACH
def test_rows_average_by_themselves(make, rng):
    """A row without updates is its own mean."""
    p = rng.standard_normal((4, 2))
    start, opt = p.copy(), make(p, lr=0.1)
    for _ in range(3):
        opt.step(gn.Rows([1], np.ones((1, 2))))
    with opt.averaged():
        assert_same_bits(p[[0, 2, 3]], start[[0, 2, 3]])
        assert (p[1] != start[1]).all()
