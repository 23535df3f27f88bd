"""Gradients of some rows: only those rows, and their state, are read and written."""

import layouts
import numpy as np
import pytest
from cases import OPTIMIZERS, by_element, on_each_target, one_a_class, one_a_kernel_shape
from judge import assert_close, assert_same_bits

import gnumba as gn


def rows_of(rng, count, size, shape, dtype):
    """Random rows, some twice and some from the end, and their values."""
    indices = rng.integers(-count, count, size)
    return gn.Rows(indices, rng.standard_normal((size, *shape)).astype(dtype))


def expected(case, p, gradients):
    """Every row by the formula: updated where it is named, by the sum of what is named."""
    made = [case.expected(row, []) for row in p]
    for k in range(len(p)):
        mine = []
        for rows in gradients:
            named = np.asarray(rows.indices) % len(p) == k
            mine.append(np.asarray(rows.values, np.float64)[named].sum(axis=0) if named.any() else None)
        made[k] = by_the_parameters_clock(case, p[k], mine)
    return {name: np.stack([each[name] for each in made]) for name in made[0]}


def by_the_parameters_clock(case, row, gradients):
    """The formula with t counting the parameter's updates, this row's and others'."""
    p, state = np.array(row, np.float64), {}
    arrays = {name: np.zeros_like(p) for name in case.state}
    for t, g in enumerate(gradients, start=1):
        if g is not None:
            p, state = case.formula(p, g, state, t, **case.hyper)
            arrays = {name: state[name] for name in case.state}
    return {"p": p} | arrays


@on_each_target(by_element(OPTIMIZERS))
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)], ids=str)
def test_rows_follow_the_formula(case, shape, dtype, target, rng):
    """Parameter and state, over several steps."""
    p = rng.standard_normal((40, *shape)).astype(dtype)
    start = p.copy()
    gradients = [rows_of(rng, 40, 25, shape, dtype) for _ in range(4)]
    opt = case.make({"w": p}, **case.hyper)
    with gn.use_target(target):
        for rows in gradients:
            opt.step({"w": rows})
    wanted = expected(case, start, gradients)
    state = opt.state_dict()["state"]["w"]
    assert (opt.t, state["updates"]) == (4, 4)
    assert_close(p, wanted["p"], dtype, scale=np.abs(wanted["p"]).max())
    for name in case.state:
        assert_close(state[name], wanted[name], dtype, scale=np.abs(wanted[name]).max(), what=name)


@on_each_target(one_a_kernel_shape())
@pytest.mark.parametrize("lay_out", layouts.WRITABLE.values(), ids=layouts.WRITABLE.keys())
def test_rows_of_any_layout(case, lay_out, dtype, target, rng):
    """Bits equal those of steps of a dense array."""
    p = lay_out(rng.standard_normal((33, 7)).astype(dtype))
    dense = np.ascontiguousarray(p)
    first, second = case.make([p], **case.hyper), case.make([dense], **case.hyper)
    with gn.use_target(target):
        for _ in range(3):
            g = rng.standard_normal((9, *p.shape[1:])).astype(dtype)
            rows = gn.Rows(rng.permutation(len(p))[:9], g)
            first.step([rows])
            second.step([rows])
    assert_same_bits(p, dense)


@on_each_target(by_element(one_a_class()))
def test_all_rows_are_the_dense_step(case, dtype, target, rng):
    """Bit for bit, whatever their order; a dense step may follow."""
    p = rng.standard_normal((50, 6)).astype(dtype)
    q = p.copy()
    first, second = case.make([p], **case.hyper), case.make([q], **case.hyper)
    with gn.use_target(target):
        for k in range(4):
            g, order = rng.standard_normal((50, 6)).astype(dtype), rng.permutation(50)
            first.step([gn.Rows(order - 50 * (order % 2), g[order]) if k != 2 else g])
            second.step([g])
    assert_same_bits(p, q)


def test_other_rows_are_not_touched(rng):
    """Not even where an update would change nothing but a nan's bits or a zero's sign."""
    p = np.full((6, 3), np.nan, np.float32)
    p[::2] = -0.0
    before = p.copy()
    opt = gn.AdamW(p, lr=0.1, weight_decay=0.5)
    opt.step(gn.Rows([2], np.ones((1, 3), np.float32)))
    touched = np.arange(6) == 2
    assert p[~touched].tobytes() == before[~touched].tobytes()
    assert (p[2] != 0).all()


def test_repeated_rows_are_summed_first():
    """In float64: 1e8 + 1 − 1e8 is 1; and Adam's square is that of the sum."""
    p = np.zeros((2, 1), np.float32)
    opt = gn.Adam(p, lr=1.0, eps_root=0.0)
    opt.step(gn.Rows([1, 1, 1], np.array([[1e8], [1.0], [-1e8]], np.float32)))
    state = opt.state_dict()["state"]["0"]
    assert_close(state["m"], [[0.0], [0.1]], np.float32)
    assert_close(state["v"], [[0.0], [0.001]], np.float32)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("count", [2, 3, 5, 9, 100])
def test_repeated_rows_are_summed_in_the_order_given(kind, count, rng):
    """((a + b) + c) + …, in float64; where sums differ by their order."""
    values = (rng.standard_normal((count, 3)) * 10.0 ** rng.integers(-17, 1, (count, 1))).astype(kind)
    expected = values[0].astype(np.float64)
    for value in values[1:]:
        expected = expected + value
    p = np.zeros((2, 3), kind)
    gn.SGD(p, lr=1.0).step(gn.Rows([1] * count, values))
    assert_same_bits(-p[1], expected.astype(kind))
    p = np.zeros((1, 1))
    gn.SGD(p, lr=1.0).step(gn.Rows([0, 0, 0], np.array([[1.0], [2.0**-53], [2.0**-53]])))
    assert p[0, 0] == -1.0


def test_a_mask_names_the_rows_where_it_is_true(rng):
    """As a list, an array, a tensor."""
    g, mask = rng.standard_normal((3, 2)), [False, True, True, False, True]
    expected = np.zeros((5, 2))
    expected[mask] = -g
    torch = pytest.importorskip("torch")
    for indices in (mask, np.array(mask), torch.tensor(mask)):
        p = np.zeros((5, 2))
        gn.SGD(p, lr=1.0).step(gn.Rows(indices, g))
        assert_same_bits(p, expected)
    gn.SGD(p, lr=1.0).step(gn.Rows([False] * 5, np.zeros((0, 2))))
    assert_same_bits(p, expected)


# Norms of rows, and clipping.


def dense(rows, like):
    """Dense array equal to the rows: values at repeated indices are added."""
    made = np.zeros_like(like)
    np.add.at(made, np.asarray(rows.indices), rows.values)
    return made


@pytest.mark.parametrize("start", [0, -40], ids=["from the start", "from the end"])
@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("lay_out", [np.ascontiguousarray, layouts.gaps], ids=["dense", "gaps"])
def test_rows_are_clipped_as_what_they_stand_for(start, repeated, lay_out, dtype, rng):
    """By the norm of all, by their own, by value; a step of the clipped rows is that of the clipped array."""
    like = np.zeros((40, 6), dtype)
    indices = (rng.integers(0, 40, 60) if repeated else rng.permutation(40)[:20]) + start
    values = rng.standard_normal((len(indices), 6)).astype(dtype)
    other = rng.standard_normal(5).astype(dtype)
    whole = dense(gn.Rows(indices, values), like)
    norm = np.sqrt((whole.astype(float) ** 2).sum() + (other.astype(float) ** 2).sum())
    close = {"rtol": 20 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}

    def each():
        return {"table": gn.Rows(indices, lay_out(values.copy())), "b": [other.copy(), None]}

    grads = each()
    assert gn.global_norm(grads) == pytest.approx(norm, rel=1e-6)
    assert_same_bits(grads["table"].values, values)
    assert gn.clip_by_global_norm(grads, 2 * norm) == pytest.approx(norm, rel=1e-6)
    assert_same_bits(grads["table"].values, values)
    assert gn.clip_by_global_norm(grads, 0.5) == pytest.approx(norm, rel=1e-6)
    np.testing.assert_allclose(dense(grads["table"], like), whole * (0.5 / norm), **close)
    np.testing.assert_allclose(grads["b"][0], other * (0.5 / norm), **close)
    grads = each()
    gn.clip_by_norm(grads, 0.25)
    own = np.sqrt((whole.astype(float) ** 2).sum())
    np.testing.assert_allclose(dense(grads["table"], like), whole * (0.25 / own), **close)
    grads, p = each(), like.copy()
    gn.clip_by_value(grads, 0.75)
    np.testing.assert_allclose(dense(grads["table"], like), whole.clip(-0.75, 0.75), **close)
    gn.SGD(p, lr=1.0).step(grads["table"])
    assert abs(p).max() == 0.75
    assert repeated or (abs(grads["table"].values) > 0).all()


@pytest.mark.parametrize("clip", [gn.clip_by_global_norm, gn.clip_by_norm, gn.clip_by_value])
def test_rows_from_both_ends_have_no_norm_without_their_parameter(clip):
    """-1 may be 3. Nothing has changed."""
    values, first = np.ones((3, 2)), np.ones(2)
    for grads in ([first, gn.Rows([3, 0, -1], values)], gn.Rows([3, 0, -1], values)):
        with pytest.raises(ValueError, match=r"grads.* from the end of its parameter"):
            clip(grads, 0.5)
    with pytest.raises(ValueError, match="from the end of its parameter"):
        gn.global_norm(gn.Rows([0, -1], np.ones((2, 2))))
    assert (values == 1).all()
    assert (first == 1).all()


def test_no_rows_is_an_update_of_none(rng):
    """It counts, as a gradient of zero rows."""
    p = rng.standard_normal((4, 2))
    before = p.copy()
    opt = gn.Adam(p, max_norm=1.0)
    opt.step(gn.Rows([], np.zeros((0, 2))))
    assert_same_bits(p, before)
    assert (opt.t, opt.state_dict()["state"]["0"]["updates"], opt.grad_norm) == (1, 1, 0.0)


def test_rows_beside_dense_and_missing(rng):
    """Each parameter by its own."""
    params = {"table": np.zeros((5, 2)), "w": np.zeros((3, 3)), "b": np.zeros(3)}
    opt = gn.SGD(params, lr=1.0)
    opt.step({"table": gn.Rows(np.array([4], np.uint8), np.ones((1, 2))), "w": np.ones((3, 3)), "b": None})
    assert params["table"].sum(axis=1).tolist() == [0, 0, 0, 0, -2]
    assert (params["w"] == -1).all()
    assert (params["b"] == 0).all()


def test_rows_are_clipped_scaled_and_skipped():
    """The norm is of the sums."""
    p = np.zeros((3, 1))
    opt = gn.SGD(p, lr=1.0, max_norm=1.0, nonfinite="skip")
    opt.step(gn.Rows([0, 0, 2], np.array([[4.0], [2.0], [8.0]])), grad_scale=2.0)
    assert opt.grad_norm == 5.0
    np.testing.assert_allclose(p[:, 0], [-0.6, 0.0, -0.8], rtol=1e-15)
    before = p.copy()
    opt.step(gn.Rows([0, 2], np.array([[1.0], [np.nan]])))
    assert_same_bits(p, before)
    assert (opt.skipped, opt.t) == (1, 1)


def test_torch_rows(rng):
    """Tensors of indices and values; against torch.optim.SparseAdam, which is as lazy."""
    torch = pytest.importorskip("torch")
    start = torch.from_numpy(rng.standard_normal((10, 4)))
    ours, theirs = start.clone(), start.clone().requires_grad_()
    opt = gn.Adam(ours, lr=0.1, eps_root=0.0)
    other = torch.optim.SparseAdam([theirs], lr=0.1, eps=1e-30)  # corrected otherwise than Adam's
    for _ in range(5):
        indices, values = (
            torch.from_numpy(rng.integers(0, 10, 6)),
            torch.from_numpy(rng.standard_normal((6, 4))),
        )
        opt.step(gn.Rows(indices, values))
        theirs.grad = torch.sparse_coo_tensor(indices[None], values, (10, 4), check_invariants=True)
        other.step()
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-9, atol=1e-12)


P = np.zeros((4, 3))
WRONG = {
    "a row too far": ([4], np.zeros((1, 3)), IndexError, "row 4, expected rows of its 4"),
    "a row too far back": ([0, -5], np.zeros((2, 3)), IndexError, "row -5"),
    "another dtype": ([0], np.zeros((1, 3), np.float32), TypeError, "float32"),
    "another row": ([0], np.zeros((1, 2)), ValueError, "(2,)"),
    "a mask of fewer rows": ([True, False], np.zeros((1, 3)), ValueError, "a mask of 2 rows"),
    "a mask of more rows": (np.arange(5) == 1, np.zeros((1, 3)), ValueError, "one of its parameter's 4"),
    "another number of axes": ([0], np.zeros(1), ValueError, "()"),
}


@pytest.mark.parametrize(("indices", "values", "kind", "word"), WRONG.values(), ids=WRONG.keys())
def test_rows_that_do_not_fit(indices, values, kind, word):
    """Found in the second parameter, before the first has changed."""
    params = {"first": np.zeros((4, 3)), "second": np.zeros((4, 3))}
    opt = gn.SGD(params)
    with pytest.raises(kind) as caught:
        opt.step({"first": gn.Rows([0], np.ones((1, 3))), "second": gn.Rows(indices, values)})
    assert word in str(caught.value)
    assert "second" in str(caught.value)
    assert opt.t == 0
    assert not params["first"].any()


def test_rows_of_a_number():
    """A parameter without axes has no rows."""
    with pytest.raises(ValueError, match="of shape \\(\\)"):
        gn.SGD(np.zeros(())).step(gn.Rows([0], np.zeros(1)))


@pytest.mark.parametrize(
    ("indices", "values", "kind", "word"),
    [
        ([0.0], np.zeros((1, 3)), TypeError, "float64, expected integers"),
        ([True, False], np.zeros((2, 3)), ValueError, "one entry an index, 1"),
        ([[True]], np.zeros((1, 3)), ValueError, "(1, 1)"),
        ([[0]], np.zeros((1, 3)), ValueError, "(1, 1)"),
        ([0, 1], np.zeros((1, 3)), ValueError, "2"),
        ([0], [[1.0, 2.0, 3.0]], TypeError, "list"),
        ([0], np.zeros((1, 3), int), TypeError, "int64"),
    ],
)
def test_what_is_no_rows(indices, values, kind, word):
    """Found when made."""
    with pytest.raises(kind) as caught:
        gn.Rows(indices, values)
    assert word in str(caught.value)
