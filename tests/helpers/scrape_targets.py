"""Targets of scrapes as a streamer leaves them in the store: their state, and samples of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from gputel.model.entities import target_uuid
from tests.helpers.batches import labels

_ADD = """
INSERT INTO scrape_target (job, url, shard, labels, interval_s, timeout_s, owner, scraped_at,
                           duration_s, samples, refused, error, slots_lost, reported_at,
                           frozen_since)
VALUES ($1, $2, $1 || '/0', $3::jsonb, $4, 10, $5,
        CASE WHEN $6 THEN now() - make_interval(secs => $7 + 2) END, $8, $9, $10, $11, $12,
        now() - make_interval(secs => $7), $13)
"""


@dataclass(frozen=True)
class ScrapeTarget:
    """A target; ``silent_s`` is the age of its last report."""

    instance: str
    job: str = "dcgm"
    more_labels: dict[str, str] = field(default_factory=dict)
    interval_s: float = 60.0
    owner: str = "streamer-1"
    scraped: bool = True
    silent_s: float = 0.0
    duration_s: float = 0.012
    samples: int = 200
    refused: int = 0
    error: str = ""
    slots_lost: int = 0
    frozen_since: datetime | None = None

    @property
    def url(self) -> str:
        """What is scraped."""
        return f"http://{self.instance}/metrics"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of each of its samples."""
        return {"instance": self.instance, "job": self.job, **self.more_labels}


async def add_target(pool: asyncpg.Pool, target: ScrapeTarget) -> None:
    """Note the state of the target."""
    await pool.execute(
        _ADD,
        target.job,
        target.url,
        json.dumps(target.labels),
        target.interval_s,
        target.owner,
        target.scraped,
        target.silent_s,
        target.duration_s,
        target.samples,
        target.refused,
        target.error,
        target.slots_lost,
        target.frozen_since,
    )


def ups(
    target: ScrapeTarget, times: Sequence[datetime], values: Sequence[float]
) -> list[tuple[dict[str, str], datetime, float]]:
    """Rows of ``up`` and its siblings, a scrape for each time, for ``batches.batch``."""
    raw = ",".join(f'{name}="{text}"' for name, text in sorted(target.labels.items()))
    uuid = target_uuid(target.instance)
    return [
        (labels(uuid, metric, labels_raw=raw), time, value)
        for time, up in zip(times, values, strict=True)
        for metric, value in (
            ("up", up),
            ("scrape_duration_seconds", target.duration_s),
            ("scrape_samples_scraped", float(target.samples)),
        )
    ]
