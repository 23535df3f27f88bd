"""The maths: floats in, floats out."""

from typing import TYPE_CHECKING

from .._suggest import module_getattr
from . import activations, noise, updates
from .activations import *  # noqa: F403
from .noise import *  # noqa: F403
from .updates import *  # noqa: F403

__all__ = [*activations.__all__, *noise.__all__, *updates.__all__]


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # for a type checker a module with this has every attribute
    __getattr__ = module_getattr(__name__, __dir__)
