"""A plugin of pytest: under LeakSanitizer, blocks that nobody points to any more are an error.

`make pytest-asan` loads it. It is asked once, when pytest has returned: LeakSanitizer doesn't see
the memory in which Python keeps what runs. And not when its children end: the compilers and drawing
programs that tests start inherit the sanitizers' runtime, and lose memory of their own.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import multiprocessing
import os
import sys

for library in ("torch", "pandas", "jax"):  # as if absent: they lose memory of their own
    sys.modules[library] = None  # type: ignore[assignment]
sys.modules["capstone"] = None  # type: ignore[assignment] # loads a library as sanitizers forbid
sys.modules["sklearn"] = None  # type: ignore[assignment] # takes seconds, for unsanitized tests only
multiprocessing.set_start_method("forkserver")  # fork() may find the allocator locked for good


@atexit.register
def look_for_leaks() -> None:
    """LeakSanitizer prints what it finds."""
    gc.collect()
    if ctypes.CDLL(None).__lsan_do_recoverable_leak_check():
        sys.stderr.flush()
        os._exit(1)
