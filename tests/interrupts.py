"""Ctrl-C at a chosen moment."""

import contextlib
import itertools
import signal
import sys
from pathlib import Path

import gnumba as gn

PACKAGE = str(Path(gn.__file__).parent)


def interrupted_at(k, work, where=PACKAGE, event="opcode"):
    """Raise SIGINT before the k-th bytecode, or line, of files below ``where``; False if there are fewer."""
    left, tracing = itertools.count(k, -1), sys.gettrace()

    def trace(frame, kind, argument):
        if not frame.f_code.co_filename.startswith(where):
            return None
        frame.f_trace_opcodes = event == "opcode"
        if kind == event and next(left) == 0:
            signal.raise_signal(signal.SIGINT)
        return trace

    with contextlib.suppress(KeyboardInterrupt):
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(tracing)
    return next(left) < 0
