"""How long a server waits for its peers, and the watch over one that does not take its reply."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass

from gputel import metrics

log = logging.getLogger("gputel.web")

LEAST_BYTES_PER_S = 64 * 1024
"""A peer that sends a body or takes a reply more slowly than this on average is cut off."""

CROWDED_S = 2.0
"""A connection that gets only a refusal has this many seconds to send its request."""

_QUEUED = getattr(termios, "TIOCOUTQ", None) if sys.platform == "linux" else None
_PROBES = (
    (6, "TCP_KEEPCNT"),
    (10, "TCP_KEEPINTVL"),
    (60, "TCP_KEEPIDLE"),
)  # a dead peer is detected within 2 minutes


@dataclass(frozen=True)
class Patience:
    """How long a server waits for its peers.

    ``idle_s``: for the next request on a connection. ``refused_s``: for the rest of a refused body.
    ``head_s``: for the first head, and for the rest of each head that has begun; 0 means no limit.
    ``reply_s``: until a reply is taken, or as much of a large one as ``reply_bytes_per_s`` gives
    for that time; None means no limit.
    """

    idle_s: float = 75.0
    refused_s: float = 15.0
    head_s: float = 0.0
    reply_s: float | None = 60.0
    reply_bytes_per_s: float = 0.0


class ReplyWatch:
    """Cuts off a peer that does not take what is written to it."""

    __slots__ = ("_patience", "_timer", "_transport", "_untaken")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._untaken = 0  # bytes not taken at the last look

    def start(self, transport: asyncio.Transport) -> None:
        """Watch the peer from now on: bytes for it are waiting."""
        reply_s = self._patience.reply_s
        if reply_s is not None:
            self._transport, self._untaken = transport, untaken(transport)
            self._timer = asyncio.get_running_loop().call_later(reply_s, self._look_again, reply_s)

    def stop(self) -> None:
        """Stop watching: the peer has taken all, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._transport = None

    def _look_again(self, reply_s: float) -> None:
        transport = self._transport
        if transport is None:
            return
        taken = self._untaken - untaken(transport)
        if taken < max(1, self._patience.reply_bytes_per_s * reply_s):
            metrics.HTTP_CONNECTIONS_CLOSED.labels("stuck").inc()
            peer = transport.get_extra_info("peername")
            log.info("closed a connection: its peer, %s, does not take its reply", peer)
            transport.abort()
        else:
            self.start(transport)


def untaken(transport: asyncio.Transport) -> int:
    """Bytes written that have not reached the machine of the peer, as far as known."""
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or _QUEUED is None:
        return size
    try:
        answer = fcntl.ioctl(sock.fileno(), _QUEUED, bytes(4))
    except OSError:
        return size
    return size + int.from_bytes(answer, sys.byteorder)


def probe_peer(transport: asyncio.BaseTransport) -> None:
    """Have the system check whether the machine of the peer is alive."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for value, name in _PROBES:
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
