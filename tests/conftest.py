"""Fixtures common to all tests."""

import numpy as np
import pytest

collect_ignore = ["typing_user.py"]  # a script for type checkers: it does what they must refuse


@pytest.fixture
def rng():
    """Generator with one seed for every test and every run."""
    return np.random.default_rng(20240229)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Each dtype that gnumba computes in."""
    return np.dtype(request.param)


@pytest.fixture(params=["cpu", "parallel"])
def target(request):
    """Each target for host arrays."""
    return request.param
