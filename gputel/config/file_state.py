"""Whether a file has changed since it was looked at."""

from __future__ import annotations

from pathlib import Path

FileState = tuple[int, int, int] | None
"""Tells whether a file changed: inode, time of the last change, bytes; None: cannot be seen."""


def state_of(path: Path) -> FileState:
    """The state of the file that the path, which may be a link, leads to."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
