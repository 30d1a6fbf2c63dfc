"""What the workers of one collector share."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from gputel.config.settings import CollectorSettings
from gputel.model.record_batch import PayloadLimits
from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.store.write.writer import Writer

log = logging.getLogger("gputel.collector")

_MOST_LINES = 10


class Lines:
    """Bounds the log lines of what others can cause any number of; ``report`` counts the rest."""

    def __init__(self) -> None:
        self._written = self._kept_back = 0

    def write(self, text: str, *arguments: object) -> None:
        """Log an error, unless many have been logged since the last renewal."""
        if self._written < _MOST_LINES:
            self._written += 1
            log.error(text, *arguments)
        else:
            self._kept_back += 1

    def renew(self) -> None:
        """Allow as many lines again; tells how many were not written."""
        if self._kept_back:
            log.error("and %d more messages of which no line was written", self._kept_back)
        self._written = self._kept_back = 0


@dataclass(frozen=True)
class Shared:
    """The ends of the work, how it is bounded, and who is told of what goes wrong."""

    settings: CollectorSettings
    visibility_timeout_s: float
    client: QueueClient
    writer: Writer
    broker: Outage
    database: Outage
    machine: Outage
    lines: Lines = field(default_factory=Lines)

    @property
    def first_lease_s(self) -> float:
        """How long a message is leased until work on it is seen: a reply may be lost on the way."""
        return self.visibility_timeout_s / 2

    @property
    def limits(self) -> PayloadLimits:
        """How large a payload may be."""
        settings = self.settings
        return PayloadLimits(settings.payload_max_unpacked_bytes, settings.payload_max_rows)
