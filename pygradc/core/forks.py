"""Reset state in a forked child: locks held by threads that don't exist there, thread ids."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[[], None])


def in_child(function: F) -> F:
    """Decorator: call function in each forked child, on systems with fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function
