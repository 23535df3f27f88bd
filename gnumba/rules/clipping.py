"""Element-wise rules for clipping gradients; nan stays nan."""

__all__ = ["clipped", "scaled", "scaled_in_parts", "taken"]


def scaled(g, factor):
    """g·factor."""
    return g * factor


def scaled_in_parts(g, power, rest):
    """g·power·rest, for a factor that is the product of two numbers."""
    return g * power * rest


def taken(old, g):
    """g, which the engine has scaled."""
    return g


def clipped(g, limit):
    """g, moved into [−limit, limit]."""
    return limit if g > limit else (-limit if g < -limit else g)
