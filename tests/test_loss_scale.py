"""LossScale: when it falls and grows, what a step with it is, and how it goes on."""

import copy
import pickle

import numpy as np
import pytest
from judge import assert_same_bits

import gnumba as gn

GOOD, BAD = np.full(3, 0.5, np.float32), np.array([1.0, np.inf, 1.0], np.float32)


def stepped(opt, scale, *grads):
    """The values after each step, of gradients of the loss times the value before it."""
    found = []
    for g in grads:
        opt.step(g * np.float32(scale.value), grad_scale=scale)
        found.append(scale.value)
    return found


def test_it_falls_and_grows():
    """By a skipped step at once, by ``every`` steps taken in a row; between 1 and its largest."""
    opt, scale = gn.SGD(np.ones(3, np.float32)), gn.LossScale(4.0, every=2, max=16.0)
    assert stepped(opt, scale, GOOD, GOOD, GOOD, BAD, GOOD, GOOD) == [4, 8, 8, 4, 4, 8]
    assert stepped(opt, scale, *[GOOD] * 4, BAD, *[GOOD] * 3) == [8, 16, 16, 16, 8, 8, 16, 16]
    assert stepped(opt, scale, *[BAD] * 6) == [8, 4, 2, 1, 1, 1]
    assert (opt.t, opt.skipped) == (12, 8)
    scale = gn.LossScale(3.0, growth=1.5, backoff=0.25, every=1)
    assert stepped(opt, scale, GOOD, GOOD, BAD) == [4.5, 6.75, 1.6875]


@pytest.mark.parametrize("initial", [1.0, 1024.0])
def test_a_step_is_that_of_the_loss_itself(initial):
    """Gradients are divided before their norm is taken and they are clipped; a bad one changes nothing."""
    params = [np.ones(3, np.float32) for _ in range(2)]
    opts = [gn.Adam(p, lr=0.1, max_norm=0.25, nonfinite="skip") for p in params]
    scale = gn.LossScale(initial)
    for g in (GOOD, BAD, GOOD, GOOD):
        opts[0].step(g)
        opts[1].step(g * np.float32(scale.value), grad_scale=scale)
        assert opts[0].grad_norm == opts[1].grad_norm
        assert_same_bits(params[1], params[0])
    assert [each.t for each in opts] == [3, 3]
    assert scale.value == max(initial / 2.0, 1.0)


@pytest.mark.parametrize("initial", [1.0, 2.0])
def test_it_makes_steps_skip(initial):
    """Also the fast ones of an optimizer that had stepped without it, and at the scale 1."""
    p = np.ones(3, np.float32)
    opt = gn.SGD(p)
    for _ in range(2):
        opt.step(GOOD)
    before, scale = p.copy(), gn.LossScale(initial)
    for _ in range(2):
        opt.step(BAD, grad_scale=scale)
    assert_same_bits(p, before)
    assert (opt.skipped, opt.nonfinite) == (2, "skip")


def test_what_float16_cannot_hold():
    """Gradients below its smallest number arrive when the loss is scaled, and are 0 when not."""
    tiny = np.full(3, 2.0**-28)
    plain, scaled = np.zeros(3, np.float16), np.zeros(3, np.float16)
    scale = gn.LossScale()
    gn.SGD(plain, lr=2.0**20).step(tiny.astype(np.float16))
    gn.SGD(scaled, lr=2.0**20).step((tiny * scale.value).astype(np.float16), grad_scale=scale)
    assert (plain == 0.0).all()
    assert (scaled == np.float16(-(2.0**-8))).all()


def test_steps_that_are_refused_do_not_count():
    opt, scale = gn.SGD(np.ones(3, np.float32)), gn.LossScale(4.0, every=1)
    for g in (np.ones(2, np.float32), "g"):
        with pytest.raises((ValueError, TypeError), match="grad"):
            opt.step(g, grad_scale=scale)
    assert scale.state_dict() == {"value": 4.0, "taken": 0}
    opt.nonfinite = "raise"
    with pytest.raises(ValueError, match="nonfinite is 'raise', expected 'skip' with a LossScale"):
        opt.step(GOOD, grad_scale=scale)
    assert opt.t == 0


def test_around_an_optimizer():
    """Phases and SAM pass it on."""
    p = np.ones(3, np.float32)
    plan = gn.Phases(p, [gn.Phase(gn.Adam, steps=2), gn.Phase(gn.SGD)])
    assert stepped(plan, gn.LossScale(4.0, every=2), GOOD, BAD, GOOD, BAD, GOOD, GOOD) == [4, 2, 2, 1, 1, 2]
    assert (plan.t, plan.skipped, plan.phase) == (4, 2, 1)
    sam, scale = gn.SAM(gn.SGD(p)), gn.LossScale(4.0)
    sam.ascend(GOOD)
    sam.step(BAD, grad_scale=scale)
    assert (scale.value, sam.t) == (2.0, 0)


def test_stopped_and_resumed(tmp_path):
    """By a state dict, a copy, a pickle and a checkpoint."""
    p = np.ones(3, np.float32)
    opt, scale = gn.SGD(p), gn.LossScale(64.0, every=3)
    stepped(opt, scale, BAD, GOOD)
    opt.step(GOOD, grad_scale=scale)  # not yet heard of
    made = [
        gn.LossScale(every=3),
        copy.deepcopy(scale),
        pickle.loads(pickle.dumps(scale)),
        gn.LossScale(every=3),
    ]
    made[0].load_state_dict(scale.state_dict())
    gn.save_checkpoint(tmp_path / "run", p, opt, also={"scale": scale})
    gn.load_checkpoint(tmp_path / "run", p, opt, also={"scale": made[3]})
    for each in made:
        assert each.state_dict() == {"value": 32.0, "taken": 2}
        assert stepped(gn.SGD(p), each, GOOD) == [64.0]
    assert repr(scale) == "LossScale(32, 2 of 3 steps taken in a row)"


def test_bad_arguments():
    for given, words in (
        ({"initial": 0.5}, "initial is 0.5, expected a finite number ≥ 1"),
        ({"initial": "a"}, "initial is 'a', expected a finite number"),
        ({"growth": 1.0}, "growth is 1.0, expected a finite number > 1"),
        ({"backoff": 1.0}, r"backoff is 1.0, expected a number in \(0, 1\)"),
        ({"every": 0}, "every is 0.0, expected a whole number ≥ 1"),
        ({"every": 2.5}, "every is 2.5, expected a whole number"),
        ({"max": 2.0}, "max is 2.0, expected at least initial, 65536.0"),
        ({"every": True}, "every is True, expected a whole number"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            gn.LossScale(**given)
    scale = gn.LossScale()
    for state in ({"value": 2.0}, {"value": 0.0, "taken": 1}, {"value": 2.0, "taken": -1}, 3):
        with pytest.raises(ValueError, match="expected"):
            scale.load_state_dict(state)
    assert scale.value == 2.0**16


def test_several_optimizers_of_one_loss():
    """All divide by what the loss was multiplied by, whatever has become of the scale since."""
    a, b = np.ones(3, np.float32), np.ones(3, np.float32)
    first, second = gn.SGD(a, lr=1.0), gn.SGD(b, lr=1.0)
    for grow in (False, True):
        scale = gn.LossScale(4.0, every=1)
        factor = np.float32(scale.value)
        before = b.copy()
        first.step((GOOD if grow else BAD) * factor, grad_scale=scale)
        assert repr(scale).startswith(f"LossScale({8 if grow else 2}")  # which shows nothing to the loss
        second.step(GOOD * factor, grad_scale=scale)
        assert_same_bits(b, before - GOOD)


def test_it_grows_after_fewer_steps_than_it_was_saved_with():
    opt, scale = gn.SGD(np.ones(3, np.float32)), gn.LossScale(4.0, every=2)
    scale.load_state_dict({"value": 4.0, "taken": 1500})
    assert stepped(opt, scale, GOOD) == [8]
