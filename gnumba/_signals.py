"""Blocks of Python that no signal handler interrupts: the handlers run when the block has ended.

A handler that raises, as that of Ctrl-C does, may do so between any two bytecodes of the main thread. What
must happen as a whole, such as the last part of loading a checkpoint, runs inside `uninterrupted`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

SIGNALS = tuple(map(int, signal.Signals))  # all but the real-time ones between the first and the last


class uninterrupted:  # noqa: N801
    """Defer every signal that has a handler in Python to the end of the block.

    Each handler runs once, however often its signal came, after the block has returned or raised, and
    what it raises comes out of the ``with`` statement. Only the main thread runs such handlers: in all
    others there is nothing to defer. Blocks may be nested; one takes some 30 µs, for Ctrl-C alone
    (``uninterrupted(signal.SIGINT)``) 3 µs.

    Signals without a handler in Python (SIGKILL, SIGTERM by default) act at once, as ever.

    Examples
    --------
    >>> import signal
    >>> from gnumba._signals import uninterrupted
    >>> done = []
    >>> try:
    ...     with uninterrupted():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("all of it")
    ... except KeyboardInterrupt:
    ...     done.append("then the interrupt")
    >>> done
    ['all of it', 'then the interrupt']
    """

    __slots__ = ("_active", "_former", "_numbers", "_pending")

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers or SIGNALS
        self._former: dict[int, Handler] = {}
        self._pending: dict[int, FrameType | None] = {}
        self._active = False

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        handlers = ((number, signal.getsignal(number)) for number in self._numbers)
        self._former = {number: handler for number, handler in handlers if callable(handler)}
        try:
            for number in self._former:
                signal.signal(number, self._receive)
            self._active = True  # one bytecode: up to here signals are passed on, from here on kept
        except BaseException:
            self._put_back()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._active = False
            self._put_back()
        except BaseException:  # raised by a handler that was back already
            self._put_back()
            raise
        finally:
            self._deliver()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Keep a signal, or pass it on if the block has not begun or has ended."""
        if self._active:
            self._pending[number] = frame
        else:
            self._former[number](number, frame)

    def _put_back(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _deliver(self) -> None:
        """Run the handlers of all signals that were kept, whatever those before them raise."""
        if self._pending:
            number, frame = self._pending.popitem()
            try:
                self._former[number](number, frame)
            finally:
                self._deliver()
