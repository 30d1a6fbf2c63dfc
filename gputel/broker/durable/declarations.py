"""The queues that clients declared, stored beside the journal for the next start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from gputel.errors import JournalFull, UsageError
from gputel.mq.journal.files import JournalFiles
from gputel.owned_files import open_file

FILE = "queues.json"
_VERSION = 1


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    queues: dict[str, bool]  # name: ordered_keys


class BadDeclarations(UsageError):
    """The file of declared queues cannot be read; the message names it."""

    code = "bad_declarations"


class Declarations:
    """A small file with the names of queues, and whether each has ordered keys."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._writing = asyncio.Lock()

    def read(self) -> dict[str, bool]:
        """The declared queues; empty without a file. Blocks. Raises BadDeclarations, OSError."""
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadDeclarations(
                f"{self._path}, which keeps the declared queues, is damaged ({error}): move it "
                "away and declare them again; no message is in it"
            ) from None
        if content.version != _VERSION:
            raise BadDeclarations(
                f"{self._path} has format version {content.version}, and this gputel knows "
                f"{_VERSION}: use a later gputel"
            )
        return content.queues

    async def keep(self, declared: Callable[[], Mapping[str, bool]]) -> None:
        """Write what ``declared`` returns, and wait until it is on the disk.

        Raises JournalFull; then the file is unchanged.
        """
        async with self._writing:
            content = msgspec.json.encode(_Content(_VERSION, dict(declared())))
            try:
                await asyncio.to_thread(self._replace, content)
            except OSError as error:
                raise JournalFull(
                    f"{self._path} cannot be written ({error}): the request was done, but "
                    "a restart will undo it; check the disk, then send the request again"
                ) from None

    def _replace(self, content: bytes) -> None:
        new = self._path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(open_file(new, flags), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        JournalFiles(self._path.parent).sync_directory()
