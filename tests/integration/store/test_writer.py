"""What the writer lands, it lands once, whole and in order, on a real Postgres."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest

from gputel import metrics
from gputel.errors import DataRefused, StoreUnavailable
from gputel.store import queries
from gputel.store.write import series_index
from gputel.store.write.admission import Admission
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Arrival, Chunk, Writer
from tests.helpers.batches import NOON, batch, batch_of, labels, steady

DAY = timedelta(days=1)


async def flat(pool):
    rows = await pool.fetch("SELECT timestamp, uuid, value FROM telemetry ORDER BY 2, 1, 3")
    return [tuple(row) for row in rows]


def loose(id_, rows):
    return Arrival(id_, None, rows)


async def leased(pool, rows, stream="s"):
    streams = Streams(pool, stream, "owner")
    await streams.register("f", "x.csv", looping=True)
    lease = await streams.reserve(rows, 60)
    return Chunk(stream, lease.first_row)


async def test_landed_rows_come_back_through_the_flat_view(pool):
    full = labels("GPU-x", "POWER", gpu_id="3", device="nvidia3", hostname="h", pod="p",
                  model_name="H100", container="c", namespace="n", labels_raw='a="b"')  # fmt: skip
    assert await Writer(pool).land([loose("1", batch([(full, NOON, 156.596)]))]) == [True]
    (row,) = await pool.fetch("SELECT * FROM telemetry")
    assert dict(row) == full | {"timestamp": NOON, "value": 156.596}


async def test_a_day_that_was_dropped_is_not_one_whose_table_was_detached(pool):
    days = [(NOON + place * DAY).date() for place in range(3)]
    kept, _, detached = days
    for day in (kept, detached):
        await pool.execute("SELECT ensure_sample_block_day($1)", day)
    await pool.execute(f"ALTER TABLE sample_block DETACH PARTITION sample_block_{detached:%Y%m%d}")
    found = await pool.fetch(queries.load("writer")["detached_days"], days)
    assert [row["day"] for row in found] == [detached]


async def test_one_series_of_one_commit_is_one_block_across_messages(pool):
    late, early = steady(5, start=NOON + timedelta(seconds=5)), steady(5)
    await Writer(pool).land([loose("1", late), loose("2", early)])
    (block,) = await pool.fetch("SELECT * FROM sample_block")
    assert (block["step_us"], block["samples"], block["off_us"]) == (1_000_000, 10, None)
    assert block["value"] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert (block["first_ts"], block["last_ts"]) == (NOON, NOON + timedelta(seconds=9))
    found = [row[0] for row in await flat(pool)]
    assert found == [NOON + timedelta(seconds=i) for i in range(10)]


async def test_uneven_times_come_back_to_the_microsecond(pool):
    offsets = (0, 1, 3, 10_000_000, 10_000_001, 3_600_000_001)
    times = [NOON + timedelta(microseconds=us) for us in offsets]
    await Writer(pool).land([loose("1", batch([(labels(), time, 1.0) for time in times]))])
    assert await pool.fetchval("SELECT count(*) FROM sample_block") == 1
    assert [row[0] for row in await flat(pool)] == times


async def test_samples_across_midnight_land_in_the_partition_of_their_day(pool):
    midnight = NOON.replace(hour=0) + DAY
    rows = batch([(labels(), midnight + timedelta(microseconds=us), 1.0) for us in (-1, 0)])
    await Writer(pool).land([loose("1", rows)])
    days = await pool.fetch(
        "SELECT day FROM sample_block AS b JOIN sample_block_part ON part = b.tableoid ORDER BY 1"
    )
    assert [row["day"].isoformat() for row in days] == ["2026-03-01", "2026-03-02"]


async def test_copy_of_a_message_without_a_lease_is_dropped_by_its_id(pool):
    writer = Writer(pool)
    assert await writer.land([loose("1", steady(3))]) == [True]
    assert await Writer(pool).land([loose("1", steady(3)), loose("2", steady(1, "GPU-b"))]) == [
        False,
        True,
    ]
    assert len(await flat(pool)) == 4


async def test_two_copies_in_one_commit_land_once(pool):
    chunk = await leased(pool, 3)
    arrivals = [Arrival("s/0", chunk, steady(3)), Arrival("s/0", chunk, steady(3))]
    arrivals += [loose("x", steady(2, "GPU-b")), loose("x", steady(2, "GPU-b"))]
    assert await Writer(pool).land(arrivals) == [True, False, True, False]
    assert len(await flat(pool)) == 5


async def test_landing_a_chunk_ends_its_lease_and_its_copy_is_dropped(pool):
    chunk = await leased(pool, 3)
    assert await Writer(pool).land([Arrival("s/0", chunk, steady(3))]) == [True]
    assert await pool.fetchval("SELECT count(*) FROM stream_lease") == 0
    assert await Writer(pool).land([Arrival("s/0", chunk, steady(3))]) == [False]
    assert len(await flat(pool)) == 3


async def test_chunk_without_good_rows_still_ends_its_lease(pool):
    chunk = await leased(pool, 3)
    assert await Writer(pool).land([Arrival("s/0", chunk, steady(0))]) == [True]
    assert await pool.fetchval("SELECT count(*) FROM stream_lease") == 0


async def test_rows_and_lease_go_in_one_transaction(pool):
    chunk = await leased(pool, 3)
    bad = batch([(labels("GPU-\x00"), NOON, 1.0)])
    with pytest.raises(DataRefused):
        await Writer(pool).land([Arrival("s/0", chunk, steady(3)), loose("1", bad)])
    assert await flat(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM stream_lease") == 1


async def test_collectors_with_the_same_messages_side_by_side_land_each_once(pool):
    chunks = [await leased(pool, 10) for _ in range(20)]
    arrivals = [
        Arrival(f"s/{chunk.first_row}", chunk, steady(10, f"GPU-{i}", NOON + i * DAY))
        for i, chunk in enumerate(chunks)
    ]
    orders = [arrivals, arrivals[::-1], arrivals[10:] + arrivals[:10], arrivals[::2]]
    writers = [Writer(pool) for _ in orders]
    results = await asyncio.gather(
        *(writer.land(order) for writer, order in zip(writers, orders, strict=True))
    )
    assert sum(map(sum, results)) == 20
    assert len(await flat(pool)) == 200


async def seen(pool):
    rows = await pool.fetch(
        "SELECT g.uuid, first_ts, last_ts, hostname FROM gpu AS g JOIN series USING (series_id)"
    )
    return sorted(tuple(row) for row in rows)


async def test_a_gpu_is_seen_from_its_oldest_to_its_newest_sample_however_late_they_come(pool):
    writer = Writer(pool)
    for id_, start in (("1", NOON), ("2", NOON - DAY), ("3", NOON + DAY)):
        await writer.land([loose(id_, steady(2, start=start))])
    second = timedelta(seconds=1)
    assert [row[1:3] for row in await seen(pool)] == [(NOON - DAY, NOON + DAY + second)]
    await Writer(pool).land([loose("4", steady(2, start=NOON - 2 * DAY))])
    await writer.land([loose("5", steady(2, start=NOON - DAY))])
    assert [row[1:3] for row in await seen(pool)] == [(NOON - 2 * DAY, NOON + DAY + second)]


async def test_a_gpu_is_known_by_the_series_of_its_newest_sample(pool):
    def on(host, uuid, seconds):
        return (labels(uuid, hostname=host), NOON + timedelta(seconds=seconds), 1.0)

    writer = Writer(pool)
    await writer.land([loose("1", batch([on("a", "x", 5), on("b", "x", 3), on("c", "y", 9)]))])
    end = {us: NOON + timedelta(seconds=us) for us in (3, 4, 5, 7, 9)}
    assert await seen(pool) == [("x", end[3], end[5], "a"), ("y", end[9], end[9], "c")]
    more = [batch([on("b", "x", 7)]), batch([on("a", "x", 4), on("z", "y", 9), on("c", "y", 9)])]
    await writer.land([loose("2", more[0]), loose("3", more[1])])
    assert await seen(pool) == [("x", end[3], end[7], "b"), ("y", end[9], end[9], "z")]


async def test_writers_that_see_the_same_gpus_side_by_side_agree_on_them(pool):
    arrivals = [
        loose(str(n), batch([(labels(f"GPU-{i}"), NOON + n * timedelta(seconds=1), 1.0)
                             for i in (range(50) if n % 2 else range(49, -1, -1))]))
        for n in range(24)
    ]  # fmt: skip
    writers = [Writer(pool) for _ in range(4)]
    await asyncio.gather(*(writers[n % 4].land([each]) for n, each in enumerate(arrivals)))
    assert {row[1:3] for row in await seen(pool)} == {(NOON, NOON + timedelta(seconds=23))}
    assert len(await seen(pool)) == 50


async def test_series_that_were_forgotten_are_found_again(pool):
    index = series_index.SeriesIndex(pool, most=20)
    ids: dict[int, Any] = {}
    for first in (0, 10, 20, 0, 30, 5):
        rows = batch([(labels(f"GPU-{n}"), NOON, 1.0) for n in range(first, first + 12)])
        each = series_index.fingerprint(rows)
        known = await index.learn([each])
        for n, id_ in enumerate(known.ids(each)[each.groups.row_group].tolist(), first):
            assert ids.setdefault(n, id_) == id_
        assert len(index) <= 2 * 12 + 20
    assert len(set(ids.values())) == len(ids) == await pool.fetchval("SELECT count(*) FROM series")


async def test_series_with_the_same_fingerprint_are_told_apart(pool, monkeypatch):
    real = series_index.fingerprints  # type: ignore[attr-defined]

    def colliding(groups):
        lane_a, lane_b = real(groups)
        return np.full_like(lane_a, 7), lane_b

    monkeypatch.setattr(series_index, "fingerprints", colliding)
    writer = Writer(pool)
    rows = [(labels(f"GPU-{i % 5}"), NOON + timedelta(seconds=i), float(i)) for i in range(50)]
    await writer.land([loose("1", batch(rows[:25]))])
    await writer.land([loose("2", batch(rows))])
    found = await pool.fetch(
        "SELECT uuid, array_agg(DISTINCT value) AS v FROM telemetry GROUP BY 1"
    )
    assert {row["uuid"]: set(row["v"]) for row in found} == {
        f"GPU-{i}": {float(v) for v in range(i, 50, 5)} for i in range(5)
    }
    assert await pool.fetchval("SELECT count(*) FROM series") == 5


async def test_writers_that_meet_the_same_new_series_agree_on_its_id(pool):
    orders = (range(300), range(299, -1, -1), range(100, 400))
    batches = [batch([(labels(f"GPU-{i}"), NOON + timedelta(seconds=second), 1.0) for i in order])
               for second, order in enumerate(orders)]  # fmt: skip
    writers = [Writer(pool) for _ in batches]
    await asyncio.gather(
        *(w.land([loose(str(n), rows)]) for n, (w, rows) in enumerate(zip(writers, batches)))  # noqa: B905
    )
    assert await pool.fetchval("SELECT count(*) FROM series") == 400
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 900


async def test_lost_connection_lands_nothing_and_trying_again_lands_all(pool, dsn):
    chunk = await leased(pool, 3)
    writer = Writer(pool)
    await writer.land([loose("warm", steady(1))])
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(10):
        try:
            assert await writer.land([Arrival("s/0", chunk, steady(3, "GPU-b"))]) == [True]
            break
        except StoreUnavailable:
            continue
    assert len(await flat(pool)) == 4


async def test_session_that_ends_while_postgres_takes_no_more_rows_does_not_hold_the_writer(
    pool, dsn
):
    times = [NOON + timedelta(microseconds=i) for i in range(150_000)]
    rows = batch([(labels(), time, 1.0) for time in times])
    writer = Writer(pool)
    await writer.land([loose("warm", steady(1, "GPU-b"))])
    locker = await asyncpg.connect(dsn)
    async with locker.transaction():
        part = await locker.fetchval("SELECT part::text FROM sample_block_part")
        await locker.execute(f"LOCK TABLE {part}")
        landing = asyncio.create_task(writer.land([loose("many", rows)]))
        while not await pool.fetchval(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'COPY%'"
        ):
            await asyncio.sleep(0.02)
        with pytest.raises(StoreUnavailable):
            await landing
    await locker.close()
    assert await writer.land([loose("many", rows)]) == [True]
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == len(rows) + 1


async def test_ledger_forgets_what_is_older_than_its_window(pool):
    writer = Writer(pool)
    await writer.land([loose("old", steady(1)), loose("new", steady(1))])
    await pool.execute(
        "UPDATE message_ledger SET landed_at = now() - interval '2 h' WHERE message_id = 'old'"
    )
    await writer.prune_ledger(3600)
    assert await pool.fetchval("SELECT array_agg(message_id) FROM message_ledger") == ["new"]


async def test_rejected_and_skipped_lines_of_a_chunk_are_remembered_with_its_landing(pool):
    chunk = await leased(pool, 6)
    noted = Chunk(chunk.stream_id, chunk.first_row, rejected=2, skipped=1)
    assert await Writer(pool).land([Arrival("s/0", noted, steady(3))]) == [True]
    assert await Writer(pool).land([Arrival("s/0", noted, steady(3))]) == [False]
    progress = await Streams(pool, "s", "owner").progress()
    assert (progress.landed_rows, progress.rejected_rows, progress.skipped_lines) == (6, 2, 1)


async def test_values_that_their_field_cannot_have_do_not_land_and_are_counted(pool):
    def counted():
        labels = {"reason": "impossible"}
        name = "gputel_collector_rows_rejected_total"
        return metrics.REGISTRY.get_sample_value(name, labels) or 0

    util = {"metric_name": "DCGM_FI_DEV_GPU_UTIL", "uuid": "GPU-a"}
    others = ({**util, "uuid": f"GPU-{name}"} for name in "bc")
    readings = batch_of(util, *others, values=[50, 4294967295, 60])
    chunk, before = await leased(pool, 3), counted()
    writer = Writer(pool, Admission(keep_impossible=False))
    await writer.land([Arrival("s/0", chunk, readings)])
    landed = "SELECT array_agg(value ORDER BY value) FROM telemetry"
    assert await pool.fetchval(landed) == [50, 60]
    assert counted() == before + 1
    progress = await Streams(pool, "s", "owner").progress()
    assert (progress.landed_rows, progress.rejected_rows) == (3, 1)


async def test_values_that_their_field_cannot_have_land_if_that_is_wished(pool):
    util = {"metric_name": "DCGM_FI_DEV_GPU_UTIL", "uuid": "GPU-a"}
    writer = Writer(pool, Admission(keep_impossible=True))
    await writer.land([loose("a", batch_of(util, values=[4294967295]))])
    assert await pool.fetchval("SELECT value FROM telemetry") == 4294967295
