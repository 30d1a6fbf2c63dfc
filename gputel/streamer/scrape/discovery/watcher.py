"""Keeps the list of one discovery fresh, and the last good one while its source is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from gputel.backoff import pause
from gputel.errors import ConfigError, GputelError, SourceError
from gputel.masking import mask_url
from gputel.metrics import SCRAPE_DISCOVERY_FAILURES
from gputel.outage import Outage
from gputel.streamer.scrape.discovery.dns import DnsLister
from gputel.streamer.scrape.discovery.files import FileLister
from gputel.streamer.scrape.discovery.http import HttpLister
from gputel.streamer.scrape.discovery.kinds import (
    DnsDiscovery,
    EndpointSlices,
    FileDiscovery,
    HttpDiscovery,
    TargetGroup,
)
from gputel.streamer.scrape.discovery.kubernetes import EndpointLister
from gputel.streamer.scrape.discovery.listing import Lister
from gputel.streamer.scrape.http.client import HttpGetter

log = logging.getLogger("gputel.streamer")

Watchable = FileDiscovery | HttpDiscovery | DnsDiscovery | EndpointSlices
"""The kinds of discovery whose list may change."""


class Watcher:
    """One discovery of one job. ``groups`` is its present list, ``problem`` what is wrong with it.

    ``answered`` is set after the first look, even if it failed. ``changed`` is called after each
    look that changed the list, and after the first.
    """

    def __init__(
        self,
        job: str,
        discovery: Watchable,
        getter: HttpGetter,
        changed: Callable[[], None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.groups: tuple[TargetGroup, ...] = ()
        self.answered = asyncio.Event()
        self._job = job
        self._refresh_s = discovery.refresh_s
        self._lister = _lister(discovery, getter, environ)
        self._changed = changed
        self._subject = _subject(discovery)
        self.problem = f"{self._subject} has not answered yet"
        self._outage = Outage(log, f"job {job!r}: {self._subject}", "cannot list its targets")

    async def run(self, stopping: asyncio.Event) -> None:
        """Look again and again, until ``stopping`` is set."""
        while not stopping.is_set():
            await self.look()
            if await pause(self._refresh_s, stopping):
                return

    async def look(self) -> None:
        """Look once."""
        before, first = self.groups, not self.answered.is_set()
        try:
            self.groups, problem = await self._lister.look()
        except (SourceError, ConfigError) as error:
            self._fails(error)
        else:
            if problem:
                self._fails(SourceError(problem))
            else:
                self.problem = ""
                self._outage.ends()
        self.answered.set()
        if first or self.groups != before:
            self._changed()

    def _fails(self, error: GputelError) -> None:
        SCRAPE_DISCOVERY_FAILURES.labels(self._job).inc()
        self.problem = f"{self._subject} cannot list its targets: {error.message}"
        self._outage.begins(error)


def _lister(discovery: Watchable, getter: HttpGetter, environ: Mapping[str, str] | None) -> Lister:
    if isinstance(discovery, FileDiscovery):
        return FileLister(discovery)
    if isinstance(discovery, HttpDiscovery):
        return HttpLister(discovery, getter)
    if isinstance(discovery, DnsDiscovery):
        return DnsLister(discovery)
    return EndpointLister(discovery, getter, environ)


def _subject(discovery: Watchable) -> str:
    if isinstance(discovery, FileDiscovery):
        return "file_sd_configs"
    if isinstance(discovery, HttpDiscovery):
        return f"http_sd_configs {mask_url(discovery.url)}"
    if isinstance(discovery, DnsDiscovery):
        return "dns_sd_configs"
    return f"kubernetes_endpointslices {discovery.namespace}/{discovery.service}"
