"""Files that are written whole or not at all: the one place through which the library writes.

The content goes to a file beside the one that is meant, is flushed to the disk, and then takes its
name in one step; the folder is flushed too, where that can be done. A kill, or a power cut, at any
moment leaves the old file or the new one. An ordinary failure leaves nothing else behind; a kill
may leave a file `.pygradc-*.part`, which nobody reads.
A symbolic link stays one: the file it leads to is replaced. That file keeps its permissions and,
where we may set them, its owner and group; a new one gets what `open` would give it. Other hard
links to it keep the old content. What is no ordinary file, as a pipe or /dev/null, is written to.
Cost: two writes to the disk are waited for, some milliseconds.
Source: Pillai et al., All file systems are not created equal, OSDI 2014 (what must be flushed).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import NoReturn

_FOLDER_CANT_BE_FLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF}


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Make the file at `path` hold `content`, in one step.

    Raises:
        OSError: it can't be written, and is as it was; names `path`. What a signal's handler
            raises comes out as it is.
    """
    name = os.fsdecode(path)
    try:
        target = _target(name)
        before = _status(target)
        if before is None or stat.S_ISREG(before.st_mode):
            _replace(target, before, content)
        else:
            with open(target, "wb") as file:
                file.write(content)
    except OSError as error:
        if not _is_of_the_system(error):
            raise
        raise OSError(error.errno, error.strerror, name) from None


def _is_of_the_system(error: OSError) -> bool:
    """Or has a signal's handler raised it, as TimeoutError("too late"), which is an OSError? What
    the system says has a number, and the type that goes with it.
    """
    number = error.errno
    return number is not None and type(error) is type(OSError(number, error.strerror))


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


def _target(name: str) -> str:
    """Where the links of `name` lead."""
    if not os.path.basename(name):
        _fail(errno.EISDIR if name else errno.ENOENT)
    target = os.path.realpath(name)
    if os.path.islink(target):  # a circle
        _fail(errno.ELOOP)
    return target


def _status(target: str) -> os.stat_result | None:
    """None if there is no file yet. What `open` would refuse to write to is refused."""
    try:
        before = os.stat(target)
    except FileNotFoundError:
        return None
    if not os.access(target, os.W_OK):
        _fail(errno.EACCES)
    return before


def _replace(target: str, before: os.stat_result | None, content: bytes) -> None:
    folder = os.path.dirname(target)
    draft = os.path.join(folder, f".pygradc-{os.urandom(8).hex()}.part")
    mode = 0o666 if before is None else stat.S_IMODE(before.st_mode)
    try:
        with open(draft, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as file:
            if before is not None:
                _take_over(draft, before)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    _flush_folder(folder)


def _take_over(draft: str, before: os.stat_result) -> None:
    """Owner, group and permissions; these last, since a new owner may take some away."""
    if hasattr(os, "chown"):
        for owner, group in ((before.st_uid, -1), (-1, before.st_gid)):
            with contextlib.suppress(PermissionError):
                os.chown(draft, owner, group)
    os.chmod(draft, stat.S_IMODE(before.st_mode))


def _flush_folder(folder: str) -> None:
    """So that the new name is on the disk, too. Windows, and some file systems, can't."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _FOLDER_CANT_BE_FLUSHED:
            raise
