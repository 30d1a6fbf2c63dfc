"""What is deleted is as if it had never landed, and nothing else changes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gputel.errors import StreamConflict, UsageError
from gputel.store import queries
from gputel.store.read.latest import latest
from gputel.store.read.reader import Reader
from gputel.store.read.selection import Comparison, LabelCondition, Selection, matching
from gputel.store.read.view import StoredViews
from gputel.store.upkeep.conditions import SQL, Deletion, stream_numbers
from gputel.store.upkeep.delete import Deleted, delete
from gputel.store.upkeep.maintenance import Maintenance, sole
from gputel.store.upkeep.survey import Survey, survey
from gputel.store.write.recent_landings import Landings, LandingsGone
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Arrival, Chunk, Writer
from tests.helpers.batches import NOON, batch, labels
from tests.helpers.waiting import eventually

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
COUNT = "SELECT count(*) FROM telemetry"
ROLLUPS = """
SELECT s.uuid, s.metric_name, r.step_s, r.start, r.place, r.min, r.max, r.sum, r.last, r.count
FROM rollup AS r JOIN series AS s USING (series_id) ORDER BY 1, 2, 3, 4
"""
Rows = list[tuple[dict[str, str], datetime, float]]


def rows(
    uuid: str = "GPU-a",
    metric: str = "TEMP",
    start: datetime = NOON,
    minutes: int = 180,
    **more: str,
) -> Rows:
    """A sample each 30 s, of values that tell minutes apart."""
    series = labels(uuid, metric, hostname=f"host-{uuid[-1]}", gpu_id="0", **more)
    return [(series, start + each * MINUTE / 2, float(each)) for each in range(2 * minutes)]


async def land(pool: asyncpg.Pool, *parts: Rows) -> None:
    """Each part is a commit."""
    for number, part in enumerate(parts):
        name = f"{part[0][1]}/{part[0][0]}/{number}"
        assert await Writer(pool).land([Arrival(name, None, batch(part))]) == [True]


async def land_stream(pool: asyncpg.Pool, name: str, part: Rows, lease_s: float = 60) -> None:
    """Land all rows of a one-shot stream of this name."""
    streams = Streams(pool, name, "owner")
    await streams.register(f"content of {name}", f"{name}.csv", looping=False)
    lease = await streams.reserve(len(part), lease_s)
    assert lease is not None, "its rows have been read already"
    chunk = Chunk(name, lease.first_row)
    assert await Writer(pool).land([Arrival(f"{name}/0", chunk, batch(part))]) == [True]
    await streams.finish(len(part))


def unseen(_so_far: Deleted) -> None:
    """Take no notice."""


async def deleted(
    pool: asyncpg.Pool, deletion: Deletion, progress: Callable[[Deleted], None] = unseen
) -> Deleted:
    async with sole(pool) as connection:
        assert connection is not None
        return await delete(connection, deletion, progress)


async def surveyed(pool: asyncpg.Pool, deletion: Deletion) -> Survey:
    async with pool.acquire() as connection:
        return await survey(connection, deletion, await stream_numbers(connection, deletion))


def of_host(host: str) -> Deletion:
    return Deletion(Selection((LabelCondition("hostname", Comparison.IS, (host,)),)))


@pytest.mark.parametrize(
    ("deletion", "kept"),
    [
        (of_host("host-a"), {("GPU-b", "TEMP"), ("GPU-b", "UTIL")}),
        (Deletion(uuids=("GPU-b",)), {("GPU-a", "TEMP"), ("GPU-a", "UTIL")}),
        (Deletion(places=(("host-b", "0"),)), {("GPU-a", "TEMP"), ("GPU-a", "UTIL")}),
        (Deletion(Selection((matching("metric_name", ["U*"]),))),
         {("GPU-a", "TEMP"), ("GPU-b", "TEMP")}),
        (Deletion(Selection((matching("metric_name", ["UTIL"]),)), uuids=("GPU-a",)),
         {("GPU-a", "TEMP"), ("GPU-b", "TEMP"), ("GPU-b", "UTIL")}),
        (Deletion(uuids=("GPU-c",), places=(("host-a", "1"),)),
         {("GPU-a", "TEMP"), ("GPU-a", "UTIL"), ("GPU-b", "TEMP"), ("GPU-b", "UTIL")}),
    ],
)  # fmt: skip
async def test_conditions_on_labels_choose_series(
    pool: asyncpg.Pool, deletion: Deletion, kept: set[tuple[str, str]]
) -> None:
    await land(
        pool, *(rows(uuid, metric) for uuid in ("GPU-a", "GPU-b") for metric in ("TEMP", "UTIL"))
    )
    found = await surveyed(pool, deletion)
    gone = await deleted(pool, deletion)
    assert gone == Deleted(360 * (4 - len(kept)), 0, 4 - len(kept))
    assert (found.samples, found.series) == (gone.samples, gone.series)
    left = await pool.fetch("SELECT uuid, metric_name, count(*) FROM telemetry GROUP BY 1, 2")
    assert {(row[0], row[1]): row[2] for row in left} == dict.fromkeys(kept, 360)
    assert {gpu.uuid for gpu in await Reader(pool).gpus()} == {uuid for uuid, _ in kept}
    assert {
        (each.uuid, each.metric_name) for each in await latest(StoredViews(Reader(pool)))
    } == kept


@pytest.mark.parametrize("merged", [False, True])
async def test_a_range_cuts_blocks_and_rollups_are_as_if_made_anew(
    pool: asyncpg.Pool, merged: bool
) -> None:
    await land(pool, rows(minutes=90), rows(start=NOON + 90 * MINUTE, minutes=90), rows("GPU-b"))
    await Maintenance(pool).run(everything=merged)
    start, end = NOON + 61 * MINUTE, NOON + 100 * MINUTE
    if not merged:
        assert not await pool.fetch(ROLLUPS)
    deletion = Deletion(uuids=("GPU-a",), start=start, end=end)
    found = await surveyed(pool, deletion)
    assert (found.samples, found.first, found.last) == (79, start, end)
    assert (found.series, found.gpus, found.hosts) == (1, 1, 1)
    assert await deleted(pool, deletion) == Deleted(79)
    assert await pool.fetchval(COUNT) == 720 - 79
    inside = "SELECT count(*) FROM telemetry WHERE uuid = 'GPU-a' AND timestamp BETWEEN $1 AND $2"
    assert await pool.fetchval(inside, start, end) == 0
    assert await deleted(pool, deletion) == Deleted(), "again, it finds nothing"
    await assert_rollups_are_right(pool)


async def assert_rollups_are_right(pool: asyncpg.Pool) -> None:
    """Those there are, and those made anew of every hour, are the same, but for stale hours."""
    stale = {row[0] for row in await pool.fetch("SELECT DISTINCT hour FROM rollup_stale")}
    if not stale:
        present = await pool.fetch(ROLLUPS)
        await pool.execute(
            "INSERT INTO rollup_stale SELECT DISTINCT date_trunc('hour', timestamp) FROM telemetry"
        )
        await pool.execute("DELETE FROM rollup")
        await Maintenance(pool).run(everything=True)
        assert await pool.fetch(ROLLUPS) == present


async def test_an_hour_without_samples_has_no_rollups(pool: asyncpg.Pool) -> None:
    await land(pool, rows(), rows("GPU-b"))
    await Maintenance(pool).run(everything=True)
    start = NOON + HOUR
    await deleted(pool, Deletion(uuids=("GPU-a",), start=start, end=start + HOUR - MINUTE / 2))
    hours = (
        "SELECT count(*) FROM rollup JOIN series USING (series_id) WHERE uuid = $1 AND step_s = 60"
    )
    assert [await pool.fetchval(hours, each) for each in ("GPU-a", "GPU-b")] == [2, 3]
    await assert_rollups_are_right(pool)


async def test_the_oldest_and_the_newest_sample_of_a_gpu_are_what_is_left(
    pool: asyncpg.Pool,
) -> None:
    await land(pool, rows(), rows(metric="UTIL", minutes=60), rows(start=NOON + DAY, minutes=1))
    await deleted(pool, Deletion(end=NOON + 10 * MINUTE))
    (gpu,) = await Reader(pool).gpus()
    assert (gpu.first_seen, gpu.last_seen) == (NOON + 10.5 * MINUTE, NOON + DAY + MINUTE / 2)
    await deleted(pool, Deletion(start=NOON + 90 * MINUTE))
    (gpu,) = await Reader(pool).gpus()
    assert gpu.first_seen == NOON + 10.5 * MINUTE
    assert gpu.last_seen == NOON + 89.5 * MINUTE
    (newest,) = await latest(StoredViews(Reader(pool)))
    assert (newest.timestamp, newest.value) == (NOON + 89.5 * MINUTE, 179)


async def test_labels_of_a_gpu_go_with_the_series_that_had_them(pool: asyncpg.Pool) -> None:
    wrong = labels("GPU-a", hostname="wrong", device="nvidia7")
    await land(pool, rows(), [(wrong, NOON + DAY, 1.0)])
    assert (await Reader(pool).gpus())[0].hostname == "wrong"
    await deleted(pool, of_host("wrong"))
    (gpu,) = await Reader(pool).gpus()
    assert (gpu.hostname, gpu.device) == ("host-a", "")


async def test_series_that_never_had_a_sample_keep_no_gpu(pool: asyncpg.Pool) -> None:
    await land(pool, rows(minutes=1))
    await pool.execute(
        "INSERT INTO series (digest, metric_name, gpu_id, device, uuid, model_name, hostname, "
        "container, pod, namespace, labels_raw) "
        "VALUES ('x', 'NEW', '', '', 'GPU-a', '', '', '', '', '', '')"
    )
    assert await deleted(
        pool, Deletion(Selection((matching("metric_name", ["TEMP"]),)))
    ) == Deleted(2, 0, 2)
    assert not await Reader(pool).gpus()


async def test_a_stream_is_told_apart_within_one_series(pool: asyncpg.Pool) -> None:
    await land_stream(pool, "monday", rows(minutes=60))
    await land_stream(pool, "tuesday", rows(start=NOON + 30 * MINUTE, minutes=60))
    await land(pool, rows(start=NOON + 2 * HOUR, minutes=10))
    await Maintenance(pool).run(everything=True)
    before = await pool.fetchval("SELECT count(*) FROM sample_block")
    await Maintenance(pool).run(everything=True)
    assert await pool.fetchval("SELECT count(*) FROM sample_block") == before == 3
    found = await surveyed(pool, Deletion(streams=("tuesday",)))
    assert (found.samples, found.repeating_streams) == (60, 0), "30 minutes are new"
    assert (await surveyed(pool, Deletion(streams=("monday",)))).repeating_streams == 1
    await land_stream(pool, "wednesday", rows(start=NOON + 3 * HOUR, minutes=10))
    assert (await surveyed(pool, Deletion(streams=("wednesday",)))).repeating_streams == 0
    assert await deleted(pool, Deletion(streams=("wednesday",))) == Deleted(20)
    assert await deleted(pool, Deletion(streams=("tuesday",))) == Deleted(60)
    left = [row[0] for row in await pool.fetch("SELECT timestamp FROM telemetry ORDER BY 1")]
    assert left == [
        when for _, when, _ in rows(minutes=60) + rows(start=NOON + 2 * HOUR, minutes=10)
    ]
    await assert_rollups_are_right(pool)


async def test_streams_that_interleave_stay_apart_and_are_merged_once(pool: asyncpg.Pool) -> None:
    both = rows(minutes=60)
    await land_stream(pool, "even", both[::2])
    await land_stream(pool, "odd", both[1::2])
    await Maintenance(pool).run(everything=True)
    assert not (await Maintenance(pool).run(everything=True)).merged.blocks_before
    assert await deleted(pool, Deletion(streams=("odd",))) == Deleted(60)
    assert [
        row[0] for row in await pool.fetch("SELECT value FROM telemetry ORDER BY timestamp")
    ] == [value for _, _, value in both[::2]]


async def test_an_instant_is_of_the_stream_whose_value_counts(pool: asyncpg.Pool) -> None:
    for name, value in (("low", 5.0), ("high", 7.0)):
        await land_stream(pool, name, [(labels(), NOON, value)])
    await Maintenance(pool).run(everything=True)
    assert [row[0] for row in await pool.fetch("SELECT value FROM telemetry")] == [7]
    assert await deleted(pool, Deletion(streams=("low",))) == Deleted()
    assert await deleted(pool, Deletion(streams=("high",))) == Deleted(1, 0, 1)


async def test_one_commit_of_many_streams_tells_them_apart(pool: asyncpg.Pool) -> None:
    writer, arrivals = Writer(pool), []
    for number, name in enumerate(("one", "two", "three")):
        streams = Streams(pool, name, "owner")
        await streams.register(name, name, looping=False)
        await streams.reserve(20, 60)
        part = rows(start=NOON + 5 * number * MINUTE, minutes=10)
        arrivals.append(Arrival(f"{name}/0", Chunk(name, 0), batch(part)))
        await streams.finish(20)
    assert await writer.land(arrivals) == [True] * 3
    assert await pool.fetchval(COUNT) == 40, (
        "half of each one's samples are those of the one before"
    )
    assert await deleted(pool, Deletion(streams=("two",))) == Deleted(10)
    assert await deleted(pool, Deletion(streams=("three", "one"))) == Deleted(30, 0, 1)


async def test_a_whole_stream_goes_with_its_position_and_can_be_read_again(
    pool: asyncpg.Pool,
) -> None:
    await land_stream(pool, "capture", rows())
    assert await deleted(pool, Deletion(streams=("capture",))) == Deleted(360, 0, 1)
    for table in ("stream_progress", "stream_lease", "stream_rejects", "stream_repeats", "gpu"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    await land_stream(pool, "capture", rows())
    assert await pool.fetchval(COUNT) == 360


async def test_a_part_of_a_stream_leaves_its_position(pool: asyncpg.Pool) -> None:
    await land_stream(pool, "capture", rows())
    assert await deleted(pool, Deletion(streams=("capture",), end=NOON + HOUR)) == Deleted(121)
    streams = Streams(pool, "capture", "owner")
    assert await streams.reserve(10, 60) is None
    assert (await streams.progress()).deleted_samples == 121
    await deleted(pool, Deletion(uuids=("GPU-a",), end=NOON + HOUR + MINUTE))
    assert (await streams.progress()).deleted_samples == 123


async def test_a_message_of_a_deleted_stream_that_comes_again_is_dropped(
    pool: asyncpg.Pool,
) -> None:
    await land_stream(pool, "capture", rows())
    copy = Arrival("capture/0", Chunk("capture", 0), batch(rows()))
    await deleted(pool, Deletion(streams=("capture",)))
    assert await Writer(pool).land([copy]) == [False]
    assert await pool.fetchval(COUNT) == 0


async def test_a_push_that_comes_again_is_dropped(pool: asyncpg.Pool) -> None:
    push = Arrival("push-1", None, batch(rows()))
    await Writer(pool).land([push])
    await deleted(pool, of_host("host-a"))
    assert await Writer(pool).land([push]) == [False]


async def test_a_stream_that_is_read_is_refused_until_its_owner_stops(pool: asyncpg.Pool) -> None:
    streams = Streams(pool, "live", "owner")
    await streams.register("content", "live.csv", looping=True)
    lease = await streams.reserve(10, 600)
    assert lease is not None
    with pytest.raises(UsageError, match="a streamer reads 'live' now: stop it"):
        await deleted(pool, Deletion(streams=("live",)))
    await streams.release([lease.first_row])
    with pytest.raises(UsageError, match="a streamer reads 'live' now: stop it"):
        await deleted(pool, Deletion(streams=("live",)))
    await pool.execute("UPDATE stream_progress SET reserved_at = now() - interval '11 s'")
    assert await deleted(pool, Deletion(streams=("live",))) == Deleted()
    assert not await pool.fetchval("SELECT EXISTS (SELECT FROM stream_lease)")
    with pytest.raises(StreamConflict, match="stream 'live' has been deleted by gputel db delete"):
        await streams.progress()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE stream_progress SET slots = true", "is a stream of scrapes"),
        ("UPDATE stream_progress SET recorded = false", "began with an older gputel"),
        ("DELETE FROM stream_progress", "there is no stream 'capture'; gputel db streams"),
    ],
)
async def test_a_stream_that_blocks_do_not_tell_is_refused(
    pool: asyncpg.Pool, change: str, why: str
) -> None:
    await land_stream(pool, "capture", rows())
    await pool.execute(change)
    with pytest.raises(UsageError, match=why):
        await deleted(pool, Deletion(streams=("capture",)))
    assert await pool.fetchval(COUNT) == 360


async def test_rollups_whose_samples_have_expired_go_by_whole_minutes(pool: asyncpg.Pool) -> None:
    old = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - 5 * DAY
    await land(
        pool, rows(start=old), rows("GPU-b", start=old), rows(start=old + 5 * DAY - 12 * HOUR)
    )
    keep = Maintenance(pool, 3 * DAY, 100 * DAY)
    await keep.run(everything=True)
    assert await pool.fetchval(COUNT) == 360
    deletion = Deletion(
        uuids=("GPU-a",), start=old + 60.5 * MINUTE, end=old + 2 * HOUR - timedelta.resolution
    )
    found = await surveyed(pool, deletion)
    assert (found.samples, found.rollup_minutes, found.rollup_minutes_cut) == (0, 59, 1)
    assert await deleted(pool, deletion) == Deleted(rollup_minutes=59)
    counts = (
        "SELECT r.start, r.place, r.count FROM rollup AS r JOIN series USING (series_id) "
        "WHERE uuid = 'GPU-a' AND step_s = $1 AND start < $2 ORDER BY 1"
    )
    minutes = await pool.fetch(counts, 60, old + DAY)
    assert [len(row["count"]) for row in minutes] == [60, 1, 60]
    (hours,) = await pool.fetch(counts, 3600, old + DAY)
    assert list(hours["count"]) == [120, 2, 120]
    assert list(hours["place"]) == [12, 13, 14]
    by_stream = Deletion(streams=("capture",), end=old + DAY)
    await land_stream(pool, "capture", rows("GPU-c", start=old + 4 * DAY))
    assert (await surveyed(pool, by_stream)).rollup_days_left == 1
    assert await deleted(pool, by_stream) == Deleted()
    assert await deleted(pool, Deletion(uuids=("GPU-b",))) == Deleted(rollup_minutes=180, series=1)
    assert {gpu.uuid for gpu in await Reader(pool).gpus()} == {"GPU-a", "GPU-c"}


async def test_collectors_land_while_series_are_deleted_and_lose_nothing(
    pool: asyncpg.Pool,
) -> None:
    writer, stopped = Writer(pool), asyncio.Event()

    async def land_others() -> int:
        landed = 0
        while not stopped.is_set() or landed < 5:
            part = rows("GPU-b", start=NOON + landed * MINUTE, minutes=1)
            more = rows("GPU-a", "LATE", start=NOON + landed * MINUTE, minutes=1)
            assert await writer.land([Arrival(f"m{landed}", None, batch(part + more))]) == [True]
            landed += 1
        return landed

    await writer.land([Arrival("old", None, batch(rows() + rows(metric="UTIL")))])
    landing = asyncio.create_task(land_others())
    old = Deletion(Selection((matching("metric_name", ["TEMP", "UTIL"]),)), uuids=("GPU-a",))
    gone = await deleted(pool, old)
    stopped.set()
    landed = await landing
    assert gone.samples == 720
    assert gone.series in (2, 3), "LATE goes too if it has no sample yet, and is made again"
    left = dict(await pool.fetch("SELECT metric_name, count(*) FROM telemetry GROUP BY 1"))
    assert left == {"TEMP": 2 * landed, "LATE": 2 * landed}
    assert await writer.land([Arrival("anew", None, batch(rows(minutes=1)))]) == [True]
    assert await pool.fetchval(COUNT) == 4 * landed + 2, "its series has been made anew"
    await Maintenance(pool).run(everything=True)
    await assert_rollups_are_right(pool)


async def test_a_deletion_waits_for_a_commit_that_is_under_way(pool: asyncpg.Pool) -> None:
    await land(pool, rows())
    mark = queries.load("writer")["hold_removals"]
    async with pool.acquire() as other, other.transaction():
        await other.execute(mark)
        deleting = asyncio.create_task(deleted(pool, of_host("host-a")))
        await _waits(pool)
        assert await pool.fetchval(COUNT) == 360
    assert await deleting == Deleted(360, 0, 1)


@pytest.mark.parametrize(
    ("end", "late", "span"),
    [
        (None, 100.25, (100.25, 100.25)),
        (NOON + 30 * MINUTE, 29.75, (29.75, 179.5)),
        (NOON + 30 * MINUTE, 31.25, (30.5, 179.5)),
    ],
)
async def test_what_lands_while_a_deletion_waits_counts_for_the_gpu(
    pool: asyncpg.Pool, end: datetime | None, late: float, span: tuple[float, float]
) -> None:
    """What is left of a GPU is looked for before commits have to wait."""
    await land(pool, rows(), rows(metric="UTIL", minutes=60))
    sample = [(labels("GPU-a", "LATE"), NOON + late * MINUTE, 1.0)]
    metrics = matching("metric_name", ["TEMP", "UTIL"])
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM gpu FOR UPDATE")
        landing = asyncio.create_task(land(pool, sample))
        await _waits(pool, "transactionid")
        deletion = Deletion(Selection((metrics,)), ("GPU-a",), end=end)
        deleting = asyncio.create_task(deleted(pool, deletion))
        await _waits(pool, "relation")
    await asyncio.gather(landing, deleting)
    (gpu,) = await Reader(pool).gpus()
    assert (gpu.first_seen, gpu.last_seen) == tuple(NOON + each * MINUTE for each in span)


async def test_commits_do_not_wait_for_a_look_into_all_days(pool: asyncpg.Pool) -> None:
    """What is done while they wait reads no other days, unless more has landed meanwhile."""
    await land(pool, rows(), rows("GPU-b", start=NOON + DAY))
    midnight = NOON - 12 * HOUR
    done: dict[str, list[object]] = {
        "refresh_gpus": [["GPU-a"], [NOON], [NOON], [1], NOON, NOON + DAY, [], [], [], []],
        "filled": [[1, 2], midnight, midnight + DAY, []],
    }
    for name, arguments in done.items():
        sql = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) " + SQL[name]
        plan = [row[0] for row in await pool.fetch(sql, *arguments)]
        other_days = re.compile(rf"on (sample_frame|sample_block_(?!{NOON:%Y%m%d}))")
        read = [line for line in plan if other_days.search(line)]
        assert read
        assert all("never executed" in line for line in read if "frame" not in line), read


async def test_blocks_of_series_that_cannot_match_are_not_read(pool: asyncpg.Pool) -> None:
    names = [f"GPU-{number}" for number in range(100)]
    await land(pool, [row for name in names for row in rows(name, minutes=1)])
    read = """
        SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::integer
        FROM pg_stat_user_tables WHERE relname LIKE 'sample_block%'
    """
    deletion = Deletion(uuids=("GPU-7",))
    async with sole(pool) as connection:
        assert connection is not None
        assert (await survey(connection, deletion, None)).samples == 2
        assert await delete(connection, deletion, unseen) == Deleted(2, 0, 1)
        await connection.execute("SELECT pg_stat_force_next_flush()")
        assert await connection.fetchval(read) < 20, "of 100 blocks, some times"


async def _waits(pool: asyncpg.Pool, kind: str = "relation") -> None:
    """Until somebody in this database waits for a lock of this kind."""
    sql = """
        SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                       WHERE NOT granted AND locktype = $1 AND datname = current_database())
    """
    await eventually(lambda: pool.fetchval(sql, kind))


async def test_a_deletion_that_is_broken_off_goes_on_when_it_is_run_again(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.store.upkeep.delete._BATCH_SERIES", 1)
    await land(pool, *(rows(f"GPU-{name}") for name in "abcd"))
    await Maintenance(pool).run(everything=True)
    seen: list[int] = []

    def stop(so_far: Deleted) -> None:
        seen.append(so_far.samples)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await deleted(pool, Deletion(end=NOON + HOUR), stop)
    assert await pool.fetchval(COUNT) == 4 * 360 - 2 * 121
    await assert_rollups_are_right(pool)
    assert await deleted(pool, Deletion(end=NOON + HOUR)) == Deleted(2 * 121)
    await assert_rollups_are_right(pool)


async def test_live_streams_are_told_of_a_gap(pool: asyncpg.Pool) -> None:
    landings = Landings(Reader(pool), 5 * MINUTE, 2**20)
    epoch = await landings.demand()
    start = await landings.position(epoch)
    assert start is not None
    await land(pool, rows(minutes=5))
    assert (await landings.since(start[0])).batches
    await deleted(pool, of_host("host-a"))
    with pytest.raises(LandingsGone):
        await landings.since(start[0])
    after = await landings.position(await landings.demand())
    assert after is not None
    await land(pool, rows("GPU-b", minutes=1))
    window = await landings.since(after[0])
    assert [part.samples for parts in window.batches for part in parts] == [2]


async def test_ends_of_series_stay_unless_the_series_goes(pool: asyncpg.Pool) -> None:
    await land(pool, rows(), rows("GPU-b"))
    await pool.execute("INSERT INTO series_end SELECT $1, series_id FROM series", NOON + 4 * HOUR)
    await deleted(pool, Deletion(uuids=("GPU-a",)))
    await deleted(pool, Deletion(uuids=("GPU-b",), start=NOON + HOUR))
    assert await pool.fetchval("SELECT count(*) FROM series_end") == 1
