"""Muon: the naive formula by a singular value decomposition, PyTorch, state, and what it refuses."""

import copy
import pickle

import numpy as np
import pytest
from cases import OF_MATRICES
from test_errors import assert_refused

import gnumba as gn
from gnumba._optim import orthogonal

SHAPES = {"wide": (3, 7), "tall": (8, 2), "square": (4, 4), "alike": (3, 7), "row": (1, 5), "column": (5, 1)}


def matrices(dtype, rng):
    """Of several shapes, two of them alike."""
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


def train(optimizer, gradients):
    """A step each."""
    for g in gradients:
        optimizer.step(g)


def assert_same(one, other):
    """Require the bits of one in the other."""
    for name, expected in one.items():
        np.testing.assert_array_equal(np.asarray(other[name]), np.asarray(expected), err_msg=name)


def assert_same_state(one, other):
    """Require counts, and arrays to the bit."""
    mine, yours = one.state_dict(), other.state_dict()
    assert (mine["t"], mine["skipped"]) == (yours["t"], yours["skipped"])
    for name, state in mine["state"].items():
        assert state["updates"] == yours["state"][name]["updates"]
        np.testing.assert_array_equal(state["m"], yours["state"][name]["m"])


@pytest.mark.parametrize("case", OF_MATRICES, ids=str)
def test_the_naive_formula(case, dtype, target, rng):
    """Which has no products, but singular values; a parameter without a gradient now and then."""
    params = matrices(dtype, rng)
    start = copy.deepcopy(params)
    steps = [matrices(dtype, rng) | ({"tall": None, "alike": None} if k == 2 else {}) for k in range(6)]
    optimizer = case.make(params, **case.hyper)
    with gn.use_target(target):
        train(optimizer, steps)
    state = optimizer.state_dict()["state"]
    tolerance = 1e-11 if dtype == np.float64 else 2e-4  # a quintic of slope 3.4 a round: 500-fold in five
    for name, p in params.items():
        expected = case.expected(start[name], [g[name] for g in steps])
        np.testing.assert_allclose(p, expected["p"], rtol=tolerance, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(state[name]["m"], expected["m"], rtol=tolerance, atol=1e-6)
        assert set(state[name]) == {"updates", "m"}


@pytest.mark.parametrize("hyper", [{}, {"nesterov": False, "weight_decay": 0.0, "ns_steps": 3}], ids=str)
def test_torch_over_fifty_steps(hyper, dtype, rng, monkeypatch):
    """PyTorch's, with a schedule; its products in our dtype instead of bfloat16, which has three digits."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
    params = matrices(dtype, rng)
    theirs = {name: torch.tensor(p) for name, p in params.items()}
    other = torch.optim.Muon(theirs.values(), lr=0.0, **({"momentum": 0.95, "weight_decay": 0.1} | hyper))

    def rate(t):
        return 0.02 * 0.95**t

    optimizer = gn.Muon(params, lr=rate, **hyper)
    for t in range(50):
        gradients = matrices(dtype, rng) | ({"square": None} if t % 7 == 3 else {})
        optimizer.step(gradients)
        other.param_groups[0]["lr"] = rate(t)
        for name, p in theirs.items():
            p.grad = None if gradients[name] is None else torch.tensor(gradients[name])
        other.step()
    # Directions with small singular values, which a round makes 3.4 times as large, errors included.
    tolerance = 1e-12 if dtype == np.float64 else 1e-3
    for name, p in params.items():
        np.testing.assert_allclose(p, theirs[name].numpy(), rtol=tolerance, atol=tolerance, err_msg=name)


def test_torch_in_its_own_precision(rng):
    """As it is: bfloat16's eight bits in each of 15 products."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    p = rng.standard_normal((20, 12)).astype(np.float32)
    theirs = torch.tensor(p)
    theirs.grad = torch.tensor(rng.standard_normal(p.shape).astype(np.float32))
    gn.Muon(p, lr=1.0).step(theirs.grad.numpy())
    torch.optim.Muon([theirs], lr=1.0).step()
    np.testing.assert_allclose(p, theirs.numpy(), atol=0.05)


def test_tensors_are_stepped_by_their_own_library(dtype, rng, monkeypatch):
    """In place, whether they require grad or not, in inference mode too; autograd is told of the write."""
    torch = pytest.importorskip("torch")
    calls, matmul = [], torch.matmul
    monkeypatch.setattr(torch, "matmul", lambda *pair: calls.append(pair) or matmul(*pair))
    start, steps = matrices(dtype, rng), [matrices(dtype, rng) for _ in range(3)]
    params = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in start.items()}
    versions = [p._version for p in params.values()]
    optimizer, plain = gn.Muon(params), gn.Muon(start)
    tensors = [{name: torch.tensor(g) for name, g in each.items()} for each in steps]
    with torch.inference_mode():
        optimizer.step(tensors[0])
    train(optimizer, tensors[1:])
    assert calls
    train(plain, steps)
    tolerance = 1e-11 if dtype == np.float64 else 1e-4
    for name, p in params.items():
        np.testing.assert_allclose(p.detach().numpy(), start[name], rtol=tolerance, atol=tolerance)
    assert all(p._version > before for p, before in zip(params.values(), versions, strict=True))


def test_one_product_for_all_of_a_shape(rng, monkeypatch):
    """Three a round and shape."""
    shapes, matmul = [], np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b: shapes.append(a.shape) or matmul(a, b))
    params = [rng.standard_normal(shape) for shape in [(2, 3), (3, 2), (2, 3), (2, 3)]]
    gn.Muon(params, ns_steps=2).step([p.copy() for p in params])
    assert sorted(map(len, {id(s): s for s in shapes}.values())) == [3] * 12
    assert sorted(s[0] for s in shapes) == [1] * 6 + [3] * 6
    assert all(s[1] <= s[2] for s in shapes)  # the products of the shorter side


def test_no_product_without_a_gradient(rng, monkeypatch):
    """Of its shape, or alone."""
    sizes, matmul = [], np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b: sizes.append(len(a)) or matmul(a, b))
    params = [rng.standard_normal(shape) for shape in [(2, 3), (3, 2), (2, 3), (2, 3)]]
    gn.Muon(params, ns_steps=1).step([params[0].copy(), None, None, params[3].copy()])
    assert sizes == [2] * 3


def test_targets_agree_to_the_bit(dtype, rng):
    """Both rules do, and the products are no affair of a target."""
    params, gradients = matrices(dtype, rng), [matrices(dtype, rng) for _ in range(3)]
    other = copy.deepcopy(params)
    for target, each in (("cpu", params), ("parallel", other)):
        with gn.use_target(target):
            train(gn.Muon(each), gradients)
    assert_same(params, other)


@pytest.mark.parametrize(
    "way",
    [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), "state"],
    ids=["copy", "deepcopy", "pickle", "state"],
)
def test_it_goes_on_with_the_same_bits(way, dtype, rng):
    """In a copy, out of a pickle, or from its state, of m alone, with a gradient missed before."""
    params, steps = matrices(dtype, rng), [matrices(dtype, rng) for _ in range(6)]
    steps[1]["tall"] = None
    optimizer = gn.Muon(params, momentum=0.9)
    train(optimizer, steps[:3])
    if way == "state":
        also = copy.deepcopy(params)
        made = gn.Muon(also)
        made.load_state_dict(optimizer.state_dict())
    elif way is copy.copy:
        before = copy.deepcopy(params)
        made = copy.copy(optimizer)
        train(made, steps[3:])
        also = copy.deepcopy(params)
        for name, p in before.items():
            params[name][...] = p
        train(optimizer, steps[3:])
        assert_same(params, also)
        assert_same_state(optimizer, made)
        return
    else:
        made = way(optimizer)
        also = made.groups[0]["params"]
    train(optimizer, steps[3:])
    train(made, steps[3:])
    assert_same(params, also)
    assert_same_state(optimizer, made)


def test_a_checkpoint(tmp_path, rng):
    """Saved and loaded."""
    params, steps = matrices("float32", rng), [matrices("float32", rng) for _ in range(2)]
    optimizer = gn.Muon(params)
    train(optimizer, steps)
    gn.save_checkpoint(tmp_path / "a.npz", params, optimizer)
    there = matrices("float32", rng)
    made = gn.Muon(there)
    gn.load_checkpoint(tmp_path / "a.npz", there, made)
    train(made, steps)
    train(optimizer, steps)
    assert_same(params, there)


def test_groups_and_masks(rng):
    """Each with its own hyperparameters, ns_steps too; a group added, which has had no update."""
    a, b, c = (rng.standard_normal((3, 4)) for _ in range(3))
    alone = [x.copy() for x in (a, b, c)]
    g = rng.standard_normal((3, 4))
    groups = [{"params": [a], "lr": 0.5, "ns_steps": 2}, {"params": [b], "momentum": 0.5, "name": "bare"}]
    optimizer = gn.Muon(groups, decay_mask=lambda name, x: not name.startswith("bare"))
    optimizer.step([[g], [g]])
    optimizer.add_group({"params": [c], "ns_steps": 3})
    optimizer.step([[g], [-g], [g]])
    kinds = [{"lr": 0.5, "ns_steps": 2}, {"momentum": 0.5, "weight_decay": 0.0}, {"ns_steps": 3}]
    for x, hyper, signs in zip(alone, kinds, ([1, 1], [1, -1], [1]), strict=True):
        train(gn.Muon(x, **hyper), [sign * g for sign in signs])
    for x, expected in zip((a, b, c), alone, strict=True):
        np.testing.assert_allclose(x, expected, rtol=1e-13)


def test_ascent_and_scaled_gradients(rng):
    """The direction has no scale, and the other sign."""
    one, other, third = (np.zeros((3, 4)) for _ in range(3))
    g = rng.standard_normal((3, 4))
    gn.Muon(one).step(g)
    gn.Muon(other, maximize=True).step(8.0 * g, grad_scale=4.0)
    gn.Muon(third, max_norm=1e-3).step(g)
    np.testing.assert_allclose(other, -one, rtol=1e-12)
    np.testing.assert_allclose(third, one, rtol=1e-12)


@pytest.mark.parametrize("nonfinite", ["skip", "raise", "apply"])
def test_inf_in_a_gradient(nonfinite, rng):
    """Nothing changes, or the whole matrix is nan and the others are not."""
    params, gradients = matrices("float64", rng), matrices("float64", rng)
    optimizer = gn.Muon(params, nonfinite=nonfinite)
    optimizer.step(gradients)
    before, state = copy.deepcopy(params), copy.deepcopy(optimizer)
    bad = copy.deepcopy(gradients)
    bad["alike"][1, 2] = np.inf
    if nonfinite == "raise":
        with pytest.raises(FloatingPointError):
            optimizer.step(bad)
    else:
        optimizer.step(bad)
    if nonfinite == "apply":
        assert np.isnan(params["alike"]).all()
        assert all(np.isfinite(p).all() for name, p in params.items() if name != "alike")
        return
    assert_same(before, params)
    assert optimizer.skipped == (nonfinite == "skip")
    optimizer.step(gradients)
    state.step(gradients)
    assert_same(state.groups[0]["params"], params)


@pytest.mark.parametrize("at", range(1, 7))
def test_a_product_that_fails_changes_nothing(at, rng, monkeypatch):
    """Out of memory, or interrupted, in whichever; the step again is the step."""
    params, gradients = matrices("float64", rng), matrices("float64", rng)
    optimizer = gn.Muon(params, ns_steps=1)
    optimizer.step(gradients)
    before, twin, matmul, left = copy.deepcopy(params), copy.deepcopy(optimizer), np.matmul, [at]

    def failing(*pair):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return matmul(*pair)

    with monkeypatch.context() as patched:
        patched.setattr(np, "matmul", failing)
        with pytest.raises(KeyboardInterrupt):
            optimizer.step(gradients)
    assert_same(before, params)
    assert_same_state(twin, optimizer)
    optimizer.step(gradients)
    twin.step(gradients)
    assert_same(twin.groups[0]["params"], params)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "gaps": lambda x: np.repeat(x, 3, axis=1)[:, ::3],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "transposed": lambda x: x.T.copy().T,
}


@pytest.mark.parametrize("of_gradient", LAYOUTS)
@pytest.mark.parametrize("of_parameter", LAYOUTS)
def test_layouts(of_parameter, of_gradient, dtype, rng):
    """Any of both, with nothing written to the gaps."""
    plain, gradients = matrices(dtype, rng), [matrices(dtype, rng) for _ in range(2)]
    params = {name: LAYOUTS[of_parameter](p) for name, p in plain.items()}
    optimizer = gn.Muon(params)
    for each in gradients:
        optimizer.step({name: LAYOUTS[of_gradient](g) for name, g in each.items()})
    train(gn.Muon(plain), gradients)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for name, p in params.items():
        np.testing.assert_allclose(p, plain[name], rtol=tolerance, atol=tolerance)
    if of_parameter == "gaps":
        assert all(
            (p.base[:, 1::3] == p.base[:, 2::3]).all() and (p.base[:, 1::3] != p).any()
            for p in params.values()
        )


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-12, 1e30])
def test_scales_of_gradients(scale, rng):
    """Squares that float32 has not; below a norm of 1e-7 the step fades, and is 0 at 0."""
    one, other = np.zeros((2, 4, 6), np.float32)
    g = rng.standard_normal((4, 6)).astype(np.float32)
    gn.Muon(one).step(g)
    gn.Muon(other).step(np.float32(scale) * g)
    if scale > 1.0:
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
    else:
        assert np.isfinite(other).all()
        assert np.abs(other).max() <= min(1.0, 1e3 * scale / 1e-7) * 0.02
        assert scale == 0.0 or (other != 0.0).any()


def test_matrices_without_elements(rng):
    """Beside others they are passed over; all axes but two are refused, not these."""
    params = [np.zeros((0, 3)), np.zeros((3, 0)), np.ones((2, 2))]
    optimizer = gn.Muon(params)
    optimizer.step([p.copy() for p in params])
    assert optimizer.t == 1
    assert (params[2] != 1.0).all()


def test_a_schedule_and_setting(rng):
    """Of lr and of ns_steps; what is set acts in the next step."""
    p, other, g = np.zeros((3, 3)), np.zeros((3, 3)), rng.standard_normal((3, 3))
    optimizer = gn.Muon(p, lr=lambda t: 0.1 * (t + 1), ns_steps=lambda t: 1 + t)
    train(optimizer, [g, g])
    plain = gn.Muon(other, lr=0.1, ns_steps=1)
    plain.step(g)
    plain.lr, plain.ns_steps = 0.2, 2
    plain.step(g)
    np.testing.assert_array_equal(p, other)


def test_phases_and_wrappers(rng):
    """It is an optimizer as any: one after another, with slow weights."""
    params, steps = matrices("float64", rng), [matrices("float64", rng) for _ in range(4)]
    by_hand = copy.deepcopy(params)
    plan = gn.Phases(params, [gn.Phase(gn.Muon, steps=2), gn.Phase(gn.AdamW)])
    train(plan, steps)
    train(gn.Muon(by_hand), steps[:2])
    train(gn.AdamW(by_hand), steps[2:])
    assert_same(by_hand, params)
    slow = gn.Lookahead(gn.Muon(params), every=2)
    train(slow, steps)
    assert slow.t == 4


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 2)], ids=str)
def test_other_shapes(shape):
    """A sentence that names the parameter, and the optimizer to use; in a group that is added too."""
    params = {"w": np.zeros((2, 2)), "b": np.zeros(shape)}
    assert_refused(lambda: gn.Muon(params), ValueError, "parameter b", shape, "AdamW")
    optimizer = gn.Muon([{"params": {"w": np.zeros((2, 2))}}])
    added = {"params": {"b": np.zeros(shape)}, "name": "more"}
    assert_refused(lambda: optimizer.add_group(added), ValueError, "parameter more/b", shape, "AdamW")
    assert len(optimizer.groups) == 1


def test_rows():
    """A direction is of the whole matrix."""
    p = np.ones((3, 2))
    optimizer, rows = gn.Muon({"table": p}), gn.Rows([1], np.ones((1, 2)))
    assert_refused(lambda: optimizer.step({"table": rows}), TypeError, "gradient of table", "directions")
    assert (p == 1.0).all()
    assert optimizer.t == 0


@pytest.mark.parametrize("steps", [0, -1, 2.5, np.inf, np.nan])
def test_counts_of_rounds(steps):
    """Whole ones from 1, at the start and later."""
    assert_refused(
        lambda: gn.Muon(np.zeros((2, 2)), ns_steps=steps), ValueError, "ns_steps", "a whole number ≥ 1"
    )
    optimizer = gn.Muon(np.zeros((2, 2)))
    assert_refused(lambda: setattr(optimizer, "ns_steps", steps), ValueError, "ns_steps", "whole")
    assert optimizer.ns_steps == 5


def test_defaults_and_flags():
    """As documented."""
    group = gn.Muon(np.zeros((2, 2))).groups[0]
    expected = {"lr": 0.02, "momentum": 0.95, "ns_steps": 5, "weight_decay": 0.1}
    assert {name: group[name] for name in group if name not in ("params", "name")} == expected
    assert gn.Muon(np.zeros((2, 2))).nesterov
    assert_refused(lambda: gn.Muon(np.zeros((2, 2)), nesterov=1), TypeError, "nesterov")


def test_its_rule_is_of_no_other_optimizer():
    """Nobody else finds the direction."""
    assert gn.Muon(np.zeros((2, 2))).rule is gn.rules.muon is gn.registry["muon"]
    assert gn.rules.muon(1.0, 2.0, 4.0, 8.0, 0.5, 0.25, 0.5, 0.5) == (-3.25, 3.0)
    assert gn.rules.muon.state == ("m",)
    assert_refused(
        lambda: gn.optimizer(gn.rules.muon, np.zeros((2, 2)), lr=1.0), TypeError, "rule muon", "whose o"
    )


def test_precompiling_makes_both_passes(dtype):
    """A step compiles nothing after it."""
    names = {make.args[0].name for make in gn._info.kernels(gn.rules.muon, dtype) if hasattr(make, "args")}
    assert names == {"muon", "ahead"}


def test_singular_values_are_near_one(rng):
    """Those of a matrix whose own are in a ratio of 100."""
    u, _, vt = np.linalg.svd(rng.standard_normal((6, 9)), full_matrices=False)
    x = (u * np.geomspace(1.0, 0.01, 6)) @ vt
    made = orthogonal.newton_schulz(x[None], 5, np)[0]
    values = np.linalg.svd(made, compute_uv=False)
    assert (values > 0.4).all()
    assert (values < 1.3).all()
