"""Outside oracles: optax and PyTorch, each where its formula is the same."""

import numpy as np
import pytest
from cases import ACTIVATIONS
from judge import assert_close

import gnumba as gn

STEPS = 10
L2 = {"weight_decay": 0.05}
OUTSIDE = {"eps": 1e-6, "eps_root": 0.0}


@pytest.fixture
def data(dtype, rng):
    """Parameters, and a gradient a step: small ones too, where ε matters."""
    sizes = 10.0 ** rng.uniform(-5, 1, (STEPS, 12, 5))
    return rng.standard_normal((12, 5)).astype(dtype), (rng.standard_normal(sizes.shape) * sizes).astype(
        dtype
    )


def assert_agree(p, other, start):
    """After ten steps, to the rounding of both."""
    assert_close(p, other, p.dtype, scale=4 * max(np.abs(start).max(), np.abs(p).max()))


# optax.


def optax_cases():
    """gnumba's class and arguments, and the optax transformation that is the same (given optax)."""
    rate, adaptive = {"lr": 0.1}, {"lr": 0.01}
    rolling = rate | {"momentum": 0.9}
    return [
        ("sgd", gn.SGD, rate, lambda o: o.sgd(0.1)),
        ("sgd l2", gn.SGD, rate | L2, lambda o: o.chain(o.add_decayed_weights(0.05), o.sgd(0.1))),
        ("sgd momentum", gn.SGD, rolling, lambda o: o.sgd(0.1, momentum=0.9)),
        (
            "sgd nesterov",
            gn.SGD,
            rolling | {"nesterov": True},
            lambda o: o.sgd(0.1, momentum=0.9, nesterov=True),
        ),
        (
            "sgd momentum decoupled",
            gn.SGD,
            rolling | L2 | {"decoupled": True},
            lambda o: o.chain(o.trace(0.9), o.add_decayed_weights(0.05), o.scale_by_learning_rate(0.1)),
        ),
        (
            "sgd damped",
            gn.SGD,
            rolling | {"dampening": 0.9},
            lambda o: o.chain(o.ema(0.9, debias=False), o.sgd(0.1)),
        ),
        ("momentum", gn.Momentum, rate, lambda o: o.chain(o.ema(0.9, debias=False), o.sgd(0.1))),
        ("adagrad", gn.AdaGrad, rate, lambda o: o.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-8)),
        ("rmsprop", gn.RMSProp, adaptive, lambda o: o.rmsprop(0.01, decay=0.9, eps=1e-8)),
        (
            "rmsprop outside",
            gn.RMSProp,
            adaptive | OUTSIDE,
            lambda o: o.rmsprop(0.01, 0.9, 1e-6, eps_in_sqrt=False),
        ),
        ("adam", gn.Adam, adaptive, lambda o: o.adam(0.01, eps=0.0, eps_root=1e-8)),
        ("adam outside", gn.Adam, adaptive | OUTSIDE, lambda o: o.adam(0.01, eps=1e-6)),
        (
            "adam both",
            gn.Adam,
            adaptive | {"eps": 1e-4, "eps_root": 1e-6, "betas": (0.8, 0.95)},
            lambda o: o.adam(0.01, b1=0.8, b2=0.95, eps=1e-4, eps_root=1e-6),
        ),
        (
            "adam l2",
            gn.Adam,
            adaptive | L2,
            lambda o: o.chain(o.add_decayed_weights(0.05), o.adam(0.01, eps=0.0, eps_root=1e-8)),
        ),
        (
            "adamw",
            gn.AdamW,
            adaptive | L2,
            lambda o: o.adamw(0.01, eps=0.0, eps_root=1e-8, weight_decay=0.05),
        ),
        ("adamw default", gn.AdamW, {}, lambda o: o.adamw(0.001, eps=0.0, eps_root=1e-8)),
    ]


@pytest.fixture(scope="module")
def optax():
    """optax, computing in float64 where that is what it is given."""
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return optax


@pytest.mark.parametrize(
    ("make", "hyper", "same"), [pytest.param(*row, id=name) for name, *row in optax_cases()]
)
def test_optax(make, hyper, same, data, optax):
    """Ten steps."""
    start, gradients = data
    p, theirs = start.copy(), start
    optimizer, transform = make(p, **hyper), same(optax)
    state = transform.init(theirs)
    for g in gradients:
        optimizer.step(g)
        updates, state = transform.update(g, state, theirs)
        theirs = np.asarray(optax.apply_updates(theirs, updates))
    assert_agree(p, theirs, start)


def test_optax_schedule(optax, rng):
    """Called with the same count, from 0."""
    start, gradients = np.ones(12, np.float32), rng.standard_normal((STEPS, 12)).astype(np.float32)
    p, theirs = start.copy(), start
    optimizer = gn.Momentum(p, lr=lambda t: 0.1 * 0.5**t)
    transform = optax.chain(optax.ema(0.9, debias=False), optax.sgd(optax.exponential_decay(0.1, 1, 0.5)))
    state = transform.init(theirs)
    for g in gradients:
        optimizer.step(g)
        updates, state = transform.update(g, state, theirs)
        theirs = np.asarray(optax.apply_updates(theirs, updates))
    assert_agree(p, theirs, start)


# PyTorch.


def torch_cases():
    """gnumba's class and arguments, and the PyTorch optimizer that is the same (given torch.optim)."""
    rate, adaptive = {"lr": 0.1}, {"lr": 0.01}
    rolling = rate | {"momentum": 0.9}
    return [
        ("sgd", gn.SGD, rate, "SGD", rate),
        ("sgd l2", gn.SGD, rate | L2, "SGD", rate | L2),
        ("sgd momentum l2", gn.SGD, rolling | L2, "SGD", rolling | L2),
        ("sgd nesterov", gn.SGD, rolling | {"nesterov": True}, "SGD", rolling | {"nesterov": True}),
        ("momentum", gn.Momentum, rate, "SGD", {"lr": 0.1 * (1 - 0.9), "momentum": 0.9}),
        ("adagrad", gn.AdaGrad, rate | OUTSIDE, "Adagrad", rate | {"eps": 1e-6}),
        ("adagrad l2", gn.AdaGrad, rate | OUTSIDE | L2, "Adagrad", rate | {"eps": 1e-6} | L2),
        ("rmsprop", gn.RMSProp, adaptive | OUTSIDE, "RMSprop", adaptive | {"alpha": 0.9, "eps": 1e-6}),
        ("adam", gn.Adam, adaptive | OUTSIDE, "Adam", adaptive | {"eps": 1e-6}),
        ("adam no ε", gn.Adam, adaptive | {"eps_root": 0.0}, "Adam", adaptive | {"eps": 0.0}),
        ("adam l2", gn.Adam, adaptive | OUTSIDE | L2, "Adam", adaptive | {"eps": 1e-6} | L2),
        ("adamw", gn.AdamW, adaptive | OUTSIDE | L2, "AdamW", adaptive | {"eps": 1e-6} | L2),
    ]


@pytest.mark.parametrize(
    ("make", "hyper", "name", "theirs"), [pytest.param(*row, id=name) for name, *row in torch_cases()]
)
def test_torch(make, hyper, name, theirs, data):
    """Ten steps."""
    torch = pytest.importorskip("torch")
    start, gradients = data
    p, tensor = start.copy(), torch.from_numpy(start.copy())
    ours, other = make(p, **hyper), getattr(torch.optim, name)([tensor], **theirs)
    for g in gradients:
        ours.step(g)
        tensor.grad = torch.from_numpy(g)
        other.step()
    assert_agree(p, tensor.numpy(), start)


# Activations.


@pytest.mark.parametrize("case", [c for c in ACTIVATIONS if c.hyper.get("alpha", 1.0) > 0], ids=str)
def test_torch_activation(case, dtype, rng):
    """Forward and backward."""
    torch = pytest.importorskip("torch")
    x = np.concatenate([rng.uniform(-8, 8, 1000), [0.0, -0.0, 100.0, -100.0]]).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    tensor = torch.from_numpy(x).requires_grad_()
    extra = [torch.tensor([0.25], dtype=tensor.dtype)] if case.act is gn.prelu else []
    hyper = {} if case.act is gn.prelu else case.hyper
    theirs = getattr(torch.nn.functional, case.act.name)(tensor, *extra, **hyper)
    theirs.backward(torch.from_numpy(dy))
    dx = case.act.backward(dy, x, **case.hyper)
    assert_close(case.act(x, **case.hyper), theirs.detach().numpy(), dtype, scale=0.1)
    assert_close(dx[0] if case.act is gn.prelu else dx, tensor.grad.numpy(), dtype, scale=np.abs(dy).max())


@pytest.mark.parametrize("shape", [(1,), (4,)])
def test_torch_prelu_slope(shape, dtype, rng):
    """dα, one or one a channel."""
    torch = pytest.importorskip("torch")
    x, dy = rng.standard_normal((2, 3, 4, 5, 6)).astype(dtype)
    alpha = rng.uniform(0.1, 0.5, shape).astype(dtype)
    weight, tensor = torch.from_numpy(alpha).requires_grad_(), torch.from_numpy(x).requires_grad_()
    torch.nn.functional.prelu(tensor, weight).backward(torch.from_numpy(dy))
    dx, dalpha = gn.prelu.backward(dy, x, alpha.reshape(-1, 1, 1))
    assert_close(dx, tensor.grad.numpy(), dtype)
    assert_close(dalpha.reshape(shape), weight.grad.numpy(), dtype, scale=float(x.size) ** 0.5)
