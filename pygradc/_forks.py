"""What must be made anew in a child process: locks whose holders aren't there, names of threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[[], None])


def in_child(function: F) -> F:
    """Call function in each process that a fork makes, where there are forks; a decorator."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function
