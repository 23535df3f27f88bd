"""Optimizers and activations for NumPy loops: one scalar rule each, compiled for one core and for all.

Usage: ``import gnumba as gn``. ``help(gn.Adam)`` says more of `Adam`, and so for every name here.

Optimizers
    {optimizers}
        ``opt = gn.Adam(params, lr=1e-3)``, then ``opt.step(grads)`` updates params in place.
    Phases, Phase, cold_start
        One optimizer after another.
    EMA, Lookahead, SAM
        Around an optimizer: the moving average of its parameters, slow weights, flat minima.
    Accumulator, EarlyStopping
        Gradients of several batches for one step; when to end, with the best weights.
    LossScale
        What float16's losses are multiplied by, as their gradients bear it.
    Rows
        A gradient of a few rows only.
    Optimizer
        What all of them are.

Activations
    {activations}
        ``y = gn.relu(x)``, ``dx = gn.relu.backward(dy, x)``.
    swiglu, geglu, reglu, glu
        Of two arrays: ``dx, dgate = gn.swiglu.backward(dy, x, gate)``.
    dropout, alpha_dropout
        The same with a rate and a key; no mask is stored.
    softmax, log_softmax
        Along an axis: ``y = gn.softmax(x, axis=-1)``, ``dx = gn.softmax.backward(dy, y)``.
    torch_function
        A differentiable PyTorch function of any activation.
    Activation
        What all but dropout are.

Losses
    losses
        ``loss, gradient = gn.losses.mse(prediction, target)``: mse, mae, huber, log_cosh, hinge,
        kl_divergence, sigmoid_cross_entropy, softmax_cross_entropy.

Your own
    rule, optimizer
        An update rule from a scalar function, and an optimizer of it.
    activation, check_derivative
        An activation from a scalar function and its derivative, and whether they belong together.
    loss
        A loss from a scalar function and its gradient.
    elementary
        Functions to write them with: exp, tanh, sign and more, the same bits everywhere.
    rules, registry, Rule
        The rules there are, by attribute and by name, and what each of them is.

Around the loop
    schedules
        Learning rates and batch sizes as functions of the step: cosine, warmup and more.
    init
        First weights: he_normal, xavier_uniform and more.
    minibatches
        The rows of arrays in batches, shuffled anew each epoch.
    global_norm, clip_by_global_norm, clip_by_norm, clip_by_value
        Gradients kept from being too large.
    save_checkpoint, load_checkpoint
        Everything a run needs to go on, in one file.

More than one machine
    distributed
        An optimizer over several processes, started by MPI: the same bits for 1, 2, 4, … of them.
    flat
        Arrays as views of one buffer, which ranks exchange without a copy.

Where the work runs
    target_of, use_target
        One core, all cores or a GPU: which it is, and how to choose.
    info, inspect, precompile
        The machine, the compiled kernels, compiling ahead of time.
"""

import textwrap
from types import ModuleType
from typing import TYPE_CHECKING

from . import elementary, init, losses, rules, schedules
from ._distributed.flat import flat
from ._distributed.optimizer import distributed
from ._engine.targets import target_of, use_target
from ._info import info, inspect, precompile
from ._io.batches import minibatches
from ._io.checkpoint import load_checkpoint, save_checkpoint
from ._nn import activations as _activations
from ._nn.activation import Activation, activation
from ._nn.activations import *  # noqa: F403
from ._nn.check import check_derivative
from ._nn.dropout import alpha_dropout, dropout
from ._nn.gated import geglu, glu, reglu, swiglu
from ._nn.softmax import log_softmax, softmax
from ._nn.torch import torch_function
from ._optim import optimizers as _optimizers
from ._optim.accumulation import Accumulator
from ._optim.adaptive import *  # noqa: F403
from ._optim.clipping import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from ._optim.descent import *  # noqa: F403  each family, as type checkers do not look through two stars
from ._optim.layerwise import *  # noqa: F403
from ._optim.loss_scale import LossScale
from ._optim.moments import *  # noqa: F403
from ._optim.optimizer import Optimizer
from ._optim.orthogonal import *  # noqa: F403
from ._optim.own import optimizer
from ._optim.phases import Phase, Phases, cold_start
from ._optim.rows import Rows
from ._optim.schedule_free import *  # noqa: F403
from ._optim.signs import *  # noqa: F403
from ._optim.stopping import EarlyStopping
from ._optim.wrappers import EMA, SAM, Lookahead
from ._rule import Rule, registry, rule
from ._suggest import module_getattr
from ._version import __version__ as __version__
from .losses import loss

__all__ = [
    "EMA",
    "SAM",
    "Accumulator",
    "Activation",
    "EarlyStopping",
    "Lookahead",
    "LossScale",
    "Optimizer",
    "Phase",
    "Phases",
    "Rows",
    "Rule",
    "activation",
    "alpha_dropout",
    "check_derivative",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "cold_start",
    "distributed",
    "dropout",
    "elementary",
    "flat",
    "geglu",
    "global_norm",
    "glu",
    "info",
    "init",
    "inspect",
    "load_checkpoint",
    "log_softmax",
    "loss",
    "losses",
    "minibatches",
    "optimizer",
    "precompile",
    "registry",
    "reglu",
    "rule",
    "rules",
    "save_checkpoint",
    "schedules",
    "softmax",
    "swiglu",
    "target_of",
    "torch_function",
    "use_target",
]
__all__ += _activations.__all__
__all__ += _optimizers.__all__


def _listed(module: ModuleType) -> str:
    """The names that a module exports, in the order of their definitions, as lines of the docstring."""
    names = ", ".join(name for name in vars(module) if name in module.__all__)
    return textwrap.fill(names, width=100, subsequent_indent=" " * 4)


if __doc__ is not None:  # as under ``python -OO``
    __doc__ = __doc__.format(optimizers=_listed(_optimizers), activations=_listed(_activations))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _names() -> list[str]:
    """Every public name, those of the modules with their dot."""
    modules = {"init": init, "losses": losses, "schedules": schedules}
    return __all__ + [f"{name}.{each}" for name, module in modules.items() for each in module.__all__]


if not TYPE_CHECKING:  # for a type checker a module with this has every attribute
    __getattr__ = module_getattr(__name__, _names)
    rules.__getattr__ = module_getattr(rules.__name__, rules.__dir__)  # a module of nothing but maths
