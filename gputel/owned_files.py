"""Open files in directories where another user may have replaced them.

A process of root that works in a user's directory must not be led elsewhere: a name there may be a
symbolic or hard link to a file of root, or a pipe that hangs. So a file is opened without following
a link, checked through its descriptor, and only then changed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_READ_BYTES = 1 << 16


@contextmanager
def opened_directory(path: Path | str, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a directory, in the open directory ``parent``; it is closed at the end.

    Raises OSError, also if the path is a link.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of a regular file that has no other name, owned by us or the directory's owner.

    With O_TRUNC it is emptied after this check. Raises OSError.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        guarded = flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path.name, guarded, mode, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
                raise _refused(path) from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        try:
            _check(path, os.fstat(descriptor), os.fstat(directory))
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(directory)


def _check(path: Path, file: os.stat_result, directory: os.stat_result) -> None:
    ours = os.geteuid()
    known = file.st_uid in (ours, directory.st_uid) or directory.st_uid == ours
    if not (stat.S_ISREG(file.st_mode) and file.st_nlink <= 1 and known):
        raise _refused(path)


def _refused(path: Path) -> OSError:
    reason = "is a link, or not a plain file of this directory's owner: look at it, and remove it"
    return OSError(errno.ELOOP, reason, str(path))


def read_small(path: Path) -> str:
    """The text of a small file, at most its first 64 KiB. Raises OSError."""
    descriptor = open_file(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _READ_BYTES).decode(errors="replace")
    finally:
        os.close(descriptor)


def output_path(path: Path) -> Path:
    """The path of a file for output, behind its link if that is a link of ours or of root.

    Whoever named it meant such a link, but not another user's, for which it raises OSError.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return path
    if not stat.S_ISLNK(status.st_mode):
        return path
    if status.st_uid not in (0, os.geteuid()):
        raise _refused(path)
    return path.resolve()


def open_output(path: Path, *, append: bool = False) -> int:
    """A descriptor to write a file for output, which is emptied unless ``append``.

    A pipe or a device may be written to as well. Raises OSError.
    """
    target = output_path(path)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    if target.exists() and not target.is_file() and not target.is_dir():
        if target.lstat().st_uid not in (0, os.geteuid()):
            raise _refused(path)
        return os.open(target, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return open_file(target, flags, 0o666)
