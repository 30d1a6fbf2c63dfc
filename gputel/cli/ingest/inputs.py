"""The inputs of an ingest: files, directories, patterns, standard input.

A file is opened, and its header read, once: when the command line is read. So a wrong file is
refused before anything starts, and a file that gets another name meanwhile is still read.
"""

from __future__ import annotations

import asyncio
import glob
import os
import select
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gputel.cli.ingest.rejects import SUFFIX
from gputel.errors import SourceError
from gputel.sources.csv.open import OpenCsv, open_csv, source_name

STANDARD_INPUT = Path("-")
_ENDINGS = (".csv", ".gz", ".zst")
_MOST_OPEN = 16  # a process may open few files, and a packed one takes megabytes
_SPOOL_BYTES = 1024 * 1024
_LOOK_S = 0.1


@dataclass(frozen=True)
class Input:
    """One file to read, or a pipe (``piped``), which is spooled to disk before it is read.

    People and the store know it by its ``name``. ``file`` is set if it is open already.
    """

    path: Path
    piped: bool = False
    file: OpenCsv | None = None

    @property
    def name(self) -> str:
        """The path, or "standard input"."""
        return "standard input" if self.path == STANDARD_INPUT else str(self.path)

    @property
    def stream_source(self) -> str:
        """The name in the store."""
        return self.name if self.piped else source_name(self.path)

    @property
    def rejects_path(self) -> Path:
        """The default of --rejects."""
        return Path(("stdin" if self.path == STANDARD_INPUT else self.path.name) + SUFFIX)


def find_inputs(arguments: Sequence[Path]) -> tuple[list[Input], list[SourceError]]:
    """The inputs that the arguments of a command line name, in order, each once; and the errors.

    A directory names the .csv, .gz and .zst files in it except rejects files, in the order of their
    names; a pattern that is not the name of a file names the files that match it. The header of
    each regular file is checked; the first files stay open.
    """
    inputs: dict[Path, Input] = {}
    errors: list[SourceError] = []
    for path in arguments:
        try:
            files = _files_of(path)
        except SourceError as error:
            errors.append(error)
            continue
        for file in dict.fromkeys(files):
            if file in inputs:
                continue
            try:
                inputs[file] = _opened(file, keep=len(inputs) < _MOST_OPEN)
            except SourceError as error:
                errors.append(error)
    return list(inputs.values()), errors


def _files_of(path: Path) -> list[Path]:
    if path == STANDARD_INPUT:
        return [path]
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
        files = [path / name for name in names if _is_data(name)]
        if not files:
            raise SourceError(f"{path}: is a directory without .csv, .gz or .zst files in it")
        return files
    if not path.exists() and glob.has_magic(str(path)):
        matching = glob.glob(str(path), recursive=True)  # noqa: PTH207 - absolute too
        matches = [Path(name) for name in sorted(matching)]
        if not matches:
            raise SourceError(f"{path}: no file matches; check the pattern")
        return [each for each in matches if each.is_file()]
    return [path]


def _is_data(name: str) -> bool:
    return name.lower().endswith(_ENDINGS) and not name.endswith(SUFFIX)


def _opened(path: Path, *, keep: bool) -> Input:
    if path == STANDARD_INPUT or (path.exists() and stat.S_ISFIFO(path.stat().st_mode)):
        return Input(path, piped=True)
    file = open_csv(path)
    if keep:
        return Input(path, file=file)
    file.stream.close()
    return Input(path)


@asynccontextmanager
async def open_input(source: Input, stopping: asyncio.Event) -> AsyncIterator[OpenCsv]:
    """The CSV of an input, until the context ends; what a pipe brings is spooled first.

    Raises SourceError, also if ``stopping`` is set before the end of a pipe.
    """
    if source.piped:
        async with _spool(source, stopping) as descriptor:
            yield await asyncio.to_thread(open_csv, Path(source.name), descriptor)
    elif source.file is not None:
        yield source.file
    else:
        yield await asyncio.to_thread(open_csv, source.path)


@asynccontextmanager
async def _spool(source: Input, stopping: asyncio.Event) -> AsyncIterator[int]:
    """As ``spooled``, in a thread."""
    stopped = threading.Event()
    watcher = asyncio.ensure_future(stopping.wait())
    watcher.add_done_callback(lambda _: stopped.set())
    spool = spooled(source, stopped)
    try:
        descriptor = await asyncio.to_thread(spool.__enter__)
        try:
            yield descriptor
        finally:
            await asyncio.to_thread(spool.__exit__, None, None, None)
    finally:
        watcher.cancel()


@contextmanager
def spooled(source: Input, stopping: threading.Event) -> Iterator[int]:
    """The descriptor of a temporary file with the content of a pipe, until the context ends.

    The file has no name: nobody else can open it, and a kill leaves nothing behind. It is on disk
    because a stream is identified by its complete content, and because a chunk may be read again.
    Blocks until the pipe ends. Raises SourceError, also if ``stopping`` is set before.
    """
    spool = _spool_of(source, stopping)
    with spool:
        if stopping.is_set():
            raise SourceError(f"{source.name}: stopped before it had been read: nothing has landed")
        yield spool.fileno()


def _spool_of(source: Input, stopping: threading.Event) -> IO[bytes]:
    with ExitStack() as stack:
        try:
            spool = stack.enter_context(tempfile.TemporaryFile(prefix="gputel-", buffering=0))
            for data in _pieces(source, stopping):
                while data:
                    data = data[spool.write(data) :]
        except OSError as error:
            raise SourceError(
                f"{source.name}: cannot be spooled to {tempfile.tempdir or 'TMPDIR or /tmp'}: "
                f"{error.strerror}; free space there, or choose another place with TMPDIR"
            ) from None
        stack.pop_all()
        return spool


def _pieces(source: Input, stopping: threading.Event) -> Iterator[bytes]:
    """What a pipe brings, until it ends or ``stopping`` is set. Raises SourceError."""
    standard = source.path == STANDARD_INPUT
    try:
        descriptor = 0 if standard else os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while not stopping.is_set():
                if not select.select([descriptor], [], [], _LOOK_S)[0]:
                    continue
                data = os.read(descriptor, _SPOOL_BYTES)
                if not data:
                    break
                yield data
        finally:
            if not standard:
                os.close(descriptor)
    except OSError as error:
        raise SourceError(f"{source.name}: cannot be read: {error.strerror}") from None
