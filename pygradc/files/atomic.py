"""Atomic file writes: whole or not at all. The library writes files only through this module.

The content is written to a temporary file in the same folder, flushed to disk, and renamed over the
target in one step; the folder is flushed too, where the system allows it. A kill, or a power
failure, at any moment leaves the old file or the new one. An ordinary failure leaves nothing else
behind; a kill may leave a file `.pygradc-*.part`, which is never read.
A symbolic link is preserved: its target is replaced. The target keeps its permissions and, if we
may set them, its owner and group; a new file gets what `open` would give it. Other hard links to
it keep the old content. Anything but a regular file, such as a pipe or /dev/null, is written to
directly.
Cost: two flushes to disk, some milliseconds.
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
        OSError: it can't be written, and is unchanged; the message names `path`. An exception of a
            signal handler propagates unchanged.
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
    """Does the error come from a system call: has it an errno, and the type that belongs to it? A
    signal handler may raise an OSError too, such as TimeoutError("too late").
    """
    number = error.errno
    return number is not None and type(error) is type(OSError(number, error.strerror))


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


def _target(name: str) -> str:
    """Resolve symbolic links in `name`."""
    if not os.path.basename(name):
        _fail(errno.EISDIR if name else errno.ENOENT)
    target = os.path.realpath(name)
    if os.path.islink(target):  # a cycle of links
        _fail(errno.ELOOP)
    return target


def _status(target: str) -> os.stat_result | None:
    """The file's status; None if there is no file yet. OSError if it isn't writable."""
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
    """Copy owner, group and permissions; permissions last, since chown may clear some bits."""
    if hasattr(os, "chown"):
        for owner, group in ((before.st_uid, -1), (-1, before.st_gid)):
            with contextlib.suppress(PermissionError):
                os.chown(draft, owner, group)
    os.chmod(draft, stat.S_IMODE(before.st_mode))


def _flush_folder(folder: str) -> None:
    """Flush the folder, so that the rename is on disk. Windows, and some file systems, can't."""
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
