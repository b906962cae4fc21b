"""A plugin of pytest: under LeakSanitizer, blocks that nobody points to any more are an error.

`make pytest-asan` loads it. It is asked once, at the end: the compilers and drawing programs that
tests start inherit the sanitizers' runtime, and lose memory of their own when they exit.
"""

from __future__ import annotations

import ctypes
import gc
import sys

import pytest

sys.modules["torch"] = None  # type: ignore[assignment] # as if absent: it loses memory of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("memory") is not None:
            item.add_marker(pytest.mark.skip(reason="the instruments' memory would be measured"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """LeakSanitizer prints what it finds."""
    gc.collect()
    if ctypes.CDLL(None).__lsan_do_recoverable_leak_check():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
