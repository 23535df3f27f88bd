"""The maths: floats in, floats out."""

from . import activations, noise, orthogonal, updates
from .activations import *  # noqa: F403
from .noise import *  # noqa: F403
from .orthogonal import *  # noqa: F403
from .updates import *  # noqa: F403

__all__ = [*activations.__all__, *noise.__all__, *orthogonal.__all__, *updates.__all__]


def __dir__() -> list[str]:
    return __all__
