"""Stopping and going on: state dicts, pickles and copies, all to the same bits."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import OPTIMIZERS, one_a_class
from judge import assert_same_bits
from models import SHAPES, Halving, assert_equal_models, assert_equal_states, copies, gradients_of, model

import gnumba as gn

CASES = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
EACH_CLASS = pytest.mark.parametrize("case", one_a_class(), ids=str)


# State dicts.


def resumed(case, rng, params, grads, steps, carry=lambda state: state):
    """Train in one go and in two, the second with a new optimizer on copies; both models and optimizers."""
    whole = case.make(params, **case.hyper)
    others = copies(params)
    first = case.make(others, **case.hyper)
    for k, g in enumerate(grads):
        whole.step(g)
        if k == steps:
            state = carry(first.state_dict())
            others = copies(others)
            first = case.make(others, **case.hyper)
            first.load_state_dict(state)
        first.step(g)
    return others, first, whole


@CASES
def test_resuming_gives_the_same_bits(case, dtype, rng):
    """After pickling the dict, with parameters that have missed updates."""
    params = model(rng, dtype)
    grads = gradients_of(rng, params, 5)
    grads[0]["b"] = grads[3]["w"] = None
    others, first, whole = resumed(
        case, rng, params, grads, 2, lambda state: pickle.loads(pickle.dumps(state))
    )
    assert_equal_models(others, params)
    assert_equal_states(first.state_dict(), whole.state_dict())


def test_resuming_in_groups_with_strides(rng):
    """By group and name, whatever the layout on either side."""
    case = next(c for c in OPTIMIZERS if c.make is gn.Adam)
    grads = rng.standard_normal((4, 6, 5))
    fortran, gaps = np.zeros((6, 5), order="F"), np.zeros((12, 5))[::2]
    first = case.make([{"params": {"w": fortran}, "name": "g"}], **case.hyper)
    second = case.make([{"params": {"w": gaps}, "name": "g"}], **case.hyper)
    for g in grads[:2]:
        first.step([{"w": g}])
    gaps[...] = fortran
    second.load_state_dict(first.state_dict())
    for g in grads[2:]:
        first.step([{"w": g}])
        second.step([{"w": g}])
    assert_same_bits(gaps, fortran)


RESUME = """
import pickle, sys
import numpy as np, gnumba as gn
p, grads, state = pickle.load(open(sys.argv[1], "rb"))
optimizer = gn.Adam({"w": p}, lr=lambda t: 0.1 / (1 + t), weight_decay=0.1)
optimizer.load_state_dict(state)
for g in grads:
    optimizer.step({"w": g})
pickle.dump((p, optimizer.state_dict()), open(sys.argv[1], "wb"))
"""


def test_resuming_in_a_new_process(tmp_path, rng):
    """Bits of a run resumed in a new process equal those of the run that goes on in this one."""
    p, grads = (
        rng.standard_normal((5, 7)).astype(np.float32),
        rng.standard_normal((6, 5, 7)).astype(np.float32),
    )
    optimizer = gn.Adam({"w": p}, lr=lambda t: 0.1 / (1 + t), weight_decay=0.1)
    for g in grads[:3]:
        optimizer.step({"w": g})
    path = tmp_path / "state"
    path.write_bytes(pickle.dumps((p, grads[3:], optimizer.state_dict())))
    subprocess.run([sys.executable, "-c", RESUME, path], check=True, cwd=Path(gn.__file__).parents[1])
    for g in grads[3:]:
        optimizer.step({"w": g})
    theirs, state = pickle.loads(path.read_bytes())
    assert_same_bits(theirs, p)
    assert_equal_states(state, optimizer.state_dict())


def test_state_dict_is_plain_and_a_copy(rng):
    """Dicts, arrays, numbers and names; a later step does not change it, nor it the optimizer."""
    params = model(rng)
    optimizer = gn.Adam(params)
    (g,) = gradients_of(rng, params, 1)
    optimizer.step(g)
    state = optimizer.state_dict()
    kept = pickle.dumps(state)
    optimizer.step(g)
    assert pickle.dumps(state) == kept
    before = optimizer.state_dict()
    for arrays in state["state"].values():
        arrays["m"][...] = arrays["v"][...] = np.nan
    assert_equal_states(optimizer.state_dict(), before)
    assert type(state) is dict
    json.dumps(state, default=np.ndarray.tolist)


def test_loading_copies_too(rng):
    """The dict is not kept."""
    p = np.zeros(3)
    optimizer = gn.Momentum(p)
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    optimizer.step(np.ones(3))
    assert not state["state"]["0"]["v"].any()


def test_numbers_are_restored():
    """The saved ones, in every group, also after a change by hand."""
    groups = [{"params": np.zeros(1)}, {"params": np.zeros(1), "betas": (0.5, 0.6)}]
    optimizer = gn.Adam(groups, lr=0.1)
    optimizer.groups[0]["lr"] = 0.25
    other = gn.Adam([{"params": np.zeros(1)}, {"params": np.zeros(1)}], lr=0.7)
    other.load_state_dict(
        json.loads(json.dumps(optimizer.state_dict(), default=np.ndarray.tolist), object_hook=arrays)
    )
    assert (other.lr, other.groups[1]["lr"]) == (0.25, 0.1)
    assert tuple(other.groups[1]["betas"]) == (0.5, 0.6)


def arrays(found):
    """Convert a parameter's state from JSON back to arrays."""
    return {key: np.array(value) if key in ("m", "v") else value for key, value in found.items()}


def test_a_schedule_goes_on_at_t():
    """It is not saved; the one given is asked for the step that comes."""
    p = np.zeros(1)
    optimizer = gn.SGD(p, lr=lambda t: 10.0**-t)
    optimizer.step(np.ones(1))
    other = gn.SGD(p, lr=lambda t: 10.0**t)
    other.load_state_dict(optimizer.state_dict())
    assert (other.t, other.lr) == (1, 10.0)


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999), "0.9", None], ids=repr)
def test_a_number_where_two_are(betas):
    """A state that somebody edited."""
    opt = gn.Adam(np.zeros(1))
    state = opt.state_dict()
    state["groups"]["0"]["betas"] = betas
    with pytest.raises(ValueError, match=r"betas is .* in the state, expected 2 numbers"):
        opt.load_state_dict(state | {"t": 7})
    assert opt.t == 0


@pytest.mark.parametrize("given", [lambda t: (0.9, 0.999), (lambda t: 0.9, 0.999)], ids=["whole", "one"])
def test_a_number_where_a_schedule_is(given):
    """Is refused, in tuples too, and so is a schedule's state where a number is; nothing changes."""
    numbers, schedules = gn.Adam(np.zeros(1), lr=0.5), gn.Adam(np.zeros(1), betas=given)
    numbers.step(np.ones(1))
    with pytest.raises(ValueError, match="betas"):
        schedules.load_state_dict(numbers.state_dict())
    assert (schedules.t, schedules.lr) == (0, 0.001)
    with pytest.raises(ValueError, match="betas"):
        numbers.load_state_dict(schedules.state_dict())
    assert (numbers.t, numbers.lr) == (1, 0.5)


def test_a_number_where_the_rate_is_a_schedule():
    """The commonest case."""
    fixed, scheduled = gn.SGD(np.zeros(1), lr=0.1), gn.SGD(np.zeros(1), lr=lambda t: 0.1)
    with pytest.raises(ValueError, match="lr"):
        scheduled.load_state_dict(fixed.state_dict())
    with pytest.raises(ValueError, match="lr"):
        fixed.load_state_dict(scheduled.state_dict())


def test_a_schedule_with_a_state_travels():
    """Under the hyperparameter it is for."""
    first, second = (gn.SGD(np.zeros(1), lr=Halving(1.0, told)) for told in (3, 0))
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert (second.lr, second.groups[0]["lr"].told) == (0.125, 3)


def test_a_schedule_with_a_state_travels_in_a_tuple():
    """One β, say."""
    first, second = (gn.Adam(np.zeros(1), betas=(Halving(0.8, told), 0.99)) for told in (3, 0))
    second.load_state_dict(first.state_dict())
    assert second.groups[0]["betas"][0].told == 3


def test_a_schedule_with_a_state_does_not_take_a_number():
    """Nothing is loaded then, not even of the groups before."""
    theirs = gn.SGD([{"params": np.zeros(1), "lr": 0.25}, {"params": np.zeros(1), "lr": 0.5}])
    theirs.step([np.ones(1)] * 2)
    ours = gn.SGD([{"params": np.zeros(1), "lr": 0.75}, {"params": np.zeros(1), "lr": Halving(1.0)}])
    with pytest.raises(ValueError, match="lr"):
        ours.load_state_dict(theirs.state_dict())
    assert (ours.t, ours.lr) == (0, 0.75)


def test_a_schedule_with_a_state_where_none_was_saved_goes_on():
    """As a function would: the one given goes on at t."""
    theirs = gn.SGD(np.zeros(1), lr=lambda t: 0.5)
    theirs.step(np.ones(1))
    ours = gn.SGD(np.zeros(1), lr=Halving(1.0, told=2))
    ours.load_state_dict(theirs.state_dict())
    assert (ours.t, ours.lr) == (1, 0.25)


class Picky(Halving):
    """Refuses what it does not know."""

    def load_state_dict(self, state):
        raise ValueError(f"lr: {state!r} is none of mine")


def test_a_schedule_that_refuses_its_state_leaves_all_as_it_was():
    """Parameters' state, numbers, t."""
    theirs = gn.Momentum([{"params": np.zeros(1), "lr": 0.25}, {"params": np.zeros(1), "lr": Halving(1.0)}])
    theirs.step([np.ones(1)] * 2)
    ours = gn.Momentum([{"params": np.zeros(1), "lr": 0.75}, {"params": np.zeros(1), "lr": Picky(1.0)}])
    with pytest.raises(ValueError, match="none of mine"):
        ours.load_state_dict(theirs.state_dict())
    assert (ours.t, ours.lr) == (0, 0.75)


# In part.


def test_the_part_of_a_state_that_both_have(rng):
    """By parameter, state, group and hyperparameter; the rest is named, and as it was."""
    theirs = gn.Adam({"w": np.zeros(3), "old": np.zeros(2)}, lr=0.5)
    ours = gn.Adam({"w": np.zeros(3), "head": np.zeros(4)}, lr=0.25)
    for _ in range(3):
        theirs.step({"w": np.ones(3), "old": np.ones(2)})
    ours.step({"w": np.ones(3), "head": np.ones(4)})
    state, before = theirs.state_dict(), ours.state_dict()
    del state["groups"]["0"]["betas"], state["state"]["w"]["v"], state["skipped"]
    state["more"] = 1
    with pytest.raises(ValueError, match="state has"):
        ours.load_state_dict(state)
    left = ours.load_state_dict(state, strict=False)
    assert sorted(left.missing_keys) == ["groups/0/betas", "skipped", "state/head", "state/w/v"]
    assert sorted(left.unexpected_keys) == ["more", "state/old"]
    after = ours.state_dict()
    assert (after["t"], ours.lr) == (3, 0.5)
    assert_same_bits(after["state"]["w"]["m"], state["state"]["w"]["m"])
    assert_same_bits(after["state"]["w"]["v"], before["state"]["w"]["v"])
    assert_same_bits(after["state"]["head"]["m"], before["state"]["head"]["m"])
    assert [after["state"][name]["updates"] for name in ("w", "head")] == [3, 1]


def test_a_whole_state_leaves_nothing(rng):
    """And a strict load returns nothing; schedules' states are theirs."""
    params, others = model(rng), model(rng)
    first = gn.Adam(
        params, lr=Halving(0.5, told=2), betas=(Halving(0.9), 0.99), max_norm=Halving(3.0, told=1)
    )
    first.step(gradients_of(rng, params, 1)[0])
    second = gn.Adam(others, lr=Halving(0.5), betas=(Halving(0.9), 0.99), max_norm=Halving(3.0))
    assert second.load_state_dict(first.state_dict(), strict=False) == ([], [])
    assert_equal_states(second.state_dict(), first.state_dict())
    assert second.load_state_dict(first.state_dict()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule": "sgd"},
        {"t": -1},
        {"t": 1},  # the parameter that the state lacks has had 2
        {"state": {"w": {"m": np.zeros(4)}}},
        {"state": {"w": 3}},
        {"groups": {"0": {"lr": -1.0}}},
        {"groups": 3},
    ],
    ids=str,
)
def test_what_both_have_must_fit(wrong):
    """Nothing has changed otherwise."""
    opt = gn.Adam({"w": np.zeros(3)})
    for _ in range(2):
        opt.step({"w": np.ones(3)})
    before = opt.state_dict()
    with pytest.raises(ValueError, match=r"state|updates|rule|lr"):
        opt.load_state_dict(wrong, strict=False)
    assert_equal_states(opt.state_dict(), before)


# Copies.


def by_pickle(optimizer):
    """A copy by way of bytes."""
    return pickle.loads(pickle.dumps(optimizer))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
@EACH_CLASS
def test_a_copy_goes_on_with_the_same_bits_by_itself(case, duplicate, dtype, rng):
    """It has arrays of its own; neither sees the other's steps."""
    params = model(rng, dtype)
    grads = gradients_of(rng, params, 4)
    grads[0]["b"] = None
    optimizer = case.make(params, **case.hyper)
    for g in grads[:2]:
        optimizer.step(g)
    twin = duplicate(optimizer)
    theirs = twin.groups[0]["params"]
    before = copies(params)
    for g in grads[2:]:
        twin.step(g)
    assert_equal_models(params, before)
    for g in grads[2:]:
        optimizer.step(g)
    assert_equal_models(theirs, params)
    assert_equal_states(twin.state_dict(), optimizer.state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_a_copy_in_groups_of_strided_views(duplicate, rng):
    """The structure is kept, and so are schedules and options."""
    whole = rng.standard_normal((6, 8))
    groups = [{"params": [whole[:, ::2]], "lr": Halving(0.5)}, {"params": (whole[::2, 1::2],)}]
    optimizer = gn.SGD(groups, momentum=0.9, nesterov=True)
    grads = [[rng.standard_normal((6, 4))], [rng.standard_normal((3, 4))]]
    optimizer.step(grads)
    twin = duplicate(optimizer)
    for each in (twin, optimizer):
        each.step(grads)
    for mine, theirs in zip(optimizer.groups, twin.groups, strict=True):
        assert_same_bits(theirs["params"][0], mine["params"][0])
    twin.groups[0]["lr"].told = 1
    assert (optimizer.lr, twin.lr) == (0.5, 0.25)


def test_params_and_optimizer_copied_together_stay_together(rng):
    """The copy of the optimizer trains the copy of the model."""
    params = model(rng)
    theirs, twin = copy.deepcopy((params, gn.SGD(params, lr=1.0)))
    twin.step({name: np.ones(shape) for name, shape in SHAPES.items()})
    np.testing.assert_array_equal(theirs["b"], params["b"] - 1.0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_torch_tensors_in_a_copy(duplicate):
    """The copy has tensors of its own."""
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(3)
    optimizer = gn.Momentum([tensor], lr=1.0)
    optimizer.step([torch.ones(3)])
    twin = duplicate(optimizer)
    twin.step([torch.ones(3)])
    assert tensor[0] == np.float32(-0.1)
    assert isinstance(twin.groups[0]["params"][0], torch.Tensor)
    assert twin.groups[0]["params"][0][0] == pytest.approx(-0.29)


# Copies.

COPY = pytest.mark.parametrize(
    "make_copy",
    [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
    ids=["copy", "deepcopy", "pickle"],
)


@COPY
@pytest.mark.parametrize("plan", [False, True], ids=["optimizer", "plan"])
def test_a_copy_leaves_the_original_alone(make_copy, plan, rng):
    """Whichever steps first, a missing gradient and a set hyperparameter included."""

    def trained(watch):
        params = {"w": np.ones((2, 3)), "b": np.ones(3)}
        lr = gn.schedules.ReduceOnPlateau(0.5, patience=0)
        optimizer = gn.Phases(params, [gn.Phase(gn.Adam, lr=lr)]) if plan else gn.Adam(params, lr=lr)
        for k in range(6):
            if k == 3:
                watch(params, optimizer)
            optimizer.step({"w": np.full((2, 3), 1.0 + k), "b": None if k == 4 else np.full(3, 2.0 + k)})
        return params, optimizer.state_dict(), optimizer.lr

    def use_a_copy(params, optimizer):
        other, values = make_copy(optimizer), copies(params)
        inner = other.optimizer if plan else other
        other.step({"w": None, "b": np.ones(3)})
        inner.groups[0]["lr"].observe(1.0)
        inner.groups[0]["lr"].observe(2.0)
        other.betas = (0.5, 0.5)
        other.step({"w": np.ones((2, 3)), "b": np.ones(3)})
        assert (other.t, optimizer.t) == (5, 3)
        for name, p in params.items():
            p[...] = values[name]  # a shallow copy has moved them

    expected, result = trained(lambda *_: None), trained(use_a_copy)
    assert_equal_models(result[0], expected[0])
    assert str(result[1:]) == str(expected[1:])


def test_a_shallow_copy_is_of_the_same_parameters():
    """With a state of its own, from where the original is."""
    w = np.ones(3)
    first = gn.Momentum({"w": w}, lr=1.0, momentum=0.5)
    first.step({"w": np.ones(3)})
    second = copy.copy(first)
    second.step({"w": np.zeros(3)})
    np.testing.assert_array_equal(w, 0.25)
    np.testing.assert_array_equal(first.state_dict()["state"]["w"]["v"], 0.5)
    np.testing.assert_array_equal(second.state_dict()["state"]["w"]["v"], 0.25)
    other = copy.deepcopy(first)
    other.step({"w": np.ones(3)})
    np.testing.assert_array_equal(w, 0.25)
