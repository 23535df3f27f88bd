"""PyTorch: no derivative is lost unseen, functions of its own autograd, and what writes do to its graphs."""

import sys

import numpy as np
import pytest
from cases import ACTIVATIONS, one_a_kernel_shape, one_an_activation
from peers import torch_activation
from test_errors import assert_refused

import gnumba as gn
from gnumba._engine import binding, checks, libraries

torch = pytest.importorskip("torch")

EACH = pytest.mark.parametrize("case", ACTIVATIONS, ids=str)


def tensor(shape=(4, 3), dtype=torch.float32, requires_grad=False, seed=0):
    """Numbers of both signs, none near 0, where derivatives jump."""
    values = np.random.default_rng(seed).uniform(0.1, 3.0, shape)
    signs = np.random.default_rng(seed + 1).choice([-1.0, 1.0], shape)
    return torch.tensor(values * signs, dtype=dtype, requires_grad=requires_grad)


# What would have no derivative.


def calls(x):
    """Every call that makes a result of a tensor, by a name."""
    plain, made = tensor(), {}
    for case in one_an_activation():
        act, hyper = case.act, case.hyper
        made |= {
            act.name: lambda act=act, hyper=hyper: act(x, **hyper),
            f"{act.name} out": lambda act=act, hyper=hyper: act(plain, **hyper, out=x),
            f"{act.name}.derivative": lambda act=act, hyper=hyper: act.derivative(x, **hyper),
            f"{act.name}.backward dy": lambda act=act, hyper=hyper: act.backward(x, plain, **hyper),
            f"{act.name}.backward x": lambda act=act, hyper=hyper: act.backward(plain, x, **hyper),
        }
    for act in (gn.dropout, gn.alpha_dropout):
        made |= {
            act.name: lambda act=act: act(x, 0.5, 1),
            f"{act.name} out": lambda act=act: act(plain, 0.5, 1, out=x),
            f"{act.name}.backward": lambda act=act: act.backward(x, 0.5, 1),
        }
    return made | {
        "alpha": lambda: gn.prelu(plain, x),
        "alpha backward": lambda: gn.prelu.backward(plain, plain, x),
        "backward y": lambda: gn.tanh.backward(plain, None, y=x),
        "an array's out": lambda: gn.relu(plain.numpy(), out=x),
        "an array's alpha": lambda: gn.prelu(plain.numpy(), x),
    }


@pytest.mark.parametrize("name", calls(None), ids=str)
def test_a_tensor_that_requires_grad_is_refused(name):
    """While grad mode is on: the result would have no derivative. Nothing has been written."""
    x = tensor(requires_grad=True)
    before, version = x.detach().clone(), x._version
    assert_refused(calls(x)[name], TypeError, "requires grad", ".detach()", "torch_function")
    assert torch.equal(x.detach(), before)
    assert x._version == version
    with torch.no_grad():
        calls(x)[name]()
    calls(x.detach())[name]()


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # PyTorch's own
def test_a_tensor_of_forward_mode_is_refused():
    """Its tangent would be lost."""
    forward = torch.autograd.forward_ad
    with forward.dual_level():
        dual = forward.make_dual(tensor(), tensor())
        assert_refused(lambda: gn.relu(dual), TypeError, "torch_function")
        gn.relu(tensor())


def test_a_lazily_negated_tensor_is_refused():
    """Its memory holds the numbers with the other sign: as an operand, a parameter and a gradient."""
    x = torch.tensor([1 + 2j, 3 - 4j, -5j]).conj().imag
    assert x.is_neg()
    p = tensor((3,))
    optimizer, before = gn.SGD([p], lr=1.0), p.clone()
    for call in (lambda: gn.relu(x), lambda: gn.SGD([x]), lambda: gn.global_norm([x])):
        assert_refused(call, TypeError, "negative bit", "resolve_neg")
    for _ in range(3):  # the third by a compiled look
        assert_refused(lambda: optimizer.step([x]), TypeError, "gradient of 0", "negative bit")
        optimizer.step([torch.zeros(3)])
    assert torch.equal(p, before)
    optimizer.step([x.resolve_neg()])
    assert torch.equal(p, before - x)


def test_functional_transforms_are_refused():
    """Their tensors have no memory of their own."""
    for transform in (torch.func.grad, torch.vmap):
        with pytest.raises(TypeError, match="x"):
            transform(lambda x: gn.relu(x).sum())(tensor())


def test_deleted_jax_arrays_are_refused():
    """JAX asked for the platform of one ends Python."""
    jax = pytest.importorskip("jax")
    x, optimizer = jax.numpy.ones(3) + 1.0, gn.SGD(np.zeros(3, np.float32))
    x.delete()
    for use in (gn.relu, optimizer.step, lambda x: gn.global_norm([x])):
        with pytest.raises(TypeError, match="has been deleted"):
            use(x)


def test_jax_tracers_are_refused():
    """One sentence for jit, grad and vmap."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.ones((2, 3))
    for transform in (jax.jit, jax.vmap, lambda f: jax.grad(lambda x: f(x).sum())):
        with pytest.raises(TypeError, match=r"^x is a \w+Tracer of JAX, .*outside jax.jit, jax.grad"):
            transform(gn.relu)(x)


# Functions of PyTorch's autograd.


@EACH
def test_gradcheck(case):
    """Of the backward pass, hyperparameters by name and by position."""
    function = gn.torch_function(case.act)
    x = tensor((5, 4), torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: function(x, **case.hyper), x)
    assert torch.autograd.gradcheck(lambda x: function(x, *case.hyper.values()), x)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (5, 1), (5, 4)], ids=str)
def test_gradcheck_of_a_learned_slope(shape):
    """With respect to x and to α of any shape that broadcasts."""
    x = tensor((5, 4), torch.float64, requires_grad=True)
    alpha = tensor(shape, torch.float64, requires_grad=True, seed=5)
    assert torch.autograd.gradcheck(gn.torch_function(gn.prelu), (x, alpha))
    assert torch.autograd.gradcheck(lambda alpha: gn.torch_function(gn.prelu)(x.detach(), alpha=alpha), alpha)


@pytest.mark.parametrize("act", [gn.dropout, gn.alpha_dropout], ids=lambda act: act.name)
def test_gradcheck_of_dropout(act):
    """The mask of a key, in any layout."""
    x = tensor((5, 4), torch.float64).T.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gn.torch_function(act)(x, 0.5, key=(1, 2)), x)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("layout", ["dense", "transposed", "with gaps"])
def test_torch_has_the_same(case, dtype, layout):
    """Value and gradient, for a loss that hands down a gradient of strides 0 and for another."""
    theirs = torch_activation(case.act.name)
    given = {"dense": lambda x: x, "transposed": lambda x: x.T, "with gaps": lambda x: x[:, ::2]}[layout]
    for loss in (torch.sum, lambda y: (y * tensor(y.shape, dtype, seed=3)).sum()):
        results = []
        for function in (gn.torch_function(case.act), theirs):
            x = tensor((6, 8), dtype, requires_grad=True)
            y = function(given(x), *case.hyper.values())
            loss(y).backward()
            results.append((y.detach(), x.grad))
        rounded = {"rtol": 1e-4, "atol": 1e-3} if case.act is gn.sine and dtype == torch.float32 else {}
        torch.testing.assert_close(*results, **rounded)  # PyTorch's sin(ωx) is that of ωx rounded


def test_users_activation_and_an_optimizer():
    """A network learns through it, in a loop as PyTorch's users write it."""

    @gn.activation(derivative=lambda x, beta: 2.0 * beta * x)
    def scaled_square(x, beta=1.0):
        """β·x²."""
        return beta * x * x

    act = gn.torch_function(scaled_square)
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    x, losses = tensor((20, 3)), []
    target = act(x @ torch.tensor([[1.0], [2.0], [-1.0]]), beta=0.5)
    optimizer = gn.Adam([*layer.parameters()], lr=0.05)
    for _ in range(300):
        layer.zero_grad()
        loss = (act(layer(x), beta=0.5) - target).square().mean()
        loss.backward()
        optimizer.step([p.grad for p in layer.parameters()])
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]


@pytest.mark.parametrize("case", one_an_activation(), ids=str)
def test_a_second_derivative_is_refused(case):
    """Rather than taken for 0, also as a part of a sum."""
    x, function = tensor((3,), requires_grad=True), gn.torch_function(case.act)
    y = function(x, **case.hyper)
    for loss in (y.sum(), y.square().sum()):
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        with pytest.raises(RuntimeError, match=f"{case.act.name}: a second derivative"):
            (x.sum() + slope.square().sum()).backward()
    x, alpha = tensor((3,)), tensor((3,), requires_grad=True)
    (slope,) = torch.autograd.grad(gn.torch_function(gn.prelu)(x, alpha).sum(), alpha, create_graph=True)
    with pytest.raises(RuntimeError, match="prelu: a second derivative"):
        slope.sum().backward()


def test_second_derivatives_through_dropout():
    """It is linear, so there are any."""
    x = tensor((5, 4), torch.float64, requires_grad=True)
    function = gn.torch_function(gn.dropout)
    assert torch.autograd.gradgradcheck(lambda x: function(x.square(), 0.5, 1).square(), x)


def test_torch_func_differentiates_it():
    """As its own functions."""
    x, functional = tensor((5,)), torch.nn.functional
    for act, theirs in ((gn.silu, functional.silu), (gn.tanh, torch.tanh), (gn.selu, functional.selu)):
        ours = torch.func.grad(lambda x, act=act: gn.torch_function(act)(x).sum())(x)
        torch.testing.assert_close(ours, torch.func.grad(lambda x, theirs=theirs: theirs(x).sum())(x))


def test_what_a_function_keeps():
    """One tensor; where y suffices, an x that was overwritten is no matter, where x is kept it is refused."""
    for act, fails in ((gn.tanh, False), (gn.selu, False), (gn.silu, True), (gn.relu, True)):
        x = tensor(requires_grad=True) * 1.0
        y = gn.torch_function(act)(x)
        gn.relu(x.detach(), out=x.detach())
        if fails:
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                y.sum().backward()
        else:
            y.sum().backward()


def test_a_function_is_made_once_and_says_what_it_is():
    """Name, docstring, signature; what it does not take is refused in words."""
    function = gn.torch_function(gn.leaky_relu)
    assert function is gn.torch_function(gn.leaky_relu)
    assert (function.__name__, function.__doc__) == ("leaky_relu", gn.leaky_relu.__doc__)
    x = tensor()
    assert_refused(lambda: function(np.ones(3)), TypeError, "x", "ndarray", "torch.Tensor")
    assert_refused(lambda: function(x, slope=0.1), TypeError, "leaky_relu", "negative_slope=0.01")
    assert_refused(lambda: function(x.cfloat()), TypeError, "x", "complex64")
    assert_refused(lambda: gn.torch_function(np.tanh), TypeError, "act", "ufunc")


# Writes are counted.


def assert_stale(saved, write):
    """Autograd refuses the graph that saved a tensor, as after a write of its own."""
    factor = torch.ones_like(saved, requires_grad=True)
    y = (factor * saved).sum()
    version = saved._version
    write()
    assert saved._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("case", one_a_kernel_shape(), ids=str)
@pytest.mark.parametrize("kind", ["tensor", "parameter", "strided"])
def test_a_step_makes_graphs_of_its_parameters_stale(case, kind):
    """By every way a step goes, as torch.optim's does; a parameter without a gradient stays as it was."""
    p, q = tensor((4, 6)), tensor((3,))
    p = {"tensor": lambda: p, "parameter": lambda: torch.nn.Parameter(p), "strided": lambda: p[:, ::2]}[
        kind
    ]()
    optimizer = case.make([p, q], lr=0.01)
    gradients = [torch.ones_like(p), torch.ones(3)]
    for _ in range(3):
        assert_stale(p, lambda: optimizer.step(gradients))
    version = q._version
    assert_stale(p, lambda: optimizer.step([gradients[0], None]))
    assert q._version == version
    if not optimizer.rule.normed:
        assert_stale(p, lambda: optimizer.step([gn.Rows([0], gradients[0][:1]), None]))
    optimizer.nonfinite = "skip"
    version = p._version
    optimizer.step([gradients[0] * torch.inf, None])
    assert p._version == version


def test_other_writes_make_graphs_stale(tmp_path):
    """Clipping, ``out``, in place, loading a checkpoint."""
    x, y = tensor(), tensor()
    for write in (
        lambda: gn.clip_by_global_norm([x], 1.0),
        lambda: gn.clip_by_norm({"x": [x]}, 0.5),
        lambda: gn.clip_by_value([x], 0.1),
        lambda: gn.relu(y, out=x),
        lambda: gn.relu(x, out=x),
        lambda: gn.relu(y.numpy(), out=x),
        lambda: gn.silu.derivative(y, out=x),
        lambda: gn.silu.backward(x, y, out=x),
        lambda: gn.prelu.backward(x, y, 0.1, out=x),
        lambda: gn.dropout(x, 0.5, 1, out=x),
        lambda: gn.alpha_dropout.backward(y, 0.5, 1, out=x),
    ):
        assert_stale(x, write)
    assert_stale(x[:, 1:], lambda: gn.relu(x[:, :-1], out=x[:, 1:]))
    optimizer = gn.SGD([x])
    gn.save_checkpoint(tmp_path / "run.safetensors", [x], optimizer)
    assert_stale(x, lambda: gn.load_checkpoint(tmp_path / "run.safetensors", [x], optimizer))


def test_reading_makes_no_graph_stale():
    """Norms, activations into other memory, gradients."""
    x, p = tensor(), tensor(seed=4)
    version, optimizer = x._version, gn.Adam([p])
    gn.global_norm([x])
    gn.relu(x)
    gn.relu(x, out=p)
    optimizer.step([x])
    assert x._version == version


def test_tensors_of_inference_mode():
    """Have no version, and are updated all the same."""
    with torch.inference_mode():
        p = tensor()
        before = p.clone()
        gn.SGD([p], lr=1.0).step([torch.ones_like(p)])
        assert torch.equal(p, before - 1.0)
        gn.relu(p, out=p)
        gn.clip_by_value([p], 0.1)
    assert p.max() <= 0.1


# Steps of tensors.


def parameters(make):
    return [make(tensor(shape, seed=k)) for k, shape in enumerate([(4, 3), (5, 1), (1,), (), (2, 3, 4)])]


PARAMETERS = {
    "numpy": lambda x: x.numpy().copy(),
    "tensor": lambda x: x.clone(),
    "parameter": lambda x: torch.nn.Parameter(x.clone()),
}
GRADIENTS = {
    "numpy": lambda x: x.numpy(),
    "tensor": lambda x: x,
    "jax": lambda x: sys.modules["jax"].numpy.asarray(x.numpy()),
}


@pytest.fixture(params=["as they describe themselves", "by views", "by DLPack alone"])
def described(request, monkeypatch):
    """Libraries that describe their arrays, those that do not, and do not export them to be written."""
    if request.param != "as they describe themselves":
        monkeypatch.setattr(binding, "exporter", lambda kind: 0)
        monkeypatch.setattr(binding, "is_readable", lambda: False)
    if request.param == "by DLPack alone":
        monkeypatch.setattr(libraries, "_torch_export", lambda: None)


@pytest.mark.parametrize("given", GRADIENTS)
@pytest.mark.parametrize("kind", PARAMETERS)
def test_ordinary_steps(kind, given, described, monkeypatch):
    """The bits of a step of arrays, without a look at any gradient from the second on."""
    if given == "jax":
        pytest.importorskip("jax")
    ours, expected = parameters(PARAMETERS[kind]), parameters(PARAMETERS["numpy"])
    optimizers = gn.Adam(ours, lr=0.1), gn.Adam(expected, lr=0.1)
    for step in range(4):
        gradients = [tensor(p.shape, seed=10 * step + k) for k, p in enumerate(expected)]
        optimizers[1].step([g.numpy() for g in gradients])
        with monkeypatch.context() as patch:
            if step > 1:
                patch.setattr(checks, "check_gradient", None)
            optimizers[0].step([GRADIENTS[given](g) for g in gradients])
    for p, q in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(getattr(p, "data", p)), q)


def test_kinds_of_tensors_change_places(described):
    """Every parameter meets every kind of gradient, after and before every other."""
    kinds = [
        lambda g: g,
        lambda g: g.numpy(),
        lambda g: None,
        lambda g: torch.stack([g, g], -1)[..., 0],
        lambda g: g.T.contiguous().T if g.ndim == 2 else g,
        lambda g: g.requires_grad_(),
        lambda g: torch.nn.Parameter(g),
        lambda g: g.as_subclass(type("Sub", (torch.Tensor,), {})),
    ]
    ours, alone = parameters(PARAMETERS["parameter"]), parameters(PARAMETERS["numpy"])
    together, single = gn.Adam(ours, lr=0.1), [gn.Adam(p, lr=0.1) for p in alone]
    order = np.random.default_rng(0).permuted(np.tile(np.arange(len(kinds)), (len(ours), 4)), axis=1)
    for step, chosen in enumerate(order.T):
        plain = [tensor(p.shape, seed=100 * step + k) for k, p in enumerate(alone)]
        together.step([kinds[kind](g.clone()) for kind, g in zip(chosen, plain, strict=True)])
        for optimizer, kind, g in zip(single, chosen, plain, strict=True):
            if kind != 2:
                optimizer.step(g.numpy())
    for p, q in zip(ours, alone, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q)


def test_parameters_that_moved(described):
    """To other memory, another shape or dtype: refused, before anything has changed."""
    for move in (
        lambda p: setattr(p, "data", p.data.clone()),
        lambda p: setattr(p, "data", p.data[:2]),
        lambda p: setattr(p, "data", p.data.T),
        lambda p: setattr(p, "data", p.data.double()),
        lambda p: p.data.resize_(50, 60),
    ):
        p, q = torch.nn.Parameter(tensor((3, 3))), torch.nn.Parameter(tensor((2,)))
        optimizer = gn.SGD([q, p], lr=1.0)
        gradients = [torch.ones(2), torch.ones(3, 3)]
        for _ in range(3):
            optimizer.step(gradients)
        before = q.detach().clone()
        move(p)
        with pytest.raises((ValueError, TypeError), match=r"parameter 1|^1 "):
            optimizer.step(gradients)
        assert torch.equal(q.detach(), before)
        assert optimizer.t == 3


def test_gradients_that_do_not_fit(described):
    """In shape, dtype, or memory: told as of arrays, from any step on."""
    p = tensor((3, 2))
    optimizer = gn.SGD([p], lr=0.0)
    for _ in range(3):
        assert_refused(lambda: optimizer.step([torch.ones(2, 3)]), ValueError, "gradient of 0", "(2, 3)")
        assert_refused(lambda: optimizer.step([torch.ones(3, 2, dtype=torch.float64)]), TypeError, "float64")
        assert_refused(lambda: optimizer.step([torch.ones(3, 2, device="meta")]), TypeError, "gradient of 0")
        assert_refused(lambda: optimizer.step([p.view(2, 3).T]), ValueError, "shares memory")
        assert_refused(lambda: optimizer.step([torch.ones(3, 2).to_sparse()]), TypeError, "gradient of 0")
        optimizer.step([torch.ones(3, 2)])
    assert optimizer.t == 3


def test_tensors_can_be_resized_afterwards():
    """Unlike after ``x.numpy()``: nothing about a tensor has changed."""
    x, out, p, g = tensor(), tensor(), tensor(), tensor()
    gn.relu(x, out=out)
    optimizer = gn.SGD([p])
    optimizer.step([g])
    del optimizer
    for each in (x, out, p, g):
        each.resize_(100, 100)


@pytest.mark.parametrize("case", one_an_activation(), ids=str)
def test_short_way_of_tensors(case, monkeypatch):
    """Dense tensors take it, whatever the kinds; the bits are those of arrays."""
    x, dy = tensor((30, 5)), tensor((30, 5), seed=2)
    expected = case.act(x.numpy(), **case.hyper), case.act.derivative(x.numpy(), **case.hyper)
    monkeypatch.setattr("gnumba._engine.apply._apply_checked", None)
    for out in (None, torch.empty_like(x), x.clone()):
        source = x if out is None or not torch.equal(out, x) else out
        made = case.act(source, **case.hyper, out=out)
        assert isinstance(made, torch.Tensor)
        assert out is None or made is out
        np.testing.assert_array_equal(made.numpy(), expected[0])
    np.testing.assert_array_equal(case.act.derivative(x, **case.hyper).numpy(), expected[1])
    back = case.act.backward(dy.numpy(), x.numpy(), **case.hyper)
    for given in (x, x.numpy()):
        made = case.act.backward(dy, given, **case.hyper)
        for result, array in zip(
            *((each if case.act is gn.prelu else (each,)) for each in (made, back)), strict=True
        ):
            np.testing.assert_array_equal(result, array)


def test_what_is_pytorchs_and_no_tensor():
    """Is what it is to NumPy: a shape is a tuple, a module no array."""
    np.testing.assert_array_equal(gn.relu(torch.Size([2, 3])), [2.0, 3.0])
    assert isinstance(gn.relu(torch.Size([2, 3])), np.ndarray)
    layer = torch.nn.Linear(2, 3)
    assert_refused(lambda: gn.global_norm([layer]), TypeError, "Linear")
    assert_refused(lambda: gn.SGD([torch.ones(3)]).step([layer]), TypeError, "gradient of 0", "Linear")
    assert_refused(lambda: gn.relu(np.ones(3), out=layer), TypeError, "out", "Linear")


def test_users_kind_of_tensor():
    """A subclass of a tensor is one."""
    mine = tensor().as_subclass(type("Mine", (torch.Tensor,), {}))
    assert torch.equal(gn.relu(mine), torch.relu(tensor()))
    assert isinstance(gn.relu(mine), torch.Tensor)
