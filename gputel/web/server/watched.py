"""What is read from files, and read again when they have changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from gputel.errors import ConfigError

log = logging.getLogger("gputel.web")
T = TypeVar("T")

_LOOK_S = 1.0  # between two looks at whether the files have changed


class Watched(Generic[T]):
    """What ``read`` makes of the files; files that became wrong change nothing.

    ``read`` raises ConfigError for wrong files, at first to whoever makes this. ``kept`` is what
    the log says then, ``told`` what it says of files that were read anew.
    """

    def __init__(
        self, paths: Sequence[Path], read: Callable[[], T], kept: str, told: Callable[[T], str]
    ) -> None:
        self._paths = paths
        self._read = read
        self._kept = kept
        self._told = told
        self._seen = self._state()
        self._value = read()
        self._look_at = time.monotonic() + _LOOK_S

    def __call__(self) -> T:
        """What it is now; looks at the files once a second at most."""
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
            log.info("%s: read anew%s", self._paths[0], self._told(self._value))

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state_of(path) for path in self._paths]


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
