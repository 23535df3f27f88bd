"""The optimizers' contract: containers, gradients, hyperparameters, tensors, threads, targets."""

import collections
import copy
import inspect
import math
import threading

import numpy as np
import pytest
from cases import OPTIMIZERS, one_a_class, one_a_kernel_shape, rule_of
from judge import assert_close, assert_same_bits
from models import (
    SHAPES,
    assert_equal_models,
    assert_equal_states,
    assert_model,
    copies,
    falling,
    gradients_of,
    model,
)

import gnumba as gn

CASES = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
EACH_CLASS = pytest.mark.parametrize("case", one_a_class(), ids=str)
EACH_SHAPE = pytest.mark.parametrize("case", one_a_kernel_shape(), ids=str)
SHAPED = [rule_of(case) for case in one_a_kernel_shape()]


def decays(case):
    """Whether the optimizer has a weight decay: Rprop has none."""
    return "weight_decay" in inspect.signature(case.make).parameters


# Containers.


@CASES
def test_dict_of_arrays(case, dtype, rng):
    """Every array follows the formula by itself, state under its name."""
    params = model(rng, dtype)
    steps = gradients_of(rng, params, 4)
    expected = {name: case.expected(p, [g[name] for g in steps]) for name, p in params.items()}
    optimizer = case.make(params, **case.hyper)
    for grads in steps:
        optimizer.step(grads)
    assert_model(params, {name: result["p"] for name, result in expected.items()})
    for name, arrays in optimizer.state_dict()["state"].items():
        assert arrays.keys() == {"updates", *case.state, *case.make.memory}
        assert_model({key: arrays[key] for key in case.state}, expected[name])


@EACH_CLASS
@pytest.mark.parametrize("container", [list, tuple], ids=lambda kind: kind.__name__)
def test_list_or_tuple_of_arrays(case, container, rng):
    """Steps equal those of a dict, with indices as names; a list of gradients fits a tuple."""
    params = model(rng)
    sequence = container(copies(params).values())
    by_name, by_index = case.make(params, **case.hyper), case.make(sequence, **case.hyper)
    for grads in gradients_of(rng, params, 3):
        by_name.step(grads)
        by_index.step(list(grads.values()))
    assert_equal_models(params, dict(zip(params, sequence, strict=True)))
    assert list(by_index.state_dict()["state"]) == ["0", "1", "2"]


@EACH_CLASS
def test_single_array(case, rng):
    """Its gradient is an array too."""
    single, listed = rng.standard_normal((2, 7))
    listed[...] = single
    alone, in_list = case.make(single, **case.hyper), case.make([listed], **case.hyper)
    for g in rng.standard_normal((3, 7)):
        alone.step(g)
        in_list.step((g,))
    assert_same_bits(single, listed)


def test_gradients_in_another_order_of_names():
    """Names decide, not order."""
    params = {"a": np.zeros(2), "b": np.zeros(3)}
    gn.SGD(params, lr=1.0).step({"b": np.full(3, 2.0), "a": np.ones(2)})
    assert (params["a"][0], params["b"][0]) == (-1.0, -2.0)


def test_any_mapping_of_arrays():
    """Not only dict."""
    params = collections.OrderedDict(w=np.zeros(2))
    gn.SGD(params, lr=1.0).step(collections.ChainMap({"w": np.ones(2)}))
    np.testing.assert_array_equal(params["w"], [-1.0, -1.0])


@EACH_CLASS
def test_groups_override_hyperparameters(case, rng):
    """Each group is as an optimizer of its own, with its own numbers."""
    params = model(rng)
    others = copies(params)
    own = {"lr": 0.5, "weight_decay": 0.25}
    own = {name: value for name, value in own.items() if name != "weight_decay" or decays(case)}
    grouped = case.make(
        [
            {"params": [params["w"]], "name": "weights", **own},
            {"params": {"bias": params["b"]}},
            {"params": params["scale"], "name": "scale", "lr": 0.0},
        ],
        **case.hyper,
    )
    alone = [
        case.make(others["w"], **case.hyper | own),
        case.make(others["b"], **case.hyper),
        case.make(others["scale"], **case.hyper | {"lr": 0.0}),
    ]
    for g in gradients_of(rng, params, 3):
        grouped.step([[g["w"]], {"bias": g["b"]}, g["scale"]])
        for optimizer, name in zip(alone, SHAPES, strict=True):
            optimizer.step(g[name])
    assert_equal_models(params, others)


def test_groups_have_names():
    """Given ones, or their index; parameters are called group/name."""
    groups = [{"params": [np.zeros(1), np.zeros(1)], "name": "body"}, {"params": {"w": np.zeros(1)}}]
    optimizer = gn.Adam(groups)
    assert [group["name"] for group in optimizer.groups] == ["body", "1"]
    assert list(optimizer.state_dict()["state"]) == ["body/0", "body/1", "1/w"]


def test_groups_can_be_changed(rng):
    """The next step uses the new number, in that group only."""
    a, b = np.zeros(2), np.zeros(2)
    optimizer = gn.SGD([{"params": a}, {"params": b}], lr=1.0)
    optimizer.groups[1]["lr"] = 0.25
    optimizer.step([np.ones(2), np.ones(2)])
    assert (a[0], b[0]) == (-1.0, -0.25)
    assert optimizer.groups[1]["lr"] == 0.25


def test_momentum_given_to_a_group_later_counts():
    """SGD that began without momentum gets it, or says that it cannot."""
    p, expected = np.zeros(1), np.zeros(1)
    later, first = gn.SGD(p, lr=1.0), gn.SGD(expected, lr=1.0, momentum=0.5)
    try:
        later.groups[0]["momentum"] = 0.5
    except ValueError:
        return
    for _ in range(2):
        later.step(np.ones(1))
        first.step(np.ones(1))
    assert p == expected


def test_momentum_in_a_group_only():
    """The others go without."""
    a, b = np.zeros(1), np.zeros(1)
    optimizer = gn.SGD([{"params": a}, {"params": b, "momentum": 0.5}], lr=1.0)
    for _ in range(2):
        optimizer.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0]) == (-2.0, -2.5)


@EACH_SHAPE
def test_mixed_dtypes_and_sizes(case, rng):
    """float32 beside float64, nothing beside much: each computes in its own dtype."""
    params = {
        "single": rng.standard_normal(1001).astype(np.float32),
        "double": rng.standard_normal((3, 5)),
        "empty": np.zeros((0, 4), np.float32),
        "large": rng.standard_normal((400, 300)).astype(np.float32),
        "scalar": np.array(0.5),
    }
    alone = copies(params)
    optimizers = {name: case.make(p, **case.hyper) for name, p in alone.items()}
    together = case.make(params, **case.hyper)
    for grads in gradients_of(rng, params, 3):
        together.step(grads)
        for name, optimizer in optimizers.items():
            optimizer.step(grads[name])
    assert_equal_models(params, alone)
    states = together.state_dict()["state"]
    assert all(states[name][key].dtype == p.dtype for name, p in params.items() for key in case.state)


# In place.


def test_whoever_holds_the_array_sees_the_update(rng):
    """The arrays themselves, views of them, and parameters that are views."""
    whole = rng.standard_normal((4, 6))
    before, left = whole.copy(), whole[:, :3]
    gn.SGD({"right": whole[:, 3:]}, lr=1.0).step({"right": np.ones((4, 3))})
    np.testing.assert_array_equal(left, before[:, :3])
    np.testing.assert_array_equal(whole[:, 3:], before[:, 3:] - 1.0)


def test_interleaved_views_are_apart(rng):
    """Two parameters in one array, element by element in turn."""
    whole = np.zeros(10)
    gn.SGD([whole[::2], whole[1::2]], lr=1.0).step([np.ones(5), np.full(5, 2.0)])
    np.testing.assert_array_equal(whole, [-1.0, -2.0] * 5)


@EACH_CLASS
def test_gradients_are_never_written(case, rng):
    """Read-only gradients will do; nothing of them is kept."""
    params = model(rng)
    optimizer = case.make(params, **case.hyper)
    for grads in gradients_of(rng, params, 2):
        before = copies(grads)
        for g in grads.values():
            g.flags.writeable = False
        optimizer.step(grads)
        assert_equal_models(grads, before)


def test_a_parameter_may_be_its_own_gradient():
    """As for ½‖p‖²."""
    p = np.array([1.0, -2.0, 4.0])
    gn.SGD(p, lr=0.25).step(p)
    np.testing.assert_array_equal(p, [0.75, -1.5, 3.0])


@pytest.mark.parametrize("other", ["list", "dict", "group"])
def test_rebinding_is_caught(other):
    """Training an array that nobody holds any more would be silent; nothing is changed instead."""
    held, new = [np.zeros(2), np.zeros(2)], np.zeros(2)
    params = {"list": held, "dict": dict(enumerate(held)), "group": [{"params": held}]}[other]
    optimizer = gn.Adam(params)
    (params[0]["params"] if other == "group" else params)[1] = new
    grads = {"list": [np.ones(2)] * 2, "dict": {0: np.ones(2), 1: np.ones(2)}, "group": [[np.ones(2)] * 2]}
    with pytest.raises(ValueError, match=r"1 .*no longer"):
        optimizer.step(grads[other])
    assert optimizer.t == 0
    assert not any(array.any() for array in [*held, new])


@pytest.mark.parametrize("change", [lambda p: p.pop(), lambda p: p.append(np.zeros(2)), lambda p: p.clear()])
def test_a_container_that_shrank_or_grew_is_caught(change):
    """Whether the gradients are as many as before or as many as now."""
    params = [np.zeros(2), np.zeros(2)]
    held = params[0]
    optimizer = gn.SGD(params)
    change(params)
    for count in {2, len(params)}:
        with pytest.raises(ValueError, match=r"param|grads"):
            optimizer.step([np.ones(2)] * count)
    assert not held.any()


def test_a_name_taken_away_is_caught():
    """From a dict."""
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    optimizer = gn.SGD(params)
    del params["b"]
    for names in ("w", "wb"):
        with pytest.raises(ValueError, match=r"\bb\b"):
            optimizer.step({name: np.ones(2) for name in names})


def test_augmented_assignment_is_not_rebinding():
    """``params["w"] += 1`` keeps the array."""
    params = {"w": np.zeros(2)}
    optimizer = gn.SGD(params, lr=1.0)
    params["w"] += 1.0
    optimizer.step({"w": np.ones(2)})
    np.testing.assert_array_equal(params["w"], [0.0, 0.0])


# None for a gradient.


@CASES
def test_none_leaves_a_parameter_and_its_state(case, rng):
    """And the bias correction counts that parameter's own updates."""
    params = model(rng)
    steps = gradients_of(rng, params, 6)
    for k, name in [(0, "b"), (1, "b"), (3, "w"), (4, "scale"), (5, "b"), (5, "w")]:
        steps[k][name] = None
    expected = {name: case.expected(p, [g[name] for g in steps]) for name, p in params.items()}
    optimizer = case.make(params, **case.hyper)
    for grads in steps:
        optimizer.step(grads)
    assert_model(params, {name: result["p"] for name, result in expected.items()})
    state = optimizer.state_dict()["state"]
    for name in params:
        assert_model({key: state[name][key] for key in case.state}, expected[name])
    assert optimizer.t == 6
    assert {name: arrays["updates"] for name, arrays in state.items()} == {"w": 4, "b": 3, "scale": 5}


def test_none_for_every_gradient():
    """A step all the same: schedules go on."""
    p = np.ones(3)
    optimizer = gn.Adam([p], lr=lambda t: 0.1 / (t + 1))
    optimizer.step([None])
    assert (optimizer.t, optimizer.lr) == (1, 0.05)
    np.testing.assert_array_equal(p, np.ones(3))


def test_none_for_strided_parameters(rng):
    """Whatever the last step's gradient was, and after steps missed."""
    whole = rng.standard_normal((6, 8))
    alone = [whole[:, ::2].copy(), whole[:, 1::2].copy()]
    optimizer, others = gn.Adam([whole[:, ::2], whole[:, 1::2]], lr=0.1), [gn.Adam(p, lr=0.1) for p in alone]
    for given in [(True, True), (False, True), (True, True), (True, False), (True, True)]:
        grads = [g if there else None for g, there in zip(rng.standard_normal((2, 6, 4)), given, strict=True)]
        optimizer.step(grads)
        for other, g in zip(others, grads, strict=True):
            other.step(g)
    assert_same_bits(whole[:, ::2], alone[0])
    assert_same_bits(whole[:, 1::2], alone[1])


# Hyperparameters: numbers and schedules.


@pytest.mark.parametrize(
    ("make", "hyper"),
    [
        (gn.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
        (gn.Momentum, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
        (gn.AdaGrad, {"lr": 0.1, "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.RMSProp, {"lr": 0.1, "decay": 0.9, "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.Adam, {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.AdamW, {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.RMSProp, {"decay": 0.9, "momentum": 0.9}),
        (gn.AdaDelta, {"lr": 1.0, "decay": 0.9, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.RAdam, {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.Adamax, {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "weight_decay": 0.1}),
        (gn.AdaBelief, {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.Adan, {"lr": 0.1, "betas": (0.9, 0.8, 0.9), "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.Lion, {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}),
        (gn.Rprop, {"lr": 0.1}),
        (gn.LAMB, {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
        (gn.LARS, {"lr": 0.1, "momentum": 0.9, "trust_coefficient": 0.1, "weight_decay": 0.1}),
        (gn.ScheduleFreeSGD, {"lr": 0.1, "beta": 0.9, "weight_decay": 0.1}),
        (gn.ScheduleFreeAdamW, {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "weight_decay": 0.1}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_any_hyperparameter_may_be_a_schedule(make, hyper, rng):
    """Called with the number of steps taken, the same bits as with that number set by hand."""
    by_hand, scheduled = rng.standard_normal(5), np.zeros(5)
    gradients = rng.standard_normal((3, 5))
    for name, number in hyper.items():
        scheduled[...] = by_hand
        asked = []
        schedule = falling(number, asked)
        ours, theirs = make(scheduled, **hyper | {name: schedule}), make(by_hand, **hyper)
        for t, g in enumerate(gradients):
            theirs.groups[0][name] = falling(number)(t)
            ours.step(g)
            theirs.step(g)
        assert_same_bits(scheduled, by_hand, name)
        assert set(asked) == {0, 1, 2}


@pytest.mark.parametrize("which", [0, 1])
def test_one_beta_on_a_schedule(which, rng):
    """1 − βᵗ uses the β of this step."""
    p, m, v = rng.standard_normal(4), 0.0, 0.0
    start = p.copy()
    betas = [0.8, 0.9]
    betas[which] = lambda t: 0.5 + 0.1 * t
    optimizer = gn.Adam(p, lr=0.1, betas=tuple(betas))
    for t, g in enumerate(rng.standard_normal((3, 4)), 1):
        optimizer.step(g)
        beta1, beta2 = (beta(t - 1) if callable(beta) else beta for beta in betas)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        start -= 0.1 * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + 1e-8)
    assert_close(p, start, np.float64, scale=1.0)


def test_schedules_in_groups():
    """Each its own."""
    a, b = np.zeros(1), np.zeros(1)
    optimizer = gn.SGD([{"params": a, "lr": lambda t: t + 1.0}, {"params": b}], lr=lambda t: 0.5)
    optimizer.step([np.ones(1), np.ones(1)])
    optimizer.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0]) == (-3.0, -1.0)


@pytest.mark.parametrize(
    "number",
    [1, np.float32(1.0), np.float16(1.0), np.float64(1.0), np.int8(1), np.array(1.0, np.float32)],
    ids=repr,
)
def test_hyperparameters_are_weak(number, dtype):
    """No number changes the arrays' dtype."""
    p = np.zeros(3, dtype)
    optimizer = gn.SGD(p, lr=number)
    optimizer.step(np.ones(3, dtype))
    assert p.dtype == dtype
    np.testing.assert_array_equal(p, [-1.0] * 3)
    assert type(optimizer.lr) is float


def test_t_and_lr():
    """0 and the first rate at the start; the rate of the next step after."""
    optimizer = gn.SGD(np.zeros(1), lr=lambda t: 1.0 / (1 + t))
    assert (optimizer.t, optimizer.lr) == (0, 1.0)
    optimizer.step(np.ones(1))
    assert (optimizer.t, optimizer.lr) == (1, 0.5)


def test_setting_lr_sets_every_group_and_replaces_a_schedule():
    """With a number or with another schedule."""
    a, b = np.zeros(1), np.zeros(1)
    optimizer = gn.SGD([{"params": a, "lr": 3.0}, {"params": b, "lr": lambda t: 5.0}])
    optimizer.lr = 0.5
    optimizer.step([np.ones(1), np.ones(1)])
    assert (a[0], b[0], optimizer.lr) == (-0.5, -0.5, 0.5)
    optimizer.lr = lambda t: 0.25 * t
    assert (optimizer.lr, optimizer.groups[1]["lr"](2)) == (0.25, 0.5)


def test_defaults():
    """As documented."""
    expected = {
        gn.SGD: {"lr": 0.01, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0},
        gn.Momentum: {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0},
        gn.AdaGrad: {"lr": 0.01, "eps": 0.0, "eps_root": 1e-8, "weight_decay": 0.0},
        gn.RMSProp: {
            "lr": 0.001, "decay": 0.9, "eps": 0.0, "eps_root": 1e-8, "momentum": 0.0, "weight_decay": 0.0,
        },
        gn.AdaDelta: {"lr": 1.0, "decay": 0.9, "eps_root": 1e-6, "weight_decay": 0.0},
        gn.Adam: {"lr": 0.001, "betas": (0.9, 0.999), "eps": 0.0, "eps_root": 1e-8, "weight_decay": 0.0},
        gn.AdamW: {"lr": 0.001, "betas": (0.9, 0.999), "eps": 0.0, "eps_root": 1e-8, "weight_decay": 1e-4},
        gn.RAdam: {"lr": 0.001, "betas": (0.9, 0.999), "eps": 0.0, "eps_root": 1e-8, "weight_decay": 0.0},
        gn.Adamax: {"lr": 0.002, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
        gn.AdaBelief: {
            "lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-16, "eps_root": 1e-16, "weight_decay": 0.0,
        },
        gn.Adan: {
            "lr": 0.001, "betas": (0.98, 0.92, 0.99), "eps": 1e-8, "eps_root": 1e-8, "weight_decay": 0.0,
        },
        gn.ScheduleFreeSGD: {"lr": 0.1, "beta": 0.9, "warmup_steps": 0, "weight_decay": 0.0},
        gn.ScheduleFreeAdamW: {
            "lr": 0.001, "betas": (0.9, 0.999), "eps": 0.0, "eps_root": 1e-8, "warmup_steps": 0,
            "weight_decay": 0.0,
        },
        gn.Lion: {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 1e-3},
        gn.LAMB: {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "eps_root": 0.0, "weight_decay": 0.0},
        gn.LARS: {"lr": 0.1, "momentum": 0.9, "trust_coefficient": 1e-3, "weight_decay": 0.0},
        gn.Rprop: {"lr": 0.01, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)},
    }  # fmt: skip
    for make, defaults in expected.items():
        group = make(np.zeros(1)).groups[0]
        assert {name: group[name] for name in defaults} == defaults, make
        assert set(group) == {"params", "name", *defaults}


def test_epsilon_inside_and_outside_the_root():
    """The documented example: a first step of 0.707 η inside, of η outside."""
    inside, outside = np.zeros(1), np.zeros(1)
    gn.Adam(inside, lr=1.0).step(np.full(1, 1e-4))
    gn.Adam(outside, lr=1.0, eps=1e-8, eps_root=0.0).step(np.full(1, 1e-4))
    assert inside[0] == pytest.approx(-math.sqrt(0.5), rel=1e-12)
    assert outside[0] == pytest.approx(-1.0, rel=1e-3)


ADAPTIVE = [gn.AdaGrad, gn.RMSProp, gn.Adam, gn.AdamW]


@pytest.mark.parametrize("make", ADAPTIVE)
def test_one_epsilon_alone_makes_the_other_zero(make):
    """As somebody expects who types PyTorch's; both are as given, neither is 1e-8 inside the root."""

    def in_force(**given):
        optimizer = make(np.zeros(1), **given)
        return optimizer.eps, optimizer.eps_root

    assert in_force() == (0.0, 1e-8)
    assert in_force(eps=1e-6) == (1e-6, 0.0)
    assert in_force(eps_root=1e-6) == (0.0, 1e-6)
    assert in_force(eps=1e-6, eps_root=1e-4) == (1e-6, 1e-4)
    assert in_force(eps=lambda t: 1e-6) == (1e-6, 0.0)


def test_one_epsilon_alone_in_a_group():
    """A value that the group does not give is the one given for all groups."""
    groups = [
        {"params": np.zeros(1)},
        {"params": np.ones(1), "eps": 1e-6},
        {"params": np.ones(2), "eps_root": 1e-4},
    ]
    of_default = [(group["eps"], group["eps_root"]) for group in gn.Adam(groups).groups]
    assert of_default == [(0.0, 1e-8), (1e-6, 0.0), (0.0, 1e-4)]
    of_given = [(group["eps"], group["eps_root"]) for group in gn.Adam(groups, eps_root=1e-2).groups]
    assert of_given == [(0.0, 1e-2), (1e-6, 1e-2), (0.0, 1e-4)]


def test_epsilon_alone_moves_as_far_as_pytorch_does():
    """A hundred steps at a gradient of 1e-6."""
    p = np.zeros(1)
    optimizer = gn.Adam(p, lr=1e-3, eps=1e-8)
    for _ in range(100):
        optimizer.step(np.full(1, 1e-6))
    assert p[0] == pytest.approx(-0.1 / 1.01, rel=1e-6)


# Ascent.


@EACH_CLASS
@pytest.mark.parametrize("options", [{}, {"max_norm": 0.5}, {"nonfinite": "skip"}], ids=str)
def test_maximize_turns_the_gradients_sign(case, options, dtype, rng):
    """Bit for bit; weight decay is not turned, the norm is not either."""
    params = model(rng, dtype)
    others = copies(params)
    hyper = case.hyper | ({"weight_decay": 0.1} if decays(case) else {})
    up = case.make(params, **hyper, maximize=True, **options)
    down = case.make(others, **hyper, **options)
    for k, g in enumerate(gradients_of(rng, params, 4)):
        if k == 1 and not up.rule.normed:
            g["w"] = gn.Rows([0, 2], g["w"][:2])
        scale = 0.5 if k == 2 else 1.0
        up.step(g, grad_scale=scale)
        turned = {
            name: gn.Rows(x.indices, -x.values) if isinstance(x, gn.Rows) else np.asarray(-x)
            for name, x in g.items()
        }
        down.step(turned, grad_scale=scale)
        assert up.grad_norm == down.grad_norm
    assert_equal_models(params, others)
    assert_equal_states(up.state_dict(), down.state_dict())


# Terms that are switched off.

OFF = {
    "SGD": (gn.SGD, {}),
    "SGD with groups that have momentum": (gn.SGD, {"momentum": lambda t: 0.0}),
    "SGD dampened": (gn.SGD, {"momentum": lambda t: 0.0, "dampening": 0.5}),
    "SGD nesterov": (gn.SGD, {"momentum": lambda t: 0.0, "nesterov": True}),
    "SGD decoupled": (gn.SGD, {"decoupled": True}),
    "Momentum": (gn.Momentum, {"momentum": 0.0}),
    "Momentum decoupled": (gn.Momentum, {"momentum": 0.0, "decoupled": True}),
    "AdaGrad": (gn.AdaGrad, {}),
    "RMSProp": (gn.RMSProp, {"decay": 0.0}),
    "RMSProp centered": (gn.RMSProp, {"decay": 0.0, "momentum": lambda t: 0.0, "centered": True}),
    "RMSProp with momentum": (gn.RMSProp, {"decay": 0.0, "momentum": lambda t: 0.0}),
    "AdaDelta": (gn.AdaDelta, {"decay": 0.0}),
    "Adam": (gn.Adam, {"betas": (0.0, 0.0)}),
    "Adam amsgrad": (gn.Adam, {"betas": (0.0, 0.0), "amsgrad": True}),
    "AdamW": (gn.AdamW, {"betas": (0.0, 0.0), "weight_decay": 0.0}),
    "AdamW amsgrad": (gn.AdamW, {"betas": (0.0, 0.0), "weight_decay": 0.0, "amsgrad": True}),
    "RAdam": (gn.RAdam, {"betas": (0.0, 0.0)}),
    "RAdam decoupled": (gn.RAdam, {"betas": (0.0, 0.0), "decoupled": True}),
    "Adamax": (gn.Adamax, {"betas": (0.0, 0.0)}),
    "AdaBelief": (gn.AdaBelief, {"betas": (0.0, 0.0)}),
    "Adan": (gn.Adan, {"betas": (0.0, 0.0, 0.0)}),
    "Lion": (gn.Lion, {"betas": (0.0, 0.0), "weight_decay": 0.0}),
    "Rprop": (gn.Rprop, {}),
    "ScheduleFreeSGD": (gn.ScheduleFreeSGD, {"beta": 0.0}),
    "ScheduleFreeAdamW": (gn.ScheduleFreeAdamW, {"betas": (0.0, 0.0)}),
}


# States that are no means: a sum, maxima, the means of steps past and their sizes.
KEPT = {
    "AdaGrad": ["G"],
    "AdaDelta": ["D"],
    "Adam amsgrad": ["v_max"],
    "AdamW amsgrad": ["v_max"],
    "Rprop": ["size"],
    "ScheduleFreeSGD": ["d"],
    "ScheduleFreeAdamW": ["d"],
}


@pytest.mark.parametrize(
    ("name", "target"), [*((name, "cpu") for name in OFF), ("SGD", "parallel"), ("Adam", "parallel")]
)
@pytest.mark.parametrize("option", [{}, {"max_norm": 1e3}, {"nonfinite": "raise"}], ids=str)
def test_what_is_switched_off_does_not_act_on_infinity(name, option, target, dtype):
    """0 · inf is nan, so neither decay of a parameter nor momentum of a state may act."""
    make, hyper = OFF[name]
    size = 40  # more than a vector
    p = np.full(size, np.inf, dtype)
    p[::2] = -np.inf
    optimizer = make(p, lr=0.1, **hyper, **option)
    before = p.copy()
    with gn.use_target(target):
        optimizer.step(np.zeros(size, dtype))
        assert_same_bits(p, before)
        for state in optimizer._state[0].values():
            state[...] = np.inf
        for kept in KEPT.get(name, []):
            optimizer._state[0][kept][...] = 0.0
        p[...] = 1.0
        optimizer.step(np.ones(size, dtype))
        optimizer.step(np.zeros(size, dtype))
    assert np.isfinite(p).all()
    assert all(np.isfinite(state).all() for state in optimizer._state[0].values())


# Nesterov's form.


@pytest.mark.parametrize(
    ("hyper", "words"),
    [
        ({}, "momentum is 0.0, expected momentum > 0"),
        ({"momentum": 0.9, "dampening": 0.1}, "dampening is 0.1, expected no dampening"),
        ({"momentum": 0.9, "dampening": lambda t: 0.1}, "expected no dampening"),
    ],
)
def test_nesterov_needs_momentum_and_takes_no_dampening(hyper, words):
    """As in PyTorch; groups and later settings included."""
    with pytest.raises(ValueError, match=f"nesterov is True and .*{words}"):
        gn.SGD(np.zeros(1), nesterov=True, **hyper)
    with pytest.raises(ValueError, match="dampening"):
        gn.SGD([{"params": np.zeros(1), "dampening": 0.5}], nesterov=True, momentum=0.9)
    optimizer = gn.SGD(np.zeros(1), nesterov=True, momentum=0.9)
    with pytest.raises(ValueError, match=r"dampening is 0\.5, expected 0, as nesterov takes none"):
        optimizer.dampening = 0.5
    assert gn.SGD([{"params": np.zeros(1), "momentum": 0.5}], nesterov=True).rule is gn.rules.nesterov


# Schedules are asked once.


@pytest.mark.parametrize("options", [{}, {"max_norm": 1.0}], ids=str)
def test_a_schedule_is_asked_once_a_step_and_group(options):
    """However many dtypes, counts of updates and rows a step has."""
    asked = {name: [] for name in ("lr", "betas", "max_norm")}
    params = [np.ones(2), np.ones(2, np.float32), np.ones((3, 2)), np.ones(4)]
    if options:
        options = {"max_norm": falling(1.0, asked["max_norm"])}
        del params[1]
    hyper = {"lr": falling(0.1, asked["lr"]), "betas": (falling(0.9, asked["betas"]), 0.9)}
    optimizer = gn.Adam(params, **hyper, **options)
    for calls in asked.values():
        calls.clear()
    for k in range(3):
        g = [np.ones_like(p) for p in params]
        g[0] = None if k == 0 else g[0]
        g[-2] = gn.Rows([k], np.ones((1, 2)))
        optimizer.step(g)
    assert asked["lr"] == asked["betas"] == [0, 1, 2]
    assert asked["max_norm"] == ([0, 1, 2] if options else [])


# The step like the one before.


@EACH_CLASS
def test_a_fast_step_is_as_any_other(case, dtype, rng):
    """Bit for bit, with everything that ends a run of such steps in between."""
    params = model(rng, dtype)
    others, kept = copies(params), {}
    fast, slow = case.make(params, **case.hyper), case.make(others, **case.hyper)
    took = 0

    def change(optimizer, k, g):
        scale = 1.0
        if k == 5:
            optimizer.lr = 0.025
        if k == 8:
            scale = 4.0
        if k == 11:
            g = {**g, "b": None}
        if k == 14:
            optimizer.max_norm = 0.5
        if k == 16:
            optimizer.max_norm = None
        if k == 19:
            optimizer.groups[0]["weight_decay" if decays(case) else "lr"] = 0.25
        if k == 22:
            optimizer.load_state_dict(kept["state"])
        with gn.use_target("parallel" if k == 24 and optimizer.rule in SHAPED else "cpu"):
            optimizer.step(g, grad_scale=scale)

    for k, g in enumerate(gradients_of(rng, params, 28)):
        slow._fast = None
        took += fast._fast is not None
        change(fast, k, g)
        change(slow, k, g)
        if k == 20:
            kept["state"] = fast.state_dict()
        assert_equal_models(params, others)
        assert_equal_states(fast.state_dict(), slow.state_dict())


def test_steps_become_fast():
    """The second of steps of one kind, for one group and for several, of two dtypes."""
    for params in (np.ones(3), [np.ones(3), np.ones(2, np.float32)], {"w": np.ones(3)}):
        optimizer = gn.Adam(params)
        optimizer.step(copies(params))
        assert optimizer._fast is not None
        optimizer.step(copies(params))
        assert (optimizer.t, optimizer._fast is not None) == (2, True)
    with gn.use_target("cpu"):
        optimizer.step(copies(params))  # the target is another
        assert optimizer._fast is not None
        fast = optimizer._fast
        optimizer.step(copies(params))
        assert optimizer._fast is fast
    optimizer = gn.Adam([{"params": [np.ones(3)]}, {"params": np.ones(2), "lr": 0.1}])
    for _ in range(2):
        optimizer.step([[np.ones(3)], np.ones(2)])
        assert optimizer._fast is not None


@EACH_CLASS
def test_repr(case):
    """Class, rule, step, every group with its numbers."""
    groups = [
        {"params": [np.zeros(3)], "name": "body"},
        {"params": [np.zeros((2, 2))], "name": "head", "lr": 0.125},
    ]
    optimizer = case.make(groups, **case.hyper)
    scheduled = "weight_decay" if decays(case) else "lr"
    optimizer.groups[0][scheduled] = falling(0.5)
    shown = repr(optimizer)
    for word in (
        case.make.__name__,
        optimizer.rule.name,
        "t=0",
        "body",
        "head",
        "lr=0.125",
        f"{scheduled}=schedule",
    ):
        assert word in shown


# PyTorch tensors.


@pytest.mark.parametrize("parameter", [False, True], ids=["tensor", "Parameter"])
@EACH_CLASS
def test_torch_tensors(case, parameter, dtype, rng):
    """Updated in place, requires_grad or not, with tensors or arrays for gradients."""
    torch = pytest.importorskip("torch")
    arrays = model(rng, dtype)
    tensors = {name: torch.from_numpy(p.copy()) for name, p in arrays.items()}
    if parameter:
        tensors = {name: torch.nn.Parameter(p) for name, p in tensors.items()}
    views = {name: p.detach().numpy() for name, p in tensors.items()}
    ours, theirs = case.make(tensors, **case.hyper), case.make(arrays, **case.hyper)
    for g in gradients_of(rng, arrays, 3):
        ours.step({name: torch.from_numpy(value) for name, value in g.items()})
        theirs.step(g)
        ours.step(g)
        theirs.step(g)
    assert_equal_models(views, arrays)


def test_torch_autograd_drives_an_optimizer():
    """A loop as one writes it."""
    torch = pytest.importorskip("torch")
    x = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = gn.Adam([x], lr=0.1)
    for _ in range(200):
        x.grad = None
        ((x - 1.0) ** 2).sum().backward()
        optimizer.step([x.grad])
    np.testing.assert_allclose(x.detach().numpy(), [1.0, 1.0], atol=1e-3)


def test_torch_tensor_that_got_other_memory_is_caught():
    """``.data =`` or ``set_`` leave the tensor and take its memory away."""
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(3)
    optimizer = gn.SGD([tensor])
    tensor.data = torch.ones(3)
    with pytest.raises(ValueError, match=r"0 .*no longer"):
        optimizer.step([torch.ones(3)])
    assert torch.equal(tensor, torch.ones(3))


# Compiled once; any thread.


def test_no_compilation_after_the_first_step(rng):
    """Whatever comes: new numbers, schedules, layouts, None, another optimizer of the class."""
    from numba.core import event

    params = [rng.standard_normal((40, 30)), rng.standard_normal(7)]
    optimizer = gn.Adam(params, lr=lambda t: 0.1 / (t + 1))
    grads = [rng.standard_normal((40, 30)), rng.standard_normal(7)]
    optimizer.step(grads)
    optimizer.step([grads[0].T.copy().T, grads[1]])
    with event.install_recorder("numba:compile") as recorder:
        optimizer.groups[0]["weight_decay"] = 0.5
        optimizer.step(grads)
        optimizer.step([grads[0].T.copy().T, None])
        optimizer.lr = 0.5
        copy.deepcopy(optimizer).step(grads)
        gn.Adam(rng.standard_normal(3)).step(np.ones(3))
    assert recorder.buffer == []


def test_several_threads_step_different_optimizers_at_once(rng):
    """Bits equal those of steps taken one after another."""
    params = rng.standard_normal((6, 200_000)).astype(np.float32)
    grads = rng.standard_normal((3, 200_000)).astype(np.float32)
    expected = params.copy()

    def train(p, target):
        with gn.use_target(target):
            optimizer = gn.Adam(p, lr=0.01)
            for g in grads:
                optimizer.step(g)

    for p in expected:
        train(p, "cpu")
    threads = [
        threading.Thread(target=train, args=(p, "parallel" if k % 2 else "cpu")) for k, p in enumerate(params)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_bits(params, expected)


# Targets.


def test_use_target_is_for_its_block_and_thread():
    """Nested, and put back after an error."""
    seen = []
    with gn.use_target("parallel"):
        thread = threading.Thread(target=lambda: seen.append(gn.target_of(np.zeros(1))))
        thread.start()
        thread.join()
        with pytest.raises(ZeroDivisionError), gn.use_target("cpu"):
            _ = 1 / 0
        assert gn.target_of(np.zeros(1)) == "parallel"
    assert (gn.target_of(np.zeros(1)), seen) == ("cpu", ["cpu"])


def test_target_of_goes_by_size():
    """Parallel from the size that `info` names on."""
    info = gn.info()
    size = info["parallel_from_bytes"]
    large, small = np.zeros(size // 8), np.zeros(size // 8 - 1)
    several = "parallel" if info["threads"] > 1 else "cpu"
    assert gn.target_of(small) == "cpu"
    assert gn.target_of(large) == gn.target_of(small, small) == several
    assert gn.target_of(np.zeros(3, np.float32), np.zeros(3)) == "cpu"


def test_info_and_inspect():
    """Plain values; text."""
    info = gn.info()
    assert {"versions", "threads", "threading_layer", "simd_bits", "cuda", "cache_folder"} <= info.keys()
    assert info["versions"]["gnumba"] == gn.__version__
    for thing in (gn.rules.sgd, gn.SGD(np.zeros(1))):
        made = gn.inspect(thing, target="parallel", dtype=np.float64)
        assert "define" in made["llvm"]
        assert "vmulpd" in made["asm"] or gn.info()["simd_bits"] < 256


def test_precompile_compiles_what_a_step_needs(rng):
    """For the target asked for, or for both."""
    from numba.core import event

    p = rng.standard_normal(100).astype(np.float32)
    optimizer = gn.Momentum(p)
    gn.precompile(optimizer, dtype="float32")
    optimizer.step(p.copy())
    with event.install_recorder("numba:compile") as recorder:
        for target in ("cpu", "parallel"):
            with gn.use_target(target):
                gn.Momentum(p).step(p.copy())
    assert recorder.buffer == []
