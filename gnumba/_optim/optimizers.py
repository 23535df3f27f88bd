"""All optimizers, a module a family; a class says what its hyperparameters are as scalars of a rule."""

from . import adaptive, descent, layerwise, moments, orthogonal, schedule_free, signs

# Simplest first, as help lists them.
# isort: off
from .descent import *  # noqa: F403
from .adaptive import *  # noqa: F403
from .moments import *  # noqa: F403
from .signs import *  # noqa: F403
from .schedule_free import *  # noqa: F403
from .layerwise import *  # noqa: F403
from .orthogonal import *  # noqa: F403

__all__ = (
    descent.__all__
    + adaptive.__all__
    + moments.__all__
    + signs.__all__
    + schedule_free.__all__
    + layerwise.__all__
    + orthogonal.__all__
)
