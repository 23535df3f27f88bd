"""Plugin for pytest and for scripts: gnumba as on a numba that lacks some of its private names.

``GNUMBA_TESTS_WITHOUT`` names features of `numba_private`, separated by commas, or is "all".
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

NAME = "gnumba._engine.compile.numba_private"
PATH = Path(__file__).resolve().parents[1].joinpath(*NAME.split(".")).with_suffix(".py")


def load():
    """The module by itself, before gnumba is imported, which then takes it as it is."""
    spec = importlib.util.spec_from_file_location(NAME, PATH)
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def needs(*names):
    """Mark of a test of what is lost without these features."""
    from gnumba._engine.compile import numba_private

    lacking = [name for name in names if numba_private.FEATURES[name]() is None]
    return pytest.mark.skipif(bool(lacking), reason=f"this numba lacks {', '.join(lacking)}")


def absent():
    raise ImportError("not in this numba")


if wanted := os.environ.get("GNUMBA_TESTS_WITHOUT"):
    assert "gnumba" not in sys.modules
    features = load().FEATURES
    for name in features if wanted == "all" else wanted.split(","):
        features[name].find = absent
