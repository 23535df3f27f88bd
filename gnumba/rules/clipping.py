"""What clipping does to an element of a gradient; nan stays nan."""

__all__ = ["clipped", "scaled", "taken"]


def scaled(g, factor):
    """g·factor."""
    return g * factor


def taken(old, g):
    """g, which the engine has scaled."""
    return g


def clipped(g, limit):
    """g, moved into [−limit, limit]."""
    return limit if g > limit else (-limit if g < -limit else g)
