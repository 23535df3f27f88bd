"""Rules with norms of whole parameters: a reading pass that sums, then the rule's own."""

import copy
import pickle

import layouts
import numpy as np
import pytest
from judge import assert_close, assert_same_bits
from models import assert_equal_models, copies, gradients_of, model

import gnumba as gn


def direction(weight_decay, p, m, g, beta):
    """Takes its arguments by name, in an order of its own."""
    return beta * m + (1.0 - beta) * g + weight_decay * p


@gn.rule(normed={"p_norm": lambda p: p, "u_norm": direction})
def trust(p, g, m, /, lr, p_norm, beta, weight_decay, u_norm):
    """A step of a share of the parameter's norm."""
    u = beta * m + (1.0 - beta) * g + weight_decay * p
    return p - lr * p_norm / u_norm * u, beta * m + (1.0 - beta) * g


@gn.rule(normed={"norm": lambda g: g})
def seen(p, g, n, /, norm):
    """No update, but the norm of the gradient as the rule was given it."""
    return p, norm


HYPER = {"lr": 0.1, "beta": 0.75, "weight_decay": 0.25}


def naive(p, gradients, lr, beta, weight_decay):
    """`trust` in NumPy, float64."""
    p, m = p.astype(np.float64), np.zeros(p.shape)
    for g in gradients:
        if g is not None:
            m = beta * m + (1 - beta) * g
            u = m + weight_decay * p
            p = p - lr * np.linalg.norm(p.ravel()) / np.linalg.norm(u.ravel()) * u if u.size else p
    return p, m


def test_like_the_formula(dtype, target, rng):
    """Many sizes, None in turns, steps that become fast."""
    shapes = {"w": (50, 401), "b": (3,), "scale": (), "none": (0, 2), "block": (4096,), "more": (4097, 2)}
    params = {name: np.asarray(rng.standard_normal(s), dtype) for name, s in shapes.items()}
    gradients = gradients_of(rng, params, 5)
    gradients[1]["w"] = gradients[2]["b"] = None
    expected = {k: naive(p, [g[k] for g in gradients], **HYPER) for k, p in params.items()}
    optimizer = gn.optimizer(trust, params, **HYPER)
    with gn.use_target(target):
        for g in gradients:
            optimizer.step(g)
        assert optimizer._fast is None  # parameters have had different numbers of updates
    for name, (p, m) in expected.items():
        assert_close(params[name], p, dtype, scale=4.0, what=name)
        assert_close(optimizer.state_dict()["state"][name]["m"], m, dtype, scale=4.0, what=name)


@pytest.mark.parametrize("size", [0, 1, 17, 4095, 4096, 100_001])
def test_norms_are_global_norms(size, dtype, target, rng):
    """Bit for bit, for any number of threads, beside other rows."""
    g = rng.standard_normal(size).astype(dtype)
    others = [np.ones(3, dtype), np.ones(9000, dtype)]
    optimizer = gn.optimizer(seen, [others[0], np.zeros(size, dtype), others[1]])
    with gn.use_target(target):
        optimizer.step([others[0], g, others[1]])
    found = optimizer.state_dict()["state"]["1"]["n"]
    assert (found == np.asarray(gn.global_norm(g), dtype)).all()


@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE)
@pytest.mark.parametrize("which", ["parameter", "gradient", "both"])
def test_any_layout(which, layout, rng):
    """Rows with gaps, and other rows beside them, on one core and on all."""
    for target in ("cpu", "parallel"):
        p, g = rng.standard_normal((2, 72, 90)).astype(np.float32)
        expected, _ = naive(p, [g, g], **HYPER)
        shape = layout(p).shape
        mine = p.reshape(shape) if which == "gradient" else layout(p)
        given = g.reshape(shape) if which == "parameter" else layout(g)
        optimizer = gn.optimizer(trust, [mine, np.ones(5, np.float32)], **HYPER)
        with gn.use_target(target):
            for _ in range(2):
                optimizer.step([given, np.ones(5, np.float32)])
        assert_close(mine.reshape(p.shape), expected, "float32", scale=4.0)


@pytest.mark.parametrize("gap", [1, 2])
@pytest.mark.parametrize("value", [1e200, 1e-200, 1e308, 5e-324, 0.0, np.inf, np.nan])
def test_large_and_small_numbers(value, gap):
    """As `global_norm` treats them, though their squares leave float64; dense and with gaps."""
    g = np.full(5000 * gap, value)[::gap]
    optimizer = gn.optimizer(seen, np.zeros(5000))
    optimizer.step(g)
    found = optimizer.state_dict()["state"]["0"]["n"]
    np.testing.assert_allclose(found, gn.global_norm(g), rtol=1e-15)


def test_what_comes_before_the_rule(rng):
    """Norms are of the gradient that the rule sees: unscaled, clipped, turned."""
    g = rng.standard_normal(100)
    optimizer = gn.optimizer(seen, np.zeros(100), max_norm=0.5, maximize=True)
    for _ in range(3):
        optimizer.step(g * 8.0, grad_scale=8.0)
        np.testing.assert_allclose(optimizer.state_dict()["state"]["0"]["n"], 0.5, rtol=1e-14)
    p, q = np.ones((2, 100))
    gn.optimizer(trust, p, maximize=True, **HYPER).step(g * 4.0, grad_scale=4.0)
    gn.optimizer(trust, q, **HYPER).step(-g)
    assert_same_bits(p, q)


def test_groups_and_decay_mask(rng):
    """Each parameter has its own norms and its group's scalars."""
    p, q = rng.standard_normal((2, 9))
    gradients = rng.standard_normal((2, 9))
    expected = [naive(p, [gradients[0]], 0.1, 0.5, 0.0)[0], naive(q, [gradients[1]], 0.2, 0.5, 0.25)[0]]
    optimizer = gn.optimizer(
        trust, [{"params": p}, {"params": q, "lr": 0.2}],
        lr=0.1, beta=0.5, weight_decay=0.25, decay_mask=lambda name, array: array is q,
    )  # fmt: skip
    optimizer.step(list(gradients))
    for found, each in zip((p, q), expected, strict=True):
        assert_close(found, each, "float64", scale=4.0)


def test_fast_steps_have_the_same_bits(rng):
    """And norms of their own: nothing is kept from the step before."""
    params = model(rng, "float32")
    others, gradients = copies(params), gradients_of(rng, params, 4)
    fast, slow = (gn.optimizer(trust, each, **HYPER) for each in (params, others))
    for g in gradients:
        fast.step(g)
        slow._fast = None
        slow.step(g)
        assert fast._fast
    assert_equal_models(params, others)


def test_copies_and_states(rng):
    """Rule, tables and scalars are found anew."""
    params = model(rng)
    gradients = gradients_of(rng, params, 3)
    optimizer = gn.optimizer(trust, params, **HYPER)
    optimizer.step(gradients[0])
    twins = copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))
    for each in (optimizer, *twins):
        for g in gradients[1:]:
            each.step(g)
    for twin in twins:
        assert_equal_models(twin.groups[0]["params"], params)


def test_as_plain_python_and_as_ufuncs():
    """Norms are numbers there, like other scalars."""
    assert trust(1.0, 2.0, 0.0, 0.1, 3.0, 0.5, 0.0, 4.0) == (1.0 - 0.1 * 3.0 / 4.0 * 1.0, 1.0)
    assert trust.ufuncs("cpu").p(1.0, 2.0, 0.0, 0.1, 3.0, 0.5, 0.0, 4.0) == 0.925
    assert (trust.scalars, trust.given) == (
        ("lr", "p_norm", "beta", "weight_decay", "u_norm"),
        ("lr", "beta", "weight_decay"),
    )


def test_a_function_that_is_redefined():
    """A new optimizer takes the new one, as it does the rule's own helpers; the old one keeps its own."""
    scope = {"strength": 1.0}
    exec("def size(g):\n    return strength * g", scope)

    @gn.rule(normed={"norm": scope["size"]})
    def sized(p, g, n, /, norm):
        return p, norm

    def norms_of(optimizer):
        optimizer.step(np.ones(4))
        return optimizer.state_dict()["state"]["0"]["n"].tolist()

    old = gn.optimizer(sized, np.zeros(4))
    assert norms_of(old) == [2.0] * 4
    scope["strength"] = 3.0
    assert norms_of(old) == [2.0] * 4
    assert norms_of(gn.optimizer(sized, np.zeros(4))) == [6.0] * 4


def test_inspect_and_precompile(rng):
    """A step compiles nothing after it, and what is shown is the sweep."""
    shown = gn.inspect(trust, "cpu")
    assert "sweep" in shown["llvm"]
    gn.precompile(gn.optimizer(trust, np.ones(3), **HYPER))
    gn.precompile(trust, "float64", "parallel")


def test_rows_are_refused():
    """In a sentence, and nothing has changed."""
    p = np.ones((4, 2))
    optimizer = gn.optimizer(trust, p, **HYPER)
    with pytest.raises(TypeError, match=r"gradient of 0 is Rows\(.*has norms of whole parameters"):
        optimizer.step(gn.Rows([1], np.ones((1, 2))))
    assert (p == 1.0).all()
    optimizer.step(np.ones((4, 2)))
    assert optimizer.t == 1


@pytest.mark.parametrize(
    ("normed", "error", "words"),
    [
        ({"lrr": lambda p: p}, ValueError, r"normed names \['lrr'\]"),
        ({"norm": lambda q: q}, ValueError, r"normed\['norm'\] takes \['q'\]"),
        ({"norm": lambda norm: norm}, ValueError, "takes"),
        ({"norm": lambda: 1.0}, ValueError, "takes"),
        ({"norm": "p"}, TypeError, "expected a function written in Python"),
    ],
)
def test_what_a_rule_refuses(normed, error, words):
    """When it is made."""
    with pytest.raises(error, match=words):

        @gn.rule(normed=normed)
        def refused(p, g, /, lr, norm):
            return p - lr * g / norm


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (lambda p, g: (p, g), "'norm' in normed of rule 'of_one' returns 2 values"),
        (lambda g: g.real_part, "'norm' in normed of rule 'of_one' cannot be compiled.*real_part"),
        (lambda g: g * 2 + np.float64(1) / 3, "'norm' in normed of rule 'of_one' would compute in float64"),
    ],
)
def test_what_a_kernel_refuses(of, words):
    """In one sentence, with this file's line, and nothing has changed."""

    @gn.rule(normed={"norm": of})
    def of_one(p, g, /, lr, norm):
        return p - lr * g / norm

    p = np.ones(3, np.float32)
    optimizer = gn.optimizer(of_one, p, lr=0.1)
    with pytest.raises(TypeError, match=words) as caught:
        optimizer.step(np.ones(3, np.float32))
    assert "test_normed.py" in str(caught.value)
    assert (p == 1.0).all()


def test_a_hyperparameter_for_a_norm_is_refused():
    """Norms are found by the step."""
    with pytest.raises(TypeError, match="hyperparameters are"):
        gn.optimizer(trust, np.ones(2), p_norm=1.0, **HYPER)
