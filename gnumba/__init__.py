"""Optimizers and activations for NumPy loops: one scalar rule each, compiled for one core and for all."""

from . import elementary as elementary
from . import rules as rules
from ._activation import Activation as Activation
from ._activation import activation as activation
from ._activation import elu as elu
from ._activation import leaky_relu as leaky_relu
from ._activation import prelu as prelu
from ._activation import relu as relu
from ._activation import selu as selu
from ._activation import sigmoid as sigmoid
from ._activation import silu as silu
from ._activation import swish as swish
from ._activation import tanh as tanh
from ._engine.place import target_of as target_of
from ._engine.place import use_target as use_target
from ._info import info as info
from ._info import inspect as inspect
from ._info import precompile as precompile
from ._optimizer import Optimizer as Optimizer
from ._optimizer import optimizer as optimizer
from ._optimizers import SGD as SGD
from ._optimizers import AdaGrad as AdaGrad
from ._optimizers import Adam as Adam
from ._optimizers import AdamW as AdamW
from ._optimizers import Momentum as Momentum
from ._optimizers import RMSProp as RMSProp
from ._rule import Rule as Rule
from ._rule import registry as registry
from ._rule import rule as rule

__version__ = "0.1.0"
