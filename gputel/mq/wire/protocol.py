"""The broker's requests and replies as both ends see them; ``docs/protocol.md`` is their text.

One protocol in two encodings: JSON for people, MessagePack for gputel's own client. The structs
whose name starts with ``Json`` differ from their MessagePack twins in the payload alone, which is
text there and raw bytes here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

JSON = "application/json"
MSGPACK = "application/msgpack"

MAX_TEXT_LENGTH = 512
MAX_METADATA_BYTES = 65_536
MAX_METADATA_LEVELS = 32
MAX_METADATA_ENTRIES = 4_096
MAX_LIST = 10_000
MAX_ITEMS_BYTES = 16 * 1024 * 1024
MAX_WAIT_S = 3_600.0
MAX_TIMEOUT_S = 86_400.0
MIN_TIMEOUT_S = 0.05
MAX_TTL_S = 31_536_000.0
MAX_BYTES = 2**53

UNREADABLE = (
    *(msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError, OverflowError),
)
"""The errors of a decoder whose input is not what it should be."""

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_LENGTH)]
Key = Annotated[str, Meta(max_length=MAX_TEXT_LENGTH)]
Timeout = Annotated[float, Meta(ge=MIN_TIMEOUT_S, le=MAX_TIMEOUT_S)]
Delay = Annotated[float, Meta(ge=0, le=MAX_TIMEOUT_S)]
Ttl = Annotated[float, Meta(gt=0, le=MAX_TTL_S)]
Held = Literal["ready", "in_flight", "dead"]
Encoding = Literal["text", "base64"]


class OutgoingMessage(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message as its producer sends it. Without an id, the broker makes one.

    It is ready ``delay_s`` after it was accepted, and dropped when it is still ready, or delayed,
    after ``ttl_s``; None: never.
    """

    id: Text | None = None
    key: Key = ""
    payload: bytes
    metadata: dict[str, Any] = {}
    delay_s: Delay = 0.0
    ttl_s: Ttl | None = None


ABSENT = msgspec.Raw()
"""A field that a message was sent without."""


class IncomingMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    """The same as the broker reads it: the metadata is checked before it is decoded."""

    id: Text | None = None
    key: Key = ""
    payload: bytes
    metadata: msgspec.Raw = ABSENT
    delay_s: Delay = 0.0
    ttl_s: Ttl | None = None


class JsonIncomingMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    """The same in JSON. A payload that is no string is stored as its compact JSON text."""

    id: Text | None = None
    key: Key = ""
    payload: msgspec.Raw
    encoding: Encoding = "text"
    metadata: msgspec.Raw = ABSENT
    delay_s: Delay = 0.0
    ttl_s: Ttl | None = None


class PublishResult(Struct, omit_defaults=True):
    """What became of one published message.

    ``held`` says where the queue holds the message whose id was published again; ``code`` and
    ``message`` say why one was refused.
    """

    id: str
    state: Literal["accepted", "duplicate", "refused"]
    held: Held | None = None
    code: str | None = None
    message: str | None = None


class Delivery(Struct):
    """A message as its consumer receives it."""

    id: str
    key: str
    payload: bytes
    metadata: dict[str, Any]
    lease: str
    attempts: int


class DeliveryOut(Struct):
    """The same as the broker sends it: the metadata as it was stored."""

    id: str
    key: str
    payload: bytes
    metadata: msgspec.Raw
    lease: str
    attempts: int


class JsonDelivery(Struct):
    """The same in JSON."""

    id: str
    key: str
    payload: str
    encoding: Encoding
    metadata: msgspec.Raw
    lease: str
    attempts: int


class Ack(Struct, forbid_unknown_fields=True):
    """A message that was processed. Without a lease, whichever delivery is in flight."""

    id: Text
    lease: str | None = None


class ConsumeBody(Struct, forbid_unknown_fields=True):
    """What a consume may carry: acks, done before it waits."""

    ack: Annotated[list[Ack], Meta(max_length=MAX_LIST)]


class Nack(Struct, forbid_unknown_fields=True):
    """A message given back: at once, after a delay, or to the dead letters."""

    id: Text
    lease: str | None = None
    delay_s: Delay = 0.0
    reason: str = ""
    dead: bool = False


class Extend(Struct, forbid_unknown_fields=True):
    """A lease that shall run out ``visibility_timeout_s`` from now; default: the broker's."""

    id: Text
    lease: str | None = None
    visibility_timeout_s: Timeout | None = None


class ItemResult(Struct, omit_defaults=True):
    """What became of one ack, nack or extend; ``code`` and ``message`` say why it failed."""

    id: str
    ok: bool
    code: str | None = None
    message: str | None = None


class Consumed(Struct):
    """The reply of a consume that carried acks: a result for each, then the deliveries."""

    acks: list[ItemResult]
    messages: list[Delivery]


class Lookup(Struct, forbid_unknown_fields=True):
    """A message that somebody asks for."""

    id: Text


class Holding(Struct):
    """Where the queue holds the message of an id; None: it does not hold it."""

    id: str
    held: Held | None


class QueueOptions(Struct, forbid_unknown_fields=True):
    """What a queue can be declared with; what is left out stays as it is."""

    ordered_keys: bool | UnsetType = UNSET


class Peeked(Struct):
    """A message that is next, as it is shown; ``age_s`` since the publish.

    ``metadata`` is None where it cannot be shown.
    """

    id: str
    key: str
    metadata: dict[str, Any] | None
    state: str
    attempts: int
    age_s: float
    payload_bytes: int
    payload: bytes | None


class Deleted(Struct):
    """A queue that was deleted, and how many messages with it."""

    name: str
    purged: int


class DeadLetterSelection(Struct, forbid_unknown_fields=True):
    """Which dead letters to replay or purge: one, some, or all."""

    id: Text | None = None
    ids: Annotated[list[Text], Meta(max_length=MAX_LIST)] | None = None
    all: bool = False


class ErrorReply(Struct, omit_defaults=True):
    """Every refusal. ``results`` is there when a list of messages was accepted in part.

    ``acks`` is there when a consume carried acks: they were done all the same.
    """

    code: str
    message: str
    results: list[PublishResult] | None = None
    acks: list[ItemResult] | None = None
