"""What bounds a queue, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueueLimits:
    """The bounds of a queue, and what a delivery gets when its consumer asks for nothing else."""

    max_messages: int = 100_000
    max_bytes: int = 256 * 1024 * 1024
    visibility_timeout_s: float = 30.0
    max_attempts: int = 16


@dataclass(slots=True)
class Counters:
    """What happened since the queue was made; none of them ever falls."""

    published: int = 0
    duplicates: int = 0
    delivered: int = 0
    redelivered: int = 0
    acked: int = 0
    nacked: int = 0
    lease_timeouts: int = 0  # leases that ran out
    expired: int = 0  # messages whose time to live was over
    dead_lettered: int = 0
    replayed: int = 0
    purged: int = 0
