"""The broker's requests and replies, for both ends; ``docs/protocol.md`` explains them.

One protocol in two encodings: JSON for people, MessagePack for gputel's own client. The structs
whose name starts with ``Json`` differ from the MessagePack ones only in the payload: text in JSON,
raw bytes in MessagePack.
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
    """A message as its producer sends it. Without an id (None or ""), the broker makes one.

    It becomes ready ``delay_s`` after the publish. If it is still ready or delayed after ``ttl_s``,
    it is dropped; None: it never expires.
    """

    id: Key | None = None
    key: Key = ""
    payload: bytes
    metadata: dict[str, Any] = {}
    delay_s: Delay = 0.0
    ttl_s: Ttl | None = None


ABSENT = msgspec.Raw()
"""The value of a field that the sender left out."""


class IncomingMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message as the broker reads it: the metadata is checked before it is decoded."""

    id: Key | None = None  # "" is an absent one
    key: Key | None = ""
    payload: bytes
    metadata: msgspec.Raw = ABSENT
    delay_s: Delay = 0.0
    ttl_s: Ttl | None = None


class JsonIncomingMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message as the broker reads it in JSON. A payload that is no string is kept as JSON."""

    id: Key | None = None
    key: Key | None = ""
    payload: msgspec.Raw
    encoding: Encoding = "text"
    metadata: msgspec.Raw = ABSENT
    delay_s: Delay = 0.0
    ttl_s: Ttl | None = None


class PublishResult(Struct, omit_defaults=True):
    """The result of one published message.

    ``held`` is the state of the message that has this id already; ``code`` and ``message`` say
    why a message was refused.
    """

    id: str
    state: Literal["accepted", "duplicate", "refused"]
    held: Held | None = None
    code: str | None = None
    message: str | None = None


class Delivery(Struct):
    """A message as its consumer receives it.

    ``enqueued`` is when it was published, in RFC 3339; "" from a broker of an earlier version.
    """

    id: str
    key: str
    payload: bytes
    metadata: dict[str, Any]
    lease: str
    attempts: int
    enqueued: str = ""


class DeliveryOut(Struct):
    """A delivery as the broker sends it: the metadata as it was stored."""

    id: str
    key: str
    payload: bytes
    metadata: msgspec.Raw
    lease: str
    attempts: int
    enqueued: str


class JsonDelivery(Struct):
    """A delivery that the broker sends in JSON."""

    id: str
    key: str
    payload: str
    encoding: Encoding
    metadata: msgspec.Raw
    lease: str
    attempts: int
    enqueued: str


class Ack(Struct, forbid_unknown_fields=True):
    """A message that was processed. Without a lease, any lease on it counts."""

    id: Text
    lease: str | None = None


class ConsumeBody(Struct, forbid_unknown_fields=True):
    """The body of a consume: acks, done before the consume waits."""

    ack: Annotated[list[Ack], Meta(max_length=MAX_LIST)]


class Nack(Struct, forbid_unknown_fields=True):
    """A message to be delivered again, at once or after a delay, or to become a dead letter."""

    id: Text
    lease: str | None = None
    delay_s: Delay = 0.0
    reason: str = ""
    dead: bool = False


class Extend(Struct, forbid_unknown_fields=True):
    """A lease that runs out ``visibility_timeout_s`` from now; default: the broker's timeout."""

    id: Text
    lease: str | None = None
    visibility_timeout_s: Timeout | None = None


class ItemResult(Struct, omit_defaults=True):
    """The result of one ack, nack or extend; ``code`` and ``message`` say why it failed."""

    id: str
    ok: bool
    code: str | None = None
    message: str | None = None


class Consumed(Struct):
    """The reply of a consume that carried acks: a result for each, then the deliveries."""

    acks: list[ItemResult]
    messages: list[Delivery]


class Lookup(Struct, forbid_unknown_fields=True):
    """A message to look up."""

    id: Text


class Holding(Struct):
    """The state of the message with an id; None when the queue does not hold it."""

    id: str
    held: Held | None


class QueueOptions(Struct, forbid_unknown_fields=True):
    """The options of a declared queue; an option that is left out stays as it is."""

    ordered_keys: bool | UnsetType = UNSET


class Peeked(Struct):
    """One of the next messages, as ``GET /peek`` shows it; ``age_s`` is since the publish.

    ``metadata`` is None when it cannot be shown.
    """

    id: str
    key: str
    metadata: dict[str, Any] | None
    state: str
    attempts: int
    age_s: float
    payload_bytes: int
    payload: bytes | None
    enqueued: str = ""


class FailedDelivery(Struct):
    """One delivery that did not end in an ack; ``at`` is Unix seconds."""

    attempt: int
    at: float
    reason: str


class DeadLetter(Struct):
    """A dead letter; ``died_at`` is Unix seconds. In a list, ``payload`` is None.

    ``metadata`` is None when it cannot be shown.
    """

    id: str
    key: str
    metadata: dict[str, Any] | None
    payload_bytes: int
    attempts: int
    reason: str
    died_at: float
    history: list[FailedDelivery]
    enqueued: str = ""
    payload: bytes | None = None


class DeadLetterPage(Struct):
    """Some of the dead letters, and how many there are."""

    total: int
    offset: int
    dead_letters: list[DeadLetter]


class Deleted(Struct):
    """A deleted queue, and how many messages were dropped with it."""

    name: str
    purged: int


class DeadLetterSelection(Struct, forbid_unknown_fields=True):
    """Which dead letters to replay or purge: one, some, or all."""

    id: Text | None = None
    ids: Annotated[list[Text], Meta(max_length=MAX_LIST)] | None = None
    all: bool = False


class ErrorReply(Struct, omit_defaults=True):
    """The body of every error. ``results`` is set when a list of messages was accepted in part.

    ``acks`` is set when a consume carried acks: these were done.
    """

    code: str
    message: str
    results: list[PublishResult] | None = None
    acks: list[ItemResult] | None = None
