"""Names like the one that was not found."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from difflib import get_close_matches

from gputel.errors import NotFound
from gputel.store.read.reader import Reader

_NEIGHBOURS = 16
_LONGEST = 200


def nearest(name: str, known: Sequence[str]) -> str | None:
    """A known name that begins with this one, or is like it, or None.

    ``known`` is sorted; only those next to it in order are compared.
    """
    place = bisect_left(known, name)
    if known[place:] and known[place].startswith(name):
        return known[place]
    beside = known[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
    found = get_close_matches(name[:_LONGEST], beside, n=1)
    return found[0] if found else None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """What stands between a refusal and where to look: a question, if something is like it."""
    found = nearest(name, known)
    return f": did you mean {found}? " if found else "; "


async def unknown_gpu(reader: Reader, uuid: str) -> NotFound:
    """The refusal of a GPU of which nothing has landed; it names the nearest that is known."""
    known = await reader.uuids_near(uuid, _NEIGHBOURS)
    return NotFound(
        f"no telemetry of GPU {uuid!r} has landed{did_you_mean(uuid, known)}"
        "GET /api/v1/gpus lists those that have some"
    )
