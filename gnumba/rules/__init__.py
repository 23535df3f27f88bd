"""The maths: floats in, floats out."""

from .activations import *  # noqa: F403
from .noise import *  # noqa: F403
from .updates import *  # noqa: F403
