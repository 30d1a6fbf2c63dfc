"""Targets from a URL that answers in JSON (http_sd).

https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

import asyncio
import math

from gputel.errors import SourceError
from gputel.masking import mask_url
from gputel.streamer.scrape.discovery.groups import parse_groups
from gputel.streamer.scrape.discovery.kinds import HttpDiscovery
from gputel.streamer.scrape.discovery.listing import MOST_BYTES, Listing
from gputel.streamer.scrape.documents.parse import parse_json
from gputel.streamer.scrape.http.client import GetRequest, HttpGetter

_TIMEOUT_S = 30.0


class HttpLister:
    """Lists the targets that one URL answers with."""

    def __init__(self, discovery: HttpDiscovery, getter: HttpGetter) -> None:
        self._discovery = discovery
        self._getter = getter
        headers = {
            "Accept": "application/json",
            "X-Prometheus-Refresh-Interval-Seconds": _seconds(discovery.refresh_s),
        }
        self._request = GetRequest(
            discovery.url,
            _TIMEOUT_S,
            MOST_BYTES,
            headers=headers,
            auth=discovery.auth,
            tls=discovery.tls,
        )

    async def look(self) -> Listing:
        """The present targets. Raises SourceError or ConfigError if the answer has none."""
        answer = await self._getter.get(self._request)
        where = mask_url(self._discovery.url)
        try:
            document = await asyncio.to_thread(parse_json, answer.body)
        except ValueError as error:
            raise SourceError(f"{where}: {error}") from None
        return Listing(parse_groups(document, where))


def _seconds(seconds: float) -> str:
    """As Prometheus writes them: a whole number if it is one."""
    return str(int(seconds)) if math.floor(seconds) == seconds else str(seconds)
