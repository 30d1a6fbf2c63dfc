"""The start of a journal: lock and read its directory, then make a segment for new records."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from gputel.errors import JournalFull
from gputel.mq.journal.commits import JournalOptions, Observe
from gputel.mq.journal.files import JournalFiles, lock_directory
from gputel.mq.journal.journal import Journal
from gputel.mq.journal.records import StoredMessage, encode_header
from gputel.mq.journal.recovery import Recovery, recover
from gputel.mq.journal.room import new_header
from gputel.mq.journal.space import Entry, Segment


async def open_journal(
    directory: Path,
    options: JournalOptions,
    snapshot: Callable[[Entry], StoredMessage],
    *,
    files: JournalFiles | None = None,
    observe: Observe = lambda _commit_s, _sync_s: None,
) -> tuple[Journal, Recovery]:
    """Lock a directory, read it, and begin a new segment in it.

    The caller then passes every recovered message to ``hold`` and awaits ``ready``. Raises
    JournalInUse; UnknownFormat; JournalFull when the disk has no room for a first segment.
    """
    lock = await asyncio.to_thread(lock_directory, directory)
    used = JournalFiles(directory) if files is None else files
    try:
        recovered = await asyncio.to_thread(recover, directory)
        first = await asyncio.to_thread(_first_segment, used, recovered, options.segment_bytes)
    except BaseException:
        os.close(lock)
        raise
    journal = Journal(used, options, snapshot, observe)
    journal.begin(recovered, lock, first)
    return journal, recovered


def _first_segment(files: JournalFiles, recovered: Recovery, segment_bytes: int) -> Segment:
    for number in recovered.unused:
        files.remove(number)
    number = max([*recovered.segments, recovered.oldest - 1, 0]) + 1
    header = new_header(number, segment_bytes)
    try:
        files.create(number, header.size, encode_header(header))
    except OSError as error:
        if recovered.last is None:
            raise JournalFull(
                f"the journal needs {header.size} bytes in {files.directory} to begin with: {error}"
            ) from None
        # The last segment has a reserve: it is enough to settle all live messages.
        header, end = recovered.last
        files.reopen(header.segment)
        resumed = Segment(header)
        resumed.at = end
        return resumed
    return Segment(header)
