"""What the log tells of a server that is away: one line when it goes, one when it is back."""

from __future__ import annotations

import logging
import re
import time

from gputel.errors import GputelError

_NUMBER = re.compile(r"\d+")
_MOST_REASONS = 10  # that one outage is told for


class Outage:
    """Of one server, as those see it that share this.

    A further failure is not logged, unless its reason is new: each reason is logged once.
    """

    def __init__(self, log: logging.Logger, subject: str, what: str = "is away") -> None:
        self._log = log
        self._subject = subject
        self._what = what
        self._since: float | None = None  # monotonic seconds
        self._error = ""
        self._told: set[str] = set()

    def begins(self, error: GputelError) -> None:
        """Something failed."""
        if self._since is None:
            self._since, self._told = time.monotonic(), set()
        self._error = error.message
        reason = _NUMBER.sub("", error.message)  # pids, ports and sizes make no other reason
        if reason not in self._told and len(self._told) < _MOST_REASONS:
            text = "%s %s, trying again until it is back: %s"
            if self._told:
                text = "%s still %s, now for this reason: %s"
            self._told.add(reason)
            self._log.warning(text, self._subject, self._what, error.message)

    async def check(self) -> str | None:
        """Why it lasts, for as long as it does: a check of the process's health."""
        return None if self._since is None else self._error

    def ends(self) -> None:
        """Something worked."""
        if self._since is not None:
            away_s = time.monotonic() - self._since
            self._since = None
            self._log.info("%s is back after %.1f s", self._subject, away_s)
