"""Puts telemetry into the store by plain SQL, a block at a time, as no writer would have to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

import asyncpg

_SERIES = """
INSERT INTO series (digest, metric_name, gpu_id, device, uuid, model_name, hostname, container,
                    pod, namespace, labels_raw)
VALUES (decode(md5(concat_ws('|', $1::text, $2::text, $3::text, $4::text)), 'hex'),
        $2, '0', 'nvidia0', $1, 'NVIDIA H100 80GB HBM3', $3, '', $4, '', 'gpu="0"')
ON CONFLICT (digest) DO UPDATE SET digest = excluded.digest
RETURNING series_id
"""
_GPU = """
INSERT INTO gpu AS g
SELECT uuid, min(first_ts), max(last_ts),
       (array_agg(series_id ORDER BY last_ts DESC, series_id DESC))[1]
FROM sample_block JOIN series USING (series_id)
WHERE uuid = $1
GROUP BY uuid
ON CONFLICT (uuid) DO UPDATE SET first_ts = least(g.first_ts, excluded.first_ts),
    last_ts = excluded.last_ts, series_id = excluded.series_id
"""

_STALE = """
INSERT INTO rollup_stale (hour)
SELECT DISTINCT hour FROM sample_block AS b
CROSS JOIN LATERAL generate_series(date_trunc('hour', b.first_ts, 'UTC'), b.last_ts, '1 hour')
    AS each (hour)
WHERE b.series_id = $1
"""


@dataclass(frozen=True)
class Labels:
    """What tells the series of a test apart."""

    uuid: str = "GPU-a"
    metric: str = "TEMP"
    hostname: str = "host-1"
    pod: str = ""


async def add_series(pool: asyncpg.Pool, labels: Labels) -> int:
    """Make the series, on which nothing has landed, and return its id."""
    return await pool.fetchval(_SERIES, labels.uuid, labels.metric, labels.hostname, labels.pod)


async def add_block(
    pool: asyncpg.Pool, labels: Labels, times: Sequence[datetime], values: Sequence[float]
) -> None:
    """Land one block for each UTC day of ``times``, which are in order."""
    series_id = await add_series(pool, labels)
    samples = zip(times, values, strict=True)
    for day, of_day in groupby(samples, lambda sample: sample[0].astimezone(UTC).date()):
        moments, numbers = zip(*of_day, strict=True)
        await pool.execute("SELECT ensure_sample_block_day($1)", day)
        await pool.execute(
            "INSERT INTO sample_block VALUES ($1, $2, $3, 0, $4, $5, $6)",
            series_id,
            moments[0],
            moments[-1],
            len(moments),
            [(moment - moments[0]) // timedelta(microseconds=1) for moment in moments],
            list(numbers),
        )
    await pool.execute(_GPU, labels.uuid)
    await pool.execute(_STALE, series_id)


async def add_many(
    pool: asyncpg.Pool, labels: Labels, start: datetime, blocks: int, samples: int
) -> None:
    """Land ``blocks`` blocks of ``samples`` samples, 10 ms apart, within one UTC day."""
    series_id = await add_series(pool, labels)
    await pool.execute("SELECT ensure_sample_block_day($1)", start.date())
    await pool.execute(
        """
        INSERT INTO sample_block
        SELECT $1, min(t), max(t), 10000, $4, NULL, array_agg(n::float8 ORDER BY t)
        FROM generate_series(0, $3::int - 1) AS n,
             LATERAL (SELECT $2::timestamptz + n * interval '10 ms') AS moment (t)
        GROUP BY n / $4::int
        """,
        series_id,
        start,
        blocks * samples,
        samples,
    )
    await pool.execute(_GPU, labels.uuid)
    await pool.execute(_STALE, series_id)


def every(start: datetime, step_s: float, count: int) -> list[datetime]:
    """``count`` moments, ``step_s`` seconds apart."""
    return [start + timedelta(seconds=step_s * place) for place in range(count)]
