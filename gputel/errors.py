"""Every error that gputel raises on purpose, in one tree.

    GputelError
      ConfigError            a setting is missing or wrong              (exit 2)
      UsageError             the command was asked for what cannot be   (exit 2)
        PortTaken            the listening port belongs to someone else
      Stopped                a signal came while starting               (exit 0)
      SourceError            a source cannot be read as it is           (exit 1)
        StreamConflict       two different sources under one stream_id
      DecodeError            a payload is not a record batch            (never retried)
      StoreError             Postgres refused; somebody must see to it  (exit 1)
        StoreUnavailable     Postgres is away for now                   (retried)
        DataRefused          Postgres will never take this data         (never retried)
        SchemaTooNew         the database is ahead of this gputel
      RequestError           a request that cannot be answered as asked (4xx, 5xx)
        BadRequest 400 (BadExpression, QueryTooLarge), Unauthorized 401, Forbidden 403,
        HostNotAllowed 403, CrossSite 403,
        NotFound 404, UnknownMessage 404,
        NotAcceptable 406, UnsupportedMediaType 415, IdempotencyKeyReused 422,
        ExpressionFailed 422, QueryTimedOut 503, UnknownQueue 404,
        TooSlow 408, QueueNotEmpty 409, TooManyQueues 409, StaleLease 409, QueueClosed 410,
        PayloadTooLarge 413, TooManyRequests 429, QueueFull 503,
        Busy 503, JournalFull 507, JournalBroken 503
      BrokerUnavailable      the broker is away for now                 (retried)
      ApiError               the API is away, or refused a question     (exit 1)

Each has a machine-readable ``code``, the HTTP ``status`` it is answered with, the ``exit_code``
of a command that ends on it, whether trying again can help (``retriable``), and a message that
says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class GputelError(Exception):
    """Base of all. The message is written for the person who has to act on it."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False
    headers: Mapping[str, str] = MappingProxyType({})  # of the answer over HTTP

    @property
    def message(self) -> str:
        """The text that a person reads."""
        return str(self.args[0]) if self.args else self.code


class ConfigError(GputelError):
    """A setting is missing or wrong; the message names it."""

    code = "bad_setting"
    exit_code = 2


class UsageError(GputelError):
    """The command cannot do what it was asked with what it was given."""

    code = "usage"
    exit_code = 2


class PortTaken(UsageError):
    """Another process listens on the port; the message names it."""

    code = "port_taken"


class Stopped(GputelError):
    """A signal ended the process while it was starting: nothing was begun, nothing is wrong."""

    code = "stopped"
    exit_code = 0


class SourceError(GputelError):
    """A source cannot be read as it is; the message names the file and what to do."""

    code = "bad_source"


class StreamConflict(SourceError):
    """One ``stream_id`` was used for two different sources; the message names both."""

    code = "stream_conflict"
    status = 409


class DecodeError(GputelError):
    """A payload is not a record batch and never will be: dead-letter it."""

    code = "bad_payload"
    status = 400


class StoreError(GputelError):
    """Postgres refused, and goes on refusing until somebody sees to it."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """Postgres cannot be reached, or is stopping: try again later."""

    code = "store_unavailable"
    status = 503
    retriable = True


class DataRefused(StoreError):
    """Postgres will never take this data: what carries it cannot land."""

    code = "data_refused"
    status = 400


class SchemaTooNew(StoreError):
    """The database has migrations that this gputel does not know."""

    code = "schema_too_new"


class RequestError(GputelError):
    """A request that cannot be answered as asked."""

    code = "bad_request"
    status = 400


class BadRequest(RequestError):
    """The request is malformed; the message names the field."""


class BadExpression(BadRequest):
    """A PromQL expression that cannot be parsed."""

    code = "bad_data"


class QueryTooLarge(BadRequest):
    """A query that would read more than it may; the message names the limit and how to narrow."""

    code = "query_too_large"


class ExpressionFailed(RequestError):
    """A PromQL expression that the series there are do not allow."""

    code = "execution"
    status = 422


class QueryTimedOut(RequestError):
    """A query that was not done in the time that it may take; the message names the setting."""

    code = "timeout"
    status = 503
    retriable = True


class Unauthorized(RequestError):
    """No token, or a wrong one."""

    code = "unauthorized"
    status = 401
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class Forbidden(RequestError):
    """The token is known, and does not allow this."""

    code = "forbidden"
    status = 403


class HostNotAllowed(RequestError):
    """The server was called by a name that is not its own."""

    code = "host_not_allowed"
    status = 403


class CrossSite(RequestError):
    """A web page of another site wants to change something."""

    code = "cross_site"
    status = 403


class NotFound(RequestError):
    """The thing that the path names does not exist."""

    code = "not_found"
    status = 404


class NotAcceptable(RequestError):
    """The client accepts no format that the answer can have."""

    code = "not_acceptable"
    status = 406


class UnsupportedMediaType(RequestError):
    """The body is in a format, or compressed in a way, that is not read."""

    code = "unsupported_media_type"
    status = 415


class IdempotencyKeyReused(RequestError):
    """A key that names one push came with another body."""

    code = "idempotency_key_reused"
    status = 422


class UnknownMessage(RequestError):
    """The queue holds no message of this id: it was acked, or never published."""

    code = "unknown_message"
    status = 404


class UnknownQueue(RequestError):
    """The broker has no queue of this name, and does not make it for this request."""

    code = "unknown_queue"
    status = 404


class TooSlow(RequestError):
    """The body did not come in the time that it may take."""

    code = "too_slow"
    status = 408
    retriable = True


class QueueNotEmpty(RequestError):
    """The queue holds messages, and what was asked needs it to be empty."""

    code = "queue_not_empty"
    status = 409


class TooManyQueues(RequestError):
    """The broker has as many queues as it may, and all of them are in use."""

    code = "too_many_queues"
    status = 409


class StaleLease(RequestError):
    """The lease is not the message's present one: it ran out and the message moved on."""

    code = "stale_lease"
    status = 409


class QueueClosed(RequestError):
    """The queue takes no more: it is closed."""

    code = "queue_closed"
    status = 410


class PayloadTooLarge(RequestError):
    """The body, or one message, is over the limit that the message names."""

    code = "payload_too_large"
    status = 413


class TooManyRequests(RequestError):
    """One client asks more than it may; ``Retry-After`` tells when it may again."""

    code = "too_many_requests"
    status = 429
    retriable = True


class TooManyStreams(RequestError):
    """As many live streams are open as may be."""

    code = "too_many_streams"
    status = 503
    retriable = True


class QueueFull(RequestError):
    """The queue stayed full for as long as the publisher would wait."""

    code = "queue_full"
    status = 503
    retriable = True


class Busy(RequestError):
    """The bodies of other requests hold all the memory that there is for them."""

    code = "busy"
    status = 503
    retriable = True


class JournalFull(RequestError):
    """The disk under the broker's journal is full: nothing more is accepted until it is not."""

    code = "journal_full"
    status = 507
    retriable = True


class JournalBroken(RequestError):
    """The broker's journal failed for good: nothing is confirmed until the broker starts anew."""

    code = "journal_broken"
    status = 503
    retriable = True


class BrokerUnavailable(GputelError):
    """The broker cannot be reached: try again later."""

    code = "broker_unavailable"
    status = 503
    retriable = True


class ApiError(GputelError):
    """The API cannot be reached, refused the question, or broke off its answer."""

    code = "api_error"
