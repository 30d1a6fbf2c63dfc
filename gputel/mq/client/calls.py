"""Calls to one broker: a request and its decoded reply, or the error that the broker answers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import msgspec

from gputel.errors import (
    BrokerNotTrusted,
    BrokerUnavailable,
    Forbidden,
    GputelError,
    QueueClosed,
    QueueFull,
    RequestError,
    Unauthorized,
)
from gputel.failures import tls_failure
from gputel.mq.client.http import HttpClient, HttpRequest, Late
from gputel.mq.wire.protocol import MSGPACK, UNREADABLE, ErrorReply, ItemResult, PublishResult

T = TypeVar("T")

_GRACE_S = 30.0  # added to the wait that the request asks for
_HEADERS = {"Content-Type": MSGPACK, "Accept": MSGPACK}
_ERRORS: dict[str, type[GputelError]] = {kind.code: kind for kind in RequestError.__subclasses__()}
_ERROR = msgspec.msgpack.Decoder(ErrorReply)
_JSON_ERROR = msgspec.json.Decoder(ErrorReply)


class PublishIncomplete(QueueFull):
    """The queue was full or closed before all were accepted; ``results`` has one for each."""

    def __init__(self, message: str, results: list[PublishResult]) -> None:
        super().__init__(message)
        self.results = results


class ConsumeEnded(QueueClosed):
    """The queue is closed and empty; ``acks`` has the results of the acks sent with the consume."""

    def __init__(self, message: str, acks: list[ItemResult]) -> None:
        super().__init__(message)
        self.acks = acks


class Calls:
    """Calls to the broker at one address, in MessagePack. Raises ValueError for a wrong one."""

    def __init__(
        self, url: str, token: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.wire = HttpClient(url, {**_HEADERS, **shown}, tls)

    async def call(
        self,
        path: str,
        arguments: Mapping[str, str | int | float | None],
        body: bytes | None,
        reading: msgspec.msgpack.Decoder[T],
        *,
        waits_s: float = 0.0,
        again: bool = False,
        late: Late | None = None,
        method: str | None = None,
    ) -> T:
        """GET without a body, else POST, or as ``method`` says; an argument of None is left out.

        ``waits_s`` is how long the broker may wait before it answers, ``again`` whether it may
        receive the request twice. Raises BrokerUnavailable, or the error that the broker answers.
        """
        query = [f"{name}={_text(a)}" for name, a in arguments.items() if a is not None]
        target = f"{path}?{'&'.join(query)}" if query else path
        verb = method or ("GET" if body is None else "POST")
        request = HttpRequest(verb, target, body or b"", again)
        try:
            status, reply = await self.wire.exchange(request, waits_s + _GRACE_S, late)
        except TimeoutError:
            raise BrokerUnavailable(f"the broker at {self._url} did not answer in time") from None
        except (OSError, UnicodeError) as error:
            if failure := tls_failure(self._url, error):
                raise BrokerNotTrusted(f"the broker cannot be asked: {failure}") from None
            raise BrokerUnavailable(f"cannot reach the broker at {self._url}: {error}") from None
        if status >= 400:
            self._refused(status, reply)
        try:
            return reading.decode(reply)
        except UNREADABLE as error:
            raise self.misunderstood(error) from None

    def misunderstood(self, why: object) -> BrokerUnavailable:
        """The error for a reply that cannot be read; another try may work."""
        return BrokerUnavailable(
            f"the reply of {self._url} cannot be read, it may not be a broker: {why}"
        )

    async def each(
        self,
        items: Sequence[object],
        path: str,
        arguments: Mapping[str, str | int | float | None],
        body: bytes,
        reading: msgspec.msgpack.Decoder[list[T]],
        *,
        waits_s: float = 0.0,
        again: bool = False,
    ) -> list[T]:
        """A call whose reply has one result for each item."""
        results = await self.call(path, arguments, body, reading, waits_s=waits_s, again=again)
        if len(results) != len(items):
            raise self.misunderstood(f"{len(results)} results for {len(items)} items")
        return results

    def _refused(self, status: int, body: bytes) -> NoReturn:
        error = _error_reply(body)
        if error is None or error.code not in _ERRORS:
            text = error.message if error else f"status {status}"
            raise BrokerUnavailable(f"the broker at {self._url} answered {status}: {text}")
        if error.results and any(result.state != "refused" for result in error.results):
            raise PublishIncomplete(error.message, error.results)
        if error.acks is not None and error.code == QueueClosed.code:
            raise ConsumeEnded(error.message, error.acks)
        kind = _ERRORS[error.code]
        if kind in (Unauthorized, Forbidden):
            raise kind(f"the broker at {self._url} refuses: {error.message}")
        raise kind(error.message)


def _error_reply(body: bytes) -> ErrorReply | None:
    decoder: Any
    for decoder in (_JSON_ERROR, _ERROR):
        try:
            reply: ErrorReply = decoder.decode(body)
        except UNREADABLE:
            continue
        return reply
    return None


def _text(argument: str | int | float) -> str:
    if isinstance(argument, str):
        return quote(argument, safe="")
    return (
        f"{argument:.6f}".rstrip("0").rstrip(".") if isinstance(argument, float) else f"{argument}"
    )
