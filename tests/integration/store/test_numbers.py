"""The store in a few numbers, for metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg

from gputel import metrics
from gputel.model.entities import target_uuid
from gputel.store.numbers import StoreNumbers
from gputel.store.write.streams import Streams
from tests.helpers.telemetry_rows import Labels, add_block


def values(numbers: StoreNumbers) -> dict[str, float]:
    """The values by name, or by stream."""
    return {
        sample.labels.get("stream", sample.name): sample.value
        for family in numbers.read()()
        for sample in family.samples
    }


async def test_size_age_and_rows_left_are_those_of_the_last_look(pool: asyncpg.Pool) -> None:
    numbers = StoreNumbers(pool)
    assert values(numbers) == {}
    await numbers.look()
    assert values(numbers).keys() == {"gputel_store_bytes"}

    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    await add_block(pool, Labels(), [hour_ago - timedelta(days=2), hour_ago], [1.0, 2.0])
    await add_block(pool, Labels(target_uuid("gpu1:9400"), "up"), [datetime.now(UTC)], [1.0])
    streams = Streams(pool, "mine", "me")
    await streams.register("print", "x.csv", looping=False)
    await streams.reserve(700, 60)
    await streams.reserve(50, 60)
    await numbers.look()
    found = values(numbers)
    assert found["gputel_store_bytes"] > 8192
    assert 3600 <= found["gputel_store_newest_sample_age_seconds"] < 3600 + 300
    assert found["mine"] == 750

    await pool.execute("DELETE FROM stream_lease")
    await numbers.look()
    assert "mine" not in values(numbers)


async def test_scrapes_get_them_while_a_collector_runs(pool: asyncpg.Pool) -> None:
    numbers = StoreNumbers(pool)
    await numbers.look()
    with metrics.STORE.read_from(numbers.read):
        assert b"\ngputel_store_bytes " in await metrics.render()
    assert b"gputel_store_bytes" not in await metrics.render()
