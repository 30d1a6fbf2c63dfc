"""Targets from files (file_sd), which are read again when they change.

Each file keeps its last good list while it is wrong, so that a file that is just being written
takes no targets away. A pattern without any file keeps the files that it had: a directory that is
not mounted is no empty list. Whoever wants no targets writes ``[]``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from gputel.config.file_state import FileState, state_of
from gputel.errors import ConfigError
from gputel.streamer.scrape.discovery.groups import parse_groups
from gputel.streamer.scrape.discovery.kinds import FileDiscovery, TargetGroup
from gputel.streamer.scrape.discovery.listing import MOST_BYTES, Listing, joined
from gputel.streamer.scrape.documents.files import read_limited
from gputel.streamer.scrape.documents.parse import parse_json, parse_yaml


@dataclass(frozen=True)
class _File:
    """What one file had when it was read last."""

    state: FileState = None
    groups: tuple[TargetGroup, ...] = ()
    problem: str = ""


class FileLister:
    """Lists the targets of all files that match the patterns."""

    def __init__(self, discovery: FileDiscovery) -> None:
        self._patterns = discovery.patterns
        self._matched: dict[Path, list[Path]] = {}
        self._files: dict[Path, _File] = {}

    async def look(self) -> Listing:
        """The present targets; only files that changed are read."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> Listing:
        problems = [problem for pattern in self._patterns if (problem := self._match(pattern))]
        paths = sorted({path for paths in self._matched.values() for path in paths})
        self._files = {path: _read(path, self._files.get(path, _File())) for path in paths}
        problems += [file.problem for file in self._files.values() if file.problem]
        groups = tuple(group for file in self._files.values() for group in file.groups)
        return Listing(groups, joined(problems))

    def _match(self, pattern: Path) -> str:
        """Find the files of a pattern. Returns the problem if there is none."""
        paths = [Path(name) for name in glob(str(pattern))]  # noqa: PTH207 (it is absolute)
        if paths or pattern not in self._matched:
            self._matched[pattern] = paths
        return "" if paths else f"{pattern}: there is no such file"


def _read(path: Path, known: _File) -> _File:
    state = state_of(path)
    if state is not None and state == known.state:
        return known
    try:
        data = read_limited(path, MOST_BYTES)
        document = parse_json(data) if path.suffix == ".json" else parse_yaml(data)
        return _File(state, parse_groups(document, str(path)))
    except ConfigError as error:
        return _File(state, known.groups, error.message)
    except ValueError as error:
        return _File(state, known.groups, f"{path}: {error}")
