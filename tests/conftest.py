"""Fixtures common to all tests."""

import gc

import numpy as np
import pytest

collect_ignore = ["typing_user.py"]  # a script for type checkers: it does what they must refuse


@pytest.fixture(scope="module", autouse=True)
def small_collections():
    """Collections of garbage look through what the tests of a module make, not through all there is.

    Compilers and other libraries hold some million objects.
    """
    gc.collect()
    gc.freeze()


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
