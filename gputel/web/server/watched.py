"""A value that is read from files, and read again when they change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from gputel.config.file_state import FileState, state_of
from gputel.errors import ConfigError

log = logging.getLogger("gputel.web")
T = TypeVar("T")

_LOOK_S = 1.0  # between two looks at whether the files have changed


class Watched(Generic[T]):
    """The value that ``read`` makes of the files. If new files are wrong, it stays as it was.

    ``read`` raises ConfigError for wrong files; the first time, the caller of this class gets it.
    Later the log has the error and the text ``kept``. For files that were read again, the log has
    the text of ``describe``.
    """

    def __init__(
        self, paths: Sequence[Path], read: Callable[[], T], kept: str, describe: Callable[[T], str]
    ) -> None:
        self._paths = paths
        self._read = read
        self._kept = kept
        self._describe = describe
        self._seen = self._state()
        self._value = read()
        self._look_at = time.monotonic() + _LOOK_S

    def __call__(self) -> T:
        """The current value. Checks the files at most once a second."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look()
        return self._value

    def _look(self) -> None:
        seen = self._state()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._value = self._read()
        except ConfigError as error:
            log.warning("%s; %s", error.message, self._kept)
        else:
            log.info("%s: read again%s", self._paths[0], self._describe(self._value))

    def _state(self) -> list[FileState]:
        return [state_of(path) for path in self._paths]
