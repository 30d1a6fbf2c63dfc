"""Standard input, output and error, whatever is behind them: a full disk, a closed pipe, nothing.

A command whose output cannot be written ends with one line and exit code 1, once its work is done.
Standard error that cannot be written changes nothing: what it would say is lost.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from gputel.errors import OutputFailed, ReaderGone, SourceError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Waiting(io.FileIO):
    """A file that also writes all to a pipe that another program made non-blocking."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write the data, or a part of it."""
        while (written := super().write(data)) is None:
            select.select([], [self.fileno()], [])
        return written


class StandardOutput(_Waiting):
    """Standard output, which raises once if it cannot be written, and takes everything after that.

    Raises OutputFailed, and ReaderGone if it is a pipe that nobody reads.
    """

    failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write the data, or a part of it."""
        try:
            return super().write(data)
        except OSError as error:
            self.failed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self.fileno())
            if isinstance(error, BrokenPipeError):
                raise ReaderGone("nobody reads standard output any more") from None
            raise OutputFailed(f"standard output cannot be written: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)


class _StandardError(_Waiting):
    """Standard error, which drops what cannot be written."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write the data, or a part of it."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def use_safe_streams() -> StandardOutput:
    """Replace sys.stdout and sys.stderr; returns what is behind sys.stdout.

    A stream that is closed gets a descriptor of its own, so that no file or socket is taken for it:
    to read standard input, or to write standard output, is an error as before.
    """
    for stream, flags in ((sys.stdin, os.O_WRONLY), (sys.stdout, os.O_RDONLY),
                          (sys.stderr, os.O_WRONLY)):  # fmt: skip
        if stream is None:
            os.open(os.devnull, flags)  # the least number that is free: its own
    output = StandardOutput(1, "wb", closefd=False)
    sys.stdout = _text(output, sys.stdout)
    sys.stderr = _text(_StandardError(2, "wb", closefd=False), sys.stderr)
    return output


def standard_input() -> bytes:
    """All of standard input. Raises SourceError."""
    try:
        with io.FileIO(0, closefd=False) as file:
            return file.read()
    except OSError as error:
        raise SourceError(f"standard input cannot be read: {_reason(error)}") from None


def _text(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    """A text stream that writes escapes for what it cannot encode."""
    encoding = before.encoding if before else "utf-8"
    line_buffering = raw.fileno() == 2 or raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, "backslashreplace", "\n", line_buffering=line_buffering
    )
