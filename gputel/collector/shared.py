"""The objects that the workers of one collector share."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from gputel.config.settings import CollectorSettings
from gputel.model.record_batch import PayloadLimits
from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.store.write.writer import Writer

log = logging.getLogger("gputel.collector")

LAST_CALLS_S = 2.0
"""Seconds for the last calls of a worker that ends."""

_MOST_LINES = 10


class Lines:
    """Limits the log lines that bad messages can cause; the rest is counted."""

    def __init__(self) -> None:
        self._written = self._kept_back = 0

    def write(self, text: str, *arguments: object) -> None:
        """Log an error, unless the limit is reached; ``renew`` resets it."""
        if self._written < _MOST_LINES:
            self._written += 1
            log.error(text, *arguments)
        else:
            self._kept_back += 1

    def renew(self) -> None:
        """Reset the limit; logs how many lines were left out."""
        if self._kept_back:
            log.error("and %d more messages with errors like these", self._kept_back)
        self._written = self._kept_back = 0


@dataclass(frozen=True)
class Shared:
    """Settings, client, writer and outages."""

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
        """Seconds of a message's first lease: short, as the reply that brings it may be lost."""
        return self.visibility_timeout_s / 2

    @property
    def limits(self) -> PayloadLimits:
        """The limits of a payload."""
        settings = self.settings
        return PayloadLimits(settings.payload_max_unpacked_bytes, settings.payload_max_rows)
