"""What an ingest was asked to read: files, directories, patterns, standard input."""

from __future__ import annotations

import glob
import os
import select
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gputel.cli.ingest.rejects import SUFFIX
from gputel.errors import SourceError
from gputel.sources.bytes.open import open_bytes
from gputel.sources.dcgm.header import read_header

STANDARD_INPUT = Path("-")
_ENDINGS = (".csv", ".gz", ".zst")
_SPOOL_BYTES = 1024 * 1024
_LOOK_S = 0.1


@dataclass(frozen=True)
class Input:
    """One thing to read. What is no regular file is ``piped``: spooled to disk before it is read.

    ``name`` is what people and the store know it by.
    """

    path: Path
    piped: bool = False

    @property
    def name(self) -> str:
        """The path, or what standard input is called."""
        return "standard input" if self.path == STANDARD_INPUT else str(self.path)

    @property
    def rejects_path(self) -> Path:
        """Where its rejects are kept unless another place is named."""
        return Path(("stdin" if self.path == STANDARD_INPUT else self.path.name) + SUFFIX)


def find_inputs(given: Sequence[Path]) -> tuple[list[Input], list[SourceError]]:
    """What the arguments of a command line stand for, in order, each once; and what is wrong.

    A directory stands for the .csv, .gz and .zst files in it, but for rejects files, by name; a
    pattern that names no file stands for the files that match it. The header of each regular file
    is checked.
    """
    found: dict[Path, Input] = {}
    wrong: list[SourceError] = []
    for path in given:
        try:
            files = _files_of(path)
        except SourceError as error:
            wrong.append(error)
            continue
        for file in dict.fromkeys(files):
            try:
                found[file] = _checked(file)
            except SourceError as error:
                wrong.append(error)
    return list(found.values()), wrong


def _files_of(path: Path) -> list[Path]:
    if path == STANDARD_INPUT:
        return [path]
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
        found = [path / name for name in names if _is_data(name)]
        if not found:
            raise SourceError(f"{path}: is a directory without .csv, .gz or .zst files in it")
        return found
    if not path.exists() and glob.has_magic(str(path)):
        matching = glob.glob(str(path), recursive=True)  # noqa: PTH207 - absolute too
        found = [Path(name) for name in sorted(matching)]
        if not found:
            raise SourceError(f"{path}: no file matches; check the pattern")
        return [each for each in found if each.is_file()]
    return [path]


def _is_data(name: str) -> bool:
    return name.lower().endswith(_ENDINGS) and not name.endswith(SUFFIX)


def _checked(path: Path) -> Input:
    if path == STANDARD_INPUT or (path.exists() and stat.S_ISFIFO(path.stat().st_mode)):
        return Input(path, piped=True)
    check_file(path)
    return Input(path)


def check_file(path: Path) -> None:
    """Raise SourceError for a file that is no DCGM CSV, before anything is started for it."""
    stream = open_bytes(path)
    try:
        read_header(stream, path)
    finally:
        stream.close()


@contextmanager
def spooled(source: Input, stopping: threading.Event) -> Iterator[int]:
    """The descriptor of a file with what a pipe brings, for as long as the context lasts.

    The file has no name, so that nobody else opens it, and nothing is left of it after a kill.

    On disk, since a stream is known by its content, which must be read whole to be known, and since
    a chunk may have to be read again. Blocks until the pipe ends or ``stopping`` is set, which
    raises SourceError like any failure does.
    """
    with tempfile.TemporaryFile(prefix="gputel-") as spool:
        try:
            standard = source.path == STANDARD_INPUT
            descriptor = 0 if standard else os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while not stopping.is_set():
                    if not select.select([descriptor], [], [], _LOOK_S)[0]:
                        continue
                    data = os.read(descriptor, _SPOOL_BYTES)
                    if not data:
                        break
                    spool.write(data)
                spool.flush()
            finally:
                if not standard:
                    os.close(descriptor)
        except OSError as error:
            raise SourceError(
                f"{source.name}: cannot be spooled to {tempfile.gettempdir()}: {error.strerror}; "
                "free space there, or choose another place with TMPDIR"
            ) from None
        if stopping.is_set():
            raise SourceError(f"{source.name}: stopped before it had been read: nothing has landed")
        yield spool.fileno()
