"""The process that roles run in: its settings, its health, and how it stops."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gputel.config.settings import Settings

if TYPE_CHECKING:
    import ssl

    from gputel.mq.client import QueueClient
    from gputel.store.pool import Pool
    from gputel.web.access.access import Access
    from gputel.web.health import Health

_RESERVED_FILES = 192  # for Postgres, sources, journal and brokers, however many clients there are


@dataclass
class Process:
    """One process."""

    settings: Settings
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: bool = False
    failure: BaseException | None = None
    stop_deadline: float | None = None  # the loop's time
    owner: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    )

    @cached_property
    def health(self) -> Health:
        """The checks that make the process ready, by name."""
        from gputel.web.health import Health

        return Health()

    @cached_property
    def access(self) -> Access:
        """Which clients its servers accept. Raises ConfigError for wrong tokens or certificates."""
        from gputel.web.access.access import Access

        files = _RESERVED_FILES + self.settings.postgres.postgres_pool_size
        return Access.of(self.settings.access, files)

    def remaining_s(self) -> float:
        """Seconds left of the drain deadline, which starts with the stop."""
        deadline_s = self.settings.common.drain_deadline_s
        if self.stop_deadline is None:
            return deadline_s
        return max(0.0, self.stop_deadline - asyncio.get_running_loop().time())

    def fail(self, failure: BaseException) -> None:
        """Stop the process because of an error in the work of a role."""
        self.failure = self.failure or failure
        self.stopping.set()


@dataclass(frozen=True)
class BrokerAddress:
    """A broker (or several) and what a client needs to reach it."""

    url: str
    token: str | None
    tls: ssl.SSLContext | None = None

    def client(self) -> QueueClient:
        """A client, to be used as an async context manager."""
        from gputel.mq.connect import connect

        return connect(self.url, token=self.token, tls=self.tls)


@dataclass(frozen=True)
class Services:
    """What the roles that have started offer to those that start after them."""

    broker: BrokerAddress
    pool: Pool | None = None

    @property
    def database(self) -> Pool:
        """The pool that the store role offers."""
        assert self.pool is not None, "a role that uses the database needs the store"
        return self.pool
