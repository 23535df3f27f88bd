"""Phases: the bits of optimizers used one after another by hand; when it switches, what goes over."""

import copy
import functools
import itertools
import logging
import pickle
import weakref

import numpy as np
import pytest
from cases import one_a_class
from judge import assert_close, assert_same_bits, on_each
from models import Halving, assert_equal_models, assert_equal_states, copies, falling, gradients_of, model

import gnumba as gn

CLASSES = one_a_class()
# Each class after itself and after another: an optimizer knows nothing of the one before it.
PAIRS = pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(a, b, id=f"{a}-{b}")
        for a, b in [*zip(CLASSES, CLASSES, strict=True), *itertools.pairwise([*CLASSES, CLASSES[0]])]
    ],
)


@pytest.fixture
def lion():
    """A rule of one's own, with a state called m."""

    @gn.rule
    def lion(p, g, m, /, lr, beta1, beta2):
        return p - lr * gn.elementary.sign(beta1 * m + (1.0 - beta1) * g), beta2 * m + (1.0 - beta2) * g

    yield lion
    del gn.registry["lion"]


def three(first, second, params, **options):
    """A plan of three phases, two steps each of the first two."""
    return gn.Phases(
        params,
        [
            gn.Phase(first.make, steps=2, batch_size=8, **first.hyper),
            gn.Phase(second.make, steps=2, batch_size=4, **second.hyper),
            gn.Phase(first.make, **first.hyper),
        ],
        **options,
    )


def assert_equal_plans(plan, expected):
    """All that two plans save, bit for bit."""
    mine, theirs = plan.state_dict(), expected.state_dict()
    assert_equal_states(mine.pop("optimizer"), theirs.pop("optimizer"))
    assert mine == theirs


# One optimizer after another.


@PAIRS
def test_the_bits_of_optimizers_by_hand(first, second, dtype, rng):
    """Parameters and state, with gradients that are missing."""
    params = model(rng, dtype)
    others, grads = copies(params), gradients_of(rng, params, 6)
    grads[1]["b"] = grads[2]["w"] = None
    plan = three(first, second, params)
    for case, part in ((first, grads[:2]), (second, grads[2:4]), (first, grads[4:])):
        by_hand = case.make(others, **case.hyper)
        for g in part:
            assert type(plan.optimizer) is case.make
            plan.step(g)
            by_hand.step(g)
            assert_equal_models(params, others)
            if by_hand.t < len(part):
                assert_equal_states(plan.optimizer.state_dict(), by_hand.state_dict())
    assert (plan.t, plan.optimizer.t) == (6, 2)


def test_when_it_switches():
    """With the last step of a phase: what the next batch and step need is the next one's."""
    phases = [
        gn.Phase(gn.Adam, steps=2, lr=0.5, batch_size=512),
        gn.Phase(gn.SGD, steps=1, lr=0.25, momentum=0.9, batch_size=lambda t: 64 + t),
        gn.Phase(gn.Momentum, lr=falling(0.125)),
    ]
    plan = gn.Phases(np.ones(2), phases)
    seen = []
    for _ in range(6):
        seen.append((plan.t, plan.phase, plan.lr, plan.batch_size, plan.rule.name))
        plan.step(np.ones(2))
    adam, sgd = (0, 0.5, 512, "adam"), (1, 0.25, 64, "heavy_ball")
    momentum = [(2, 0.125 * 0.9**t, None, "momentum") for t in range(3)]
    assert seen == [(t, *rest) for t, rest in enumerate([adam, adam, sgd, *momentum])]
    assert plan.phases == tuple(phases)
    assert [rule.name for rule in plan.rules] == ["adam", "heavy_ball", "momentum"]


def test_schedules_count_the_steps_of_their_phase():
    """Every hyperparameter's, the batch size's too; the groups' own in each phase anew."""
    asked = {"first": [], "second": [], "group": []}
    params = [{"params": np.zeros(1)}, {"params": np.zeros(1), "weight_decay": falling(0.1, asked["group"])}]
    plan = gn.Phases(
        params,
        [
            gn.Phase(gn.SGD, steps=3, lr=falling(1.0, asked["first"]), batch_size=lambda t: 10 + t),
            gn.Phase(gn.AdaGrad, lr=falling(1.0, asked["second"]), batch_size=lambda t: 20 + t),
        ],
    )
    for names in asked.values():
        names.clear()
    sizes = []
    for _ in range(5):
        sizes.append(plan.batch_size)
        plan.step([np.ones(1), np.ones(1)])
    assert sizes == [10, 11, 12, 20, 21]
    assert sorted(set(asked["first"])) == [0, 1, 2]
    assert sorted(set(asked["second"])) == [0, 1]
    assert sorted(set(asked["group"])) == [0, 1, 2]


def test_steps_that_are_skipped_do_not_count():
    """The phase has its steps all the same; skipped steps are counted over all phases."""
    p = np.zeros(2)
    phases = [gn.Phase(gn.SGD, steps=2, nonfinite="skip"), gn.Phase(gn.Momentum, nonfinite="skip")]
    plan = gn.Phases(p, phases)
    seen = []
    for k in range(6):
        plan.step(np.full(2, np.nan if k % 2 else 1.0))
        seen.append((plan.phase, plan.t, plan.skipped))
    assert seen == [(0, 1, 0), (0, 1, 1), (1, 2, 1), (1, 2, 2), (1, 3, 2), (1, 3, 3)]
    assert plan.state_dict()["optimizer"]["skipped"] == 3


def test_the_norm_of_the_last_step_outlives_the_switch():
    """It is that of the step, whoever took it."""
    plan = gn.Phases(np.zeros(2), [gn.Phase(gn.SGD, steps=1, max_norm=1.0), gn.Phase(gn.SGD)])
    assert plan.grad_norm is None
    plan.step(np.array([6.0, 8.0]), grad_scale=2.0)
    assert (plan.phase, plan.grad_norm) == (1, 5.0)


def test_step_takes_what_an_optimizer_s_takes():
    """grad_scale, rows, None."""
    p = np.zeros((4, 1))
    plan = gn.Phases([p], [gn.Phase(gn.SGD, steps=2, lr=1.0), gn.Phase(gn.SGD, lr=2.0)])
    plan.step([gn.Rows([1], np.ones((1, 1)))], grad_scale=4.0)
    plan.step([None])
    plan.step([np.ones((4, 1))], grad_scale=2.0)
    np.testing.assert_array_equal(p[:, 0], [-1.0, -1.25, -1.0, -1.0])


def test_what_is_set_is_set_for_this_phase():
    """lr, a group's number, max_norm; the next phase has its own."""
    p = np.zeros(1)
    plan = gn.Phases(p, [gn.Phase(gn.SGD, steps=2), gn.Phase(gn.SGD, lr=0.5)])
    plan.lr = 1.0
    plan.max_norm = 2.0
    plan.step(np.full(1, 8.0))
    assert p[0] == -2.0
    plan.groups[0]["lr"] = falling(2.0)
    plan.step(np.ones(1))
    assert p[0] == -2.0 - 2.0 * 0.9
    assert (plan.lr, plan.max_norm, plan.nonfinite) == (0.5, None, "apply")


def test_the_last_phase_goes_on():
    """Whatever its steps say."""
    plan = gn.Phases(np.zeros(1), [gn.Phase(gn.SGD, steps=1), gn.Phase(gn.Adam, steps=1, patience=0)])
    for _ in range(4):
        plan.step(np.ones(1))
        plan.observe(1.0)
    assert (plan.phase, plan.t) == (1, 4)


def test_groups_have_their_own_numbers_in_every_phase():
    """And names, under which their state is."""
    body, head = np.zeros(1), np.zeros(1)
    params = [{"params": {"w": body}, "name": "body", "lr": 2.0}, {"params": [head], "name": "head"}]
    plan = gn.Phases(params, [gn.Phase(gn.SGD, steps=1, lr=1.0), gn.Phase(gn.Momentum, lr=4.0, momentum=0.5)])
    for _ in range(2):
        plan.step([{"w": np.ones(1)}, [np.ones(1)]])
    assert (body[0], head[0]) == (-2.0 - 1.0, -1.0 - 2.0)
    assert list(plan.state_dict()["optimizer"]["state"]) == ["body/w", "head/0"]


def test_rules_of_one_s_own(lion, rng):
    """As a rule, as a partial, as a function: the same bits."""
    hyper = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99}

    def made(params, **hyper):
        return gn.optimizer(lion, params, **hyper)

    grads, results = rng.standard_normal((4, 3)), []
    for make in (lion, functools.partial(gn.optimizer, lion), made):
        results.append(np.zeros(3))
        plan = gn.Phases(results[-1], [gn.Phase(gn.SGD, steps=1), gn.Phase(make, **hyper)])
        for g in grads:
            plan.step(g)
        assert plan.rule is lion
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])
    assert results[0].all()


def test_one_state_at_a_time():
    """At the start, at a switch: the optimizer before is gone when the next is made."""
    made = []

    def make(params, **hyper):
        assert not any(reference() for reference in made)
        optimizer = gn.Adam(params, **hyper)
        made.append(weakref.ref(optimizer))
        return optimizer

    plan = gn.Phases(np.zeros(3), [gn.Phase(make, steps=1), gn.Phase(make, patience=0), gn.Phase(make)])
    plan.step(np.ones(3))
    plan.observe(np.inf)
    assert (plan.phase, len(made)) == (2, 6)


@pytest.mark.parametrize("carry", ["reset", "momentum"])
def test_switches_are_logged(carry, caplog):
    """From what to what, when, with which rate and batches, and what went over."""
    caplog.set_level(logging.INFO, "gnumba")
    second = gn.Phase(gn.SGD, steps=1, lr=0.01, batch_size=64, momentum=0.9, carry=carry)
    plan = gn.Phases(np.zeros(1), [gn.Phase(gn.Adam, steps=2), second, gn.Phase(gn.Momentum)])
    assert caplog.messages == []
    for _ in range(4):
        plan.step(np.ones(1))
    over = {"reset": "state reset", "momentum": "momentum carried"}[carry]
    assert caplog.messages == [
        f"step 2: Adam → SGD, lr 0.01, batch size 64, {over}",
        "step 3: SGD → Momentum, lr 0.01, state reset",
    ]
    assert {(record.name, record.levelname) for record in caplog.records} == {("gnumba", "INFO")}


def test_a_rule_without_lr_is_logged(caplog):
    """By its own name."""
    caplog.set_level(logging.INFO, "gnumba")

    @gn.rule
    def plain_step(p, g, /, rate):
        return p - rate * g

    plan = gn.Phases(np.zeros(1), [gn.Phase(gn.SGD, patience=0), gn.Phase(plain_step, rate=1.0)])
    plan.observe(1.0)
    plan.observe(1.0)
    assert caplog.messages == ["step 0: SGD → plain_step, state reset"]
    assert gn.registry.pop("plain_step") is plan.rule


def test_torch_tensors_in_phases():
    """Updated in place, through a switch that carries momentum."""
    torch = pytest.importorskip("torch")
    tensor, array = torch.zeros(3, requires_grad=True), np.zeros(3, np.float32)
    phases = [gn.Phase(gn.Adam, steps=2), gn.Phase(gn.Momentum, lr=0.5)]
    theirs, ours = gn.Phases([tensor], phases, carry="momentum"), gn.Phases([array], phases, carry="momentum")
    for k in range(4):
        g = np.array([1.0, -2.0, 0.5 * k], np.float32)
        theirs.step([torch.from_numpy(g)])
        ours.step([g])
    assert_same_bits(tensor.detach().numpy(), array)


def test_precompile_compiles_every_phase(rng):
    """So that a switch does not wait."""
    from numba.core import event

    def scaled(number):  # a new number, so that no kernel on the disk is it
        @gn.rule
        def scaled_step(p, g, /, lr):
            return p - lr * (number * g)

        return scaled_step

    phases = [
        gn.Phase(scaled(rng_number), steps=1, lr=0.1) for rng_number in np.random.default_rng().random(3)
    ]
    p = rng.standard_normal(50).astype(np.float32)
    plan = gn.Phases(p, phases)
    gn.SGD(p).step(p.copy())  # what all share
    gn.precompile(plan, target="cpu")
    with event.install_recorder("numba:compile") as recorder:
        for _ in range(3):
            plan.step(p.copy())
    assert plan.phase == 2
    assert recorder.buffer == []
    del gn.registry["scaled_step"]


# Patience.


def switches_at(losses, patience):
    """After which of the losses a plan switches; None if it does not."""
    plan = gn.Phases(np.zeros(1), [gn.Phase(gn.Adam, patience=patience), gn.Phase(gn.SGD)])
    for k, loss in enumerate(losses, 1):
        plan.observe(loss)
        if plan.phase:
            return k
    return None


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([1.0, 1.0], 0, 2),
        ([3.0, 2.0, 1.0], 0, None),
        ([1.0, 1.0, 1.0, 1.0], 2, 4),
        ([1.0, 1.0, 0.5, 0.5, 0.5], 1, 5),
        ([1.0, 0.9999, 0.99980001], 0, 2),  # better by no more than a part of 1e-4
        ([1.0, 0.99989995], 0, None),  # better by a little more
        ([1.0, 0.99989, 0.99978], 0, None),
        ([1.0, 0.99995, 0.99985], 1, None),  # from the best, not from the last
        ([1.0, 2.0, 1.5], 1, 3),
        ([-1.0, -1.0, -1.0, -1.0], 2, 4),  # below 0 alike
        ([-1.0, -1.0001, -1.00019999], 0, 2),
        ([-1.0, -1.00011, -1.00022], 0, None),
        ([1.0, 0.0, 0.0], 0, 3),
        ([np.nan, np.nan], 1, 2),
        ([np.float32(1.0), np.array(1.0)], 0, 2),
    ],
)
def test_patience(losses, patience, expected):
    """The (patience + 1)-th running without an improvement."""
    assert switches_at(losses, patience) == expected


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_patience_counts_as_torch_does(patience, rng):
    """ReduceLROnPlateau first acts where the plan switches, for losses above 0, inf and nan too."""
    torch = pytest.importorskip("torch")
    found = []
    for seed in range(60):
        losses = np.abs(np.random.default_rng(seed).standard_normal(30) + 3.0 * (seed % 3 - 1))
        if seed % 2:
            losses = np.minimum.accumulate(losses) * (1.0 + 1e-4 * rng.standard_normal(30))
        losses[seed % 10 :: 7] = [np.nan, np.inf, losses[0]][seed % 3]
        sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=patience)
        acted = None
        for k, loss in enumerate(losses, 1):
            plateau.step(float(loss))
            if sgd.param_groups[0]["lr"] < 1.0:
                acted = k
                break
        found.append(acted)
        assert switches_at(losses, patience) == acted
    assert len(set(found)) > 3


def test_patience_starts_anew_with_a_phase():
    """The best of the phase before is forgotten."""
    phases = [gn.Phase(gn.Adam, patience=1), gn.Phase(gn.SGD, patience=1), gn.Phase(gn.SGD)]
    plan = gn.Phases(np.zeros(1), phases)
    seen = [plan.observe(loss) or plan.phase for loss in [1.0, 1.0, 1.0, 9.0, 9.0, 8.0, 8.0, 8.0]]
    assert seen == [0, 0, 1, 1, 1, 1, 1, 2]
    plan = gn.Phases(np.zeros(1), phases)
    assert [plan.observe(np.nan) or plan.phase for _ in range(5)] == [0, 1, 1, 2, 2]


def test_steps_or_patience_whichever_comes_first():
    """One or the other."""
    for losses, expected in (([3.0, 2.0, 1.0, 1.0], [0, 0, 1]), ([1.0, 1.0, 1.0], [0, 1, 1])):
        plan = gn.Phases(np.zeros(1), [gn.Phase(gn.Adam, steps=3, patience=0), gn.Phase(gn.SGD)])
        seen = []
        for loss in losses[:3]:
            plan.step(np.ones(1))
            plan.observe(loss)
            seen.append(plan.phase)
        assert seen == expected


class Told(Halving):
    """A schedule that halves with every loss it is told."""

    def observe(self, loss):
        self.told += 1


def test_losses_are_passed_on():
    """To each schedule of this phase that observes, once, wherever it is."""
    lr, beta, limit, later = Told(1.0), Told(0.5), Told(8.0), Told(1.0)
    params = [{"params": np.zeros(1)}, {"params": np.zeros(1), "weight_decay": Told(1.0)}]
    first = gn.Phase(gn.Adam, patience=1, lr=lr, betas=(beta, 0.9), max_norm=limit)
    plan = gn.Phases(params, [first, gn.Phase(gn.SGD, lr=later)])
    plan.observe(1.0)
    assert (lr.told, beta.told, limit.told, params[1]["weight_decay"].told, later.told) == (1, 1, 1, 1, 0)
    assert plan.lr == 0.5
    for _ in range(3):
        plan.observe(1.0)
    assert (plan.phase, lr.told, later.told) == (1, 3, 1)


def test_a_plateau_within_another_schedule_hears_losses():
    """And starts anew with the phase, as given."""
    plateau = gn.schedules.ReduceOnPlateau(1.0, factor=0.5, patience=0)
    phases = [gn.Phase(gn.SGD, steps=2, lr=gn.schedules.warmup(plateau, 1)), gn.Phase(gn.SGD, lr=plateau)]
    plan = gn.Phases(np.zeros(1), phases)
    plan.step(np.ones(1))
    for _ in range(3):
        plan.observe(1.0)
    assert plan.lr == 0.25
    plan.step(np.ones(1))
    assert (plan.phase, plan.lr) == (1, 1.0)


def test_a_schedule_begins_each_time_as_it_was_given():
    """In a second plan of the same phases, and after going back to a phase before."""
    phases = [gn.Phase(gn.SGD, steps=1), gn.Phase(gn.SGD, lr=Told(1.0, told=1))]
    plan = gn.Phases(np.zeros(1), phases)
    start = plan.state_dict()
    for _ in range(2):
        plan.step(np.ones(1))
        assert (plan.phase, plan.lr) == (1, 0.5)
        plan.observe(1.0)
        assert plan.lr == 0.25
        plan.load_state_dict(start)
    assert plan.phase == 0
    plan.step(np.ones(1))
    plan.observe(1.0)
    again = gn.Phases(np.zeros(1), phases)
    again.step(np.ones(1))
    assert again.lr == 0.5


# What goes over.

GOALS = {
    "Momentum": (gn.Momentum, {"momentum": 0.8}, 1.0),
    "SGD": (gn.SGD, {"momentum": 0.75}, 1.0 / 0.25),
    "SGD dampening": (gn.SGD, {"momentum": 0.9, "dampening": 0.3}, 0.7 / (1.0 - 0.9)),
    "SGD nesterov": (gn.SGD, {"momentum": 0.5, "nesterov": True}, 1.0 / (1.0 - 0.5)),
}


def mean_gradient(gradients, beta1):
    """Adam's m̂ in float64."""
    m, t = 0.0, 0
    for g in gradients:
        if g is not None:
            m, t = beta1 * m + (1.0 - beta1) * np.asarray(g, np.float64), t + 1
    return m / (1.0 - beta1**t)


# With betas of which one is that of m.
SOURCES = {
    gn.Adam: lambda beta: (beta, 0.9),
    gn.AdamW: lambda beta: (beta, 0.9),
    gn.RAdam: lambda beta: (beta, 0.9),
    gn.NAdam: lambda beta: (beta, 0.9),
    gn.Adamax: lambda beta: (beta, 0.9),
    gn.AdaBelief: lambda beta: (beta, 0.9),
    gn.Adan: lambda beta: (beta, 0.8, 0.9),
    gn.Lion: lambda beta: (0.9, beta),
}


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
@pytest.mark.parametrize("source", SOURCES, ids=lambda make: make.__name__)
def test_momentum_carried(source, goal, dtype, rng):
    """m̂ by each parameter's own count, in its dtype; the parameters stay; the next step uses it."""
    make, hyper, gain = goal
    params, beta = model(rng, dtype), 0.7
    grads = gradients_of(rng, params, 4)
    grads[0]["b"] = grads[2]["b"] = grads[3]["w"] = None
    first = gn.Phase(source, steps=3, lr=0.125, betas=SOURCES[source](beta))
    plan = gn.Phases(params, [first, gn.Phase(make, lr=0.5, **hyper)], carry="momentum")
    for g in grads[:3]:
        plan.step(g)
    others, state = copies(params), plan.state_dict()["optimizer"]["state"]
    for name, arrays in state.items():
        expected = gain * mean_gradient([g[name] for g in grads[:3]], beta)
        assert arrays["updates"] == 0
        assert_close(arrays["v"], expected, dtype, scale=np.abs(expected).max(), what=name)
    by_hand = make(others, lr=0.5, **hyper)
    given = by_hand.state_dict()
    for name in others:
        given["state"][name]["v"] = state[name]["v"].copy()
    by_hand.load_state_dict(given)
    plan.step(grads[3])
    by_hand.step(grads[3])
    assert_equal_models(params, others)


def test_a_mean_gradient_that_stays_is_where_momentum_tends():
    """So nothing jumps: with gradients that are all alike, v is what it is after many steps."""
    g = np.array([2.0, -3.0])
    for make, hyper, _ in GOALS.values():
        plan = gn.Phases(np.zeros(2), [gn.Phase(gn.Adam, steps=1), gn.Phase(make, carry="momentum", **hyper)])
        plan.step(g)
        settled = make(np.zeros(2), **hyper)
        for _ in range(400):
            settled.step(g)
        v, goal = (o.state_dict()["state"]["0"]["v"] for o in (plan.optimizer, settled))
        np.testing.assert_allclose(v, goal, rtol=1e-12)


def test_groups_and_dtypes_when_carrying(rng):
    """β₁ of the group before, μ and τ of the group after, float32 beside float64, whatever the strides."""
    a, b, whole = np.zeros(3), np.zeros(2, np.float32), np.zeros((4, 6))
    params = [{"params": [a, b]}, {"params": whole[::2, ::3], "name": "view"}]

    def adam(params, betas):
        return gn.Adam([params[0] | {"betas": betas[0]}, params[1] | {"betas": betas[1]}])

    def sgd(params, momentum):
        return gn.SGD([params[0] | {"momentum": momentum[0]}, params[1] | {"momentum": momentum[1]}])

    plan = gn.Phases(
        params,
        [gn.Phase(adam, steps=2, betas=[(0.5, 0.9), (0.8, 0.9)]), gn.Phase(sgd, momentum=[0.9, 0.5])],
        carry="momentum",
    )
    grads = [
        [[rng.standard_normal(3), rng.standard_normal(2, np.float32)], rng.standard_normal((2, 2))]
        for _ in range(2)
    ]
    for g in grads:
        plan.step(g)
    state = plan.state_dict()["optimizer"]["state"]
    expected = {
        "0/0": (mean_gradient([g[0][0] for g in grads], 0.5) / (1.0 - 0.9), np.float64),
        "0/1": (mean_gradient([g[0][1] for g in grads], 0.5) / (1.0 - 0.9), np.float32),
        "view/0": (mean_gradient([g[1] for g in grads], 0.8) / (1.0 - 0.5), np.float64),
    }
    for name, (v, dtype) in expected.items():
        assert_close(state[name]["v"], v, dtype, scale=np.abs(v).max(), what=name)


def test_a_parameter_without_updates_carries_nothing():
    """Nor does any if the phase had no step; a scheduled β is not asked for a step that was not."""
    betas = (falling(0.9), 0.9)
    phases = [gn.Phase(gn.Adam, patience=0, betas=betas), gn.Phase(gn.Momentum)]
    for steps in (0, 2):
        plan = gn.Phases([np.zeros(2), np.zeros(3)], phases, carry="momentum")
        for _ in range(steps):
            plan.step([None, np.ones(3)])
        plan.observe(np.nan)
        state = plan.state_dict()["optimizer"]["state"]
        assert plan.phase == 1
        assert not state["0"]["v"].any()
        assert state["1"]["v"].all() == (steps > 0)


def test_a_scheduled_beta_is_that_of_the_last_step():
    """As the last step's bias correction used it."""
    phases = [gn.Phase(gn.Adam, steps=2, betas=(lambda t: 0.5 + 0.1 * t, 0.9)), gn.Phase(gn.Momentum)]
    plan = gn.Phases(np.zeros(1), phases, carry="momentum")
    for g in (2.0, 3.0):
        plan.step(np.full(1, g))
    m = 0.6 * (0.5 * 2.0) + 0.4 * 3.0
    assert plan.state_dict()["optimizer"]["state"]["0"]["v"][0] == pytest.approx(
        m / (1.0 - 0.6**2), rel=1e-14
    )


def test_a_built_in_rule_of_one_s_own_making_carries():
    """It is the rule that says what m is."""

    def scalars(t, lr):
        numbers = {"lr": lr / (1.0 - 0.9**t), "v_correction": 1.0 / (1.0 - 0.99**t)}
        betas = {"beta1": 0.9, "one_minus_beta1": 0.1, "beta2": 0.99, "one_minus_beta2": 0.01}
        return numbers | betas | {"eps": 0.0, "eps_root": 1e-8, "weight_decay": 0.0}

    adam = functools.partial(gn.optimizer, gn.rules.adam, scalars=scalars)
    plan = gn.Phases(np.zeros(1), [gn.Phase(adam, steps=1, lr=0.1), gn.Phase(gn.Momentum)], carry="momentum")
    plan.step(np.full(1, 3.0))
    assert plan.state_dict()["optimizer"]["state"]["0"]["v"][0] == pytest.approx(3.0)


def test_carry_of_a_phase_goes_before_that_of_the_plan():
    """Either way."""
    for of_plan, of_phase in (("reset", "momentum"), ("momentum", "reset")):
        phases = [gn.Phase(gn.Adam, steps=1), gn.Phase(gn.Momentum, carry=of_phase)]
        plan = gn.Phases(np.zeros(1), phases, carry=of_plan)
        plan.step(np.ones(1))
        v = plan.state_dict()["optimizer"]["state"]["0"]["v"]
        assert v.any() == (of_phase == "momentum")


@on_each("first, second", itertools.product(CLASSES, CLASSES))
def test_what_cannot_carry_is_refused_at_once(first, second):
    """From a rule without a mean of gradients, or to one without v for it; nothing has been done."""
    goal = {"momentum": 0.9} if second.make is gn.SGD else {}
    phases = [gn.Phase(first.make, steps=1), gn.Phase(second.make, **goal)]
    if first.make in SOURCES and second.make in (gn.SGD, gn.Momentum):
        assert gn.Phases(np.zeros(1), phases, carry="momentum").phase == 0
    else:
        with pytest.raises(ValueError, match="phase 1 has carry='momentum' from rule"):
            gn.Phases(np.zeros(1), phases, carry="momentum")


def test_other_things_that_cannot_carry(lion):
    """SGD without momentum has no v; a state called m may be anything; nothing goes before phase 0."""
    hyper = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99}
    adam, momentum = gn.Phase(gn.Adam, steps=1), gn.Phase(gn.Momentum, steps=1, carry="momentum")
    for words, phases in {
        "rule adam to rule sgd": [adam, gn.Phase(gn.SGD, carry="momentum")],
        "rule lion to rule momentum": [gn.Phase(lion, steps=1, **hyper), momentum],
        "phase 2 .* rule momentum": [adam, momentum, momentum],
        "phase 0 .* no phase goes before": [momentum, adam],
    }.items():
        with pytest.raises(ValueError, match=words):
            gn.Phases(np.zeros(1), phases)


# Stopping and going on.


@PAIRS
def test_going_on_at_every_step(first, second, dtype, rng):
    """Bits and plan equal those of an uninterrupted run, in a phase and exactly between two."""
    params = model(rng, dtype)
    start, grads = copies(params), gradients_of(rng, params, 6)
    grads[0]["b"] = grads[3]["w"] = None
    whole = three(first, second, params)
    saved = []
    for g in grads:
        saved.append((copies(params), pickle.dumps(whole.state_dict())))
        whole.step(g)
    for stop, (arrays, state) in enumerate(saved):
        plan = three(first, second, arrays)
        plan.load_state_dict(pickle.loads(state))
        assert (plan.t, plan.phase) == (stop, stop // 2)
        for g in grads[stop:]:
            plan.step(g)
        assert_equal_models(arrays, params)
        assert_equal_plans(plan, whole)
    assert not np.array_equal(start["w"], params["w"])


def test_going_on_with_momentum_that_went_over(rng):
    """Before the switch, at it and after it."""
    phases = [gn.Phase(gn.AdamW, steps=2), gn.Phase(gn.SGD, momentum=0.9)]
    p, grads = np.zeros(4), rng.standard_normal((4, 4))
    whole = gn.Phases(p, phases, carry="momentum")
    saved = []
    for g in grads:
        saved.append((p.copy(), whole.state_dict()))
        whole.step(g)
    for k, (q, state) in enumerate(saved):
        plan = gn.Phases(q, phases, carry="momentum")
        plan.load_state_dict(state)
        for g in grads[k:]:
            plan.step(g)
        assert_same_bits(q, p)


def test_going_on_in_the_midst_of_waiting():
    """How many losses were no improvement, and on what."""
    phases = [gn.Phase(gn.Adam, patience=3), gn.Phase(gn.SGD)]
    losses = [2.0, 1.0, 1.0, 0.99995, 5.0, 1.0]
    for stop in range(len(losses)):
        first, second = (gn.Phases(np.zeros(1), phases) for _ in range(2))
        for loss in losses[:stop]:
            first.observe(loss)
        second.load_state_dict(first.state_dict())
        for loss in losses[stop:]:
            assert second.phase == 0
            second.observe(loss)
        assert second.phase == 1


def test_one_plan_goes_back_and_forth(rng):
    """To a phase before and to one after."""
    p, grads = np.zeros(3), rng.standard_normal((5, 3))
    case = {case.make: case for case in one_a_class()}
    plan = three(case[gn.Adam], case[gn.RMSProp], p)
    saved = []
    for g in grads:
        saved.append((p.copy(), plan.state_dict()))
        plan.step(g)
    end = p.copy()
    for k in (4, 0, 3, 1, 2):
        p[...] = saved[k][0]
        plan.load_state_dict(saved[k][1])
        for g in grads[k:]:
            plan.step(g)
        assert_same_bits(p, end)


def test_a_state_of_a_phase_that_is_over_here():
    """Its end has been moved: it ends at once."""
    phases = [gn.Phase(gn.Adam, steps=5), gn.Phase(gn.SGD)]
    longer = gn.Phases(np.zeros(1), phases)
    for _ in range(3):
        longer.step(np.ones(1))
    plan = gn.Phases(np.zeros(1), [gn.Phase(gn.Adam, steps=2), phases[1]])
    plan.load_state_dict(longer.state_dict())
    assert (plan.phase, plan.t, plan.optimizer.t) == (1, 3, 0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda plan: pickle.loads(pickle.dumps(plan))])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_copy_goes_on_by_itself(duplicate, steps, rng):
    """Through its own switches, on arrays of its own."""
    params = [{"params": model(rng), "name": "all"}]
    second = gn.Phase(gn.SGD, momentum=0.9, lr=Halving(0.1), carry="momentum")
    plan = gn.Phases(params, [gn.Phase(gn.Adam, steps=2), second])
    grads = [[g] for g in gradients_of(rng, params[0]["params"], 5)]
    for g in grads[:steps]:
        plan.step(g)
    twin, before = duplicate(plan), copies(params[0]["params"])
    for g in grads[steps:]:
        twin.step(g)
    assert_equal_models(params[0]["params"], before)
    for g in grads[steps:]:
        plan.step(g)
    assert_equal_models(twin.groups[0]["params"], params[0]["params"])
    assert_equal_plans(twin, plan)


def test_batches_follow_the_plan():
    """The batch after the last step of a phase has the next one's size."""
    x = np.arange(20.0)
    phases = [
        gn.Phase(gn.Adam, steps=3, batch_size=4),
        gn.Phase(gn.SGD, steps=2),
        gn.Phase(gn.SGD, batch_size=7),
    ]
    plan = gn.Phases(np.zeros(1), phases)
    batches, sizes = gn.minibatches(x, batch_size=plan), []
    for _ in range(4):
        for (rows,) in batches:
            sizes.append(len(rows))
            plan.step(np.ones(1))
    assert sizes == [4, 4, 4, 8, 20, 7, 7, 6, 7, 7, 6]
    with pytest.raises(TypeError, match="Phases"):
        len(batches)


def test_going_on_with_batches(tmp_path, rng):
    """After every batch, from a checkpoint of parameters, plan, rng and batches: the same bits."""
    x, path = rng.standard_normal((11, 3)), tmp_path / "checkpoint"
    first = gn.Phase(gn.Adam, steps=4, patience=9, batch_size=4)
    phases = [first, gn.Phase(gn.SGD, momentum=0.9, batch_size=2)]

    def training(p, seed):
        rng = np.random.default_rng(seed)
        plan = gn.Phases(p, phases, carry="momentum")
        return plan, gn.minibatches(x, batch_size=plan, rng=rng), rng

    def train(p, plan, batches, epochs):
        for _ in range(epochs):
            for (rows,) in batches:
                plan.step(p - rows.mean(axis=0))
                yield plan.t

    p = np.zeros(3)
    plan, batches, drawn = training(p, 1)
    for t in train(p, plan, batches, 3):
        gn.save_checkpoint(f"{path}{t}", {"p": p}, plan, rng=drawn, extra=batches.state_dict())
    assert plan.t == 3 + 5 + 6
    for t in range(1, 15):
        q = np.full(3, np.nan)
        plan, batches, drawn = training(q, 2)
        batches.load_state_dict(gn.load_checkpoint(f"{path}{t}", {"p": q}, plan, rng=drawn))
        epochs_begun = 1 + (t > 3) + (t > 8)
        assert [t, *train(q, plan, batches, 4 - epochs_begun)] == list(range(t, 15))
        assert_same_bits(q, p)


def test_cold_start():
    """That plan."""
    p = np.zeros(1)
    plan = gn.cold_start(p, 3)
    assert (plan.lr, plan.batch_size, type(plan.optimizer)) == (1e-2, 512, gn.Adam)
    for _ in range(3):
        plan.step(np.ones(1))
    assert (plan.lr, plan.batch_size, type(plan.optimizer)) == (1e-3, 64, gn.SGD)
    options = {
        "start": gn.RMSProp,
        "start_lr": 0.5,
        "start_batch": 9,
        "then": gn.Momentum,
        "lr": 0.25,
        "batch": 2,
    }
    other = gn.cold_start(p, 1, **options)
    assert [(each.make, each.hyper, each.batch_size, each.steps) for each in other.phases] == [
        (gn.RMSProp, {"lr": 0.5}, 9, 1),
        (gn.Momentum, {"lr": 0.25}, 2, None),
    ]


def test_repr():
    """The phases, and which is the current one."""
    phases = [
        gn.Phase(gn.Adam, steps=1, lr=falling(0.1), batch_size=falling(512)),
        gn.Phase(gn.SGD, patience=0, carry="reset"),
        gn.Phase(functools.partial(gn.SGD, lr=1.0), nesterov=False),
    ]
    plan = gn.Phases(np.zeros(1), phases)
    plan.step(np.ones(1))
    first, *lines = repr(plan).splitlines()
    assert first == "Phases(t=1, carry=reset"
    assert lines[:2] == [
        "    0: Phase(Adam, steps=1, batch_size=schedule, lr=schedule)",
        "  → 1: Phase(SGD, patience=0, carry='reset')",
    ]
    assert "partial" in lines[2]


# Wrong input.

SGD = functools.partial(gn.Phase, gn.SGD)

WRONG_PHASES = {
    "steps 0": (lambda: SGD(steps=0), ValueError, "steps is 0, expected an integer ≥ 1"),
    "steps True": (lambda: SGD(steps=True), ValueError, "steps is True, expected an integer ≥ 1"),
    "patience False": (lambda: SGD(patience=False), ValueError, "patience is False, expected an integer ≥ 0"),
    "half a step": (lambda: SGD(steps=1.5), ValueError, "steps is 1.5"),
    "patience -1": (lambda: SGD(patience=-1), ValueError, "patience is -1, expected an integer ≥ 0"),
    "patience nan": (lambda: SGD(patience=np.nan), ValueError, "patience is nan"),
    "batch size 0": (lambda: SGD(batch_size=0), ValueError, "batch_size is 0, expected a whole number ≥ 1"),
    "scheduled 0": (lambda: SGD(batch_size=lambda t: t), ValueError, "batch_size at step 0 is 0"),
    "carry": (lambda: SGD(carry="all"), ValueError, "carry is 'all', expected one of"),
    "no make": (lambda: gn.Phase("Adam"), TypeError, "make is 'Adam', expected an optimizer class"),
}


@pytest.mark.parametrize("wrong", WRONG_PHASES.values(), ids=WRONG_PHASES.keys())
def test_wrong_phases(wrong):
    """Refused when the phase is made."""
    make, kind, words = wrong
    with pytest.raises(kind, match=words):
        make()


WRONG_PLANS = {
    "no phase": ([], ValueError, "at least one", None),
    "one phase for a list": (SGD(), TypeError, "expected a list of Phase", None),
    "an optimizer for a phase": ([gn.SGD], TypeError, "expected a list of Phase", None),
    "no end": ([SGD(steps=1), SGD(), SGD()], ValueError, "phase 1 has no end", None),
    "no optimizer": (
        [SGD(steps=1), gn.Phase(lambda params: params)],
        TypeError,
        "made a ndarray, expected an Optimizer",
        "in phase 1",
    ),
    "a typing error": ([SGD(ir=0.1)], TypeError, "ir", "in phase 0"),
    "a rate in the last": (
        [SGD(steps=1), SGD(patience=1), SGD(lr=-1.0)],
        ValueError,
        "lr is -1.0",
        "in phase 2",
    ),
    "a rate from a schedule": (
        [SGD(steps=1), SGD(lr=lambda t: -1.0)],
        ValueError,
        "lr at step 0",
        "in phase 1",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_PLANS.values(), ids=WRONG_PLANS.keys())
def test_wrong_plans(wrong):
    """All phases are checked when the plan is made; a note says which phase it is."""
    phases, kind, words, note = wrong
    with pytest.raises(kind, match=words) as caught:
        gn.Phases(np.zeros(2), phases)
    assert note is None or any(note in line for line in caught.value.__notes__)


def test_wrong_options_and_parameters():
    """carry, parameters, a group with what a later phase lacks."""
    with pytest.raises(ValueError, match="carry is 'v'"):
        gn.Phases(np.zeros(1), [SGD()], carry="v")
    with pytest.raises(TypeError, match="parameter 0"):
        gn.Phases([1.0], [SGD()])
    phases = [gn.Phase(gn.Adam, steps=1), SGD()]
    with pytest.raises(ValueError, match=r"params\[1\] has \['betas'\]") as caught:
        gn.Phases([{"params": np.zeros(1)}, {"params": np.zeros(1), "betas": (0.8, 0.9)}], phases)
    assert "phase 1" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="steps is 0"):
        gn.cold_start(np.zeros(1), 0)


@pytest.fixture
def trained():
    """A plan in its second phase of three, its parameters, and what both looked like then."""
    params = {"w": np.ones((2, 3)), "b": np.ones(3, np.float32)}
    phases = [gn.Phase(gn.Adam, steps=1), gn.Phase(gn.AdaGrad, steps=3, patience=1), SGD()]
    plan = gn.Phases(params, phases)
    for _ in range(2):
        plan.step(copies(params))
    plan.observe(2.0)
    return plan, params, (copies(params), copy.deepcopy(plan))


def assert_unchanged(plan, params, before):
    """Parameters and everything saved."""
    assert_equal_models(params, before[0])
    assert_equal_plans(plan, before[1])


def test_a_refused_step_changes_nothing(trained):
    """It is no step of the phase either."""
    plan, params, before = trained
    for grads, kind in (({"w": np.ones((2, 3))}, ValueError), ([], TypeError)):
        with pytest.raises(kind):
            plan.step(grads)
    with pytest.raises(ValueError, match="grad_scale"):
        plan.step(copies(params), grad_scale=0.0)
    with pytest.raises(TypeError, match="scale"):
        plan.step(copies(params), scale=2.0)
    assert_unchanged(plan, params, before)


def test_a_refused_loss_changes_nothing(trained):
    """A loss is refused if it is no number, or if the container of parameters holds other arrays by now."""
    plan, params, before = trained
    for loss in (None, "low", [1.0, 2.0], 1j):
        with pytest.raises(TypeError, match=r"loss is .*expected a number"):
            plan.observe(loss)
    held = params["w"]
    params["w"] = held.copy()
    with pytest.raises(ValueError, match="w is no longer the array"):
        plan.observe(2.0)
    params["w"] = held
    params["x"] = held
    with pytest.raises(ValueError, match="x"):
        plan.observe(2.0)
    del params["x"]
    assert_unchanged(plan, params, before)


def other(**changes):
    """A change of a state's entries."""
    return lambda state: state | changes


def inner(**changes):
    """A change of the entries of its optimizer's state."""
    return lambda state: state | {"optimizer": state["optimizer"] | changes}


WRONG_STATES = {
    "no dict": lambda state: None,
    "an optimizer's": lambda state: state["optimizer"],
    "another name": other(x=1),
    "a missing name": lambda state: {name: value for name, value in state.items() if name != "best"},
    "a phase too many": other(phase=3),
    "a phase below 0": other(phase=-1),
    "half a phase": other(phase=0.5),
    "another phase": other(phase=2),
    "the first phase": other(phase=0),
    "waited": other(waited=-1),
    "best": other(best=None),
    "t": other(t=-1),
    "t below its optimizer's": other(t=0),
    "no optimizer": other(optimizer=None),
    "an empty optimizer": other(optimizer={}),
    "the optimizer's t": inner(t=None),
    "another rule": inner(rule="sgd"),
    "no arrays": inner(state={}),
}


@pytest.mark.parametrize("wrong", WRONG_STATES.values(), ids=WRONG_STATES.keys())
def test_a_refused_state_changes_nothing(wrong, trained):
    """Phase, counts, parameters' state; the right one still loads."""
    plan, params, before = trained
    state = plan.state_dict()
    with pytest.raises(ValueError, match=r"state"):
        plan.load_state_dict(wrong(state))
    assert_unchanged(plan, params, before)
    plan.load_state_dict(state)
    assert_unchanged(plan, params, before)
