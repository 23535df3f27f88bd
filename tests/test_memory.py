"""Scalars with a memory: each parameter's own, kept and lost with its updates."""

import copy
import pickle

import numpy as np
import pytest
from judge import assert_close, assert_same_bits
from models import assert_equal_models, assert_equal_states, copies, falling, gradients_of, model
from test_interrupts import check_whole, ones

import gnumba as gn


@gn.rule
def averaging(p, g, m, /, lr, beta, product, share):
    """A mean corrected by the product of its βs, and a step weighted by a sum of lr."""
    m = beta * m + (1.0 - beta) * g
    return p - lr * share * m / (1.0 - product), m


def scalars(t, *, product, total, lr, beta):
    """Two memories, one of them a scalar of the rule too."""
    total = total + lr**2
    return {"lr": lr, "beta": beta, "product": product * beta, "total": total, "share": lr**2 / total}


MEMORY = {"product": 1.0, "total": 0}
SCHEDULED = {"lr": falling(0.1), "beta": gn.schedules.linear(0.5, 0.9, 6)}


def averaged(params, **options):
    """The optimizer under test."""
    hyper = {name: options.pop(name, value) for name, value in SCHEDULED.items()}
    return gn.optimizer(averaging, params, scalars=scalars, memory=MEMORY, **hyper, **options)


class Averaged(gn.Optimizer):
    """A class with a memory."""

    memory = MEMORY
    is_corrected = True

    def __init__(self, params, lr=0.1, **options):
        super().__init__(averaging, params, {"lr": lr, "beta": SCHEDULED["beta"]}, **options)

    def corrections(self, t, hyper, product, total):
        return scalars(t, product=product, total=total, **hyper)


class Naive:
    """One parameter in float64: values of the schedules at the steps in which it has a gradient."""

    def __init__(self, p):
        self.p, self.m, self.product, self.total, self.updates = p.astype(np.float64), 0.0 * p, 1.0, 0.0, 0

    def step(self, t, g):
        lr, beta = SCHEDULED["lr"](t), SCHEDULED["beta"](t)
        self.product, self.total, self.updates = self.product * beta, self.total + lr**2, self.updates + 1
        self.m = beta * self.m + (1 - beta) * g
        self.p = self.p - lr * lr**2 / self.total * self.m / (1 - self.product)


def assert_like_naive(optimizer, params, naive):
    state = optimizer.state_dict()["state"]
    for name, each in naive.items():
        assert_close(params[name], each.p, params[name].dtype, scale=1.0, what=name)
        found = [state[name][key] for key in ("product", "total", "updates")]
        assert found == [each.product, each.total, each.updates], name


@pytest.mark.parametrize("make", [averaged, Averaged])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_parameter_has_its_own(make, dtype, rng):
    """With schedules, None in turns, dense steps between; the memory's bits are float64's."""
    params = model(rng, dtype)
    naive = {name: Naive(p) for name, p in params.items()}
    optimizer = make(params, lr=SCHEDULED["lr"])
    for t, grads in enumerate(gradients_of(rng, params, 9)):
        without = {1: "w", 2: "b", 3: "w", 6: "scale"}.get(t)
        optimizer.step({name: None if name == without else g for name, g in grads.items()})
        for name, g in grads.items():
            if name != without:
                naive[name].step(t, g.astype(np.float64))
        assert_like_naive(optimizer, params, naive)


def test_as_many_misses_and_other_pasts():
    """Two parameters that missed one step each, not the same: their launches have their own scalars."""
    params = {"a": np.ones(3), "b": np.ones(3)}
    naive = {name: Naive(p) for name, p in params.items()}
    optimizer = averaged(params)
    for t, (a, b) in enumerate([(1.0, None), (None, 2.0), (3.0, 4.0), (5.0, 6.0)]):
        optimizer.step({"a": a and np.full(3, a), "b": b and np.full(3, b)})
        for name, g in (("a", a), ("b", b)):
            if g:
                naive[name].step(t, g)
    assert naive["a"].product != naive["b"].product
    assert_like_naive(optimizer, params, naive)


def test_steps_with_a_memory_become_fast(rng):
    """And are what they were: the bits of steps that never do."""
    params = model(rng)
    others, grads = copies(params), gradients_of(rng, params, 5)
    fast, slow = averaged(params), averaged(others)
    for g in grads:
        fast.step(g)
        slow._fast = None
        slow.step(g)
        assert fast._fast
    assert_equal_models(params, others)
    assert_equal_states(fast.state_dict(), slow.state_dict())


@pytest.mark.parametrize("fast", [False, True])
def test_a_step_that_is_not_taken_leaves_it(fast):
    """Skipped, raised, refused."""
    w = np.ones(3)
    optimizer = averaged(w, nonfinite="skip")
    for _ in range(3 if fast else 0):
        optimizer.step(np.ones(3))
    before = optimizer.state_dict()["state"]
    optimizer.step(np.full(3, np.nan))
    optimizer.nonfinite = "raise"
    with pytest.raises(FloatingPointError):
        optimizer.step(np.full(3, np.inf))
    with pytest.raises(ValueError, match="shape"):
        optimizer.step(np.ones(4))
    assert str(optimizer.state_dict()["state"]) == str(before)


def test_an_interrupted_step_leaves_it():
    """Or has been taken, whole: the state dict has the memory too."""
    check_whole(averaged, ones, 3)


def test_rows_count_as_an_update(rng):
    """The scalars of a parameter's rows are those of a dense gradient."""
    ours, theirs = np.ones((4, 2)), np.ones((4, 2))
    one, other = averaged({"w": ours, "b": np.ones(2)}), averaged({"w": theirs, "b": np.ones(2)})
    for k in range(4):
        g, b = rng.standard_normal((4, 2)), np.ones(2) if k else None
        one.step({"w": gn.Rows(np.arange(4), g), "b": b})
        other.step({"w": g, "b": b})
    assert_same_bits(ours, theirs)
    assert_equal_states(one.state_dict(), other.state_dict())


@pytest.mark.parametrize("way", ["load", "deepcopy", "pickle", "checkpoint"])
def test_resuming_gives_the_same_bits(way, rng, tmp_path):
    """After steps without some gradients."""
    params = model(rng)
    grads = gradients_of(rng, params, 6)
    grads[1]["w"] = grads[2]["b"] = None
    optimizer = Averaged(params)
    for g in grads[:3]:
        optimizer.step(g)
    if way in ("deepcopy", "pickle"):
        twin = copy.deepcopy(optimizer) if way == "deepcopy" else pickle.loads(pickle.dumps(optimizer))
        theirs = twin.groups[0]["params"]
    else:
        theirs = copies(params)
        twin = Averaged(theirs)
        twin.step(gradients_of(rng, theirs, 1)[0])
        gn.save_checkpoint(tmp_path / "run", params, optimizer)
        if way == "load":
            twin.load_state_dict(optimizer.state_dict())
        gn.load_checkpoint(tmp_path / "run", theirs, None if way == "load" else twin)
    for g in grads[3:]:
        optimizer.step(g)
        twin.step(g)
    assert_equal_models(theirs, params)
    assert_equal_states(twin.state_dict(), optimizer.state_dict())


def test_a_state_without_it():
    """Refused; with ``strict=False`` each parameter keeps its own."""
    one, other = (averaged({"w": np.ones(2), "b": np.ones(2)}) for _ in range(2))
    for _ in range(2):
        one.step({"w": np.ones(2), "b": np.ones(2)})
    other.step({"w": np.ones(2), "b": None})
    kept, state = other.state_dict()["state"]["w"]["product"], one.state_dict()
    del state["state"]["w"]["product"]
    with pytest.raises(ValueError, match="product"):
        other.load_state_dict(state)
    assert other.load_state_dict(state, strict=False).missing_keys == ["state/w/product"]
    loaded = other.state_dict()["state"]
    assert loaded["w"]["product"] == kept
    assert loaded["b"]["product"] == state["state"]["b"]["product"] != kept
    state["state"]["w"]["product"] = "much"
    with pytest.raises(TypeError, match="product"):
        other.load_state_dict(state)


def test_groups_that_come_later_begin_anew():
    """Their first update has the first values; others go on."""
    a, b = np.ones(2), np.ones(2)
    optimizer = averaged([{"params": a}])
    optimizer.step([np.ones(2)])
    optimizer.add_group({"params": b, "beta": 0.25})
    optimizer.step([np.ones(2), np.ones(2)])
    state = optimizer.state_dict()["state"]
    betas = [SCHEDULED["beta"](t) for t in range(2)]
    assert [each["product"] for each in state.values()] == [betas[0] * betas[1], 0.25]


def test_in_phases(rng):
    """Saved and taken up with the plan."""
    p, q = rng.standard_normal((2, 5))
    q[...] = p
    plans = [gn.Phases(x, [gn.Phase(gn.SGD, steps=1), gn.Phase(Averaged)]) for x in (p, q)]
    grads = rng.standard_normal((5, 5))
    for g in grads[:3]:
        plans[0].step(g)
    plans[1].load_state_dict(plans[0].state_dict())
    q[...] = p
    for g in grads[3:]:
        for plan in plans:
            plan.step(g)
    assert_same_bits(p, q)


def test_given_to_scalars():
    """The rule's scalars from outside: a memory is given like a hyperparameter, or is the first."""
    optimizer = Averaged(np.ones(2))
    assert optimizer.scalars(1, lr=0.5, beta=0.5)["product"] == 0.5
    assert optimizer.scalars(2, lr=0.5, beta=0.5, product=0.25, total=1.0)["product"] == 0.125


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"memory": [1.0]}, TypeError, "a dict of names"),
        ({"memory": {"m": 1.0}}, TypeError, "the name 'm'"),
        ({"memory": {"lr": 1.0}}, TypeError, "the name 'lr'"),
        ({"memory": {"updates": 1.0}}, TypeError, "the name 'updates'"),
        ({"memory": {"product": "1"}}, TypeError, r"memory\['product'\] is '1'"),
        ({"memory": MEMORY | {"more": 1.0}}, TypeError, "more"),
        ({"scalars": None}, TypeError, "without scalars"),
        ({"scalars": lambda t, lr, beta, **memory: {"lr": 0.1, "beta": 0.1, "product": 1.0, "share": 1.0}},
         ValueError, "the new total"),
    ],
)  # fmt: skip
def test_what_is_refused(change, error, words):
    """When the optimizer is made."""
    arguments = {"scalars": scalars, "memory": MEMORY} | change
    with pytest.raises(error, match=words):
        gn.optimizer(averaging, np.ones(2), lr=0.1, beta=0.5, **arguments)


def test_a_new_value_that_is_none_changes_nothing():
    """A sentence, before anything has moved."""

    def forgetting(t, *, product, lr):
        return {"lr": lr, "product": "much" if t > 1 else product}

    w = np.ones(2)
    optimizer = gn.optimizer(descending, w, scalars=forgetting, memory={"product": 1.0}, lr=0.5)
    optimizer.step(np.ones(2))
    before = str(optimizer.state_dict())
    with pytest.raises(TypeError, match="the new product is 'much', expected a number"):
        optimizer.step(np.ones(2))
    assert (str(optimizer.state_dict()), w[0]) == (before, 0.5)


@gn.rule
def descending(p, g, /, lr):
    """θ − ηg."""
    return p - lr * g
