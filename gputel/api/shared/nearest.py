"""Suggestions for a name that was not found."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from difflib import get_close_matches

from gputel.errors import NotFound
from gputel.store.read.reader import Reader

_NEIGHBOURS = 16
_LONGEST = 200


def nearest(name: str, known: Sequence[str]) -> str | None:
    """A known name that begins with ``name`` or is similar to it; None if there is none.

    ``known`` is sorted, and only its names close to the position of ``name`` are compared.
    """
    position = bisect_left(known, name)
    if known[position:] and known[position].startswith(name):
        return known[position]
    beside = known[max(0, position - _NEIGHBOURS) : position + _NEIGHBOURS]
    similar = get_close_matches(name[:_LONGEST], beside, n=1)
    return similar[0] if similar else None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The part of a message between the refusal and the advice; it may suggest a name."""
    similar = nearest(name, known)
    return f": did you mean {similar}? " if similar else "; "


async def unknown_gpu(reader: Reader, uuid: str) -> NotFound:
    """The refusal of a GPU without any record. It suggests the most similar GPU."""
    known = await reader.uuids_near(uuid, _NEIGHBOURS)
    return NotFound(
        f"no telemetry of GPU {uuid!r} has landed{did_you_mean(uuid, known)}"
        "GET /api/v1/gpus lists those that have some"
    )
