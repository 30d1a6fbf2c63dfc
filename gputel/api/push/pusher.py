"""From the body of a push to a message in the queue."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from gputel import metrics
from gputel.api.push.bodies import coding_of, format_of, make_intake, unpack
from gputel.api.push.checks import check, check_days
from gputel.api.push.formats import PushFormat
from gputel.api.push.records import ParsedPush, RejectedRecord, apart
from gputel.config.settings import ApiSettings
from gputel.errors import (
    BrokerUnavailable,
    Busy,
    IdempotencyKeyReused,
    JournalFull,
    PayloadTooLarge,
    QueueFull,
    RequestError,
    StoreUnavailable,
)
from gputel.model import record_batch
from gputel.model.checksum import sealed
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.mq.wire.ids import new_id
from gputel.store.write.admission import Admission
from gputel.store.write.push_keys import PushKeys
from gputel.threads import PUSHES

Taker = TypeVar("Taker")

_WAIT_S = 1.0  # in the broker, for room in the queue
_PATIENCE_S = 10.0  # with a broker that does not answer
_KEY_WAIT_S = 10.0  # for a session with Postgres
_PASSED_ON = (QueueFull, JournalFull, Busy, PayloadTooLarge)


@dataclass(frozen=True)
class Pushed:
    """The result of a push. There is no message if no record was accepted."""

    accepted: int
    rejects: list[RejectedRecord]
    message_id: str | None = None


@dataclass(frozen=True)
class _PreparedPush:
    payload: bytes
    checked: ParsedPush
    digest: bytes  # of the body


class Pusher:
    """Takes pushes. An API has one."""

    def __init__(
        self, queue: QueueClient, keys: PushKeys, settings: ApiSettings, admission: Admission
    ) -> None:
        self._queue = queue
        self._keys = keys
        self._settings = settings
        self._admission = admission
        self._intake = make_intake(settings)

    @property
    def most_records(self) -> int:
        """The most records of one push."""
        return self._settings.push_max_records

    async def receive(self, request: web.Request) -> bytes:
        """The body of a request as it was sent. Raises PayloadTooLarge, TooSlow and Busy."""
        return await self._intake.receive(request, self._settings.push_max_bytes)

    def check(self, parsed: ParsedPush) -> ParsedPush:
        """The records that may be stored, and the rejected ones. Uses the CPU and blocks.

        Raises BadRequest if they are of too many days.
        """
        checked = check(parsed, self._admission.now())
        check_days(checked, self._settings.push_max_days)
        return checked

    def unpack(self, packed: bytes, coding: str) -> bytes:
        """The unpacked body. Uses the CPU and blocks. Raises PayloadTooLarge and BadRequest."""
        return unpack(packed, coding, self._settings.push_max_bytes)

    async def push(self, request: web.Request, key: str | None) -> Pushed:
        """Publish the good records of the body in one message, whose id comes from ``key``.

        Raises UnsupportedMediaType, BadRequest, PayloadTooLarge, TooSlow and Busy because of the
        body; IdempotencyKeyReused; QueueFull, JournalFull and BrokerUnavailable because of the
        queue; and, if there is a key, StoreUnavailable.
        """
        kind, coding = format_of(request), coding_of(request)
        body = await self.receive(request)
        message = await PUSHES.run(self._message, body, kind, coding)
        checked = message.checked
        accepted = checked.batch.num_rows
        metrics.API_PUSHED_RECORDS.labels(result="rejected").inc(len(checked.rejects))
        if not accepted:
            return Pushed(0, checked.rejects)
        message_id = await self._message_id(key, message.digest)
        await self.publish(message_id, message.payload, accepted)
        return Pushed(accepted, checked.rejects, message_id)

    async def publish(self, message_id: str, payload: bytes, records: int) -> None:
        """Put ``records`` records into the queue in one message. A known id is not put twice.

        Raises QueueFull, JournalFull, Busy, PayloadTooLarge and BrokerUnavailable.
        """
        metadata = sealed(message_id, payload, {})
        await self._publish(OutgoingMessage(id=message_id, payload=payload, metadata=metadata))
        metrics.API_PUSHED_RECORDS.labels(result="accepted").inc(records)

    def _message(self, packed: bytes, kind: PushFormat, coding: str) -> _PreparedPush:
        body = self.unpack(packed, coding)
        now_us = time.time_ns() // 1000
        parsed = kind.parse(body, self._settings.push_max_records, now_us)
        checked = self.check(parsed)
        if not kind.one_instant:
            checked = apart(checked, now_us)
        digest = hashlib.blake2b(kind.name.encode() + b"\n", digest_size=16)
        digest.update(body)
        payload = record_batch.encode(checked.batch) if checked.batch.num_rows else b""
        return _PreparedPush(payload, checked, digest.digest())

    async def _message_id(self, key: str | None, digest: bytes) -> str:
        if key is None:
            return f"push/{new_id()}"
        name = hashlib.blake2b(key.encode(), digest_size=16)
        try:
            async with asyncio.timeout(_KEY_WAIT_S):
                known = await self._keys.digest_of(name.digest(), digest)
        except TimeoutError:
            raise StoreUnavailable("Postgres did not answer in time; try again") from None
        if known != digest:
            raise IdempotencyKeyReused(
                f"Idempotency-Key: {key!r} was used with another body before; give each body a key "
                "of its own"
            )
        return f"push/{name.hexdigest()}"

    async def _publish(self, message: OutgoingMessage) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._queue.publish([message], _WAIT_S)
        except _PASSED_ON:
            raise
        except RequestError as error:  # an error of the broker or of the connection to it
            raise BrokerUnavailable(f"the broker takes no records now: {error.message}") from error
        except TimeoutError:
            raise BrokerUnavailable("the broker did not answer in time; try again") from None


PUSHER = web.AppKey("pusher", Pusher)


def taker(request: web.Request, key: web.AppKey[Taker]) -> Taker:
    """What takes a push, such as PUSHER. Raises BrokerUnavailable if the API has no queue."""
    found = request.app.get(key)
    if found is None:
        raise BrokerUnavailable("this API has no queue to put records into")
    return found
