"""Every error that gputel raises on purpose, in one tree; a test keeps the tree complete.

    GputelError
      ConfigError                  a setting is missing or wrong                    (exit 2)
      UsageError                   the command cannot do what its arguments say     (exit 2)
        PortTaken                  another process listens on the port
        JournalInUse               another broker uses the journal
        BadDeclarations            the journal's list of queues is damaged
      Stopped                      a signal came while the process was starting     (exit 0)
      OutputFailed                 the output of a command cannot be written        (exit 1)
        ReaderGone                 it goes to a pipe that nobody reads any more
      SourceError                  a source cannot be read                          (exit 1)
        StreamConflict 409         two different sources have one stream_id
        ScrapeFailed               a target, or a list of them, cannot be fetched   (retried)
      DecodeError 400              a payload is not a record batch                  (never retried)
      UnknownFormat                a journal that this gputel cannot read
      DeadChunk                    rows of an ingest are among the dead letters
      LandingsGone                 the store no longer has the records that a stream missed
      StoreError                   Postgres refused, and somebody must act          (exit 1)
        StoreUnavailable 503       Postgres is away for now                         (retried)
        DataRefused 400            Postgres will never take this data               (never retried)
        SchemaTooNew               the database is ahead of this gputel
      BrokerUnavailable 503        the broker is away for now                       (retried)
        BrokerNotTrusted           no TLS handshake with it can succeed
      ApiError                     the API is away, or answered with an error       (exit 1)
        ApiRefusal                 it refused the request, in its own words
        BrokenAnswer               its answer ended too early
      RequestError 400             a server cannot answer a request
        BadRequest
          BadExpression
          QueryTooLarge
        Unauthorized 401
        Forbidden 403
        HostNotAllowed 403
        CrossSite 403
        NotFound 404
        UnknownMessage 404
        UnknownQueue 404
        NotAcceptable 406
        TooSlow 408                                                                 (retried)
        QueueNotEmpty 409
        TooManyQueues 409
        StaleLease 409
        QueueClosed 410
          ConsumeEnded
        PayloadTooLarge 413
        UnsupportedMediaType 415
        IdempotencyKeyReused 422
        ExpressionFailed 422
        TooManyRequests 429                                                         (retried)
        QueryTimedOut 503                                                           (retried)
        TooManyStreams 503                                                          (retried)
        QueueFull 503                                                               (retried)
          PublishIncomplete
        Busy 503                                                                    (retried)
        JournalBroken 503                                                           (retried)
        JournalFull 507                                                             (retried)

The number is the HTTP status, which a class has from its parent if it has none of its own. Each
error has a machine-readable ``code``, the ``exit_code`` of a command that ends with it,
``retriable`` (whether trying again can help), and a message that says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class GputelError(Exception):
    """The base of all errors. Its message is for the person who has to act."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False
    headers: Mapping[str, str] = MappingProxyType({})  # of the HTTP response

    @property
    def message(self) -> str:
        """The text that a person reads."""
        return str(self.args[0]) if self.args else self.code


class ConfigError(GputelError):
    """A setting is missing or wrong; the message names it."""

    code = "bad_setting"
    exit_code = 2


class UsageError(GputelError):
    """The command cannot do what its arguments say."""

    code = "usage"
    exit_code = 2


class PortTaken(UsageError):
    """Another process listens on the port; the message names it."""

    code = "port_taken"


class Stopped(GputelError):
    """A signal ended the process while it was starting: it did no work, and nothing is wrong."""

    code = "stopped"
    exit_code = 0


class OutputFailed(GputelError):
    """The output of a command cannot be written: a full disk, or standard output that is closed."""

    code = "output_failed"


class ReaderGone(OutputFailed):
    """Standard output is a pipe that nobody reads any more, as after ``| head``; it is no news."""

    code = "reader_gone"


class SourceError(GputelError):
    """A source cannot be read; the message names the file and says what to do."""

    code = "bad_source"


class StreamConflict(SourceError):
    """Two different sources have one ``stream_id``; the message names both."""

    code = "stream_conflict"
    status = 409


class ScrapeFailed(SourceError):
    """A target, or a list of targets, cannot be fetched now; the message is a short reason."""

    code = "scrape_failed"
    retriable = True


class DecodeError(GputelError):
    """A payload is not a record batch, so its message becomes a dead letter."""

    code = "bad_payload"
    status = 400


class StoreError(GputelError):
    """Postgres refused, and will refuse again until somebody acts."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """Postgres cannot be reached, or it is stopping: try again later."""

    code = "store_unavailable"
    status = 503
    retriable = True


class DataRefused(StoreError):
    """Postgres will never take this data, so its message cannot land."""

    code = "data_refused"
    status = 400


class SchemaTooNew(StoreError):
    """The database has migrations that this gputel does not know."""

    code = "schema_too_new"


class RequestError(GputelError):
    """A request that a server cannot answer."""

    code = "bad_request"
    status = 400


class BadRequest(RequestError):
    """The request is malformed; the message names the field."""


class BadExpression(BadRequest):
    """A PromQL expression that cannot be parsed."""

    code = "bad_data"


class QueryTooLarge(BadRequest):
    """A query over a limit; the message names the limit and says how to make the query smaller."""

    code = "query_too_large"


class ExpressionFailed(RequestError):
    """A PromQL expression that cannot be evaluated for the present series."""

    code = "execution"
    status = 422


class QueryTimedOut(RequestError):
    """A query took longer than it may; the message names the setting."""

    code = "timeout"
    status = 503
    retriable = True


class Unauthorized(RequestError):
    """The request has no token, or an unknown one."""

    code = "unauthorized"
    status = 401
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class Forbidden(RequestError):
    """The token does not allow this request."""

    code = "forbidden"
    status = 403


class HostNotAllowed(RequestError):
    """The request's Host is not a name of this server."""

    code = "host_not_allowed"
    status = 403


class CrossSite(RequestError):
    """A web page of another site tried to change something."""

    code = "cross_site"
    status = 403


class NotFound(RequestError):
    """The thing that the path names does not exist."""

    code = "not_found"
    status = 404


class NotAcceptable(RequestError):
    """The client accepts none of the formats of the answer."""

    code = "not_acceptable"
    status = 406


class UnsupportedMediaType(RequestError):
    """The server cannot read the body's format or compression."""

    code = "unsupported_media_type"
    status = 415


class IdempotencyKeyReused(RequestError):
    """The idempotency key of an earlier push came with another body."""

    code = "idempotency_key_reused"
    status = 422


class UnknownMessage(RequestError):
    """The queue has no message with this id: it was acked, or never published."""

    code = "unknown_message"
    status = 404


class UnknownQueue(RequestError):
    """The broker has no queue with this name, and this request does not make one."""

    code = "unknown_queue"
    status = 404


class TooSlow(RequestError):
    """The body did not arrive in time."""

    code = "too_slow"
    status = 408
    retriable = True


class QueueNotEmpty(RequestError):
    """The queue holds messages, but the request needs an empty queue."""

    code = "queue_not_empty"
    status = 409


class TooManyQueues(RequestError):
    """The broker already has the maximum number of queues, and all of them are in use."""

    code = "too_many_queues"
    status = 409


class StaleLease(RequestError):
    """The lease has expired, and the message was delivered again or is gone."""

    code = "stale_lease"
    status = 409


class QueueClosed(RequestError):
    """The queue is closed: it takes no messages."""

    code = "queue_closed"
    status = 410


class PayloadTooLarge(RequestError):
    """The body, or one message in it, is over a limit; the error's message names the limit."""

    code = "payload_too_large"
    status = 413


class TooManyRequests(RequestError):
    """One client sends more requests than it may; ``Retry-After`` says when to try again."""

    code = "too_many_requests"
    status = 429
    retriable = True


class TooManyStreams(RequestError):
    """The maximum number of live streams is open."""

    code = "too_many_streams"
    status = 503
    retriable = True


class QueueFull(RequestError):
    """The queue stayed full for the publisher's whole wait."""

    code = "queue_full"
    status = 503
    retriable = True


class Busy(RequestError):
    """The bodies of other requests use all memory that the server has for bodies."""

    code = "busy"
    status = 503
    retriable = True


class JournalFull(RequestError):
    """The disk of the broker's journal is full: the broker accepts nothing until it has space."""

    code = "journal_full"
    status = 507
    retriable = True


class JournalBroken(RequestError):
    """The broker's journal failed: the broker confirms nothing until it is started again."""

    code = "journal_broken"
    status = 503
    retriable = True


class BrokerUnavailable(GputelError):
    """The broker cannot be reached: try again later."""

    code = "broker_unavailable"
    status = 503
    retriable = True


class BrokerNotTrusted(BrokerUnavailable):
    """The broker's certificate is not trusted, or it speaks no TLS: somebody must act."""

    code = "broker_not_trusted"
    retriable = False


class ApiError(GputelError):
    """The API cannot be reached, refused the request, or broke off its answer."""

    code = "api_error"
