"""Blocks that no signal handler interrupts."""

import contextlib
import itertools
import signal
import sys
import threading
import time

import pytest
from interrupts import interrupted_at

from gnumba._signals import uninterrupted

POSIX = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers as POSIX has them")


class CameError(Exception):
    """Exception raised by the handlers here."""


def come(number, frame):
    """A handler that raises."""
    raise CameError(number)


@pytest.fixture
def raising():
    """Signals with a handler that raises; what they had before is put back."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGALRM") if hasattr(signal, name)]
    former = {number: signal.signal(number, come) for number in numbers}
    yield numbers
    for number, before in former.items():
        assert signal.getsignal(number) is come
        signal.signal(number, before)


def noted(done, numbers):
    """A block that signals come to."""
    with uninterrupted():
        for number in numbers:
            signal.raise_signal(number)
            done.append(number)
    done.append("not reached")


def test_the_block_ends_first(raising):
    """For every signal with a handler; each handler runs once, and its error comes out."""
    for number in (signal.SIGINT, *raising):
        done = []
        with pytest.raises((KeyboardInterrupt, CameError)):
            noted(done, [number] * 3)
        assert done == [number] * 3


def test_several_signals(raising):
    """All handlers run; errors are chained."""
    with pytest.raises(CameError) as caught:
        noted([], raising)
    found, error = set(), caught.value
    while error is not None:
        found.add(error.args[0])
        error = error.__context__
    assert found == set(raising)


def failing(numbers):
    """A block that raises after those signals."""
    with uninterrupted():
        for number in numbers:
            signal.raise_signal(number)
        raise ValueError("mine")


def test_an_error_of_the_block(raising):
    """Comes out where no signal came; is the context of the handler's where one did."""
    with pytest.raises(ValueError, match="mine"):
        failing([])
    with pytest.raises(CameError) as caught:
        failing(raising[:1])
    assert isinstance(caught.value.__context__, ValueError)


def test_handlers_are_as_before(raising):
    """After the block, and after one within it; signals that are ignored stay so."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with uninterrupted(), uninterrupted():
        pass
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    with pytest.raises(CameError):
        signal.raise_signal(raising[0])


def test_nested(raising):
    """The outermost block ends first."""
    done = []

    def work():
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(raising[0])
                done.append("inner")
            done.append("outer")

    with pytest.raises(CameError):
        work()
    assert done == ["inner", "outer"]


def test_in_another_thread():
    """Only the main thread has handlers: nothing to do, and no error."""
    found = []

    def work():
        with uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_at_every_bytecode_of_the_block_itself(raising):
    """Entering, inside, leaving: half a block never runs, and every signal still finds its handler."""
    file, handler = sys.modules[uninterrupted.__module__].__file__, signal.getsignal(signal.SIGINT)
    for k in itertools.count():
        done = []

        def work(done=done):
            with uninterrupted():
                done.append(1)
                done.append(2)

        reached = interrupted_at(k, work, file)
        assert done in ([], [1, 2])
        for number in (signal.SIGINT, *raising):
            with pytest.raises((KeyboardInterrupt, CameError)):
                signal.raise_signal(number)
            signal.signal(number, come if number in raising else handler)
        if not reached:
            break
    assert k > 100


@POSIX
def test_a_timer_at_any_moment(raising):
    """Hundreds of alarms, 0 to 200 µs after the block begins."""
    halves = 0
    for k in range(400):
        done = []
        with contextlib.suppress(CameError):
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + k * 5e-7)
            with uninterrupted():
                done.append(1)
                for _ in range(500):
                    pass
                done.append(2)
            while True:  # until it comes; sleep() may begin just after it came
                time.sleep(1e-4)
        halves += len(done) == 1
    assert halves == 0
