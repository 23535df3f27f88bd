"""Activations of x and a gate, each beside its derivatives in both."""

from .rectifiers import relu, relu_derivative
from .self_gated import gelu, gelu_derivative, silu, silu_derivative
from .sigmoids import sigmoid, sigmoid_derivative

__all__ = [
    "geglu",
    "geglu_derivative",
    "glu",
    "glu_derivative",
    "reglu",
    "reglu_derivative",
    "swiglu",
    "swiglu_derivative",
]


def swiglu(x, gate, /):
    """x·SiLU(gate). Shazeer 2020, arXiv:2002.05202."""
    return x * silu(gate)


def swiglu_derivative(x, gate):
    """To x, and to the gate."""
    return silu(gate), x * silu_derivative(gate)


def geglu(x, gate, /):
    """x·GELU(gate). Shazeer 2020, arXiv:2002.05202."""
    return x * gelu(gate)


def geglu_derivative(x, gate):
    """To x, and to the gate."""
    return gelu(gate), x * gelu_derivative(gate)


def reglu(x, gate, /):
    """x·ReLU(gate). Shazeer 2020, arXiv:2002.05202."""
    return x * relu(gate)


def reglu_derivative(x, gate):
    """To x, and to the gate."""
    return relu(gate), x * relu_derivative(gate)


def glu(x, gate, /):
    """x·σ(gate). Dauphin et al. 2017, arXiv:1612.08083."""
    return x * sigmoid(gate)


def glu_derivative(x, gate):
    """To x, and to the gate."""
    return sigmoid(gate), x * sigmoid_derivative(gate)
