"""gn.distributed on ranks that are threads of this process: the bits of one process, and what is refused.

tests/test_distributed_mpi.py has the same on processes that MPI starts.
"""

import copy
import functools
import gc
import math
import pickle
import signal
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranks import World

import gnumba as gn
from gnumba._distributed.communicator import CALLS, Mark, OverMPI
from gnumba._distributed.flat import _SIZES
from gnumba._distributed.space import BLOCK, Layout
from gnumba._engine import bfloat16

MICRO, STEPS = 8, 5
SHAPES = {"w1": (64, 150), "b1": (150,), "scale": (), "none": (0, 3), "w2": (30, 150), "b2": (30,)}
SIZES_AND_ZEROS = [(1, 0), (1, 1), (2, 0), (2, 1), (4, 0), (4, 1), (8, 1)]


@gn.rule
def heavy(p, g, v, /, lr, mu):
    """Momentum."""
    v = mu * v + g
    return p - lr * v, v


def model(seed, dtype=np.float32, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in shapes.items()}


def gradients(t, k, params):
    rng = np.random.default_rng((t, k))
    return {name: np.asarray(rng.standard_normal(p.shape), p.dtype) for name, p in params.items()}


def grouped(params):
    """Weights and biases as groups, these with a rate of their own."""
    weights = {name: p for name, p in params.items() if p.ndim > 1}
    biases = {name: p for name, p in params.items() if p.ndim < 2}
    return [{"params": weights, "name": "weights"}, {"params": biases, "lr": 3e-3, "name": "biases"}]


def in_tree(summands):
    """The sum of arrays, neighbours first."""
    while len(summands) > 1:
        summands = [a + b for a, b in zip(summands[::2], summands[1::2], strict=True)]
    return summands[0]


def alone(make, params, container=None, structure=lambda grads: grads, **hyper):
    """The course of the optimizer itself, in one process: state and norms."""
    opt = make(params if container is None else container, **hyper)
    norms = []
    for t in range(STEPS):
        each = [gradients(t, k, params) for k in range(MICRO)]
        if t == 2:
            each[5]["w2"][3, 4] = np.nan
        opt.step(structure({name: in_tree([g[name] for g in each]) for name in params}), grad_scale=MICRO)
        norms.append(opt.grad_norm)
    return opt.state_dict(), norms


def together(comm, make, params, container=None, structure=lambda grads: grads, zero=1, **hyper):
    opt = gn.distributed(make, params if container is None else container, comm=comm, zero=zero, **hyper)
    count, norms = MICRO // comm.size, []
    for t in range(STEPS):
        each = [gradients(t, comm.rank * count + k, params) for k in range(count)]
        if t == 2 and 0 <= 5 - comm.rank * count < count:
            each[5 - comm.rank * count]["w2"][3, 4] = np.nan
        opt.step(map(structure, each))
        norms.append(opt.grad_norm)
    return opt.state_dict(), norms


def assert_same(a, b, where="state"):
    """Nested states, arrays to the bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key, value in a.items():
            assert_same(value, b[key], f"{where}/{key}")
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), where
    else:
        assert a == b or (a != a and b != b), where


def raised(found):
    """Results of the ranks; the error of a check that failed is raised."""
    for each in found:
        if isinstance(each, AssertionError):
            raise each
    return found


def assert_as_alone(make, size, zero, dtype=np.float32, build=None, structure=lambda grads: grads, **hyper):
    """Parameters, state and norms of every rank are those of one optimizer in one process."""
    expected = model(0, dtype)
    state, norms = alone(make, expected, build and build(expected), structure, **hyper)

    def work(comm):
        params = model(comm.rank, dtype)  # rank 0's hold
        found = together(comm, make, params, build and build(params), structure, zero, **copy.deepcopy(hyper))
        assert_same(expected, params)
        assert_same(state, found[0])
        assert_same(dict(enumerate(norms)), dict(enumerate(found[1])))

    assert raised(World(size).run(work)) == [None] * size


GUARDED = {"max_norm": 5.0, "nonfinite": "skip"}  # clips every step, but one that is skipped
PHASES = functools.partial(
    gn.Phases,
    phases=[gn.Phase(gn.Adam, steps=2, lr=1e-2, **GUARDED), gn.Phase(gn.Momentum, carry="momentum", lr=1e-2)],
)
MAKERS = {
    "Adam": (gn.Adam, {"lr": 1e-2, **GUARDED}),
    "AdamW, not guarded": (gn.AdamW, {"lr": gn.schedules.cosine(1e-2, 10)}),
    "SGD": (gn.SGD, {"lr": 1e-2, "momentum": 0.9, "nesterov": True, **GUARDED}),
    "NAdam": (gn.NAdam, {"lr": 1e-2, **GUARDED}),
    "Lion": (gn.Lion, {"lr": 1e-2, "maximize": True, **GUARDED}),
    "ScheduleFreeAdamW": (gn.ScheduleFreeAdamW, {"lr": 1e-2, "warmup_steps": 3, **GUARDED}),
    "a user's rule": (functools.partial(gn.optimizer, heavy), {"lr": 1e-2, "mu": 0.9, **GUARDED}),
    "Phases": (PHASES, {}),
    "Lookahead": (lambda p, **hyper: gn.Lookahead(gn.RMSProp(p, **hyper), every=2), {"lr": 1e-2, **GUARDED}),
    "max_norm scheduled": (gn.Adam, {"lr": 1e-2, "max_norm": lambda t: 1.0 + t, "nonfinite": "skip"}),
}


@pytest.mark.parametrize(("size", "zero"), SIZES_AND_ZEROS)
@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_the_bits_of_one_process(name, size, zero, dtype):
    """With clipping in every step, and one step skipped."""
    make, hyper = MAKERS[name]
    assert_as_alone(make, size, zero, dtype, **hyper)


@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"Adam", "SGD"}))
def test_any_optimizer(name, zero):
    make, hyper = MAKERS[name]
    assert_as_alone(make, 2, zero, **hyper)


def test_a_rule():
    """As gn.optimizer takes it."""
    expected, found = model(0), model(0)
    opt = gn.optimizer(heavy, expected, lr=0.1, mu=0.9)
    other = gn.distributed(heavy, found, comm="self", lr=0.1, mu=0.9)
    for t in range(3):
        for each in (opt, other):
            each.step(gradients(t, 0, found))
    assert_same(expected, found)
    assert other.rule is heavy


@pytest.mark.parametrize("decaying", ["matrices", "first layer"])
@pytest.mark.parametrize("zero", [0, 1])
def test_groups(zero, decaying, dtype):
    """With a rate of their own, and a mask that is shown whole parameters; norms add up as in one process."""

    def structure(grads):
        return [
            {name: g for name, g in grads.items() if (np.ndim(g) > 1) == is_weights}
            for is_weights in (True, False)
        ]

    shown = []

    def mask(name, x):
        shown.append(x.shape)
        return x.ndim > 1 if decaying == "matrices" else name.endswith("1")

    make = functools.partial(gn.AdamW, decay_mask=mask, **GUARDED)
    assert_as_alone(make, 4, zero, dtype, build=grouped, structure=structure, lr=1e-2, weight_decay=0.1)
    assert set(shown) == set(SHAPES.values())


@pytest.mark.parametrize("rule", [gn.LAMB, gn.LARS, gn.Muon])
def test_rules_of_whole_parameters(rule):
    """They go with whole states; with parts they are refused by name."""
    matrices = model(0, shapes={"a": (30, 40), "b": (40, 200)})

    def work(comm, zero):
        params = copy.deepcopy(matrices)
        opt = gn.distributed(rule, params, comm=comm, zero=zero, lr=1e-2)
        opt.step(gradients(0, comm.rank, params))
        return params

    message = r"zero is 1 and rule '\w+' has norms of whole .*zero=0|expected a matrix(?s:.*)with zero=0"
    with pytest.raises(ValueError, match=message):  # of Muon it is a note
        raise World(2).run(functools.partial(work, zero=1))[1]
    expected = copy.deepcopy(matrices)
    each = [gradients(0, k, expected) for k in range(2)]
    rule(expected, lr=1e-2).step({k: each[0][k] + each[1][k] for k in expected}, grad_scale=2)
    for params in World(2).run(functools.partial(work, zero=0)):
        assert_same(expected, params)


def test_two_dtypes_and_layouts():
    """A flat space each; arrays that are not in C order go through a copy of this rank's piece."""

    def mixed(seed):
        params = model(seed)
        whole = np.random.default_rng(seed).standard_normal((80, 120))
        return params | {
            "f": np.asfortranarray(whole),
            "gaps": whole.astype(np.float32)[::2, ::3],
            "d": whole.copy(),
        }

    def work(comm, zero):
        params = mixed(comm.rank)
        opt = gn.distributed(gn.Adam, params, comm=comm, zero=zero, lr=1e-2, max_norm=1.0)
        count = 4 // comm.size
        for t in range(3):
            params["gaps"][0, 0] = t  # a user's own writes are seen
            opt.step([gradients(t, comm.rank * count + k, params) for k in range(count)])
        return params, opt.state_dict(), opt.grad_norm

    first, *others = [
        each
        for size in (1, 2, 4)
        for zero in (0, 1)
        for each in World(size).run(functools.partial(work, zero=zero))
    ]
    for params, _, norm in others:
        assert_same({k: np.ascontiguousarray(x) for k, x in first[0].items()},
                    {k: np.ascontiguousarray(x) for k, x in params.items()})  # fmt: skip
        assert norm == first[2]


@pytest.mark.parametrize("zero", [0, 1])
def test_tensors(zero):
    """PyTorch's, whose versions count the steps."""
    torch = pytest.importorskip("torch")

    def work(comm):
        params = {name: torch.nn.Parameter(torch.from_numpy(x)) for name, x in model(comm.rank).items()}
        opt = gn.distributed(gn.Adam, params, comm=comm, zero=zero, lr=1e-2)
        before = params["w1"]._version
        opt.step({name: torch.from_numpy(g) for name, g in gradients(0, comm.rank, model(0)).items()})
        return {name: p.detach().numpy() for name, p in params.items()}, params["w1"]._version > before

    def on_arrays(comm):
        params = model(comm.rank)
        gn.distributed(gn.Adam, params, comm=comm, zero=zero, lr=1e-2).step(gradients(0, comm.rank, params))
        return params

    for (found, counted), expected in zip(World(2).run(work), World(2).run(on_arrays), strict=True):
        assert_same(expected, found)
        assert counted


@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("shape", [(0, 3), (1,), ()])
def test_next_to_nothing(shape, zero):
    """Ranks that have no element."""

    def work(comm):
        params = {"a": np.ones(shape), "b": np.ones(shape, np.float32)}
        opt = gn.distributed(gn.Adam, params, comm=comm, zero=zero, lr=1.0, max_norm=1.0)
        opt.step({name: np.ones(shape, p.dtype) for name, p in params.items()})
        opt.load_state_dict(opt.state_dict())
        return params["a"].tolist(), opt.t

    expected = {"a": np.ones(shape), "b": np.ones(shape, np.float32)}
    gn.Adam(expected, lr=1.0, max_norm=1.0).step({k: np.ones_like(x) for k, x in expected.items()})
    assert raised(World(4).run(work)) == [(expected["a"].tolist(), 1)] * 4


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_norms_that_overflow(factor):
    """Squares of float64 may leave its range: the norm does not, on any number of ranks."""

    def work(comm):
        params = {"a": np.zeros((50, 300)), "b": np.zeros(7)}
        opt = gn.distributed(gn.SGD, params, comm=comm, lr=1.0, max_norm=1e-3)
        opt.step({k: factor * g for k, g in gradients(0, 0, params).items()})
        return opt.grad_norm, params["a"].tobytes()

    norms = {each for size in (1, 2, 4) for each in World(size).run(work)}
    params = {"a": np.zeros((50, 300)), "b": np.zeros(7)}
    expected = gn.global_norm({k: factor * g for k, g in gradients(0, 0, params).items()})
    assert len(norms) == 1
    assert math.isclose(norms.pop()[0], expected, rel_tol=1e-14)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_grad_scale_makes_infinite(value):
    """On one rank's part only: all skip."""

    def work(comm):
        params = {"a": np.zeros(20_000, np.float32)}
        opt = gn.distributed(gn.SGD, params, comm=comm, lr=1.0, nonfinite="skip", average=False)
        g = np.zeros(20_000, np.float32)
        if comm.rank == 0:
            g[-1] = value
        opt.step({"a": g}, grad_scale=0.5)
        return opt.skipped, opt.t, float(abs(params["a"]).max())

    assert World(2).run(work) == [(1, 0, 0.0)] * 2


def test_around_it():
    """EMA, Lookahead and SAM take it for an optimizer."""

    def work(comm):
        params = model(comm.rank)
        opt = gn.Lookahead(gn.SAM(gn.distributed(gn.Adam, params, comm=comm, lr=1e-2)), every=2)
        ema = gn.EMA(params, 0.5)
        for t in range(4):
            g = gradients(t, 0, params)
            opt.ascend(g)
            opt.step(g)
            ema.update()
        return params, ema.arrays, opt.t

    first, *others = [each for size in (1, 2) for each in World(size).run(work)]
    assert first[2] == 4
    for each in others:
        assert_same(first[0], each[0])
        assert_same(first[1], each[1])


def test_averages_of_schedule_free():
    def work(comm):
        params = model(comm.rank)
        opt = gn.distributed(gn.ScheduleFreeSGD, params, comm=comm, lr=0.1)
        count = 4 // comm.size
        for t in range(3):
            opt.step([gradients(t, comm.rank * count + k, params) for k in range(count)])
        before = copy.deepcopy(params)
        with opt.averaged():
            inside = copy.deepcopy(params)
        assert_same(before, params)
        assert inside["w1"].tobytes() != before["w1"].tobytes()
        return inside

    first, *others = raised([each for size in (1, 2, 4) for each in World(size).run(work)])
    for each in others:
        assert_same(first, each)
    with pytest.raises(AttributeError, match="has no attribute 'averaged'"):
        gn.distributed(gn.SGD, model(0), comm="self").averaged().__enter__()


# Micro-batches.


@pytest.mark.parametrize(
    ("params", "wrap"),
    [
        (np.zeros(3), lambda x: x),
        ([np.zeros(3)], lambda x: [x]),
        ([[np.zeros(3)], np.zeros(2)], lambda x: [[x], x[:2]]),
        ({"a": [np.zeros(3)]}, lambda x: {"a": [x]}),
        ([{"params": {"a": np.zeros(3)}}], lambda x: [{"a": x}]),
        ([{"params": {"a": np.zeros(3)}}], lambda x: {"0/a": x}),
    ],
    ids=["array", "list", "nested list", "dict", "groups", "groups by name"],
)
def test_one_micro_batch_or_several(params, wrap):
    """Whatever params are: gradients built like them, lists of these, generators."""
    first = [{**params[0]}] if isinstance(params, list) and isinstance(params[0], dict) else params
    opt = gn.distributed(gn.SGD, first, comm="self", lr=1.0)
    array = next(iter(opt._params)).array
    array[...] = 0.0
    one, two = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    opt.step(wrap(one))
    assert array.tolist() == (-one).tolist()
    opt.step([wrap(one), wrap(two)])
    assert array.tolist() == [-3.0, -4.0, -5.0]
    opt.step(wrap(x) for x in (one, two))
    assert array.tolist() == [-5.0, -6.0, -7.0]


def test_the_tree_of_micro_batches():
    """Neighbours first: numbers that any other order adds up otherwise."""
    values = np.float32([1e8, 1.0, -1e8, 1.0, 3.0, 1e8, -1e8, 5.0])
    expected = in_tree(list(values))
    assert expected not in (functools.reduce(np.add, values), functools.reduce(np.add, values[::-1]))

    def work(comm):
        w, count = np.zeros(1, np.float32), 8 // comm.size
        opt = gn.distributed(gn.SGD, w, comm=comm, lr=1.0, average=False)
        opt.step([values[k : k + 1] for k in range(comm.rank * count, (comm.rank + 1) * count)])
        return float(w[0])

    for size in (1, 2, 4, 8):
        assert World(size).run(work) == [-float(expected)] * size


@pytest.mark.parametrize("zero", [0, 1])
def test_any_order(zero):
    """For any numbers of ranks and micro-batches: equal on all ranks, and to rounding what it should be."""
    expected = model(0, np.float64)
    opt = gn.Adam(expected, lr=1e-2, max_norm=1.0)
    for t in range(3):
        each = [gradients(t, k, expected) for k in range(9)]
        opt.step({name: sum(g[name] for g in each) for name in expected}, grad_scale=9)

    def work(comm):
        params = model(comm.rank, np.float64)
        opt = gn.distributed(gn.Adam, params, comm=comm, zero=zero, order="any", lr=1e-2, max_norm=1.0)
        for t in range(3):
            opt.step(gradients(t, 3 * comm.rank + k, params) for k in range(3))
        return params

    first, *others = World(3).run(work)
    for each in others:
        assert_same(first, each)
    for name, x in expected.items():
        np.testing.assert_allclose(first[name], x, rtol=1e-9, atol=1e-12)


def test_without_average():
    w = np.zeros(1)
    opt = gn.distributed(gn.SGD, w, comm="self", lr=1.0, average=False)
    opt.step([np.ones(1), np.ones(1)], grad_scale=4.0)
    assert w[0] == -0.5


def test_parameters_without_a_gradient():
    """On all ranks and in all micro-batches: they and their states stay as they are."""

    def work(comm):
        params = model(comm.rank)
        opt = gn.distributed(gn.Adam, params, comm=comm, lr=1e-2)
        opt.step(gradients(0, comm.rank, params))
        before = copy.deepcopy(params)
        opt.step(gradients(1, comm.rank, params) | {"w1": None})
        assert_same(before["w1"], params["w1"])
        assert params["w2"].tobytes() != before["w2"].tobytes()
        state = opt.state_dict()["state"]
        return state["w1"]["updates"], state["w2"]["updates"]

    assert raised(World(2).run(work)) == [(1, 2)] * 2


# States.


def test_states_load_at_any_number_of_ranks():
    """And in one process without ranks: the same bits go on."""
    params = model(0)
    opt = gn.Adam(params, lr=1e-2)
    opt.step(gradients(0, 0, params))
    middle, state = copy.deepcopy(params), opt.state_dict()
    opt.step(gradients(1, 0, params))

    def work(comm):
        found = copy.deepcopy(middle)
        other = gn.distributed(gn.Adam, found, comm=comm, lr=0.5)
        other.load_state_dict(state)
        assert_same(state, other.state_dict())
        other.step(gradients(1, 0, found))
        assert_same(params, found)

    for size in (1, 2, 4):
        assert raised(World(size).run(work)) == [None] * size


def test_a_state_that_does_not_fit_on_one_rank():
    """Nothing has changed on any."""
    state = gn.Adam(model(0), lr=1e-3).state_dict()

    def work(comm):
        opt = gn.distributed(gn.Adam, model(0), comm=comm, lr=1e-2)
        opt.step(gradients(0, 0, model(0)))
        before = opt.state_dict()
        mine = copy.deepcopy(state)
        if comm.rank:
            mine["state"]["w1"]["m"] = np.zeros((64, 151), np.float32)
        try:
            opt.load_state_dict(mine)
        except (ValueError, RuntimeError) as error:
            assert_same(before, opt.state_dict())
            return str(error)
        return "loaded"

    said = raised(World(2).run(work))
    assert said[0].startswith("rank 1 cannot load the state: ValueError: state['state']['w1']['m'] has shape")
    assert said[1].startswith("state['state']['w1']['m'] has shape (64, 151), expected its parameter's")


# What is refused, and what else ranks hear.


def test_an_error_on_one_rank_is_one_on_all():
    """One that a generator raises as well; then all go on."""

    def work(comm):
        params = model(0)
        opt = gn.distributed(gn.SGD, params, comm=comm, lr=1e-2)

        def failing():
            yield gradients(0, 0, params)
            if comm.rank:
                raise OSError("no more rows")
            yield gradients(0, 1, params)

        try:
            opt.step(failing())
        except (OSError, RuntimeError) as error:
            said = str(error)
        assert_same(params, model(0))
        opt.step(gradients(0, 0, params))
        return said, opt.t

    said = raised(World(2).run(work))
    assert said == [("rank 1 refused its gradients: OSError: no more rows", 1), ("no more rows", 1)]


def test_rates_that_differ():
    """As of schedules that observe losses, of which each rank has its own."""

    def work(comm):
        plateau = gn.schedules.ReduceOnPlateau(0.1, patience=0)
        params = model(0)
        opt = gn.distributed(gn.SGD, params, comm=comm, lr=plateau)
        opt.step(gradients(0, 0, params))
        for loss in (1.0, 1.0 + comm.rank, 1.0 - comm.rank):
            plateau.observe(loss)
        opt.step(gradients(1, 0, params))

    for error in World(2).run(work):
        assert isinstance(error, ValueError)
        assert str(error).startswith("the hyperparameters differ between ranks: rank 0 has ['lr', 0.0")


@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("loads", [False, True])
def test_parameters_that_one_rank_writes(loads, zero):
    """After construction, or beside a state: weights of its own would go on, or some of each rank's."""

    def work(comm):
        params = model(0) | {"f": np.asfortranarray(np.ones((3, 4)))}
        opt = gn.distributed(gn.Adam, params, comm=comm, zero=zero, lr=1e-2)
        if loads:
            opt.step(gradients(0, 0, params))
            opt.load_state_dict(opt.state_dict())
        value = params["f"][1, 2]
        if comm.rank:
            params["f"][1, 2] = 5.0
        before = copy.deepcopy(params)
        with pytest.raises(
            ValueError, match=r"the parameters, by the CRC-32 of their values, differ .* rank 0 has \['f', "
        ):
            opt.step(gradients(1, 0, params))
        assert_same(before, params)
        params["f"][1, 2] = value
        opt.step(gradients(1, 0, params))
        return opt.t

    assert raised(World(2).run(work)) == [1 + loads] * 2


CALLED = {
    "step": lambda opt, params, path: opt.step(gradients(2, 0, params)),
    "state_dict": lambda opt, params, path: opt.state_dict(),
    "averaged": lambda opt, params, path: opt.averaged().__enter__(),
    "save_checkpoint": lambda opt, params, path: gn.save_checkpoint(path / "run", params, opt),
}


@pytest.mark.parametrize("call", CALLED)
@pytest.mark.parametrize(
    ("differs", "message"),
    [
        (
            "phase",
            r"the phases and their steps differ between ranks: rank 0 has \[0, 2\], rank 1 has \[1, 2\]",
        ),
        (
            "lr",
            r"the hyperparameters differ between ranks: rank 0 has \['lr', 0.1\], rank 1 has \['lr', 0.2\]",
        ),
    ],
    ids=["phase", "lr"],
)
def test_ranks_that_stand_elsewhere(differs, message, call, tmp_path):
    """As after a loss of its own that one of them observed: what they save or gather would be of both."""

    def work(comm):
        params = model(0)
        phases = [gn.Phase(gn.ScheduleFreeSGD, patience=0, lr=0.1), gn.Phase(gn.ScheduleFreeSGD, lr=0.1)]
        opt = gn.distributed(gn.Phases, params, comm=comm, phases=phases)
        for t in range(2):
            opt.step(gradients(t, 0, params))
        if differs == "phase":
            for loss in (1.0, 1.0 if comm.rank else 0.5):
                opt.optimizer.observe(loss)
        elif comm.rank:
            opt.lr = 0.2
        before = copy.deepcopy(params)
        with pytest.raises(ValueError, match=message):
            CALLED[call](opt, params, tmp_path)
        assert_same(before, params)

    assert raised(World(2).run(work)) == [None, None]
    assert not list(tmp_path.iterdir())


def test_a_schedule_that_has_ended_is_saved():
    """Its value at a step that never comes is of no use to anybody."""
    rates = [0.1, 0.05]

    def work(comm):
        params = model(0)
        opt = gn.distributed(gn.SGD, params, comm=comm, lr=rates.__getitem__)
        for t in range(2):
            opt.step(gradients(t, 0, params))
        return opt.state_dict()["t"]

    assert World(2).run(work) == [2, 2]


def test_a_call_that_was_broken_off():
    """By Ctrl-C, say: this rank makes no other call, as it would meet another one."""
    opt = gn.distributed(gn.SGD, model(0), comm="self", lr=1e-2)

    def stop(*_, **__):
        raise KeyboardInterrupt

    opt.optimizer.__dict__["step"] = stop
    with pytest.raises(KeyboardInterrupt):
        opt.step(gradients(0, 0, model(0)))
    del opt.optimizer.__dict__["step"]
    with pytest.raises(RuntimeError, match="an earlier call was broken off by KeyboardInterrupt"):
        opt.step(gradients(0, 0, model(0)))
    with pytest.raises(RuntimeError, match="go on from a checkpoint"):
        opt.state_dict()


class Stopped:
    """A communicator whose calls a Ctrl-C may come into."""

    def __init__(self, comm):
        self._comm, self.rank, self.size, self.made, self.stops = comm, comm.rank, comm.size, 0, False

    def __getattr__(self, name):
        if name not in CALLS:
            raise AttributeError(name)

        def call(*args):
            self.made += 1
            if self.stops:
                raise KeyboardInterrupt
            return getattr(self._comm, name)(*args)

        return call


@pytest.mark.parametrize("where", ["a header", "the exchange", "a checkpoint", "a new optimizer"])
def test_nobody_speaks_over_a_communicator_after_a_call_was_broken_off(where, tmp_path):
    """Not a header, by no optimizer over it: another rank may wait in another call."""

    def work(rank):
        comm, params = Stopped(rank), model(0)
        first, second = (gn.distributed(gn.SGD, params, comm=comm, lr=1e-2) for _ in range(2))

        def write(*_):
            raise KeyboardInterrupt

        beside = types.SimpleNamespace(state_dict=write, load_state_dict=None)
        comm.stops = where in ("a header", "a new optimizer")
        calls = {
            "a header": lambda: first.step(gradients(0, 0, params)),
            "the exchange": lambda: first.step(gradients(0, 0, params)),
            "a checkpoint": lambda: gn.save_checkpoint(tmp_path / "run", params, first, also={"x": beside}),
            "a new optimizer": lambda: gn.distributed(gn.SGD, params, comm=comm, lr=1e-2),
        }
        if where == "the exchange":
            comm.exchange = write
        with pytest.raises(KeyboardInterrupt):
            calls[where]()
        comm.stops = False
        made = comm.made
        for each in (first, second):
            for call in (
                lambda each=each: each.step(gradients(0, 0, params)),
                each.state_dict,
                lambda each=each: gn.save_checkpoint(tmp_path / "run", params, each),
                calls["a new optimizer"],
            ):
                with pytest.raises(RuntimeError, match="an earlier call was broken off by KeyboardInterrupt"):
                    call()
        assert comm.made == made
        return first.t

    assert raised(World(2).run(work)) == [0, 0]


def test_an_interrupt_that_waited_for_the_step_breaks_nothing_off():
    params = model(0)
    opt = gn.distributed(gn.SGD, params, comm="self", lr=1e-2)
    real = opt.optimizer.step

    def step(*args, **more):
        signal.raise_signal(signal.SIGINT)
        real(*args, **more)

    opt.optimizer.__dict__["step"] = step
    with pytest.raises(KeyboardInterrupt):
        opt.step(gradients(0, 0, params))
    del opt.optimizer.__dict__["step"]
    opt.step(gradients(1, 0, params))
    assert opt.t == 2


@pytest.mark.parametrize("timeout", [None, 1.0])
def test_a_request_that_nobody_waits_for_is_kept(timeout):
    """MPI writes to its buffer when the other ranks come, which mpi4py's request refers to."""

    class Request:
        def Test(self):
            raise KeyboardInterrupt

        Wait = Test

    comm = object.__new__(OverMPI)
    comm._timeout, comm.mark, request = timeout, Mark(), Request()
    with pytest.raises(KeyboardInterrupt):
        comm._wait(request)
    assert comm.mark.kept == [request]
    assert comm.mark.by == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zero": 2}, "zero is 2, expected 0 or 1"),
        ({"order": "ring"}, "order is 'ring', expected one of"),
        ({"average": 1}, "average is 1, expected True or False"),
        ({"timeout": 0}, "timeout is 0.0, expected a finite number > 0"),
        (
            {"wire_dtype": "float16"},
            "wire_dtype is 'float16' with order='tree', expected None, or 'bfloat16'",
        ),
        ({"wire_dtype": "bfloat16", "order": "any"}, "with order='any', expected None, or 'bfloat16' with"),
        (
            {"wire_dtype": "bfloat16"},
            "parameter 0 is float64 in host memory, expected float32 in host memory",
        ),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"transport": "pigeon"}, "transport is 'pigeon', expected one of"),
        ({"learning_rate": 0.1}, "did you mean 'lr'"),
        (
            {"comm": object()},
            r"comm is of type object without rank, size, sum, .*'self' for this process alone",
        ),
    ],
)
def test_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        gn.distributed(gn.SGD, np.zeros(3), **{"comm": "self", **options})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (gn.SGD(np.zeros(3)), r"(?s)make is SGD\(.*, expected an optimizer class"),
        (lambda p: p, "optimizer is of type Slices, expected an optimizer"),
        (
            lambda p: gn.SAM(gn.SGD(p)),
            "make makes a SAM, expected SAM around what gnumba.distributed returns",
        ),
    ],
    ids=["optimizer", "no optimizer", "SAM"],
)
def test_what_cannot_be_made(make, message):
    with pytest.raises(TypeError, match=message):
        gn.distributed(make, {"w": np.zeros(3)}, comm="self")


def test_a_rule_with_an_option_s_name():
    @gn.rule
    def odd(p, g, /, order):
        """One."""
        return p - order * g

    with pytest.raises(TypeError, match=r"rule 'odd' has a hyperparameter called 'order', which"):
        gn.distributed(odd, np.zeros(3), comm="self")
    gn.registry.pop("odd")


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ([], "grads is .*expected a dict|no micro-batches"),
        (iter([]), "grads has no micro-batches, expected at least one"),
        ([{"w": np.zeros(3)}] * 3, "grads has 3 micro-batches, expected a power of two, or order='any'"),
        (3.0, "grads is .*expected gradients, or an iterable of them"),
        ({"w": np.zeros(4)}, r"gradient of w has shape \(4,\)"),
        ([{"w": None}, {"w": np.zeros(3)}], "gradient of w is None in some micro-batches and not in others"),
        ({"w": gn.Rows([0], np.zeros(1))}, r"gradient of w is Rows.*exchanges whole gradients"),
    ],
)
def test_gradients_that_do_not_fit(grads, message):
    w = np.ones(3)
    opt = gn.distributed(gn.SGD, {"w": w}, comm="self", lr=1.0)
    with pytest.raises((ValueError, TypeError), match=message):
        opt.step(grads)
    assert (w == 1.0).all()
    assert opt.t == 0


def test_a_tree_of_three_ranks():
    def work(comm):
        gn.distributed(gn.SGD, np.zeros(3), comm=comm)

    for error in World(3).run(work):
        assert isinstance(error, ValueError)
        assert str(error).startswith("order is 'tree' for 3 ranks, expected a power of two")


def test_without_mpi4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r'cannot be imported .*pip install "gnumba\[mpi\]".*comm=\'self\''):
        gn.distributed(gn.SGD, np.zeros(3))


def test_an_array_that_is_no_longer_held():
    params = model(0)
    opt = gn.distributed(gn.SGD, params, comm="self", lr=1.0)
    params["w1"] = params["w1"].copy()
    with pytest.raises(ValueError, match="parameter w1 is no longer the array"):
        opt.step(gradients(0, 0, params))


def test_attributes():
    """The inner optimizer's hyperparameters, to be read and set, and what it is."""
    opt = gn.distributed(gn.Adam, model(0), comm="self", zero=0, lr=0.5)
    assert (opt.lr, opt.zero, opt.order, opt.average, opt.wire_dtype) == (0.5, 0, "tree", True, None)
    assert (opt.comm.rank, opt.comm.size, opt.betas, opt.t) == (0, 1, (0.9, 0.999), 0)
    opt.lr = 0.25
    assert opt.optimizer.lr == 0.25
    with pytest.raises(AttributeError, match="did you mean 'lr'"):
        opt.learning_rate = 1.0
    assert repr(opt).startswith("Distributed(rank 0 of 1, zero=0, order='tree', Adam(rule=adam, t=0")
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"cannot be copied or pickled, expected its state_dict\(\)"):
            copied(opt)


# The wire.


def test_bfloat16_is_that_of_ml_dtypes():
    """Every kind of float32: ties, subnormals, infinities, nan, what overflows."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    bits = np.concatenate([
        rng.integers(0, 2**32, 100_000, np.uint32),
        ((np.arange(2**16, dtype=np.uint32) << 16)[:, None] + np.uint32([0, 0x7FFF, 0x8000])).ravel(),
    ]).astype(np.uint32)  # fmt: skip
    x, found, back = bits.view(np.float32), np.empty(bits.size, np.uint16), np.empty(bits.size, np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(ml_dtypes.bfloat16)
    for target in ("cpu", "parallel"):
        with gn.use_target(target):
            bfloat16.narrow(x, found)
            bfloat16.widen(found, back)
        numbers = ~np.isnan(x)
        assert (found == expected.view(np.uint16))[numbers].all()
        np.testing.assert_array_equal(back, expected.astype(np.float32))


def test_a_narrow_wire():
    """Ranks, and ways of keeping the state, agree to the bit; half as much is sent."""

    def work(comm, zero=1, wire_dtype="bfloat16"):
        params = model(comm.rank)
        opt = gn.distributed(gn.SGD, params, comm=comm, zero=zero, wire_dtype=wire_dtype, lr=0.1)
        count = MICRO // comm.size
        for t in range(3):
            opt.step([gradients(t, comm.rank * count + k, params) for k in range(count)])
        return params

    exact = World(4).run(functools.partial(work, wire_dtype=None))[0]
    first, *others = [each for zero in (0, 1) for each in World(4).run(functools.partial(work, zero=zero))]
    for each in others:
        assert_same(first, each)
    for name, x in exact.items():
        np.testing.assert_allclose(first[name], x, atol=2e-3)
    assert first["w1"].tobytes() != exact["w1"].tobytes()
    sent = []
    for wire_dtype in (None, "bfloat16"):
        comm = Recorder(4)
        opt = gn.distributed(gn.SGD, {"w": np.zeros(8 * BLOCK, np.float32)}, comm=comm, wire_dtype=wire_dtype)
        comm.sent.clear()
        opt.step({"w": np.zeros(8 * BLOCK, np.float32)})
        sent.append(dict(comm.sent))
    assert sent[0]["exchange"] == 2 * sent[1]["exchange"] > 0
    assert sent[0]["gather_all"] == sent[1]["gather_all"]


# Flat arrays.


@pytest.mark.parametrize(
    "container", [dict, lambda x: [*x.values()], lambda x: {"net": [{"deep": x}]}, lambda x: x["w1"]]
)
def test_flat_arrays_are_views_of_one_buffer(container):
    arrays = container(model(0))
    made = gn.flat(arrays)
    pairs = list(zip(gn.SGD(arrays)._params, gn.SGD(made)._params, strict=True))
    for before, after in pairs:
        assert before.name == after.name
        assert_same(before.array, after.array)
        assert not np.shares_memory(before.array, after.array)
    assert len({id(after.array.base) for _, after in pairs}) == 1


def test_flat_arrays_of_two_dtypes():
    made = gn.flat({"a": np.ones(3), "b": np.ones(3, np.float32), "c": np.zeros((2, 2))})
    assert made["a"].base is made["c"].base is not made["b"].base
    with pytest.raises(TypeError, match=r"array w/0 is of type float"):
        gn.flat({"w": [1.0]})
    with pytest.raises(TypeError, match="params are groups, expected arrays in containers"):
        gn.flat([{"params": np.zeros(3)}])


@pytest.mark.parametrize("zero", [0, 1])
def test_flat_arrays_are_exchanged_where_they_are(zero):
    """Neither gradients nor parameters are packed, and the bits are those of packed ones."""

    def work(comm, made):
        params = made(model(0))
        opt = gn.distributed(gn.Adam, params, comm=comm, zero=zero, lr=1e-2, **GUARDED)
        grads = made(model(0))
        if made is gn.flat and comm.size > 1:
            for each in opt._exchanges:
                each.pack = each.unpack = None
        for t in range(3):
            for name, g in gradients(t, comm.rank, params).items():
                grads[name][...] = g
            opt.step(grads)
            assert all((grads[name] == g).all() for name, g in gradients(t, comm.rank, params).items())
        return params, opt.grad_norm

    expected = World(2).run(functools.partial(work, made=dict))
    found = raised(World(2).run(functools.partial(work, made=gn.flat)))
    for (params, norm), (flat, flat_norm) in zip(expected, found, strict=True):
        assert_same(params, flat)
        assert norm == flat_norm


def test_arrays_behind_those_of_the_optimizer():
    """In one buffer with them: they are each rank's own, as are gradients of others."""

    def work(comm):
        params = gn.flat(model(0) | {"z": np.full(5, comm.rank, np.float32)})
        grads = gn.flat(model(0) | {"z": np.full(5, np.nan, np.float32)})
        trained = {name: x for name, x in params.items() if name != "z"}
        opt = gn.distributed(gn.SGD, trained, comm=comm, lr=1e-2, max_norm=1.0)
        for _ in range(2):
            opt.step({name: grads[name] for name in trained})
        assert params["z"].tolist() == [comm.rank] * 5
        assert math.isfinite(opt.grad_norm)

    assert raised(World(2).run(work)) == [None] * 2


def test_a_flat_buffer_that_is_no_longer_used_is_forgotten():
    before = len(_SIZES)
    made = gn.flat(model(0))
    assert len(_SIZES) == before + 1
    del made
    gc.collect()
    assert len(_SIZES) == before


def test_arrays_that_only_look_flat():
    """Memory behind a user's array is the user's."""
    whole = np.full(10 * BLOCK, 7.0)

    def work(comm):
        mine = whole.copy()
        params = mine[:100]
        gn.distributed(gn.SGD, params, comm=comm, lr=1.0).step(np.ones(100))
        assert (mine[100:] == 7.0).all()
        return params.tolist()

    assert raised(World(2).run(work)) == [[6.0] * 100] * 2


# The flat space.


@given(st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=12), st.sampled_from([1, 2, 4, 8, 3]))
def test_a_layout(sizes, ranks):
    """Every element is in one rank's part, once; blocks are those of one rank; small arrays share blocks."""
    layout, whole = Layout(sizes, ranks), Layout(sizes, 1)
    seen = np.zeros(layout.length, int)
    for rank in range(ranks):
        for start, piece in zip(layout.starts, layout.pieces(rank), strict=True):
            seen[rank * layout.part + piece.at :][: piece.size] += 1
            assert piece.size == 0 or rank * layout.part + piece.at == start + piece.lo
            assert piece.lo % BLOCK == 0
    assert seen.max(initial=0) <= 1
    assert seen.sum() == sum(sizes)
    blocks = np.concatenate([layout.blocks(rank) + rank * layout.part for rank in range(ranks)])
    assert blocks.tolist() == whole.blocks(0).tolist()
    assert layout.owners().tolist() == whole.owners().tolist()
    assert layout.length - layout.total < ranks * BLOCK


def test_small_arrays_take_little_more_than_they_hold():
    layout = Layout([10] * 1000, 1)
    assert layout.total <= 16 * 1000 + BLOCK


class Recorder:
    """One rank of many, whose others are zeros: what it sends is counted."""

    def __init__(self, size):
        self.rank, self.size, self.sent = 0, size, []

    def _record(self, name, nbytes):
        self.sent.append((name, nbytes))

    def sum(self, buffer):
        self._record("sum", buffer.nbytes)

    def largest(self, buffer):
        self._record("largest", buffer.nbytes)

    def sum_scatter(self, send, receive):
        self._record("sum_scatter", send.nbytes - receive.nbytes)

    def gather_all(self, whole):
        self._record("gather_all", whole.nbytes - whole.nbytes // self.size)

    def exchange(self, send, receive):
        self._record("exchange", send.nbytes - send.nbytes // self.size)

    def broadcast(self, buffer, root=0):
        self._record("broadcast", buffer.nbytes)

    def tell(self, item):
        return [item] * self.size


def test_what_1024_ranks_send():
    """The cost model's bytes: 2(n − 1)/n · 4P, a header, and 8 bytes a block for the norm."""
    assert {name for name in vars(Recorder) if not name.startswith("_")} == set(CALLS)
    ranks, count = 1024, 2 * BLOCK * 1024
    comm, params = Recorder(ranks), {"w": np.zeros(count, np.float32)}
    opt = gn.distributed(gn.SGD, params, comm=comm, lr=1.0, max_norm=1.0)
    comm.sent.clear()
    opt.step({"w": params["w"].copy()})
    one_way, blocks = (ranks - 1) * 4 * count // ranks, 8 * (ranks - 1) * count // BLOCK // ranks
    assert comm.sent == [
        ("largest", 24),
        ("exchange", one_way),
        ("gather_all", blocks),
        ("gather_all", one_way),
    ]
    assert (
        opt.optimizer._params[0].array.nbytes == 4 * count // ranks
    )  # of m and v, too, for rules that have them
