"""Which streamer scrapes which targets, and when.

The targets of a job are spread over shards by a hash, so however many targets there are, streamers
share a few shards. All streamers that are alive compute the same owner of a shard, and all targets
of a shard are scraped at the same moments: the slots of its grid.

A shard is named after its job, its number and its targets: ``dcgm/17.3fa9c2d1``. So streamers that
list other targets under the same job, for example each its own exporter, do not take each other's
shards. If lists differ for a moment, some targets are scraped twice, but land once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gputel.streamer.scrape.jobs import ScrapeJob, Target

SHARDS = 64
"""Shards of a job."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Grid:
    """The slots of a shard. Slot n begins ``interval_us * n + offset_us`` after the Unix epoch."""

    interval_us: int
    offset_us: int

    def slot_at(self, now_us: int) -> int:
        """The slot that has begun last."""
        return (now_us - self.offset_us) // self.interval_us

    def begin_us(self, slot: int) -> int:
        """When a slot begins, in Unix microseconds."""
        return slot * self.interval_us + self.offset_us


def grid_of(shard: str, interval_s: float) -> Grid:
    """The grid of a shard, whatever its targets.

    Shards begin their slots at different times, on whole milliseconds.
    """
    interval_us = round(interval_s * _MICROSECONDS)
    number = shard.rpartition(".")[0]
    return Grid(interval_us, _hash(number) % (interval_us // 1000) * 1000)


def targets_by_shard(
    jobs: Mapping[str, tuple[ScrapeJob, list[Target]]],
) -> dict[str, tuple[ScrapeJob, list[Target]]]:
    """The shards that have targets, by name: the job and the targets of each."""
    shards: dict[str, tuple[ScrapeJob, list[Target]]] = {}
    for name, (job, targets) in jobs.items():
        numbered: dict[int, dict[str, Target]] = {}
        for target in targets:
            text = f"{target.labels['instance']}\0{target.url}"
            numbered.setdefault(_hash(f"{name}\0{text}") % SHARDS, {})[text] = target
        for number, some in numbered.items():
            digest = _hash("\0".join(sorted(some))) >> 32
            shards[f"{name}/{number}.{digest:08x}"] = job, list(some.values())
    return shards


def shards_of(owner: str, shards: Iterable[str], alive: Mapping[str, Iterable[str]]) -> set[str]:
    """Of these shards, those that ``owner`` has to scrape.

    ``alive`` has the shards that each streamer knows. For each shard, every streamer that knows it
    has another rank, and the one with the highest scrapes it. So if one goes, only its shards move.
    """
    knowing = {name: frozenset(known) for name, known in alive.items()}
    knowing[owner] = frozenset(shards)
    return {
        shard
        for shard in knowing[owner]
        if owner
        == max(
            (name for name, known in knowing.items() if shard in known),
            key=lambda name: _hash(f"{name}\0{shard}"),
        )
    }


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
