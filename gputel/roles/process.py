"""The process: what its roles share, and how it stops."""

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
    from gputel.mq.client import QueueClient
    from gputel.store.pool import Pool
    from gputel.web.access.access import Access
    from gputel.web.health import Health

_KEPT_FILES = 192  # for Postgres, sources, journal and brokers, whatever the servers' crowd


@dataclass
class Process:
    """What the roles of one process share."""

    settings: Settings
    broker_url: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: bool = False
    failure: BaseException | None = None
    stop_deadline: float | None = None
    pool: Pool | None = None
    own_broker: bool = False
    owner: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    )

    @cached_property
    def health(self) -> Health:
        """What makes the process ready, by name."""
        from gputel.web.health import Health

        return Health()

    @cached_property
    def access(self) -> Access:
        """Whom its servers let in. Raises ConfigError for tokens that are wrong."""
        from gputel.web.access.access import Access

        kept_files = _KEPT_FILES + self.settings.postgres.postgres_pool_size
        return Access.of(self.settings.access, kept_files)

    def check(self) -> None:
        """Read the files that its servers need, before anything starts. Raises ConfigError."""
        _ = self.access

    def queue_client(self) -> QueueClient:
        """A client of the broker that this process uses, with what that wants to be shown."""
        from gputel.mq.connect import connect

        if not self.own_broker:
            return connect(self.broker_url, token=self.settings.common.token)
        certificate = self.access.certificate
        tls = certificate.client_context() if certificate else None
        return connect(self.broker_url, token=self.access.own_token, tls=tls)

    @property
    def database(self) -> Pool:
        """The pool that the store role opened."""
        assert self.pool is not None, "a role that uses the database needs the store"
        return self.pool

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
