"""The position of a client in the stream: the id of an event, as in ``Last-Event-ID``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gputel.errors import BadRequest
from gputel.store.write.recent_landings import LandingPosition

_SNAPSHOT = r"[0-9]{1,19}:[0-9]{1,19}:[0-9,]*"
_ID = re.compile(rf"([0-9]{{1,15}})\.({_SNAPSHOT})(?:\.({_SNAPSHOT})\.([0-9]{{1,15}}))?")
_LONGEST = 6000


@dataclass(frozen=True)
class StreamPosition:
    """The client has all records up to ``position``, and ``passed`` more.

    These are the first of the records from ``position`` to the snapshot ``until`` that match the
    filters of the client.
    """

    position: LandingPosition
    until: str | None = None
    passed: int = 0

    def __str__(self) -> str:
        position = self.position
        text = f"{position.epoch}.{position.snapshot}"
        return f"{text}.{self.until}.{self.passed}" if self.until is not None else text

    @classmethod
    def parse(cls, text: str) -> StreamPosition:
        """The position that an event id stands for. Raises BadRequest if it is no event id."""
        match = _ID.fullmatch(text) if len(text) <= _LONGEST else None
        if match is None or not all(map(_is_snapshot, filter(None, match.group(2, 3)))):
            raise BadRequest(
                f"Last-Event-ID: {text[:100]!r} is no id of an event of this stream; send the id "
                "of the last event, or leave it out"
            )
        return cls(LandingPosition(int(match[1]), match[2]), match[3], int(match[4] or 0))


def _is_snapshot(text: str) -> bool:
    """Whether it is a snapshot for Postgres: ``xmin:xmax:xip,...`` in order, each below 2^63."""
    first, last, between = text.split(":")
    try:
        inside = [int(xid) for xid in between.split(",")] if between else []
    except ValueError:
        return False
    order = [int(first), *inside]
    return (
        0 < order[0] <= int(last) < 2**63
        and all(xid < int(last) for xid in inside)
        and inside == sorted(set(inside))
        and order[0] <= min(inside, default=order[0])
    )
