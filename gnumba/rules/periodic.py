"""Periodic activations, each beside its derivative."""

from ..elementary import cos_of_product, sin_of_product

__all__ = ["sine", "sine_derivative"]


def sine(x, omega=30.0):
    """sin(ωx). Sitzmann et al. 2020, arXiv:2006.09661."""
    return sin_of_product(omega, x)


def sine_derivative(x, omega):
    """ω cos(ωx)."""
    return omega * cos_of_product(omega, x)
