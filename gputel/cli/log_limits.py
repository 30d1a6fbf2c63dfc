"""No cause can fill the log: repeated lines are left out, and long ones are cut."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from gputel.masking import mask
from gputel.printable import printable_lines

_EVERY_S = 60.0
_LINES = 10  # of one kind in that time, from a server that anybody can call
_MOST_KINDS = 1000
_MESSAGE_CHARS = 2_000
_TRACE_CHARS = 12_000
_SERVERS = ("gputel.web", "gputel.api", "gputel.broker", "aiohttp", "asyncio")
"""Loggers of servers: clients can cause their lines."""


class LogLimits(logging.Filter):
    """Lets one traceback of each cause a minute pass, and ten lines of each kind, all cut to size.

    A cause is an exception's type and the line that raised it. The next line of a kind says how
    many were left out before it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record; a long one is cut."""
        kind, most = _kind_of(record)
        left_out = self._left_out(kind, most) if kind is not None else 0
        if left_out is None:
            return False
        message = record.getMessage()
        if len(message) > _MESSAGE_CHARS or left_out:
            more = f" ({left_out} more like it were left out before)" if left_out else ""
            # First masked, then cut: half of a secret would not be found.
            record.msg, record.args = _cut(mask(message), _MESSAGE_CHARS) + more, ()
        if record.exc_info:
            trace = mask(logging.Formatter().formatException(record.exc_info))
            record.exc_text = printable_lines(_cut(trace, _TRACE_CHARS))
        return True

    def _left_out(self, name: Hashable, most: int) -> int | None:
        """None to leave this one out, else how many were left out since the last one written."""
        now = self._clock()
        kind = self._kinds.get(name)
        if kind is None or now - kind.since >= _EVERY_S:
            before = kind.left_out if kind else 0
            self._kinds[name] = _Kind(now)
            self._kinds.move_to_end(name)
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)
            return before
        if kind.written >= most:
            kind.left_out += 1
            return None
        kind.written += 1
        return 0


class _Kind:
    __slots__ = ("left_out", "since", "written")

    def __init__(self, since: float) -> None:
        self.since = since
        self.written = 1
        self.left_out = 0


def _kind_of(record: logging.LogRecord) -> tuple[Hashable | None, int]:
    """The key of a line's kind, and how many lines of the kind to write."""
    if record.exc_info and record.exc_info[0] is not None:
        return (record.name, record.exc_info[0], _origin(record.exc_info[1])), 1
    if record.name.startswith(_SERVERS):
        return (record.name, record.levelno, record.pathname, record.lineno), _LINES
    return None, 0


def _origin(error: BaseException | None) -> tuple[str, int]:
    trace = error.__traceback__ if error else None
    if trace is None:
        return "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno


def _cut(text: str, most: int) -> str:
    """The text, or the beginning and the end of a long one."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} … {len(text) - most} characters … {text[-most // 2 :]}"
