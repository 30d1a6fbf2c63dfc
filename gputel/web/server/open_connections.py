"""The open connections of a process, with limits in total and for each client."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from gputel import metrics
from gputel.config.settings import AccessSettings
from gputel.file_limit import file_limit

log = logging.getLogger("gputel.web")

SPARE = 32
"""Connections over the limits that get a refusal, and may ask for health."""

_PART = 16  # one client cannot have the last sixteenth of all connections
_CLOSED_PART = 20  # this part of the idle ones is closed together, as a search takes long
_REPORT_S = 60.0
_SWEEP_S = 15.0
_LOOK_AGAIN_S = 0.1  # after a search without an idle connection
_MOST_LOOKS = 1000


class AcceptedConnection(Protocol):
    """The protocol of a connection, as far as its limits are concerned.

    ``wire`` is its transport, also while it is being closed. If there are too many connections,
    ``crowded`` has the reason, and the peer gets one reply. ``left`` is called at the end.
    """

    crowded: str | None
    left: Callable[[], None] | None
    wire: asyncio.Transport | None

    @property
    def idle(self) -> bool:
        """Whether it can be closed without loss: no request is being handled."""

    @property
    def answered(self) -> bool:
        """Whether one of its requests has been answered."""

    @property
    def idle_since(self) -> float:
        """A number that grows with the time at which it became idle."""


class Peer:
    """One accepted connection: its socket, client and protocol."""

    __slots__ = ("client", "closing", "connection", "crowded", "sock")

    def __init__(self, sock: socket.socket, client: bytes | str, crowded: str | None) -> None:
        self.sock = sock
        self.client = client
        self.crowded = crowded  # the reason if it gets only a refusal
        self.connection: AcceptedConnection | None = None
        self.closing = False  # whether it was being closed at the last look

    @property
    def idle(self) -> bool:
        """Whether it can be closed without loss: no request is being handled."""
        return self.connection is None or self.connection.idle

    def rank(self) -> tuple[bool, float]:
        """The order in which idle ones are closed: first those without an answer, by age."""
        made = self.connection
        return (True, made.idle_since) if made is not None and made.answered else (False, 0.0)

    def end(self) -> None:
        """Close it at once."""
        wire = self.connection.wire if self.connection else None
        if wire is not None:
            wire.abort()
            return
        with suppress(OSError):  # it has ended already
            self.sock.shutdown(socket.SHUT_RDWR)  # during a TLS handshake, which fails then


class OpenConnections:
    """Counts connections. If there are too many, it closes those that have been idle for longest.

    ``most`` is the limit in total, ``most_of_client`` that of one address (in IPv6 of one network
    of 64 bits); 0 means fifteen sixteenths of ``most``. ``head_s`` is the number of seconds for a
    TLS handshake, and for the head of a request.
    """

    def __init__(self, most: int = 16_384, most_of_client: int = 0, head_s: float = 15.0) -> None:
        self.most = max(1, most)
        self.most_of_client = most_of_client or max(1, self.most - self.most // _PART)
        self.head_s = head_s
        self._peers: dict[Peer, None] = {}
        self._spare: OrderedDict[Peer, None] = OrderedDict()
        self._of_client: Counter[bytes | str] = Counter()
        self._nothing_idle_until: dict[bytes | str, float] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._reported_at = float("-inf")
        self._closed = self._refused = 0

    @classmethod
    def of(cls, settings: AccessSettings, kept_files: int) -> OpenConnections:
        """The limits in the settings. ``kept_files`` files are not for connections."""
        limit = file_limit()
        most = min(settings.connections_max, limit - min(kept_files, limit // 2))
        if most < settings.connections_max:
            log.warning(
                "this process may open %d files, so its servers take %d connections, not "
                "--connections-max %d: raise the hard limit (ulimit -Hn, LimitNOFILE)",
                limit,
                most,
                settings.connections_max,
            )
        return cls(most, settings.connections_of_client_max, settings.head_timeout_s)

    @property
    def count(self) -> int:
        """The number of open connections."""
        return len(self._peers) + len(self._spare)

    def enter(self, sock: socket.socket, address: str) -> Peer:
        """Count an accepted connection until ``leave``. Closes idle ones if there is no room."""
        client = _client(address)
        crowded = self._make_room_for(client, address)
        peer = Peer(sock, client, crowded)
        metrics.HTTP_CONNECTIONS.inc()
        if crowded:
            self._enter_spare(peer)
        else:
            self._peers[peer] = None
            self._of_client[client] += 1
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(_SWEEP_S, self._look_through)
        return peer

    def leave(self, peer: Peer) -> None:
        """Note that it is closed. May be called twice."""
        if peer in self._spare:
            del self._spare[peer]
        elif peer in self._peers:
            del self._peers[peer]
            self._of_client[peer.client] -= 1
            if not self._of_client[peer.client]:
                del self._of_client[peer.client]
        else:
            return
        metrics.HTTP_CONNECTIONS.dec()

    def make_room(self) -> None:
        """Close some idle connections of any client."""
        self._close_idle(None)

    def _enter_spare(self, peer: Peer) -> None:
        """Accept one that gets only a refusal. The oldest such one is closed if there are many."""
        self._spare[peer] = None
        self._refused += 1
        metrics.HTTP_CONNECTIONS_CLOSED.labels("refused").inc()
        if len(self._spare) > SPARE:
            self._end(next(iter(self._spare)))
        self._report()

    def _make_room_for(self, client: bytes | str, address: str) -> str | None:
        """Close idle ones if there are too many. Returns the reason if there is still no room."""
        own = self._of_client[client]
        if own >= self.most_of_client and not self._close_idle(client):
            return (
                f"{address} has {own} open connections, the limit of one client "
                "(--connections-of-client-max): use them again, or close some"
            )
        if len(self._peers) >= self.most and not self._close_idle(None):
            return (
                f"the server has {self.most} open connections, its limit "
                "(--connections-max): try again"
            )
        return None

    def _close_idle(self, client: bytes | str | None) -> int:
        now, key = asyncio.get_running_loop().time(), client or ""
        if now < self._nothing_idle_until.get(key, 0.0):
            return 0
        peers = [peer for peer in self._peers if client in (None, peer.client) and peer.idle]
        if not peers:
            if len(self._nothing_idle_until) >= _MOST_LOOKS:
                self._nothing_idle_until.clear()
            self._nothing_idle_until[key] = now + _LOOK_AGAIN_S
            return 0
        peers.sort(key=Peer.rank)
        count = max(1, len(peers) // _CLOSED_PART)
        for peer in peers[:count]:
            self._end(peer)
        self._closed += count
        metrics.HTTP_CONNECTIONS_CLOSED.labels("idle").inc(count)
        self._report()
        return count

    def _end(self, peer: Peer) -> None:
        self.leave(peer)
        peer.end()

    def _look_through(self) -> None:
        """Break off connections that cannot close: their clients do not take the last reply."""
        for peer in [*self._peers, *self._spare]:
            wire = peer.connection.wire if peer.connection else None
            if wire is not None and wire.is_closing():
                if peer.closing:
                    self._end(peer)
                peer.closing = True
        self._report()
        again = self.count or self._closed or self._refused
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(_SWEEP_S, self._look_through) if again else None

    def _report(self) -> None:
        now = asyncio.get_running_loop().time()
        if not (self._closed or self._refused) or now - self._reported_at < _REPORT_S:
            return
        client, own = next(iter(self._of_client.most_common(1)), ("", 0))
        log.warning(
            "too many connections: %d are open of %d (--connections-max), %d of them from %s, of "
            "%d (--connections-of-client-max); closed %d that were idle, refused %d",
            self.count,
            self.most,
            own,
            _shown(client) or "nobody",
            self.most_of_client,
            self._closed,
            self._refused,
        )
        self._reported_at, self._closed, self._refused = now, 0, 0


def _client(address: str) -> bytes | str:
    """The client of an address: the address, or in IPv6 its network."""
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    mapped = packed[:12] == b"\0" * 10 + b"\xff\xff"
    return socket.inet_ntoa(packed[12:]) if mapped else packed[:8]


def _shown(client: bytes | str) -> str:
    if isinstance(client, str):
        return client
    return f"{socket.inet_ntop(socket.AF_INET6, client + bytes(8))}/64"
