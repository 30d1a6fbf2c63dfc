"""Accepts connections within the limits of the process, and survives a shortage of files."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import cast

from gputel.web.server.open_connections import AcceptedConnection, OpenConnections, Peer

log = logging.getLogger("gputel.web")

_SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_AT_ONCE = 64  # connections accepted before other work gets its turn
_REST_S = 0.2  # wait before the next try in a shortage
_LOG_S = 60.0


class Acceptor:
    """Listens on bound sockets until it is closed. ``make`` makes the protocol of a connection."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make: Callable[[], AcceptedConnection],
        open_connections: OpenConnections,
        context: ssl.SSLContext | None,
    ) -> None:
        self.sockets = list(sockets)
        self._make = make
        self._open = open_connections
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._logged_at = float("-inf")

    def start(self, backlog: int) -> None:
        """Begin to listen."""
        for sock in self.sockets:
            sock.listen(backlog)
            self._loop.add_reader(sock, self._accept, sock)

    def close(self) -> None:
        """Stop listening. Accepted connections go on, unfinished TLS handshakes are cancelled."""
        for sock in self.sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self.sockets = []
        if self._context is not None:
            for task in self._opening:
                task.cancel()

    async def closed(self) -> None:
        """Wait until all accepted connections are open."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(listening, error)
                return
            sock.setblocking(False)
            peer = self._open.enter(sock, address[0])
            task = self._loop.create_task(self._open_connection(sock, peer))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open_connection(self, sock: socket.socket, peer: Peer) -> None:
        def make() -> asyncio.BaseProtocol:
            connection = self._make()
            connection.crowded = peer.crowded
            connection.left = lambda: self._open.leave(peer)
            peer.connection = connection
            return cast(asyncio.BaseProtocol, connection)

        patience_s = self._open.head_s if self._context is not None else None
        try:
            await self._loop.connect_accepted_socket(
                make, sock, ssl=self._context, ssl_handshake_timeout=patience_s
            )
        except OSError as error:  # including errors of TLS
            self._open.leave(peer)
            log.debug("a connection from %s was not opened: %s", peer.client, error)
        except BaseException:
            self._open.leave(peer)
            raise

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Stop accepting for a moment: the socket stays readable and would keep the CPU busy."""
        self._loop.remove_reader(listening)
        self._loop.call_later(_REST_S, self._resume, listening)
        if error.errno in _SHORTAGE:
            self._open.make_room()
        now = self._loop.time()
        if now - self._logged_at >= _LOG_S:
            self._logged_at = now
            log.warning(
                "cannot accept connections (%s), with %d open: idle ones are closed before the "
                "next try",
                error.strerror,
                self._open.count,
            )

    def _resume(self, listening: socket.socket) -> None:
        if listening in self.sockets:
            self._loop.add_reader(listening, self._accept, listening)
