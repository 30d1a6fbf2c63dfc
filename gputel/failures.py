"""The cause of a failure, and so whether trying again can help.

    temporary   not because of the data: no connection, no memory, no space, a lock
    repairable  not because of the data, but somebody must act: a right or a table is missing
    permanent   because of the data, so it will always fail
    unclear     it may be either: gputel tries again a few times, then gives up with the reason

Only the error itself decides, not the class that a library gives it: Arrow's error for memory is a
MemoryError, an error of Postgres has an SQLSTATE, an error of the system has an errno.
SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import errno
import re
import ssl
from enum import Enum, auto

from gputel.errors import DataRefused, DecodeError, GputelError

# Lost connection; rollback (deadlock); resources: disk, memory, connections; an operator.
_TEMPORARY_CLASSES = ("08", "40", "53", "57")
_TEMPORARY_CODES = frozenset(
    {
        "25006",  # read-only transaction: a primary that has just become a standby
        "25P03",  # idle-in-transaction timeout
        "25P04",  # transaction timeout
        "55006",  # object in use
        "55P03",  # lock not available
        "58030",  # the server's disk or file system
    }
)
# Transaction state, authorization, database or schema, a right, table, column, type or function,
# an object's state, files, configuration.
_REPAIRABLE_CLASSES = ("25", "28", "3D", "3F", "42", "55", "58", "F0")
_REPAIRABLE_CODES = frozenset(
    {
        "57P04",  # the database was dropped
        "XX001",  # data corrupted
        "XX002",  # index corrupted
    }
)
# The statement may be built from the data, such as the day of a record: other rows may land.
_UNCLEAR_CODES = frozenset(
    {
        "42601",  # syntax error: a trigger of the operator may build SQL from a label
        "42P07",  # a table exists already: it may be the table of one day
    }
)
# Data exception, violated constraint, limit of the server exceeded.
_PERMANENT_CLASSES = ("22", "23", "54")

_SHORTAGES = frozenset(
    {
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EAGAIN,
        errno.EINTR,
        errno.EIO,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
    }
)
_SHORTAGE_TEXT = re.compile(
    r"can't start new thread|bad_alloc|not enough memory|cannot allocate memory|out of memory"
    r"|malloc of size|realloc of size|allocation error|resource temporarily unavailable"
    r"|too many open files|no space left",
    re.IGNORECASE,
)

_TLS_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_REASON_CHARACTERS = 500


class Cause(Enum):
    """Whether trying the same again can help; see the table above."""

    TEMPORARY = auto()
    REPAIRABLE = auto()
    PERMANENT = auto()
    UNCLEAR = auto()


def cause_of(error: BaseException) -> Cause:
    """The cause of a failure of Arrow, the system or Postgres, from any part of gputel."""
    if isinstance(error, GputelError):
        return _cause_of_own(error)
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str) and sqlstate:
        return cause_of_sqlstate(sqlstate)
    if is_short(error) or isinstance(error, (ConnectionError, TimeoutError)):
        return Cause.TEMPORARY
    return Cause.UNCLEAR


def _cause_of_own(error: GputelError) -> Cause:
    if error.retriable:
        return Cause.TEMPORARY
    if isinstance(error, (DataRefused, DecodeError)):
        return Cause.PERMANENT
    return Cause.UNCLEAR if error.__cause__ is None else cause_of(error.__cause__)


def cause_of_sqlstate(code: str) -> Cause:
    """The cause of an error of Postgres, by its SQLSTATE."""
    if code in _REPAIRABLE_CODES:
        return Cause.REPAIRABLE
    if code in _UNCLEAR_CODES:
        return Cause.UNCLEAR
    if code.startswith(_TEMPORARY_CLASSES) or code in _TEMPORARY_CODES:
        return Cause.TEMPORARY
    if code.startswith(_REPAIRABLE_CLASSES):
        return Cause.REPAIRABLE
    return Cause.PERMANENT if code.startswith(_PERMANENT_CLASSES) else Cause.UNCLEAR


def reason_of(error: BaseException) -> str:
    """What failed, in one line: for a log or a dead letter."""
    if isinstance(error, GputelError):
        return error.message
    return " ".join(f"{type(error).__name__}: {error}".split())[:_REASON_CHARACTERS]


def is_short(error: BaseException) -> bool:
    """Whether this machine is short of memory, threads, files or space for now."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SHORTAGES):
        return True
    return isinstance(error, Exception) and bool(_SHORTAGE_TEXT.search(str(error)))


def tls_failure(url: str, error: BaseException) -> str | None:
    """Why no handshake with ``url`` can succeed until somebody acts; None for another error.

    A handshake that only broke off, as with a server that stops, may succeed the next time.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {url} is not trusted ({error.verify_message}): use the host name "
            "that the certificate is for; if this machine does not know its authority, name the "
            "authority's file in SSL_CERT_FILE"
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, _TLS_ENDED):
        return f"{url} does not speak HTTPS ({error.reason}): use http://"
    return None
