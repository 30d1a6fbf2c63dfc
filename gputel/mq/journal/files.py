"""All file system calls of the journal."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gputel.errors import UsageError
from gputel.owned_files import open_file

SUFFIX = ".journal"
_LOCK = "lock"


class JournalInUse(UsageError):
    """Another process uses the journal's directory; the message names it."""

    code = "journal_in_use"


class JournalFiles:
    """The segment files of one directory. Every call blocks; every call may raise OSError.

    A test's subclass can make any call fail, which a real disk does not do on demand.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[int, int] = {}

    def path(self, segment: int) -> Path:
        """The file of a segment."""
        return segment_path(self.directory, segment)

    def create(self, segment: int, size: int, header: bytes) -> None:
        """Make a file with ``size`` allocated bytes, and sync the file and its directory."""
        path = self.path(segment)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self.allocate(fd, size)
            os.pwrite(fd, header, 0)
            os.fsync(fd)
            self.sync_directory()
        except BaseException:
            os.close(fd)
            path.unlink()
            raise
        self._open[segment] = fd

    def reopen(self, segment: int) -> None:
        """Open an existing segment for more writes."""
        self._open[segment] = open_file(self.path(segment), os.O_RDWR)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve the blocks of a file, so that a write into it cannot run out of space."""
        os.posix_fallocate(fd, 0, size)

    def write(self, segment: int, data: bytes, offset: int) -> None:
        """Write all of ``data``."""
        left = memoryview(data)
        while left:
            written = self.pwrite(self._open[segment], left, offset)
            left, offset = left[written:], offset + written

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        """One write, possibly of a part; returns the bytes written."""
        return os.pwrite(fd, data, offset)

    def sync(self, segment: int) -> None:
        """Sync a segment to the disk."""
        self.fdatasync(self._open[segment])

    def fdatasync(self, fd: int) -> None:
        """Sync a file; every confirmation depends on this call."""
        os.fdatasync(fd)

    def sync_directory(self) -> None:
        """Sync the directory entries to the disk."""
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def release(self, segment: int) -> None:
        """Close a segment that takes no more writes."""
        fd = self._open.pop(segment, None)
        if fd is not None:
            os.close(fd)

    def remove(self, segment: int) -> None:
        """Delete a segment's file, if it is there."""
        self.release(segment)
        self.path(segment).unlink(missing_ok=True)

    def close(self) -> None:
        """Close every file."""
        for segment in list(self._open):
            self.release(segment)


def segment_path(directory: Path, segment: int) -> Path:
    """The path of a segment: its number in 16 digits, so that names sort like numbers."""
    return directory / f"{segment:016d}{SUFFIX}"


def segments_in(directory: Path) -> list[int]:
    """The numbers of the segments in a directory, ascending."""
    return sorted(int(path.stem) for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def lock_directory(directory: Path) -> int:
    """Lock a directory for this process, and make it if needed. Returns the lock's descriptor.

    Closing the descriptor, or any end of the process, unlocks it. Raises JournalInUse.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        fd = open_file(directory / _LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UsageError(f"--journal: {error.filename}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise JournalInUse(
            f"the journal in {directory} is in use by another broker: stop that one, or give "
            "this one a --journal directory of its own"
        ) from None
    return fd
