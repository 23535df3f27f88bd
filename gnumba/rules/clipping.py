"""What clipping does to an element of a gradient; nan stays nan."""

__all__ = ["clipped", "scaled"]


def scaled(g, factor):
    """g·factor."""
    return g * factor


def clipped(g, limit):
    """g, moved into [−limit, limit]."""
    return limit if g > limit else (-limit if g < -limit else g)
