"""A file that gets its name only when it is complete."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gputel.errors import OutputFailed, UsageError
from gputel.owned_files import open_output, output_path

_WHILE_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}


@contextmanager
def complete_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which replaces ``path`` at the end, or is removed after an error.

    A pipe or a device, such as /dev/null, is written to directly. Raises UsageError for a path that
    cannot be opened, OutputFailed if the file cannot be written to its end.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with os.fdopen(open_output(path), "wb") as out:
                yield out
            return
        if path.is_dir():
            raise UsageError(f"{path}: is a directory; name a file in it")
        target = output_path(path)  # a link stays a link
        part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        try:
            with part.open("xb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        kind = OutputFailed if error.errno in _WHILE_WRITING else UsageError
        raise kind(f"{path}: cannot be written: {error.strerror or error}") from None
