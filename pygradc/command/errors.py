"""How a command fails: one line on stderr and an exit code; a traceback is a bug of ours.

A command raises `CommandError` for what is wrong with data or a model, `UsageError` for arguments
that don't fit each other; OSErrors need no translation. `guarded` prints them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
PIPE_CLOSED = 141  # as a shell says of a program that SIGPIPE ended


class CommandError(Exception):
    """Data or a model can't be used; the message is for the user."""

    code = FAILED


class UsageError(CommandError):
    """The arguments don't fit each other."""

    code = USAGE


def guarded(command: str, call: Callable[[], int]) -> int:
    """Run a command; returns its exit code, or that of its error, which is printed.

    Args:
        command: its name; "" for the command line itself.
    """
    try:
        try:
            return call()
        finally:
            sys.stdout.flush()  # here, where a closed pipe is no traceback
    except KeyboardInterrupt:
        say(command, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except CommandError as error:
        say(command, f"error: {error}")
        return error.code
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        say(command, f"error: {name}{error.strerror or error}")
        return FAILED


def warn(command: str, message: str) -> None:
    """One line of warning."""
    say(command, f"warning: {message}")


def say(command: str, message: str) -> None:
    """One line on stderr."""
    name = f"pygradc {command}".rstrip()
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr, flush=True)


def _discard_output() -> None:
    """Keep the interpreter from flushing stdout into the closed pipe when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
