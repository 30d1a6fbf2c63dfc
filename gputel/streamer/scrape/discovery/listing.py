"""What a discovery found, and who finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gputel.streamer.scrape.discovery.kinds import TargetGroup

MOST_BYTES = 16 << 20
"""Of a list of targets."""


class Listing(NamedTuple):
    """Target groups; of the parts with a problem, the last good ones."""

    groups: tuple[TargetGroup, ...]
    problem: str = ""


class Lister(Protocol):
    """Looks for targets in one source."""

    async def look(self) -> Listing:
        """The present targets. Raises SourceError or ConfigError if there is no list at all."""
        ...


def joined(problems: Sequence[str]) -> str:
    """The first problem, and how many others there are."""
    if len(problems) < 2:
        return "".join(problems)
    return f"{problems[0]} (and {len(problems) - 1} more problems)"
