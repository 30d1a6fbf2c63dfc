"""The query arguments of requests, each within its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from gputel.broker.queues.queues import DEFAULT, NAME
from gputel.errors import BadRequest
from gputel.mq.wire.protocol import MAX_BYTES, MAX_LIST, MAX_TIMEOUT_S, MAX_WAIT_S, MIN_TIMEOUT_S

N = TypeVar("N", int, float)

_MAX_DIGITS = 20


@dataclass(frozen=True, eq=False)
class Argument(Generic[N]):
    """One argument: its name, its parser, and its least and greatest value."""

    name: str
    parse: Callable[[str], N]
    least: N
    greatest: N

    def of(self, query: Mapping[str, str]) -> N | None:
        """Its value, or None when it is absent. Raises BadRequest, which names it."""
        text = query.get(self.name)
        if text is None:
            return None
        try:
            value = self.parse(text)
        except ValueError:
            kind = "a whole number" if self.parse is whole_number else "a number"
            raise BadRequest(f"{self.name}: {text[:40]!r} is not {kind}") from None
        if not self.least <= value <= self.greatest:
            raise BadRequest(
                f"{self.name}: {text[:40]} is not between {self.least:g} and {self.greatest:g}"
            )
        return value


def whole_number(text: str) -> int:
    """Parse a whole number in plain digits."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(text)
    return int(text) if len(digits) <= _MAX_DIGITS else MAX_BYTES * (-2 if text[0] == "-" else 2)


def number(text: str) -> float:
    """Parse a finite number without underscores and blanks."""
    value = float(text)
    if not math.isfinite(value) or not text.isascii() or "_" in text or text != text.strip():
        raise ValueError(text)
    return value


@dataclass(frozen=True, eq=False)
class QueueArgument:
    """The argument that names a queue."""

    name: str = "queue"

    def of(self, query: Mapping[str, str]) -> str | None:
        """The name; None when it is absent or the default queue's. Raises BadRequest."""
        text = query.get(self.name)
        return None if text is None or text == DEFAULT else queue_name(text)


def queue_name(text: str) -> str:
    """Check the name of a queue. Raises BadRequest."""
    if not NAME.fullmatch(text):
        raise BadRequest(f"queue: {text[:40]!r} is not a queue name: 1 to 128 of A-Z a-z 0-9 . _ -")
    return text


QUEUE = QueueArgument()
MAX = Argument("max", whole_number, 1, MAX_LIST)
MAX_BYTES_ARGUMENT = Argument("max_bytes", whole_number, 1, MAX_BYTES)
WAIT_S = Argument("wait_s", number, 0.0, MAX_WAIT_S)
VISIBILITY_TIMEOUT_S = Argument("visibility_timeout_s", number, MIN_TIMEOUT_S, MAX_TIMEOUT_S)
OFFSET = Argument("offset", whole_number, 0, MAX_BYTES)
LIMIT = Argument("limit", whole_number, 1, 1_000)


def read(
    query: Mapping[str, str], *arguments: Argument[int] | Argument[float] | QueueArgument
) -> tuple[Any, ...]:
    """The value of each argument. If one is given twice, the first counts.

    Raises BadRequest, also for an unknown argument, so that a typing error is not ignored.
    """
    return _read(tuple(query.items()), arguments)


@lru_cache(maxsize=1024)  # clients repeat the same few queries
def _read(
    items: tuple[tuple[str, str], ...],
    arguments: tuple[Argument[int] | Argument[float] | QueueArgument, ...],
) -> tuple[Any, ...]:
    known = [argument.name for argument in arguments]
    for name, _ in items:
        if name not in known:
            takes = ", ".join(known) or "none"
            raise BadRequest(f"unknown argument {name[:40]!r}; known: {takes}")
    values = dict(reversed(items))
    return tuple(argument.of(values) for argument in arguments)
