"""Files opened where another user may have put something else in their place.

A process of root's that works in a user's directory must not be led elsewhere: a name there may be
a link to a file of root's, a second name of it, or a pipe that hangs. So a file is opened without
following a link at its end, looked at through its descriptor, and only then changed.
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
    """A descriptor of a directory that is no link, in the ``parent`` that is open. Raises OSError.

    It is closed when the context ends.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """A descriptor of a plain file that belongs in its directory. Raises OSError.

    It has no other name, and it is ours or the directory's owner's. With O_TRUNC it is emptied
    once that is known.
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
    reason = "is a link, or no plain file of this directory's owner: look at it, and remove it"
    return OSError(errno.ELOOP, reason, str(path))


def read_small(path: Path) -> str:
    """The text of a small file, 64 KiB of it at most. Raises OSError."""
    descriptor = open_file(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _READ_BYTES).decode(errors="replace")
    finally:
        os.close(descriptor)


def output_place(path: Path) -> Path:
    """Where a file that was named for output lies, once links are followed that may be.

    A link of our own or of root's is what whoever named it meant; another user's is not. Raises
    OSError.
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
    """A descriptor to write a file that was named for output, emptied unless ``append``.

    A pipe or a device is written to as it is. Raises OSError.
    """
    place = output_place(path)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    if place.exists() and not place.is_file() and not place.is_dir():
        if place.lstat().st_uid not in (0, os.geteuid()):
            raise _refused(path)
        return os.open(place, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return open_file(place, flags, 0o666)
