"""Attributes of optimizers and plans: every hyperparameter is one, and nothing else can be set."""

import copy
import pickle

import numpy as np
import pytest
from cases import one_a_class
from models import falling

import gnumba as gn

EACH_CLASS = pytest.mark.parametrize("case", one_a_class(), ids=str)


@gn.rule
def leaky(p, g, /, lr, strength):
    """p − lr · (g + strength)."""
    return p - lr * (g + strength)


def two_groups(make, **hyper):
    return make([{"params": [np.ones(3)]}, {"params": [np.ones(2)]}], **hyper)


@EACH_CLASS
def test_every_hyperparameter_is_an_attribute(case):
    """Read as the number in force, the first group's; set for every group."""
    optimizer = two_groups(case.make, **case.hyper)
    names = set(optimizer.groups[0]) - {"params", "name"}
    for name in names:
        value = optimizer.groups[0][name]
        assert getattr(optimizer, name) == value
        others = {"betas": (0.5, 0.25, 0.125), "etas": (0.25, 2.0), "step_sizes": (0.5, 1.0)}
        new = others[name][: len(value)] if name in others else 0.5 * value
        setattr(optimizer, name, new)
        assert [group[name] for group in optimizer.groups] == [new, new]
        assert getattr(optimizer, name) == new
    assert names <= set(dir(optimizer))


def test_a_schedule_is_read_at_the_step_and_replaced():
    """As lr's always was."""
    optimizer = two_groups(gn.AdamW, weight_decay=falling(0.5))
    optimizer.step([[np.ones(3)], [np.ones(2)]])
    assert optimizer.weight_decay == 0.5 * 0.9
    optimizer.weight_decay = 0.25
    assert [group["weight_decay"] for group in optimizer.groups] == [0.25, 0.25]


def test_setting_one_acts():
    """In the next step, the fast path of the steps before included."""
    p = np.zeros(1)
    optimizer = gn.SGD(p, lr=1.0)
    for lr in (1.0, 1.0, 1.0, 0.5):
        optimizer.lr = lr
        optimizer.step(np.ones(1))
    assert p[0] == -3.5


def test_a_rule_of_ones_own_has_them_too():
    """Named by its hyperparameters."""
    p = np.zeros(1)
    optimizer = gn.optimizer(leaky, p, lr=1.0, strength=1.0)
    optimizer.strength = 3.0
    optimizer.step(np.ones(1))
    assert (p[0], optimizer.strength) == (-4.0, 3.0)


MISSPELLED = {
    "learning_rate": "lr",
    "beta": "betas",
    "weight_dekay": "weight_decay",
    "maxnorm": "max_norm",
    "non_finite": "nonfinite",
    "epsilon": "eps",
    "momentun": None,
}


@pytest.mark.parametrize("plan", [False, True], ids=["optimizer", "plan"])
@pytest.mark.parametrize("name", MISSPELLED)
def test_what_is_none_of_them_cannot_be_set_or_read(name, plan):
    """The nearest name is given where there is one."""
    p = np.ones(2)
    optimizer = gn.Phases(p, [gn.Phase(gn.Adam)]) if plan else gn.Adam(p)
    near = MISSPELLED[name]
    words = f"no attribute '{name}'" + (f"; did you mean '{near}'" if near else "")
    with pytest.raises(AttributeError, match=words):
        setattr(optimizer, name, 0.1)
    with pytest.raises(AttributeError, match=words):
        getattr(optimizer, name)
    assert not hasattr(optimizer, "__array__")


@pytest.mark.parametrize("name", ["rule", "groups", "t", "skipped", "grad_norm", "state_dict"])
def test_what_a_step_would_not_heed_cannot_be_set(name):
    """Results and what the optimizer was made of."""
    optimizer = gn.Adam(np.ones(2))
    if name == "state_dict":
        name = "nesterov"  # an option of another class
    with pytest.raises(AttributeError):
        setattr(optimizer, name, None)


@pytest.mark.parametrize("name", ["nesterov", "decoupled", "maximize"])
def test_flags_are_fixed(name):
    """They choose the rule, so they can be read only."""
    optimizer = gn.SGD(np.ones(2), momentum=0.9, **{name: True})
    assert getattr(optimizer, name) is True
    with pytest.raises(AttributeError, match=f"{name} is fixed when the optimizer is made"):
        setattr(optimizer, name, False)


@pytest.mark.parametrize("name", ["nesterov", "decoupled", "maximize"])
def test_flags_are_shown(name):
    """By repr, where they are on."""
    assert f"{name}=True" in repr(gn.SGD(np.ones(2), momentum=0.9, **{name: True}))
    assert name not in repr(gn.SGD(np.ones(2), momentum=0.9))


@pytest.mark.parametrize("flag", [1, "yes", None])
def test_flags_that_are_none(flag):
    """Named with what was expected."""
    with pytest.raises(TypeError, match=r"decoupled is .*, expected True or False"):
        gn.Momentum(np.ones(2), decoupled=flag)


def test_a_subclass_declares_its_own():
    """As an annotation in its body."""

    class Named(gn.SGD):
        label: str

    optimizer = Named(np.ones(2))
    optimizer.label = "head"
    assert optimizer.label == "head"
    with pytest.raises(AttributeError, match="did you mean 'label'"):
        optimizer.labell = "head"


def test_a_group_added_by_hand_is_refused():
    """Rather than never stepped."""
    p, q = np.ones(2), np.ones(2)
    optimizer = gn.SGD([{"params": p}], lr=1.0)
    for _ in range(2):
        optimizer.step([np.zeros(2)])
    optimizer.groups.append({"params": q})
    with pytest.raises(ValueError, match=r"groups has 2 entries by now, expected 1"):
        optimizer.step([np.ones(2)])
    with pytest.raises(ValueError, match=r"groups has 2 entries by now, expected 1"):
        optimizer.step([np.ones(2), np.ones(2)])
    np.testing.assert_array_equal(p, np.ones(2))


def test_a_plan_passes_them_on():
    """To the current phase's optimizer."""
    plan = gn.Phases(np.ones(2), [gn.Phase(gn.Adam, steps=1), gn.Phase(gn.SGD, momentum=0.5)])
    plan.betas = (0.5, 0.5)
    assert plan.optimizer.betas == (0.5, 0.5)
    plan.step(np.ones(2))
    assert plan.momentum == 0.5
    with pytest.raises(AttributeError):
        _ = plan.betas
    for name in ("phase", "phases", "rules", "optimizer", "t"):
        with pytest.raises(AttributeError):
            setattr(plan, name, None)
    assert {"momentum", "nesterov", "phase", "observe"} <= set(dir(plan))


def test_copies_keep_them():
    """And what they refuse."""
    for made in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        optimizer = made(gn.SGD(np.ones(2), momentum=0.9, nesterov=True, maximize=True))
        assert (optimizer.momentum, optimizer.nesterov, optimizer.maximize) == (0.9, True, True)
        with pytest.raises(AttributeError):
            optimizer.learning_rate = 0.1


# Numbers.


def numbers_of_shape_none():
    """A number in every kind that has one."""
    kinds = [np.float32(0.5), np.array(0.5), np.array(0.5, np.float16)]
    torch, jax = (pytest.importorskip(name) for name in ("torch", "jax"))
    return [*kinds, torch.tensor(0.5), jax.numpy.float32(0.5)]


def test_arrays_of_shape_none_are_numbers():
    """Hyperparameters, items of tuples, values of schedules and grad_scale; kept as plain numbers."""
    for half in numbers_of_shape_none():
        p = np.zeros(1, np.float32)
        optimizer = gn.Adam(p, lr=half, betas=(half, 0.5), eps=1e-8)
        optimizer.step(np.ones(1, np.float32), grad_scale=half)
        assert p[0] == -0.5
        assert type(optimizer.groups[0]["lr"]) is float
        optimizer.lr = lambda t, half=half: half
        assert optimizer.lr == 0.5


def test_an_array_that_changes_later_does_not_change_a_hyperparameter():
    """It is read when it is given."""
    lr = np.array(0.5)
    optimizer = gn.SGD(np.zeros(1), lr=lr)
    lr[...] = 1.0
    assert optimizer.lr == 0.5


def test_betas_may_be_an_array():
    """Of one axis."""
    optimizer = gn.Adam(np.zeros(1), betas=np.array([0.5, 0.75]))
    assert optimizer.betas == (0.5, 0.75)
    with pytest.raises(ValueError, match="betas"):
        gn.Adam(np.zeros(1), betas=np.array([0.5, 0.75, 0.5]))


@pytest.mark.parametrize(
    "value", [True, np.True_, np.array(True), "0.1", 1j, np.array([0.1]), np.array("0.1")]
)
def test_what_is_no_number(value):
    """A TypeError, with the name, for hyperparameters, schedules and scales."""
    for name, make in {"lr": gn.SGD, "weight_decay": gn.AdamW}.items():
        with pytest.raises(TypeError, match=f"{name} is "):
            make(np.zeros(1), **{name: value})
        with pytest.raises(TypeError, match=f"{name} at step 0 is "):
            make(np.zeros(1), **{name: lambda t: value})
    with pytest.raises(TypeError, match=r"betas\[0\] is "):
        gn.Adam(np.zeros(1), betas=(value, 0.9))
    with pytest.raises(TypeError, match="grad_scale is "):
        gn.SGD(np.zeros(1)).step(np.zeros(1), grad_scale=value)
    with pytest.raises(TypeError, match="max_norm is "):
        gn.SGD(np.zeros(1), max_norm=value)


def test_no_parameters():
    """Said in so many words."""
    for nothing in ([], {}, (), [{"params": []}]):
        with pytest.raises(ValueError, match="params has no arrays, expected at least one"):
            gn.Adam(nothing)
