"""The maths: floats in, floats out; a module a family."""

from . import (
    adaptive,
    descent,
    gated,
    layerwise,
    moments,
    noise,
    orthogonal,
    periodic,
    rectifiers,
    schedule_free,
    self_gated,
    shrinks,
    sigmoids,
    signs,
)
from .adaptive import *  # noqa: F403
from .descent import *  # noqa: F403
from .gated import *  # noqa: F403
from .layerwise import *  # noqa: F403
from .moments import *  # noqa: F403
from .noise import *  # noqa: F403
from .orthogonal import *  # noqa: F403
from .periodic import *  # noqa: F403
from .rectifiers import *  # noqa: F403
from .schedule_free import *  # noqa: F403
from .self_gated import *  # noqa: F403
from .shrinks import *  # noqa: F403
from .sigmoids import *  # noqa: F403
from .signs import *  # noqa: F403

UPDATES = descent, adaptive, moments, signs, schedule_free, layerwise, orthogonal
ACTIVATIONS = sigmoids, rectifiers, self_gated, shrinks, periodic, gated

__all__ = [name for family in (*UPDATES, *ACTIVATIONS, noise) for name in family.__all__]


def __dir__() -> list[str]:
    return __all__
