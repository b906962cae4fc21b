"""The line of user code that an error is about, and its source text.

Frames of this package, of numpy and of the standard library are skipped: if numpy or `statistics`
is the caller, the line named is the one that called them. A place is stored as a code object and an
instruction, which costs next to nothing; its text is looked up only if an error quotes it. From
Python 3.11 on an instruction has the position of its expression; before that the line is quoted.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
from itertools import islice
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

import numpy as np


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path)) + os.sep


HERE = _folder(os.path.dirname(__file__))
_NUMPY = _folder(np.__file__)
_STANDARD = _folder(os.__file__)
_INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)


@functools.lru_cache(maxsize=4096)
def is_users_file(filename: str) -> bool:
    if filename.startswith((HERE, _NUMPY, "<frozen ", "<__array_function__")):
        return False
    if not filename.startswith(_STANDARD):
        return True
    return any(part in filename for part in _INSTALLED)


def is_users_code(code: CodeType, names: dict[str, Any]) -> bool:
    """Is this user code, in the module with these globals?

    Methods that a dataclass generates aren't: their file name is "<string>", the module has a file.
    """
    if code.co_filename == "<string>" and "__file__" in names:
        return False
    return is_users_file(code.co_filename)


def is_users(frame: FrameType) -> bool:
    return is_users_code(frame.f_code, frame.f_globals)


def users_frame(frame: FrameType | None = None) -> FrameType | None:
    """The innermost frame of user code, searched outwards from the caller or from `frame`."""
    frame = frame or sys._getframe(1)
    while frame is not None and not is_users(frame):
        frame = frame.f_back
    return frame


def users_line() -> str:
    """The innermost line of user code."""
    return _line_of(users_frame())


def line_of_thread(thread: int) -> str:
    """The innermost line of user code in another thread."""
    frame = sys._current_frames().get(thread)
    return _line_of(frame and users_frame(frame))


def _line_of(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "unknown line"


class Place(NamedTuple):
    """An instruction of user code."""

    code: CodeType
    instruction: int
    line: int
    names: dict[str, Any]  # the module's globals, for linecache to find sources in archives

    def text(self) -> str:
        """Its expression; before Python 3.11 its line; '' if there is no source."""
        found = self._expression() or self._line(self.line)
        text = " ".join(found.split()) if "\n" in found else found.strip()
        return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."

    def _line(self, number: int) -> str:
        return linecache.getline(self.code.co_filename, number, self.names)

    def _expression(self) -> str:
        if not hasattr(self.code, "co_positions"):
            return ""
        place = next(islice(self.code.co_positions(), self.instruction // 2, None), None)
        if place is None or None in place:
            return ""
        first, last, begin, end = place
        lines = [self._line(number).encode() for number in range(first, last + 1)]
        lines[-1] = lines[-1][:end]  # first the end: first and last line may be the same
        lines[0] = lines[0][begin:]
        return b"".join(lines).decode(errors="replace")


_LONGEST = 100


def here() -> Place | None:
    """The current instruction of user code."""
    frame = users_frame()
    if frame is None:
        return None
    return Place(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals)


def quoted(place: Place | None) -> str:
    return place.text() if place is not None else ""


def line_of(error: BaseException) -> str:
    """The innermost line of user code in the error's traceback."""
    found, traceback = "unknown line", error.__traceback__
    while traceback is not None:
        if is_users(traceback.tb_frame):
            found = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def end_at_users_frame(error: BaseException) -> None:
    """Truncate the error's traceback after the innermost frame of user code."""
    last: TracebackType | None = None
    entry = error.__traceback__
    while entry is not None:
        if is_users(entry.tb_frame):
            last = entry
        entry = entry.tb_next
    if last is not None:
        last.tb_next = None
