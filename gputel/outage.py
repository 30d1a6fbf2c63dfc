"""The log lines about a server that is away: one when it goes, and one when it is back."""

from __future__ import annotations

import logging
import re
import time

from gputel.errors import BrokerNotTrusted, Forbidden, GputelError, Unauthorized

_NUMBER = re.compile(r"\d+")
_REFUSALS = (BrokerNotTrusted, Unauthorized, Forbidden)
_MOST_REASONS = 10  # logged for one outage


class Outage:
    """Whether one server is away, shared by all that use the server.

    Further failures are logged only if their reason is new.
    """

    def __init__(self, log: logging.Logger, subject: str, what: str = "is away") -> None:
        self._log = log
        self._subject = subject
        self._what = what
        self._since: float | None = None  # monotonic seconds
        self._error = ""
        self._logged: set[str] = set()

    def begins(self, error: GputelError) -> None:
        """A request to the server failed."""
        if self._since is None:
            self._since, self._logged = time.monotonic(), set()
        self._error = error.message
        reason = _NUMBER.sub(
            "", error.message
        )  # a reason with another pid, port or size is the same
        if reason not in self._logged and len(self._logged) < _MOST_REASONS:
            if isinstance(error, _REFUSALS):
                text = "%s is there, but cannot be used: %s"
            elif self._logged:
                text = f"%s still {self._what}, now for this reason: %s"
            else:
                text = f"%s {self._what}, trying again until it is back: %s"
            self._logged.add(reason)
            self._log.warning(text, self._subject, error.message)

    async def check(self) -> str | None:
        """The reason while the outage lasts, else None: a check of the process's health."""
        return None if self._since is None else self._error

    def ends(self) -> None:
        """A request to the server worked."""
        if self._since is not None:
            away_s = time.monotonic() - self._since
            self._since = None
            self._log.info("%s is back after %.1f s", self._subject, away_s)
