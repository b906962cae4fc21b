"""Before a fork end threads; in the child reset what they held: locks, thread ids."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[[], None])


def before(function: Callable[[], None]) -> None:
    """Call function before each fork, on systems with fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=function)


def in_child(function: F) -> F:
    """Decorator: call function in each forked child, on systems with fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function
