"""Fixtures common to all tests."""

import gc
import signal

import numpy as np
import pytest

collect_ignore = ["typing_user.py"]  # a script for type checkers: it does what they must refuse


def pytest_configure():
    """Ctrl-C interrupts: a shell's processes in the background begin with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def small_collections():
    """Collections of garbage look through what the tests of a module make, not through all there is.

    Compilers and other libraries hold some million objects.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """A test of each dtype and each target takes them together: a kernel takes a second to compile.

    All of them, where that is what is tested: `cases.on_each_target`.
    """
    given = [name for mark in metafunc.definition.iter_markers("parametrize") for name in names_of(mark)]
    if {"dtype", "target"} <= set(metafunc.fixturenames) - set(given):
        metafunc.definition.add_marker(DTYPE_AND_TARGET)


DTYPE_AND_TARGET = pytest.mark.parametrize(
    ("dtype", "target"), [(np.dtype("float32"), "cpu"), (np.dtype("float64"), "parallel")], ids=str
)


def names_of(parametrized):
    """The arguments that a mark gives."""
    names = parametrized.args[0]
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else names


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
