"""Interrupts, as by Ctrl-C: at whatever bytecode one comes, a step is taken as a whole or not at all."""

import numpy as np
import pytest
from interrupts import interrupted_at
from judge import assert_same_bits

import gnumba as gn


def everything_of(params, optimizer):
    """Parameters, state and counts, as bytes."""
    state = optimizer.state_dict()
    inner = state.get("optimizer", state)
    arrays = [*params, *(x for of_one in inner["state"].values() for x in of_one.values())]
    return [np.asarray(x).tobytes() for x in arrays], state["t"], inner["t"], inner["skipped"]


def check_whole(make, grads, steps, stride=5):
    """Interrupt the last of some steps at bytecode after bytecode: all is as before it, or as after it."""

    def trained(count):
        params = [np.linspace(1.0, 2.0, 12).reshape(4, 3), np.ones(5, np.float32), np.ones((6, 4))[:, ::2]]
        optimizer = make(params)
        for k in range(count):
            optimizer.step(grads(params, k))
        return params, optimizer

    before, after = everything_of(*trained(steps - 1)), everything_of(*trained(steps))
    assert before != after
    seen, k = set(), 0
    while True:
        params, optimizer = trained(steps - 1)
        g = grads(params, steps - 1)
        hit = interrupted_at(k, lambda optimizer=optimizer, g=g: optimizer.step(g))
        now = everything_of(params, optimizer)
        assert now in (before, after), f"half a step when interrupted at bytecode {k}"
        seen.add(now == after)
        if not hit:
            break
        if now == before:  # and it goes on as if nothing had been
            optimizer.step(grads(params, steps - 1))
            assert everything_of(params, optimizer) == after
        k += stride
    assert seen == {False, True}
    assert k > 50


def ones(params, k):
    return [np.full(p.shape, 0.5 + k, p.dtype) for p in params]


def with_gaps(params, k):
    """None, rows, and a gradient with gaps."""
    rows = gn.Rows([0, 2], np.full((2, 3), 0.5 + k))
    return [rows, None if k == 1 else np.ones(5, np.float32), np.ones((6, 2, 2))[:, :, 0]]


def test_a_step():
    """Several kernels, as parameters have two dtypes, and one has gaps."""
    check_whole(lambda params: gn.Adam(params, lr=0.1), ones, 2)


def test_a_step_like_the_one_before():
    """The fast path: two dtypes are two kernels."""

    def make(params):
        return gn.Adam(params[:2], lr=0.1)

    check_whole(make, lambda params, k: ones(params[:2], k), 4, stride=1)


def test_a_step_with_rows_and_without_some_gradients():
    """Counts of updates differ from parameter to parameter then."""
    check_whole(lambda params: gn.Adam(params, lr=0.1), with_gaps, 2)


def test_a_step_that_clips():
    """The norm is a pass of its own."""

    def make(params):
        return gn.SGD(params, lr=gn.schedules.exponential(0.1, 0.5), momentum=0.9, max_norm=1.0)

    check_whole(make, ones, 2)


def test_a_step_that_is_skipped():
    """It is counted once."""

    def make(params):
        return gn.SGD(params, lr=0.1, nonfinite="skip")

    def grads(params, k):
        return [np.full(p.shape, np.nan if k == 1 else 1.0, p.dtype) for p in params]

    check_whole(make, grads, 2)


@pytest.mark.parametrize("carry", ["reset", "momentum"])
def test_a_step_that_ends_a_phase(carry):
    """The next step is the next phase's, whether the switch was made before the interrupt or not."""

    def make(params):
        phases = [gn.Phase(gn.Adam, steps=2, lr=0.1), gn.Phase(gn.Momentum, lr=0.1, carry=carry)]
        return gn.Phases(params, phases)

    def trained(count):
        params = [np.linspace(1.0, 2.0, 12)]
        plan = make(params)
        for k in range(count):
            plan.step([np.full(12, 0.5 + k)])
        return params, plan

    expected, k, hit = trained(3)[0][0], 0, True
    while hit:
        params, plan = trained(1)
        hit = interrupted_at(k, lambda plan=plan: plan.step([np.full(12, 1.5)]))
        if plan.t == 1:
            plan.step([np.full(12, 1.5)])
        plan.step([np.full(12, 2.5)])
        assert plan.phase == 1
        assert_same_bits(params[0], expected, f"interrupted at bytecode {k}")
        k += 7  # a prime: some of each step's bytecodes


def test_what_a_plan_observes():
    """Counted once or not at all."""
    for k in range(0, 400, 3):
        plan = gn.Phases(np.ones(2), [gn.Phase(gn.Adam, patience=1), gn.Phase(gn.SGD)])
        plan.observe(1.0)
        hit = interrupted_at(k, lambda plan=plan: plan.observe(2.0))
        state = plan.state_dict()
        assert state["waited"] in ((0, 1) if hit else (1,))
        assert state["best"] == 1.0


def test_taking_up_a_state():
    """Old or new, never half of each."""

    def trained(steps):
        params = [np.ones(3), np.ones(4)]
        optimizer = gn.Adam(params, lr=0.1)
        for _ in range(steps):
            optimizer.step([np.ones(3), np.ones(4)])
        return optimizer

    new = trained(3).state_dict()
    reached, k, hit = set(), 0, True
    while hit:
        optimizer = trained(1)
        old = optimizer.state_dict()
        hit = interrupted_at(k, lambda optimizer=optimizer: optimizer.load_state_dict(new))
        now = str(optimizer.state_dict())
        assert now in (str(old), str(new)), f"half of it when interrupted at bytecode {k}"
        reached.add(now == str(new))
        k += 7
    assert reached == {False, True}
