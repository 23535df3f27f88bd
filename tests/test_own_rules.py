"""A user's own rules have all that the built-in ones have."""

import copy
import math

import numpy as np
import pytest
from judge import assert_close, assert_same_bits, computed_in_double, computed_in_vectors
from models import assert_equal_states

import gnumba as gn


@gn.rule
def signed_mean(p, g, m, /, lr, beta1, beta2):
    """Lion. Chen et al. 2023, arXiv:2302.06675."""
    u = beta1 * m + (1.0 - beta1) * g
    return p - lr * gn.elementary.sign(u), beta2 * m + (1.0 - beta2) * g


def naive_signed_mean(p, gradients, lr, beta1, beta2):
    """`signed_mean` in NumPy."""
    m = np.zeros_like(p)
    for g in gradients:
        p = p - lr * np.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
    return p, m


def test_users_rule(dtype, target, rng):
    """A full optimizer from a function."""
    p = rng.standard_normal((20, 30)).astype(dtype)
    gradients = rng.standard_normal((4, 20, 30)).astype(dtype)
    expected, m = naive_signed_mean(p.astype(np.float64), gradients.astype(np.float64), 0.01, 0.9, 0.99)
    optimizer = gn.optimizer(signed_mean, {"w": p}, lr=0.01, beta1=0.9, beta2=0.99)
    with gn.use_target(target):
        for g in gradients:
            optimizer.step({"w": g})
    assert_close(p, expected, dtype, scale=1.0)
    assert_close(optimizer.state_dict()["state"]["w"]["m"], m, dtype, scale=1.0)
    assert (optimizer.rule, gn.registry["signed_mean"]) == (signed_mean, signed_mean)


def test_users_rule_has_all_that_built_in_ones_have(rng):
    """Groups, schedules, None, state, copies, ufuncs, plain Python."""
    a, b = np.zeros(3), np.zeros(3)
    optimizer = gn.optimizer(
        signed_mean,
        [{"params": a, "lr": 0.5}, {"params": b}],
        lr=lambda t: 0.25,
        beta1=0.9,
        beta2=lambda t: 0.99,
    )
    optimizer.step([np.ones(3), None])
    assert (a[0], b[0]) == (-0.5, 0.0)
    twin = copy.deepcopy(optimizer)
    twin.load_state_dict(optimizer.state_dict())
    twin.step([np.ones(3), np.ones(3)])
    optimizer.step([np.ones(3), np.ones(3)])
    assert_equal_states(twin.state_dict(), optimizer.state_dict())
    assert signed_mean(0.1, 1.0, 0.0, 1e-4, 0.9, 0.99) == pytest.approx((0.0999, 0.01))
    assert signed_mean.ufuncs("cpu")._fields == ("p", "m")
    assert (
        signed_mean.ufuncs("cpu").p(0.1, 1.0, 0.0, 1e-4, 0.9, 0.99)
        == signed_mean(0.1, 1.0, 0.0, 1e-4, 0.9, 0.99)[0]
    )


@gn.rule(initial={"scale": 0.5})
def scaled(p, g, scale, seen, /, lr):
    """A state that does not start at zero beside one that does."""
    return p - lr * scale * g, scale * 0.5, seen + 1.0


def test_initial_state(dtype, target):
    """As the decorator says, in float32 and float64, strided too."""
    for p in (np.zeros(40, dtype), np.zeros((6, 8), dtype)[::2, ::2]):
        optimizer = gn.optimizer(scaled, p, lr=1.0)
        assert (optimizer.state_dict()["state"]["0"]["scale"] == 0.5).all()
        with gn.use_target(target):
            optimizer.step(np.ones(p.shape, dtype))
            optimizer.step(np.ones(p.shape, dtype))
        np.testing.assert_array_equal(p, np.full(p.shape, -0.75))
        np.testing.assert_array_equal(optimizer.state_dict()["state"]["0"]["seen"], np.full(p.shape, 2.0))


@gn.rule
def plain(p, g, /, lr):
    """θ − ηg."""
    return p - lr * g


def test_scalars_map_hyperparameters_to_the_rule_s(rng):
    """Once a step, by a parameter's own count of updates."""
    asked = []

    def warm(t, *, peak, steps):
        asked.append(t)
        return {"lr": peak * min(t / steps, 1.0)}

    a, b = np.zeros(1), np.zeros(1)
    optimizer = gn.optimizer(plain, [a, b], scalars=warm, peak=lambda t: 1.0, steps=4)
    asked.clear()
    optimizer.step([np.ones(1), None])
    optimizer.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0]) == (-0.75, -0.25)
    assert sorted(asked) == [1, 1, 2]
    with pytest.raises(AttributeError, match="lr"):
        _ = optimizer.lr


def test_adam_by_the_hook_equals_adam(rng):
    """The built-in classes use the same one."""
    ours, theirs = rng.standard_normal((2, 9))
    ours[...] = theirs
    built_in = gn.Adam(theirs, lr=0.1)
    own = gn.optimizer(
        gn.rules.adam, ours, scalars=built_in.scalars,
        lr=0.1, betas=(0.9, 0.999), eps=0.0, eps_root=1e-8, weight_decay=0.0,
    )  # fmt: skip
    for g in rng.standard_normal((3, 9)):
        own.step(g)
        built_in.step(g)
    assert_same_bits(ours, theirs)


def test_a_redefined_rule_replaces_its_former_self():
    """As a notebook cell run again does; optimizers of the former one keep it."""
    former = make_stride(1.0)
    p = np.zeros(2)
    optimizer = gn.optimizer(former, p, lr=1.0)
    latter = make_stride(2.0)
    assert gn.registry["stride"] is latter
    optimizer.step(np.ones(2))
    assert p[0] == -1.0
    gn.optimizer(latter, p, lr=1.0).step(np.ones(2))
    assert p[0] == -3.0


def make_stride(factor):
    """A rule that closes over a number."""

    @gn.rule
    def stride(p, g, /, lr):
        return p - lr * (factor * g)

    return stride


@gn.rule
def soft(p, g, /, lr):
    """`math.exp` and its kin, by module and through a callee."""
    return p - lr * (math.exp(-abs(g)) + math.sqrt(squared(g)) * np.tanh(g))


def squared(x):
    """A helper."""
    return x * x


@gn.rule
def soft_by_hand(p, g, /, lr):
    """`soft` written with gnumba.elementary."""
    e = gn.elementary
    return p - lr * (e.exp(-abs(g)) + e.sqrt(g * g) * e.tanh(g))


def test_math_exp_in_a_rule_is_gnumbas_own(dtype, rng):
    """Bits equal those of `gnumba.elementary`, in float32 and in vectors."""
    ours, theirs = np.zeros((2, 1000), dtype)
    g = rng.standard_normal(1000).astype(dtype)
    gn.optimizer(soft, ours, lr=0.1).step(g)
    gn.optimizer(soft_by_hand, theirs, lr=0.1).step(g)
    assert_same_bits(ours, theirs)


def test_math_exp_in_a_rule_is_float32_simd():
    """No call into the C library."""
    made = gn.inspect(soft, "cpu", "float32")
    assert computed_in_double(made["llvm"]) == []
    if gn.info()["simd_bits"] >= 256:
        assert computed_in_vectors(made["asm"])
