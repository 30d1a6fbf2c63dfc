"""``connect``: makes a client of one broker or of several, depending on the URL."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from gputel.mq.client import QueueClient
from gputel.mq.wire.addresses import are_several


def connect(
    url: str | Sequence[str],
    *,
    patience_s: float = 60.0,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> QueueClient:
    """A client, to be used as an async context manager.

    A list of URLs (a list, or a text with commas) and ``dns+http://name:port`` name several
    brokers. The other arguments are those of ``QueueClient``.
    """
    kind: type[QueueClient] = QueueClient
    if are_several(url):
        from gputel.mq.fleet.client import QueueFleet  # most processes have one broker

        kind = QueueFleet
    return kind(url, patience_s=patience_s, token=token, tls=tls)
