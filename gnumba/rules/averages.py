"""Element-wise rules for averages of parameters."""

__all__ = ["averaged", "exchanged"]


def averaged(p, a, delta, one_minus_delta):
    """Exponential moving average δa + (1 − δ)p. Polyak & Juditsky 1992; Kingma & Ba 2015, arXiv:1412.6980."""
    return delta * a + one_minus_delta * p


def exchanged(p, a):
    """Each for the other."""
    return a, p
