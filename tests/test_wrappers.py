"""Around an optimizer: Lookahead, SAM, accumulation, early stopping; EMA is in test_params."""

import copy
import math
import pickle

import numpy as np
import pytest

import gnumba as gn

SHAPES = [(3, 4), (5,), (2, 3)]


def params(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]


def gradients(steps, dtype=np.float64):
    return [params(dtype, seed=10 + k) for k in range(steps)]


def same(ours, theirs, exact=True):
    for a, b in zip(ours, theirs, strict=True):
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda made: pickle.loads(pickle.dumps(made)),
    "copy": copy.copy,
}


# Lookahead.


def test_lookahead_against_optax():
    """Every third step goes a quarter back, Adam's moments as they are."""
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    jax.config.update("jax_enable_x64", True)
    ours = params()
    opt = gn.Lookahead(gn.Adam(ours, lr=0.1, eps=1e-8), every=3, alpha=0.25)
    theirs = optax.LookaheadParams.init_synced([jax.numpy.array(p) for p in params()])
    tx = optax.lookahead(optax.adam(0.1, eps=1e-8), sync_period=3, slow_step_size=0.25)
    state = tx.init(theirs)
    for gs in gradients(8):
        opt.step(gs)
        updates, state = tx.update([jax.numpy.array(g) for g in gs], state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    same(ours, theirs.fast, exact=False)
    same(opt.state_dict()["slow"].values(), theirs.slow, exact=False)
    assert opt.t == 8


def test_lookahead_is_its_formula(dtype, target):
    """Nested arrays, one with gaps, one without a gradient at times, a schedule for α."""
    whole = np.zeros((6, 8), dtype)
    held = {"a": params(dtype)[0], "rest": [whole[::2, 1::2], params(dtype)[1]]}
    flat = [held["a"], *held["rest"]]
    opt = gn.Lookahead(gn.SGD(held, lr=0.5), every=2, alpha=lambda t: 1 / max(t, 1))
    naive = [x.astype(np.float64) for x in flat]
    slow = [x.copy() for x in naive]
    rng = np.random.default_rng(1)
    with gn.use_target(target):
        for t in range(1, 7):
            gs = [rng.standard_normal(x.shape).astype(dtype) for x in flat]
            opt.step({"a": None if t == 3 else gs[0], "rest": gs[1:]})
            naive = [
                p - 0.5 * g if k or t != 3 else p for k, (p, g) in enumerate(zip(naive, gs, strict=True))
            ]
            if t % 2 == 0:
                slow = [s + (p - s) / t for s, p in zip(slow, naive, strict=True)]
                naive = [s.copy() for s in slow]
    eps = np.finfo(dtype).eps
    for ours, theirs in zip(flat, naive, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=16 * eps, atol=16 * eps)
    assert not whole[1::2].any()
    assert not whole[:, ::2].any()


def test_a_skipped_step_does_not_count_for_lookahead():
    """Nor does one that is refused."""
    ours, theirs = params(), params()
    opt = gn.Lookahead(gn.SGD(ours, lr=0.1, nonfinite="skip"), every=2, alpha=0.5)
    other = gn.Lookahead(gn.SGD(theirs, lr=0.1), every=2, alpha=0.5)
    for k, gs in enumerate(gradients(4)):
        if k == 1:
            opt.step([np.full(shape, np.nan) for shape in SHAPES])
            with pytest.raises(ValueError, match="expected"):
                opt.step(gs[:1])
        opt.step(gs)
        other.step(gs)
    same(ours, theirs)
    assert (opt.t, opt.skipped) == (4, 1)


# SAM.


def test_sam_is_its_formula():
    """Clipping, decay and momentum are the optimizer's; the ascent's gradients may have any scale."""
    ours, theirs = params(), params()
    opt = gn.SAM(gn.SGD(ours, lr=0.1, momentum=0.9, weight_decay=0.01, max_norm=1.0), rho=0.3)
    plain = gn.SGD(theirs, lr=0.1, momentum=0.9, weight_decay=0.01, max_norm=1.0)
    for k, (first, second) in enumerate(zip(gradients(4), reversed(gradients(4)), strict=True)):
        norm = math.sqrt(sum(float((g * g).sum()) for g in first))
        before = [p.copy() for p in ours]
        opt.ascend([g * 10.0**k for g in first])
        same(ours, [p + 0.3 * g / norm for p, g in zip(before, first, strict=True)], exact=False)
        opt.step(second)
        plain.step(second)
        same(ours, theirs)
    assert opt.grad_norm == plain.grad_norm
    assert opt.t == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e15, 1e30])
def test_sam_ascends_by_rho_whatever_the_gradients_size(size, dtype):
    """In the dtype's own precision; zeros move nothing, and what descends otherwise descends."""
    w = np.zeros(4, dtype)
    opt = gn.SAM(gn.SGD(w), rho=0.5)
    opt.ascend(np.array([3.0, 0.0, -4.0, 0.0], dtype) * dtype_of(dtype)(size))
    np.testing.assert_allclose(w, [0.3, 0.0, -0.4, 0.0], rtol=4 * np.finfo(dtype).eps)
    opt.back()
    np.testing.assert_array_equal(w, 0.0)
    opt.ascend(np.zeros(4, dtype))
    np.testing.assert_array_equal(w, 0.0)
    opt.back()
    descending = gn.SAM(gn.SGD(w, maximize=True), rho=0.5)
    descending.ascend(np.array([3.0, 0.0, -4.0, 0.0], dtype))
    np.testing.assert_allclose(w, [-0.3, 0.0, 0.4, 0.0], rtol=4 * np.finfo(dtype).eps)


def dtype_of(name):
    return np.dtype(name).type


def test_sam_in_groups_with_missing_gradients_and_rows():
    """A parameter without a gradient stays; of one with Rows those rows move."""
    a, b, c = np.ones((4, 2)), np.ones(3), np.ones(2)
    groups = [{"params": [a, b], "betas": (0.5, 0.9), "name": "first"}, {"params": {"c": c}, "lr": 0.5}]
    opt = gn.SAM(gn.Adam(groups), rho=5.0)
    opt.ascend([[gn.Rows([1], np.array([[3.0, 0.0]])), None], {"c": np.array([0.0, 4.0])}])
    np.testing.assert_allclose(a, [[1, 1], [4, 1], [1, 1], [1, 1]])
    np.testing.assert_array_equal(b, 1.0)
    np.testing.assert_allclose(c, [1.0, 5.0])
    opt.step([[None, b * 0.0], {"c": None}])
    np.testing.assert_array_equal(a, 1.0)
    np.testing.assert_array_equal(c, 1.0)
    assert opt.groups is opt.optimizer.groups


def test_sam_in_the_wrong_order():
    """Each in a sentence; a refused step leaves the parameters where they are, and may be repeated."""
    ours, theirs = params(), params()
    opt, plain = gn.SAM(gn.Adam(ours)), gn.Adam(theirs)
    first, second = gradients(2)
    with pytest.raises(RuntimeError, match=r"step is called before ascend\(grads\)"):
        opt.step(second)
    with pytest.raises(ValueError, match="expected"):
        opt.ascend(first[:2])
    same(ours, theirs)
    opt.ascend(first)
    there = [p.copy() for p in ours]
    for call in (lambda: opt.ascend(first), opt.state_dict, lambda: opt.load_state_dict(plain.state_dict())):
        with pytest.raises(RuntimeError, match=r"after ascend\(\) and before step\(\)"):
            call()
    with pytest.raises(TypeError, match="float32"):
        opt.step([g.astype(np.float32) for g in second])
    same(ours, there)
    opt.step(second)
    plain.step(second)
    same(ours, theirs)
    same(*[[each["m"] for each in made.state_dict()["state"].values()] for made in (opt, plain)])


# Both: they stand for an optimizer.


def around(kind, made):
    return gn.Lookahead(made, every=2) if kind == "Lookahead" else gn.SAM(made, rho=0.1)


def go(opt, gs):
    if hasattr(opt, "ascend"):
        opt.ascend(gs)
    opt.step(gs)


@pytest.mark.parametrize("kind", ["Lookahead", "SAM"])
@pytest.mark.parametrize("way", [*COPIES, "state", "checkpoint"])
def test_a_wrapper_goes_on_as_if_it_had_not_been_copied(kind, way, tmp_path):
    """To the same bits, in the middle of Lookahead's k steps."""
    ours = params()
    opt = around(kind, gn.Adam(ours, lr=0.1))
    for gs in gradients(3):
        go(opt, gs)
    if way in ("state", "checkpoint"):
        others = params(seed=5)
        made = around(kind, gn.Adam(others, lr=0.1))
        if way == "state":
            for p, q in zip(others, ours, strict=True):
                p[:] = q
            made.load_state_dict(opt.state_dict())
        else:
            gn.save_checkpoint(tmp_path / "run", ours, opt)
            gn.load_checkpoint(tmp_path / "run", others, made)
    else:
        made = COPIES[way](opt)
        others = [p.given for p in made.optimizer._params]
        assert (others[0] is ours[0]) == (way == "copy")
        if way == "copy":
            before = [p.copy() for p in ours]
    for gs in gradients(7)[3:]:
        go(opt, gs)
    after = [p.copy() for p in ours]
    if way == "copy":
        for p, q in zip(ours, before, strict=True):
            p[:] = q
    for gs in gradients(7)[3:]:
        go(made, gs)
    same(others, after)


@pytest.mark.parametrize("kind", ["Lookahead", "SAM"])
def test_a_wrapper_has_the_attributes_of_its_optimizer(kind):
    """To be read and set; others are refused with the nearest name."""
    plan = gn.Phases(
        params(), [gn.Phase(gn.Adam, steps=1, batch_size=8), gn.Phase(gn.SGD, lr=0.5, batch_size=4)]
    )
    opt = around(kind, plan)
    assert (opt.lr, opt.betas, opt.batch_size, opt.phase) == (1e-3, (0.9, 0.999), 8, 0)
    opt.weight_decay = 0.5
    assert plan.optimizer.weight_decay == 0.5
    go(opt, gradients(1)[0])
    assert (opt.t, opt.phase, opt.lr, opt.batch_size) == (1, 1, 0.5, 4)
    opt.observe(3.0)
    opt.lr = 0.25
    assert plan.lr == 0.25
    with pytest.raises(AttributeError, match="did you mean 'weight_decay'"):
        opt.weight_decai = 0.1
    with pytest.raises(AttributeError, match=f"{kind} has no attribute 'betas'"):
        _ = opt.betas
    both = gn.Lookahead(opt) if kind == "SAM" else gn.SAM(opt)
    assert both.lr == 0.25
    assert repr(plan) in repr(both)


def test_wrappers_that_will_not_do():
    """Each in a sentence."""
    w = np.ones(2)
    with pytest.raises(TypeError, match="optimizer is of type ndarray, expected an optimizer"):
        gn.Lookahead(w)
    for every in (0, True, 2.0, "2"):
        with pytest.raises(ValueError, match=f"every is {every!r}, expected an integer ≥ 1"):
            gn.Lookahead(gn.SGD(w), every=every)
    with pytest.raises(ValueError, match=r"alpha is 1.5, expected a number in \[0, 1\]"):
        gn.Lookahead(gn.SGD(w), alpha=1.5)
    with pytest.raises(ValueError, match=r"rho is -1.0, expected a finite number ≥ 0"):
        gn.SAM(gn.SGD(w), rho=-1.0)
    with pytest.raises(TypeError, match="no argument 'k'"):
        gn.Lookahead(gn.SGD(w), k=5)
    look = gn.Lookahead(gn.SGD(w), every=1, alpha=lambda t: 0.5 if t < 2 else 2.0)
    look.step(w)
    before = w.copy()
    with pytest.raises(ValueError, match=r"alpha at step 2 is 2.0"):
        look.step(w.copy())
    np.testing.assert_array_equal(w, before)
    with pytest.raises(ValueError, match="state"):
        look.load_state_dict({"slow": {}})
    grown = gn.SGD([{"params": [w]}])
    for kind in ("Lookahead", "SAM"):
        opt = around(kind, grown)
        grown.add_group({"params": [np.zeros(1)]})
        with pytest.raises(ValueError, match=f"parameters by now, {kind} was made for"):
            go(opt, [[w.copy()], *([np.ones(1)] for _ in grown.groups[1:])])


# Accumulation.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_accumulated_gradients_step_as_their_mean(dtype):
    """None adds nothing, and a parameter that never had one has none; Rows add to their rows."""
    ours, theirs = params(dtype), params(dtype)
    held = {"a": ours[0], "rest": ours[1:]}
    opt, plain, acc = gn.Adam(held), gn.Adam(theirs), gn.Accumulator(held)
    for _ in range(2):
        first, second = (g for g in gradients(2, dtype))
        acc.add({"a": first[0], "rest": [None, None]})
        acc.add({"a": gn.Rows([2], second[0][2:]), "rest": [second[1], None]})
        assert acc.count == 2
        second[0][:2] = 0.0
        assert acc.grads["rest"][1] is None
        plain.step([first[0] + second[0], second[1], None], grad_scale=2)
        opt.step(acc.grads, grad_scale=acc.count)
        acc.clear()
        assert acc.count == 0
        assert acc.grads == {"a": None, "rest": [None, None]}
        same(ours, theirs)


@pytest.mark.parametrize("way", [*COPIES, "checkpoint"])
def test_an_accumulator_goes_on_as_if_it_had_not_been_copied(way, tmp_path):
    """In groups, in the middle."""
    ours = params()
    groups = [{"params": ours[:2], "name": "first"}, {"params": {"c": ours[2]}}]
    acc = gn.Accumulator(groups)
    acc.add([ours[:2], {"c": ours[2]}])
    acc.clear()
    acc.add([[ours[0], None], {"c": ours[2]}])
    if way == "checkpoint":
        made = gn.Accumulator(groups)
        gn.save_checkpoint(tmp_path / "run", groups, also={"sum": acc})
        gn.load_checkpoint(tmp_path / "run", groups, also={"sum": made})
    else:
        made = COPIES[way](acc)
    for each in (acc, made):
        each.add([[ours[0], None], {"c": None}])
        assert each.count == 2
        (a, b), c = each.grads[0], each.grads[1]["c"]
        np.testing.assert_array_equal(a, 2.0 * ours[0])
        assert b is None
        np.testing.assert_array_equal(c, ours[2])


# Early stopping.


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_keeps_the_best(mode):
    """Counting as ReduceOnPlateau does, negative losses and nan too."""
    sign = 1.0 if mode == "min" else -1.0
    held = {"w": np.zeros(2), "b": [np.zeros(1)]}
    stopping = gn.EarlyStopping(2, held, threshold=0.1, mode=mode)
    answers = []
    for loss in (4.0, -1.0, -1.05, math.nan, -1.2, -1.2, 0.0, -1.3, -9.0):
        held["w"] += 1.0
        held["b"][0] -= 1.0
        answers.append(stopping.observe(sign * loss))
    assert answers == [False] * 7 + [True, False]
    assert (stopping.best, stopping.best_t, stopping.waited, stopping.t) == (sign * -9.0, 9, 0, 9)
    held["w"] += 1.0
    np.testing.assert_array_equal(stopping.arrays["w"], 9.0)
    stopping.restore()
    np.testing.assert_array_equal(held["w"], 9.0)
    np.testing.assert_array_equal(held["b"][0], -9.0)


@pytest.mark.parametrize("way", [*COPIES, "checkpoint"])
@pytest.mark.parametrize("kept", [True, False])
def test_early_stopping_goes_on_as_if_it_had_not_been_copied(way, kept, tmp_path):
    """With weights and without."""
    w = np.ones(3)
    stopping = gn.EarlyStopping(1, w if kept else None)
    stopping.observe(2.0)
    w *= 3.0
    stopping.observe(3.0)
    if way == "checkpoint":
        made = gn.EarlyStopping(1, w if kept else None)
        gn.save_checkpoint(tmp_path / "run", w, also={"stopping": stopping})
        gn.load_checkpoint(tmp_path / "run", w, also={"stopping": made})
    else:
        made = COPIES[way](stopping)
    assert (made.best, made.t, made.waited) == (2.0, 2, 1)
    assert made.observe(2.0)
    if kept:
        np.testing.assert_array_equal(made.arrays, 1.0)
    else:
        with pytest.raises(ValueError, match=r"restore needs params"):
            made.restore()


def test_early_stoppings_that_will_not_do():
    """Each in a sentence."""
    w = np.ones(2)
    for patience in (-1, True, 2.0):
        with pytest.raises(ValueError, match=f"patience is {patience!r}, expected an integer ≥ 0"):
            gn.EarlyStopping(patience)
    with pytest.raises(ValueError, match="mode is 'less', expected 'min' or 'max'"):
        gn.EarlyStopping(mode="less")
    with pytest.raises(ValueError, match=r"threshold is 1.0, expected a number in \[0, 1\)"):
        gn.EarlyStopping(threshold=1.0)
    with pytest.raises(TypeError, match="no argument 'min_delta'; did you mean 'threshold'"):
        gn.EarlyStopping(min_delta=0.1)
    stopping = gn.EarlyStopping(1, w)
    with pytest.raises(TypeError, match="loss is 'low', expected a number"):
        stopping.observe("low")
    with pytest.raises(ValueError, match="best"):
        stopping.load_state_dict(stopping.state_dict() | {"best": None})
    with pytest.raises(AttributeError, match="did you mean 'best'"):
        _ = stopping.bests
    with pytest.raises(AttributeError, match="patiense"):
        stopping.patiense = 3
    assert (stopping.t, repr(stopping)) == (0, "EarlyStopping(patience=1, best=inf, waited=0)")


def test_wrappers_of_torch_parameters():
    """Tensors that require grad; a graph of before is refused after each write."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)
    opt = gn.Lookahead(gn.SAM(gn.SGD(module.parameters(), lr=0.1)), every=1)
    stopping = gn.EarlyStopping(1, list(module.parameters()))
    acc = gn.Accumulator(list(module.parameters()))
    before = module.weight.detach().clone()
    for act in (opt.ascend, opt.step):
        module.zero_grad()
        module(torch.ones(4, 3)).square().sum().backward()
        version = module.weight._version
        acc.add([p.grad for p in module.parameters()])
        act(acc.grads)
        acc.clear()
        assert module.weight._version > version
    version = module.weight._version
    stopping.restore()
    assert module.weight._version > version
    assert torch.equal(module.weight, before)
