"""Decodes the bodies of requests to messages, and encodes messages to the bodies of replies."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gputel.broker.requests import metadata
from gputel.broker.requests.outline import check_outline
from gputel.broker.requests.structure import TooComplex
from gputel.errors import BadRequest
from gputel.mq.core.message import LeasedMessage, QueuedMessage
from gputel.mq.wire.ids import new_id
from gputel.mq.wire.protocol import (
    ABSENT,
    JSON,
    MAX_LIST,
    MSGPACK,
    UNREADABLE,
    Ack,
    ConsumeBody,
    DeadLetterSelection,
    DeliveryOut,
    Extend,
    IncomingMessage,
    ItemResult,
    JsonDelivery,
    JsonIncomingMessage,
    Lookup,
    Nack,
    QueueOptions,
)

T = TypeVar("T", Ack, Nack, Extend, Lookup)

_RAW_NO_METADATA = msgspec.Raw(metadata.NONE)

_ENCODE = {JSON: msgspec.json.Encoder().encode, MSGPACK: msgspec.msgpack.Encoder().encode}
_LIST = Meta(max_length=MAX_LIST)
_PUBLISH_JSON = msgspec.json.Decoder(
    JsonIncomingMessage | Annotated[list[JsonIncomingMessage], _LIST]
)
_PUBLISH_MSGPACK = msgspec.msgpack.Decoder(
    IncomingMessage | Annotated[list[IncomingMessage], _LIST]
)
_FORMS: dict[type, Any] = {
    Ack: Ack | Annotated[list[Ack], _LIST],
    Nack: Nack | Annotated[list[Nack], _LIST],
    Extend: Extend | Annotated[list[Extend], _LIST],
    Lookup: Lookup | Annotated[list[Lookup], _LIST],
    ConsumeBody: ConsumeBody,
    QueueOptions: QueueOptions,
    DeadLetterSelection: DeadLetterSelection,
}
_ITEMS: dict[tuple[type, str], Any] = {
    **{(kind, JSON): msgspec.json.Decoder(form) for kind, form in _FORMS.items()},
    **{(kind, MSGPACK): msgspec.msgpack.Decoder(form) for kind, form in _FORMS.items()},
}
_QUOTES_OF_ITEM = 16  # an item has five fields at most, and three of them hold a string
_MANY_QUOTES = _QUOTES_OF_ITEM * (MAX_LIST + 1)


def encode(value: object, content_type: str) -> bytes:
    """The body of a reply in this encoding."""
    return _ENCODE[content_type](value)


def decode_publish(body: bytes, content_type: str) -> tuple[list[QueuedMessage], bool]:
    """The messages of a publish, and whether they came as a list.

    Raises BadRequest, which names the field; then nothing of the publish is accepted.
    """
    decoder: Any = _PUBLISH_MSGPACK if content_type == MSGPACK else _PUBLISH_JSON
    decoded = _decode(decoder, body, content_type)
    listed = isinstance(decoded, list)
    items: Sequence[IncomingMessage | JsonIncomingMessage] = decoded if listed else [decoded]
    messages: list[QueuedMessage] = []
    try:
        for item in items:
            messages.append(_message(item))
    except (_Unfit, UnicodeEncodeError) as error:
        unfit = (
            error if isinstance(error, _Unfit) else _Unfit("a string holds half a surrogate pair")
        )
        item_at = f"$[{len(messages)}]" if listed else "$"
        raise BadRequest(f"{unfit} - at `{item_at}{unfit.field}`") from None
    return messages, listed


def decode_items(body: bytes, content_type: str, kind: type[T]) -> tuple[list[T], bool]:
    """The items of an ack, nack, extend or held, and whether it is a list. Raises BadRequest."""
    decoded = _decode_items(kind, body, content_type)
    return (decoded, True) if isinstance(decoded, list) else ([decoded], False)


def decode_consume(body: bytes, content_type: str) -> list[Ack] | None:
    """The acks in the body of a consume; None when it has no body. Raises BadRequest."""
    if not body.strip():
        return None
    carried: ConsumeBody = _decode_items(ConsumeBody, body, content_type)
    return carried.ack


def decode_selection(body: bytes, content_type: str) -> DeadLetterSelection:
    """The dead letters that a replay or purge selects.

    Raises BadRequest unless the body selects them in exactly one way.
    """
    chosen: DeadLetterSelection = _decode_items(DeadLetterSelection, body or b"{}", content_type)
    ways = [chosen.id is not None, chosen.ids is not None, chosen.all]
    if ways.count(True) != 1:
        raise BadRequest('name the dead letters: one of "id", "ids" or "all": true')
    return chosen


def decode_options(body: bytes, content_type: str) -> QueueOptions:
    """The options of a declared queue; an empty body sets none. Raises BadRequest."""
    if not body.strip():
        return QueueOptions()
    options: QueueOptions = _decode_items(QueueOptions, body, content_type)
    return options


def encode_deliveries(
    deliveries: Sequence[LeasedMessage], content_type: str, listed: bool
) -> bytes:
    """The body of the reply to a consume: a list, or one delivery as an object."""
    built = _encodable(deliveries, content_type)
    return encode(built if listed else built[0], content_type)


def encode_consumed(
    deliveries: Sequence[LeasedMessage], content_type: str, acks: Sequence[ItemResult]
) -> bytes:
    """The body of the reply to a consume with acks: their results, and the messages."""
    return encode({"acks": acks, "messages": _encodable(deliveries, content_type)}, content_type)


def shown_metadata(message: QueuedMessage, content_type: str) -> msgspec.Raw:
    """The metadata of a message in this encoding; null when it cannot be shown."""
    show = metadata.as_msgpack if content_type == MSGPACK else metadata.as_json
    return show(message.metadata)


def payload_text(payload: bytes) -> tuple[str, str]:
    """A payload for JSON: its text and ``text``, or base64 and ``base64``."""
    try:
        return payload.decode(), "text"
    except UnicodeDecodeError:
        return b64encode(payload).decode(), "base64"


@lru_cache(maxsize=1024)  # messages that were published together have one time
def enqueued_text(unix_s: float) -> str:
    """When a message was published, for its consumers: RFC 3339."""
    seconds, microseconds = divmod(int(unix_s * 1_000_000), 1_000_000)
    return f"{_second(seconds)}.{microseconds:06d}Z"


@lru_cache(maxsize=64)
def _second(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%S}"


def _decode_items(kind: type, body: bytes, content_type: str) -> Any:
    # The JSON decoder makes all items of a list before it counts them, so count quotes first. An
    # item has at least one string, and at most five keys and three string values.
    if content_type == JSON and len(body) > _MANY_QUOTES:
        quotes = body.count(b'"') - body.count(b'\\"')
        if quotes > _MANY_QUOTES:
            raise BadRequest(f"the body is not understood: it has more than {MAX_LIST} items")
    return _decode(_ITEMS[kind, content_type], body)


def _decode(decoder: Any, body: bytes, outlined: str | None = None) -> Any:
    try:
        if outlined is not None:
            check_outline(body, outlined)
        return decoder.decode(body)
    except RecursionError:
        raise BadRequest("the body is not understood: it is nested too deep") from None
    except UNREADABLE as error:
        text = str(error) or type(error).__name__
        raise BadRequest(f"the body is not understood: {text}") from None


class _Unfit(Exception):
    """A message that cannot be accepted; ``field`` is the field with the error."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


def _message(item: IncomingMessage | JsonIncomingMessage) -> QueuedMessage:
    id_, key = item.id or new_id(), item.key or ""
    if "\0" in id_ or "\0" in key:
        raise _Unfit("id and key may not hold the character U+0000")
    binary = isinstance(item, IncomingMessage)
    payload = item.payload if isinstance(item, IncomingMessage) else _json_payload(item)
    if item.metadata is ABSENT:
        kept = metadata.NONE
    else:
        kept = _metadata(item.metadata, MSGPACK if binary else JSON)
    return QueuedMessage(id_, key, payload, kept, item.delay_s, item.ttl_s or 0.0)


def _metadata(raw: msgspec.Raw, content_type: str) -> bytes:
    try:
        return metadata.packed(raw, content_type)
    except UnicodeEncodeError:
        raise
    except TooComplex as error:
        raise _Unfit(f"metadata {error}", ".metadata") from None
    except UNREADABLE as error:
        raise _Unfit(f"metadata: {error}", ".metadata") from None


def _json_payload(item: JsonIncomingMessage) -> bytes:
    raw = bytes(item.payload)
    if not raw.startswith(b'"'):
        if item.encoding == "base64":
            raise _Unfit("a base64 payload is a string", ".payload")
        try:
            return msgspec.json.format(raw, indent=-1)
        except RecursionError:
            raise _Unfit("the payload is nested too deep", ".payload") from None
    try:
        text: str = msgspec.json.decode(raw)
        return b64decode(text, validate=True) if item.encoding == "base64" else text.encode()
    except UnicodeEncodeError:
        raise
    except (binascii.Error, ValueError) as error:
        raise _Unfit(f"the payload is not {item.encoding}: {error}", ".payload") from None


def _encodable(deliveries: Sequence[LeasedMessage], content_type: str) -> list[Any]:
    make: Any = _delivery_out if content_type == MSGPACK else _json_delivery
    return [make(delivery) for delivery in deliveries]


def _delivery_out(delivery: LeasedMessage) -> DeliveryOut:
    message, lease, attempts = delivery
    packed = message.metadata
    kept = _RAW_NO_METADATA if packed is metadata.NONE else msgspec.Raw(packed)
    enqueued = enqueued_text(message.enqueued)
    return DeliveryOut(message.id, message.key, message.payload, kept, lease, attempts, enqueued)


def _json_delivery(delivery: LeasedMessage) -> JsonDelivery:
    message, lease, attempts = delivery
    text, encoding = payload_text(message.payload)
    return JsonDelivery(
        id=message.id,
        key=message.key,
        payload=text,
        encoding="text" if encoding == "text" else "base64",
        metadata=metadata.as_json(message.metadata),
        lease=lease,
        attempts=attempts,
        enqueued=enqueued_text(message.enqueued),
    )
