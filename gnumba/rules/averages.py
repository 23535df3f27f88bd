"""Element-wise rules for averages of parameters, and sums of gradients."""

__all__ = ["added", "averaged", "behind", "cleared", "exchanged", "itself", "pulled"]


def itself(x):
    """x."""
    return x


def added(p, a):
    """p + a."""
    return p + a


def averaged(p, a, delta, one_minus_delta):
    """Exponential moving average δa + (1 − δ)p. Polyak & Juditsky 1992; Kingma & Ba 2015, arXiv:1412.6980."""
    return delta * a + one_minus_delta * p


def behind(p, d, lead):
    """p − lead · d."""
    return p - lead * d


def cleared(p, a):
    """Zero, whatever it was."""
    return 0.0


def exchanged(p, a):
    """Each for the other."""
    return a, p


def pulled(p, a, alpha):
    """Lookahead's slow weights a + α(p − a), for both. Zhang et al. 2019, arXiv:1907.08610."""
    a = a + alpha * (p - a)
    return a, a
