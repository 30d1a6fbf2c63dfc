"""What the log tells of a server that is away: one line when it goes, one when it is back."""

from __future__ import annotations

import logging
import time

from gputel.errors import GputelError


class Outage:
    """Of one server, as those see it that share this. Failing again is no news."""

    def __init__(self, log: logging.Logger, subject: str) -> None:
        self._log = log
        self._subject = subject
        self._since: float | None = None  # monotonic seconds
        self._error = ""

    def begins(self, error: GputelError) -> None:
        """Something failed."""
        if self._since is None:
            self._since, self._error = time.monotonic(), error.message
            text = "%s is away, trying again until it is back: %s"
            self._log.warning(text, self._subject, error.message)

    async def check(self) -> str | None:
        """Why it began, for as long as it lasts: a check of the process's health."""
        return None if self._since is None else self._error

    def ends(self) -> None:
        """Something worked."""
        if self._since is not None:
            away_s = time.monotonic() - self._since
            self._since = None
            self._log.info("%s is back after %.1f s", self._subject, away_s)
