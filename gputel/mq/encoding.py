"""Bodies of requests to messages, and messages to bodies of replies: the broker's side."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Meta

from gputel.errors import BadRequest
from gputel.mq.message import Delivery, Message
from gputel.mq.names import new_id
from gputel.mq.protocol import (
    JSON,
    MAX_LIST,
    MAX_METADATA_BYTES,
    MSGPACK,
    Ack,
    ConsumeBody,
    DeliveryOut,
    Extend,
    ItemResult,
    JsonDelivery,
    JsonOutgoing,
    Lookup,
    Nack,
    Outgoing,
    QueueOptions,
    Selection,
)

T = TypeVar("T", Ack, Nack, Extend, Lookup)

_NO_METADATA = b"\x80"
_RAW_NO_METADATA = msgspec.Raw(_NO_METADATA)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, OverflowError)


def _refuse_extension(code: int, _data: memoryview) -> NoReturn:
    raise msgspec.DecodeError(f"MessagePack extension type {code} is not understood")


_ENCODE = {JSON: msgspec.json.Encoder().encode, MSGPACK: msgspec.msgpack.Encoder().encode}
_LIST = Meta(max_length=MAX_LIST)
_PUBLISH_JSON = msgspec.json.Decoder(JsonOutgoing | Annotated[list[JsonOutgoing], _LIST])
_PUBLISH_MSGPACK = msgspec.msgpack.Decoder(
    Outgoing | Annotated[list[Outgoing], _LIST], ext_hook=_refuse_extension
)
_FORMS: dict[type, Any] = {
    Ack: Ack | Annotated[list[Ack], _LIST],
    Nack: Nack | Annotated[list[Nack], _LIST],
    Extend: Extend | Annotated[list[Extend], _LIST],
    Lookup: Lookup | Annotated[list[Lookup], _LIST],
    ConsumeBody: ConsumeBody,
    QueueOptions: QueueOptions,
    Selection: Selection,
}
_ITEMS: dict[tuple[type, str], Any] = {
    **{(kind, JSON): msgspec.json.Decoder(form) for kind, form in _FORMS.items()},
    **{(kind, MSGPACK): msgspec.msgpack.Decoder(form) for kind, form in _FORMS.items()},
}
_METADATA = msgspec.msgpack.Decoder(dict[str, Any])


def encode(value: object, content_type: str) -> bytes:
    """A reply's body in the encoding asked for."""
    return _ENCODE[content_type](value)


def decode_publish(body: bytes, content_type: str) -> tuple[list[Message], bool]:
    """The messages of a publish, and whether they came as a list.

    Raises BadRequest, naming the field; a publish is understood whole or refused whole.
    """
    decoder: Any = _PUBLISH_MSGPACK if content_type == MSGPACK else _PUBLISH_JSON
    decoded = _decode(decoder, body)
    listed = isinstance(decoded, list)
    items: Sequence[Outgoing | JsonOutgoing] = decoded if listed else [decoded]
    messages: list[Message] = []
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
    """The items of an ack, nack, extend or held, and whether they are a list. Raises BadRequest."""
    decoded = _decode(_ITEMS[kind, content_type], body)
    return (decoded, True) if isinstance(decoded, list) else ([decoded], False)


def decode_consume(body: bytes, content_type: str) -> list[Ack] | None:
    """The acks that a consume carries; None when it has no body. Raises BadRequest."""
    if not body.strip():
        return None
    carried: ConsumeBody = _decode(_ITEMS[ConsumeBody, content_type], body)
    return carried.ack


def decode_selection(body: bytes, content_type: str) -> Selection:
    """Which dead letters a replay or purge names. Raises BadRequest unless it is one way only."""
    chosen: Selection = _decode(_ITEMS[Selection, content_type], body or b"{}")
    ways = [chosen.id is not None, chosen.ids is not None, chosen.all]
    if ways.count(True) != 1:
        raise BadRequest('name the dead letters: one of "id", "ids" or "all": true')
    return chosen


def decode_options(body: bytes, content_type: str) -> QueueOptions:
    """The options that a queue is declared with; none in an empty body. Raises BadRequest."""
    if not body.strip():
        return QueueOptions()
    options: QueueOptions = _decode(_ITEMS[QueueOptions, content_type], body)
    return options


def encode_deliveries(deliveries: Sequence[Delivery], content_type: str, listed: bool) -> bytes:
    """The body of a consume's reply: a list, or its only delivery as one object."""
    made = _made(deliveries, content_type)
    return encode(made if listed else made[0], content_type)


def encode_consumed(
    deliveries: Sequence[Delivery], content_type: str, acks: Sequence[ItemResult]
) -> bytes:
    """The body of the reply to a consume that carried acks: their results, and a list."""
    return encode({"acks": acks, "messages": _made(deliveries, content_type)}, content_type)


def metadata_of(message: Message) -> dict[str, Any]:
    """The metadata of a message as an object."""
    return _METADATA.decode(message.metadata)


def payload_text(payload: bytes) -> tuple[str, str]:
    """A payload as JSON holds it: its text and ``text``, or base64 and ``base64``."""
    try:
        return payload.decode(), "text"
    except UnicodeDecodeError:
        return b64encode(payload).decode(), "base64"


def _decode(decoder: Any, body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except _UNREADABLE as error:
        text = str(error) or type(error).__name__
        raise BadRequest(f"the body is not understood: {text}") from None


class _Unfit(Exception):
    """A message that cannot be taken; ``field`` says which of its fields is to blame."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


def _message(item: Outgoing | JsonOutgoing) -> Message:
    id_ = new_id() if item.id is None else item.id
    if "\0" in id_ or "\0" in item.key:
        raise _Unfit("id and key may not hold the character U+0000")
    payload = item.payload if isinstance(item, Outgoing) else _json_payload(item)
    metadata = _pack_metadata(item.metadata) if item.metadata else _NO_METADATA
    return Message(id_, item.key, payload, metadata, item.delay_s, item.ttl_s or 0.0)


def _json_payload(item: JsonOutgoing) -> bytes:
    raw = bytes(item.payload)
    if not raw.startswith(b'"'):
        if item.encoding == "base64":
            raise _Unfit("a base64 payload is a string", ".payload")
        return msgspec.json.format(raw, indent=-1)
    try:
        text: str = msgspec.json.decode(raw)
        return b64decode(text, validate=True) if item.encoding == "base64" else text.encode()
    except UnicodeEncodeError:
        raise
    except (binascii.Error, ValueError) as error:
        raise _Unfit(f"the payload is not {item.encoding}: {error}", ".payload") from None


def _pack_metadata(metadata: dict[str, Any]) -> bytes:
    try:
        packed = msgspec.msgpack.encode(metadata)
        if any(isinstance(value, (dict, list)) for value in metadata.values()):
            msgspec.json.encode(metadata)
    except UnicodeEncodeError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.EncodeError) as error:
        raise _Unfit(f"metadata: {error}", ".metadata") from None
    if len(packed) > MAX_METADATA_BYTES:
        raise _Unfit(f"metadata is over {MAX_METADATA_BYTES} bytes", ".metadata")
    return packed


def _made(deliveries: Sequence[Delivery], content_type: str) -> list[Any]:
    make: Any = _delivery_out if content_type == MSGPACK else _json_delivery
    return [make(delivery) for delivery in deliveries]


def _delivery_out(delivery: Delivery) -> DeliveryOut:
    message, lease, attempts = delivery
    packed = message.metadata
    metadata = _RAW_NO_METADATA if packed is _NO_METADATA else msgspec.Raw(packed)
    return DeliveryOut(message.id, message.key, message.payload, metadata, lease, attempts)


def _json_delivery(delivery: Delivery) -> JsonDelivery:
    message, lease, attempts = delivery
    text, encoding = payload_text(message.payload)
    return JsonDelivery(
        id=message.id,
        key=message.key,
        payload=text,
        encoding="text" if encoding == "text" else "base64",
        metadata=metadata_of(message),
        lease=lease,
        attempts=attempts,
    )
