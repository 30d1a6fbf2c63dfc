"""A record that leaves out labels of its GPU does not take them away: what is known stays."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from gputel.store.migrations import known_migrations, migrate
from gputel.store.read.inventory import newest_series
from gputel.store.read.reader import Reader
from gputel.store.read.records import Gpu, SeriesLabels
from gputel.store.read.selection import Comparison, LabelCondition, Selection
from gputel.store.write.writer import Arrival, Writer
from tests.helpers.batches import NOON, batch, labels

HOST = {"hostname": "h", "model_name": "H100", "gpu_id": "3", "device": "nvidia3"}
Rows = list[tuple[dict[str, str], int]]


def arrival(name: str, rows: Rows) -> Arrival:
    return Arrival(name, None, batch([(of, NOON + timedelta(seconds=s), s) for of, s in rows]))


async def gpus(pool: asyncpg.Pool) -> dict[str, Gpu]:
    return {gpu.uuid: gpu for gpu in await Reader(pool).gpus()}


def shown(gpu: Gpu | SeriesLabels | None) -> dict[str, str]:
    return {name: getattr(gpu, name) for name in HOST}


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("metric", ["TEMP", "JOB_EFFICIENCY"])
async def test_a_gpu_keeps_its_labels_when_a_record_has_only_what_is_required(
    pool: asyncpg.Pool, apart: bool, metric: str
) -> None:
    full, bare = labels("GPU-a", **HOST), labels("GPU-a", metric)
    rows: list[Rows] = [[(full, 0), (labels("GPU-b", hostname="other"), 0)], [(bare, 60)]]
    arrivals = [arrival(str(number), each) for number, each in enumerate(rows)]
    for part in [[each] for each in arrivals] if apart else [arrivals]:
        assert all(await Writer(pool).land(part))
    found = await gpus(pool)
    assert shown(found["GPU-a"]) == HOST
    assert shown(found["GPU-b"]) == dict.fromkeys(HOST, "") | {"hostname": "other"}
    assert shown(await newest_series(Reader(pool), "GPU-a")) == HOST
    where = Selection((LabelCondition("hostname", Comparison.IS, ("h",)),))
    assert [gpu.uuid for gpu in await Reader(pool).gpus(where)] == ["GPU-a"]


async def test_what_a_record_says_counts_and_what_it_leaves_out_is_what_was_said_last(
    pool: asyncpg.Pool,
) -> None:
    writer = Writer(pool)
    moved = labels("GPU-a", hostname="new", gpu_id="5")
    for number, of in enumerate([labels("GPU-a", **HOST), moved, labels("GPU-a")]):
        await writer.land([arrival(str(number), [(of, number)])])
    assert shown((await gpus(pool))["GPU-a"]) == HOST | {"hostname": "new", "gpu_id": "5"}
    assert await pool.fetchval("SELECT count(*) FROM series") == 3


async def test_a_gpu_that_was_first_seen_without_labels_gets_them_when_they_come(
    pool: asyncpg.Pool,
) -> None:
    writer = Writer(pool)
    await writer.land([arrival("1", [(labels("GPU-a"), 60)])])
    await writer.land([arrival("2", [(labels("GPU-a", **HOST), 0)])])
    assert shown((await gpus(pool))["GPU-a"]) == HOST
    await writer.land([arrival("3", [(labels("GPU-a", hostname="before"), 30)])])
    assert shown((await gpus(pool))["GPU-a"]) == HOST


async def test_records_of_a_gpu_stay_as_they_came_and_pods_are_those_of_the_newest(
    pool: asyncpg.Pool,
) -> None:
    writer = Writer(pool)
    await writer.land([arrival("1", [(labels("GPU-a", pod="p", **HOST), 0)])])
    await writer.land([arrival("2", [(labels("GPU-a"), 1)])])
    rows = await pool.fetch("SELECT pod, hostname FROM telemetry ORDER BY timestamp")
    assert [tuple(row) for row in rows] == [("p", "h"), ("", "")]
    newest = await newest_series(Reader(pool), "GPU-a")
    assert newest is not None
    assert (newest.pod, newest.hostname) == ("", "h")


async def test_a_store_of_the_version_before_shows_what_it_knows(empty_dsn: str) -> None:
    before = [each for each in known_migrations() if each.version < 11]
    await migrate(empty_dsn, before)
    pool = await asyncpg.create_pool(empty_dsn, min_size=1, max_size=2)
    for number, host in enumerate(["old", "new", ""], start=1):
        await pool.execute(
            "INSERT INTO series (digest, metric_name, gpu_id, device, uuid, model_name, hostname, "
            "container, pod, namespace, labels_raw) "
            "VALUES (decode(md5($1), 'hex'), 'T', '', '', 'GPU-a', 'H100', $1, '', '', '', '')",
            host,
        )
        await pool.execute(
            "INSERT INTO gpu VALUES ('GPU-a', now(), now(), $1) "
            "ON CONFLICT (uuid) DO UPDATE SET series_id = excluded.series_id",
            number,
        )
    await pool.execute("SELECT ensure_sample_block_day((now() AT TIME ZONE 'UTC')::date)")
    await migrate(empty_dsn)
    (gpu,) = await Reader(pool).gpus()
    assert (gpu.hostname, gpu.model_name) == ("new", "H100")
    await pool.close()
