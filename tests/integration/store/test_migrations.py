from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from gputel.errors import SchemaTooNew, StoreError
from gputel.store.migrations import Migration, known_migrations, migrate

SCHEMA = known_migrations()
NAMES = [migration.name for migration in SCHEMA]


async def query(dsn: str, text: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(text)
    finally:
        await connection.close()


async def test_empty_database_gets_every_migration_in_order(empty_dsn: str) -> None:
    assert await migrate(empty_dsn) == NAMES
    rows = await query(empty_dsn, "SELECT * FROM schema_migration ORDER BY applied_at, version")
    assert [row["name"] for row in rows] == NAMES
    assert [row["checksum"] for row in rows] == [migration.checksum for migration in SCHEMA]
    assert await query(empty_dsn, "SELECT count(*) FROM telemetry")


async def test_second_run_applies_nothing(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    assert await migrate(empty_dsn) == []


async def test_ten_migrators_at_once_apply_each_migration_once(empty_dsn: str) -> None:
    answers = await asyncio.gather(*(migrate(empty_dsn) for _ in range(10)))
    assert sorted(map(len, answers)) == [0] * 9 + [len(NAMES)]


async def test_a_connection_is_left_without_the_lock(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await migrate(connection)
    assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype='advisory'") == 0
    await connection.close()


async def test_database_ahead_of_this_gputel_is_refused_by_name(dsn: str) -> None:
    future = Migration(9999, "9999_from_the_future", "SELECT 1")
    await migrate(dsn, [*SCHEMA, future])
    with pytest.raises(SchemaTooNew, match="9999_from_the_future"):
        await migrate(dsn)


async def test_changed_file_of_an_applied_migration_is_refused(dsn: str) -> None:
    changed = replace(SCHEMA[0], sql=SCHEMA[0].sql + "-- changed")
    with pytest.raises(StoreError, match=f"{SCHEMA[0].name} differs"):
        await migrate(dsn, [changed, *SCHEMA[1:]])


async def test_line_ends_do_not_change_a_checksum() -> None:
    windows = replace(SCHEMA[0], sql=SCHEMA[0].sql.replace("\n", "\r\n"))
    assert windows.checksum == SCHEMA[0].checksum


async def test_failing_migration_leaves_nothing_of_itself_and_is_named(dsn: str) -> None:
    bad = Migration(9999, "9999_bad", "CREATE TABLE half (x int); SELECT 1/0")
    with pytest.raises(StoreError, match=r"9999_bad.*division by zero"):
        await migrate(dsn, [*SCHEMA, bad])
    assert await query(dsn, "SELECT to_regclass('half') AS half") == [(None,)]
    assert await migrate(dsn) == []


async def test_blocks_of_the_first_format_keep_every_sample(empty_dsn: str) -> None:
    await migrate(empty_dsn, SCHEMA[:1])
    blocks = [
        ("2026-03-01", "{12:00:00, 12:00:10, 12:00:20}", "{1, 2.5, NaN}"),
        ("2026-03-01", "{12:00:30, 12:00:30, 12:00:30.000001, 23:59:59.999999}", "{4, 3, 5, 6}"),
        ("2026-03-02", "{00:00:00}", "{-0.25}"),
    ]
    await query(empty_dsn, "INSERT INTO series (digest, metric_name, gpu_id, device, uuid, "
                "model_name, hostname, container, pod, namespace, labels_raw) "
                "SELECT 'x', 'TEMP', '', '', 'GPU-a', '', '', '', '', '', ''")  # fmt: skip
    for day, times, values in blocks:
        await query(empty_dsn, f"SELECT ensure_sample_block_day('{day}')")
        await query(
            empty_dsn,
            f"""
            INSERT INTO sample_block
            SELECT 1, min(t), max(t), array_agg(t ORDER BY place), '{values}'
            FROM (SELECT (date '{day}' + u) AT TIME ZONE 'UTC' AS t, place
                  FROM unnest('{times}'::time[]) WITH ORDINALITY AS each (u, place)) AS moments
            """,
        )
    flat = "SELECT timestamp, uuid, metric_name, value::text FROM telemetry ORDER BY 1, 4"
    before = await query(empty_dsn, flat)
    assert len(before) == 8
    assert await migrate(empty_dsn, SCHEMA) == NAMES[1:]
    assert await query(empty_dsn, flat) == before
    beats = "SELECT step_us, samples, off_us FROM sample_block ORDER BY last_ts"
    assert [tuple(row) for row in await query(empty_dsn, beats)] == [
        (10_000_000, 3, None),
        (0, 4, [0, 0, 1, 43_169_999_999]),
        (0, 1, None),
    ]


async def test_gpus_of_an_older_store_are_seen_when_their_samples_were(empty_dsn: str) -> None:
    await migrate(empty_dsn, [each for each in SCHEMA if each.version < 5])
    await query(empty_dsn, "SELECT ensure_sample_block_day('2026-03-01')")
    for number, uuid, first, last in ((1, "a", 1, 5), (2, "a", 2, 9), (3, "b", 3, 3)):
        await query(
            empty_dsn,
            f"""
            WITH s AS (
                INSERT INTO series (digest, metric_name, gpu_id, device, uuid, model_name, hostname,
                                    container, pod, namespace, labels_raw, first_ts)
                VALUES ('{number}', 'TEMP', '', '', '{uuid}', '', 'h{number}', '', '', '', '',
                        '2026-03-01T0{first}:00Z')
                RETURNING series_id
            )
            INSERT INTO sample_block
            SELECT series_id, '2026-03-01T0{first}:00Z', '2026-03-01T0{last}:00Z', 0, 1, NULL,
                   '{{1}}'
            FROM s
            """,
        )
    await migrate(empty_dsn, SCHEMA)
    found = await query(
        empty_dsn,
        "SELECT g.uuid, extract(hour FROM first_ts)::int, extract(hour FROM last_ts)::int, "
        "hostname FROM gpu AS g JOIN series USING (series_id) ORDER BY 1",
    )
    assert [tuple(row) for row in found] == [("a", 1, 9, "h2"), ("b", 3, 3, "h3")]


async def test_an_older_collector_lands_samples_and_maintains_nothing(dsn: str) -> None:
    await query(dsn, "INSERT INTO rollup_stale (hour) VALUES ('2026-03-01 12:00Z')")
    with pytest.raises(asyncpg.UndefinedColumnError):
        # Maintenance before 0017 began with this, and would make rollups without frames.
        await query(
            dsn,
            """
            WITH gone AS (
                DELETE FROM rollup_stale
                WHERE hour IN (SELECT hour FROM rollup_stale GROUP BY hour HAVING count(*) > 1)
                RETURNING hour, made_at
            )
            INSERT INTO rollup_stale (hour, made_at)
            SELECT hour, max(made_at) FROM gone GROUP BY hour
            """,
        )
    assert await query(dsn, "SELECT hour FROM rollup_stale")
