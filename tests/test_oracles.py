"""Outside oracles: optax and PyTorch, each where its formula is the same."""

import numpy as np
import pytest
from cases import ACTIVATIONS
from judge import assert_close
from peers import INEXACT, torch_activation

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


# Fifty steps: gradients that change, decay, schedules of the rate and the betas, a None.

LONG = 50
MISSING = 17  # the step in which the first parameter has no gradient


def rate(t):
    """Falling, with a warm-up."""
    return 0.02 * min((t + 1) / 5, 1.0) * 0.97**t


def second_beta(t):
    """Rising."""
    return 0.99 - 0.09 * 0.9**t


@pytest.fixture
def long_data(dtype, rng):
    """Two parameters, and gradients of both a step."""
    start = [rng.standard_normal(shape).astype(dtype) for shape in ((12, 5), (7,))]
    sizes = 10.0 ** rng.uniform(-3, 1, LONG)
    gradients = [[(size * rng.standard_normal(p.shape)).astype(dtype) for p in start] for size in sizes]
    gradients[MISSING][0] = None
    return start, gradients


def assert_long_run(optimizer, params, start, gradients, others):
    """Every parameter within 1e-12 of the other's in float64, and by rounding in float32."""
    for t, g in enumerate(gradients):
        optimizer.step(g)
        others.step(t, g)
    for k, (p, first) in enumerate(zip(params, start, strict=True)):
        error = np.abs(p - others.params(k)).max() / max(np.abs(first).max(), np.abs(p).max())
        assert error < (1e-12 if p.dtype == np.float64 else 64 * np.finfo(p.dtype).eps)
        assert np.abs(p - first).max() > 1e-4


L2_DECOUPLED = L2 | {"decoupled": True}
ADAPTED = {"lr": rate, "betas": (0.9, second_beta)}
RMS = {"lr": rate, "decay": second_beta, "eps": 1e-6}
TORCH_RMS = {"lr": rate, "alpha": second_beta, "eps": 1e-6}
LONG_TORCH = [  # with what PyTorch calls them
    ("Adam amsgrad", gn.Adam, ADAPTED | L2 | OUTSIDE | {"amsgrad": True}, "Adam",
     ADAPTED | L2 | {"eps": 1e-6, "amsgrad": True}),
    ("AdamW amsgrad", gn.AdamW, ADAPTED | L2 | OUTSIDE | {"amsgrad": True}, "AdamW",
     ADAPTED | L2 | {"eps": 1e-6, "amsgrad": True}),
    ("RMSProp momentum", gn.RMSProp, RMS | L2 | {"momentum": 0.9}, "RMSprop",
     TORCH_RMS | L2 | {"momentum": 0.9}),
    ("RMSProp centered", gn.RMSProp, RMS | L2 | {"centered": True}, "RMSprop",
     TORCH_RMS | L2 | {"centered": True}),
    ("RMSProp both", gn.RMSProp, RMS | L2 | {"momentum": 0.9, "centered": True}, "RMSprop",
     TORCH_RMS | L2 | {"momentum": 0.9, "centered": True}),
    # PyTorch adds ε before the correction of v.
    ("RAdam", gn.RAdam, ADAPTED | L2 | {"eps": 0.0}, "RAdam", ADAPTED | L2 | {"eps": 0.0}),
    ("RAdam decoupled", gn.RAdam, ADAPTED | L2_DECOUPLED | {"eps": 0.0}, "RAdam",
     ADAPTED | L2 | {"eps": 0.0, "decoupled_weight_decay": True}),
    ("NAdam", gn.NAdam, ADAPTED | L2 | {"eps": 1e-8}, "NAdam", ADAPTED | L2 | {"eps": 1e-8}),
    ("NAdam decoupled", gn.NAdam, ADAPTED | L2_DECOUPLED | {"eps": 1e-8, "momentum_decay": 0.5}, "NAdam",
     ADAPTED | L2 | {"eps": 1e-8, "momentum_decay": 0.5, "decoupled_weight_decay": True}),
    ("Adamax", gn.Adamax, ADAPTED | L2 | {"eps": 1e-3}, "Adamax", ADAPTED | L2 | {"eps": 1e-3}),
    ("AdaDelta", gn.AdaDelta, L2 | {"lr": lambda t: 50 * rate(t), "decay": second_beta}, "Adadelta",
     L2 | {"lr": lambda t: 50 * rate(t), "rho": second_beta, "eps": 1e-6}),
    ("Rprop", gn.Rprop, {"lr": rate, "step_sizes": (1e-3, 0.1)}, "Rprop",
     {"lr": rate, "step_sizes": (1e-3, 0.1)}),
]  # fmt: skip


class Torch:
    """PyTorch's optimizer, its hyperparameters set before each step."""

    def __init__(self, name, hyper, start):
        self.torch = pytest.importorskip("torch")
        self.tensors, self.hyper = [self.torch.from_numpy(p.copy()) for p in start], hyper
        kind = getattr(self.torch.optim, name)
        self.optimizer = kind(self.tensors, **self.at(0), foreach=False)

    def at(self, t):
        """Hyperparameters of a step."""
        return {
            name: tuple(each(t) if callable(each) else each for each in given)
            if isinstance(given, tuple)
            else given(t) if callable(given) else given
            for name, given in self.hyper.items()
        }  # fmt: skip

    def step(self, t, gradients):
        """One step."""
        self.optimizer.param_groups[0].update(self.at(t))
        for tensor, g in zip(self.tensors, gradients, strict=True):
            tensor.grad = None if g is None else self.torch.from_numpy(g)
        usual = self.torch.get_default_dtype()
        self.torch.set_default_dtype(self.torch.float64)  # NAdam's product of the μ is of this dtype
        try:
            self.optimizer.step()
        finally:
            self.torch.set_default_dtype(usual)

    def params(self, k):
        """A parameter as it is now."""
        return self.tensors[k].numpy()


@pytest.mark.parametrize(
    ("make", "hyper", "name", "theirs"), [pytest.param(*row, id=name) for name, *row in LONG_TORCH]
)
def test_torch_over_fifty_steps(make, hyper, name, theirs, long_data):
    """Parameters after all of them."""
    start, gradients = long_data
    params = [p.copy() for p in start]
    assert_long_run(make(params, **hyper), params, start, gradients, Torch(name, theirs, start))


def test_torch_rprop_whose_first_size_is_out_of_bounds(dtype):
    """It is lr, moved into them."""
    start, gradients = [np.ones(3, dtype)], [[np.array([1.0, -2.0, 0.0], dtype)]] * 3
    for lr, sizes in ((0.01, (0.05, 0.5)), (2.0, (0.05, 0.5))):
        params, hyper = [start[0].copy()], {"lr": lr, "step_sizes": sizes}
        assert_long_run(gn.Rprop(params, **hyper), params, start, gradients, Torch("Rprop", hyper, start))


def long_optax():
    """gnumba's class and arguments, and optax's (given optax and the schedule)."""
    outside, half = {"eps": 1e-3, "eps_root": 1e-6}, {"betas": (0.9, 0.5, 0.9)}
    return [
        ("RAdam", gn.RAdam, L2 | outside,
         lambda o, lr: o.chain(o.add_decayed_weights(0.05), o.radam(lr, **outside))),
        ("AdaDelta", gn.AdaDelta, L2,
         lambda o, lr: o.chain(o.add_decayed_weights(0.05), o.adadelta(lr, rho=0.9, eps=1e-6))),
        ("AdaBelief", gn.AdaBelief, {}, lambda o, lr: o.adabelief(lr)),
        ("AdaBelief l2", gn.AdaBelief, L2 | outside,
         lambda o, lr: o.chain(o.add_decayed_weights(0.05), o.adabelief(lr, **outside))),
        ("AdaBelief decoupled", gn.AdaBelief, L2_DECOUPLED | outside,
         lambda o, lr: o.chain(
             o.scale_by_belief(**outside), o.add_decayed_weights(0.05), o.scale_by_learning_rate(lr))),
        # optax multiplies by 1 − β₂ where the paper, in these betas, has β₂.
        ("Adan", gn.Adan, half, lambda o, lr: o.adan(lr, b1=0.9, b2=0.5, b3=0.9)),
        ("Lion", gn.Lion, L2, lambda o, lr: o.lion(lr, weight_decay=0.05)),
        ("ScheduleFreeSGD", gn.ScheduleFreeSGD, L2,
         lambda o, lr: o.contrib.schedule_free(
             o.chain(o.add_decayed_weights(0.05), o.sgd(lr)), lr, b1=0.9)),
        ("ScheduleFreeAdamW", gn.ScheduleFreeAdamW, L2 | {"eps": 1e-6},
         lambda o, lr: o.contrib.schedule_free(
             o.chain(o.scale_by_rms(decay=0.999, eps=1e-6, eps_in_sqrt=False, bias_correction=True),
                     o.add_decayed_weights(0.05), o.scale_by_learning_rate(lr)), lr, b1=0.9)),
        ("Lion betas", gn.Lion, L2 | {"betas": (0.8, 0.7)},
         lambda o, lr: o.lion(lr, b1=0.8, b2=0.7, weight_decay=0.05)),
        ("LAMB", gn.LAMB, L2, lambda o, lr: o.lamb(lr, weight_decay=0.05)),
        ("LAMB eps", gn.LAMB, outside, lambda o, lr: o.lamb(lr, **outside)),
        ("LARS", gn.LARS, L2 | {"trust_coefficient": 0.1},
         lambda o, lr: o.lars(lr, weight_decay=0.05, trust_coefficient=0.1)),
        ("LARS nesterov", gn.LARS, L2 | {"nesterov": True, "momentum": 0.8},
         lambda o, lr: o.lars(lr, weight_decay=0.05, momentum=0.8, nesterov=True)),
    ]  # fmt: skip


class Optax:
    """A transformation a parameter, none of which counts a step without a gradient."""

    def __init__(self, optax, same, start):
        self.optax, self.t = optax, 0
        self.transform = same(optax, lambda count: rate(self.t))
        self.arrays, self.states = list(start), [self.transform.init(p) for p in start]

    def step(self, t, gradients):
        """One step."""
        self.t = t
        for k, g in enumerate(gradients):
            if g is not None:
                updates, self.states[k] = self.transform.update(g, self.states[k], self.arrays[k])
                self.arrays[k] = np.asarray(self.optax.apply_updates(self.arrays[k], updates))

    def params(self, k):
        """A parameter as it is now."""
        return self.arrays[k]


@pytest.mark.parametrize(
    ("make", "hyper", "same"), [pytest.param(*row, id=name) for name, *row in long_optax()]
)
def test_optax_over_fifty_steps(make, hyper, same, long_data, optax):
    """Parameters after all of them."""
    start, gradients = long_data
    params = [p.copy() for p in start]
    assert_long_run(make(params, lr=rate, **hyper), params, start, gradients, Optax(optax, same, start))


def test_adan_follows_its_authors_code():
    """Their adan.py (sail-sg/Adan, commit 2c65bea), run by PyTorch 2.13 in float64, proximal decay."""
    trajectory = {
        1: [0.9490509495310985, -1.9480519484046661, 0.549450548775542],
        2: [0.9199549424946502, -1.900254969635865, 0.533420644971627],
        10: [0.7569291182461483, -1.5930489022028866, 0.4889543868318753],
        50: [0.007689638653437775, -0.447495140208738, 0.12932204954554916],
    }
    p, k = np.array([1.0, -2.0, 0.5]), np.arange(1.0, 4.0)
    optimizer = gn.Adan(p, lr=0.05, weight_decay=0.02, eps_root=0.0)
    for t in range(1, 51):
        optimizer.step(np.cos(k * t**2) * 10.0 ** -((t - 1) % 3) + 0.5 * p)
        if t in trajectory:
            np.testing.assert_allclose(p, trajectory[t], rtol=1e-12, atol=1e-13)


# Activations.


@pytest.mark.parametrize("case", [c for c in ACTIVATIONS if c.hyper.get("alpha", 1.0) > 0], ids=str)
def test_torch_activation(case, dtype, rng):
    """Forward and backward, PyTorch's in float64: in float32 its GELU loses half its digits left of 0."""
    torch = pytest.importorskip("torch")
    x = np.concatenate([rng.uniform(-8, 8, 1000), [0.0, -0.0, 100.0, -100.0]]).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    tensor = torch.from_numpy(x).double().requires_grad_()
    theirs = torch_activation(case.act.name)(tensor, **case.hyper)
    theirs.backward(torch.from_numpy(dy).double())
    dx = case.act.backward(dy, x, **case.hyper)
    off = INEXACT.get(case.act.name, 1.0) if dtype == "float64" else 1.0
    assert_close(case.act(x, **case.hyper), theirs.detach().numpy(), dtype, scale=0.1 * off)
    scale = np.abs(dy).max() * off
    assert_close(dx[0] if case.act is gn.prelu else dx, tensor.grad.numpy(), dtype, scale=scale)


@pytest.mark.parametrize("case", [c for c in ACTIVATIONS if c.hyper.get("alpha", 1.0) > 0], ids=str)
def test_torch_at_kinks(case, dtype):
    """The slope where pieces of a function meet, at both zeros, and at the nearest numbers beside."""
    torch = pytest.importorskip("torch")
    kinks = np.array([0.0, 0.25, 0.5, 1.0, 2.5, 3.0, 6.0, *case.hyper.values()], dtype)
    kinks = np.concatenate([-kinks, kinks])
    x = np.concatenate([kinks, np.nextafter(kinks, dtype.type(9.0)), np.nextafter(kinks, dtype.type(-9.0))])
    tensor = torch.from_numpy(x).double().requires_grad_()
    torch_activation(case.act.name)(tensor, **case.hyper).sum().backward()
    off = INEXACT.get(case.act.name, 1.0) if dtype == "float64" else 1.0
    slope = case.act.derivative(x, **case.hyper)
    assert_close(slope, tensor.grad.numpy(), dtype, scale=off * max(1.0, np.abs(slope).max()))
    if case.from_y:
        y = case.act(x, **case.hyper)
        back = case.act.backward(np.ones_like(x), None, **case.hyper, y=y)
        assert_close(back, tensor.grad.numpy(), dtype, scale=4.0 * off)


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
