"""Ctrl-C in the middle of a long call: does it come out soon?

The calls that the tests choose would last for several times MOST_SECONDS, or leave something else
to be seen by, so that one which doesn't listen is noticed. How soon the exception is on a machine
that does nothing else, test_interruption.py measures.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pygradc import Value

MOST_SECONDS = 2.0  # on a machine that does other work

needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")


def slow(x: Value) -> Value:
    """Over a million rows, several seconds."""
    for _ in range(500):
        x = x.sin() + 1.0
    return x


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """The block is interrupted after so many seconds, and must end soon after that."""
    usual = signal.signal(signal.SIGALRM, signal.default_int_handler)  # as SIGINT's
    signal.setitimer(signal.ITIMER_REAL, seconds)
    due = time.perf_counter() + seconds
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
        late = time.perf_counter() - due
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, usual)
    assert late < MOST_SECONDS, f"{late} s after the signal"
