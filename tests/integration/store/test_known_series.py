"""Labels of series are read from Postgres once, and no more are remembered than may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import combinations

import asyncpg
import numpy as np
import pytest

from gputel.errors import QueryTooLarge
from gputel.store.limits import Limits
from gputel.store.read.known_series import CACHED_LABELS_BYTES, KnownSeries
from gputel.store.read.records import memory_bytes
from tests.helpers.telemetry_rows import Labels, add_series

FLEET = [Labels(uuid, metric) for uuid in ("GPU-b", "GPU-a") for metric in ("TEMP", "POWER")]


@pytest.fixture
async def ids(pool: asyncpg.Pool) -> list[int]:
    return [await add_series(pool, labels) for labels in FLEET]


class Session:
    """A session, and the arguments of every statement about series."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        self.connection = connection
        self._seen: list[tuple] = []

    def note(self, query: asyncpg.connection.LoggedQuery) -> None:
        if "FROM series" in query.query:  # and no question of asyncpg's own about types
            self._seen.append(query.args)

    async def asked(self) -> list[tuple]:
        await asyncio.sleep(0)  # statements are told of by the loop, soon after they ended
        return self._seen


@pytest.fixture
async def session(pool: asyncpg.Pool) -> AsyncIterator[Session]:
    async with pool.acquire() as connection:
        session = Session(connection)
        with connection.query_logger(session.note):
            yield session


async def test_labels_are_those_of_the_ids_in_their_order_whatever_was_known(session, ids) -> None:
    known = KnownSeries()
    for wanted in (ids[1:3], ids[::-1], [*ids, ids[0]], []):
        found = await known.labels(session.connection, wanted)
        assert [series.series_id for series in found] == wanted
        assert [(series.uuid, series.metric_name) for series in found] == [
            (FLEET[ids.index(each)].uuid, FLEET[ids.index(each)].metric) for each in wanted
        ]


async def test_only_what_is_not_known_is_asked_for(session, ids) -> None:
    known = KnownSeries()
    await known.labels(session.connection, ids[:2])
    await known.labels(session.connection, ids[:2])
    await known.labels(session.connection, ids)
    assert await session.asked() == [([*ids[:2]],), ([*ids[2:]],)]


async def test_what_was_met_first_is_forgotten_first_and_asked_for_again(session, ids) -> None:
    sizes = [memory_bytes(each) for each in await KnownSeries().labels(session.connection, ids)]
    (await session.asked()).clear()
    known = KnownSeries(max_bytes=3 * max(sizes))
    assert len(await known.labels(session.connection, ids)) == len(ids)
    await known.labels(session.connection, ids[1:])
    assert len(await session.asked()) == 1
    await known.labels(session.connection, ids[:1])
    assert (await session.asked())[-1] == ([ids[0]],)


async def test_series_are_ordered_by_uuid_and_metric_and_the_order_is_remembered(
    session, ids
) -> None:
    known = KnownSeries()
    first = await known.ordered(session.connection, np.array(ids))
    assert [(each.uuid, each.metric_name) for each in first.series] == [
        ("GPU-a", "POWER"), ("GPU-a", "TEMP"), ("GPU-b", "POWER"), ("GPU-b", "TEMP"),
    ]  # fmt: skip
    assert np.array(ids)[first.place].tolist() == [each.series_id for each in first.series]
    assert await known.ordered(session.connection, np.array(ids)) is first
    for size in (1, 2):
        for chosen in combinations(ids, size):
            await known.ordered(session.connection, np.array(chosen))
    again = await known.ordered(session.connection, np.array(ids))
    assert again is not first
    assert again.series == first.series
    assert len(await session.asked()) == 1


async def test_labels_of_unusual_size_are_read_but_not_remembered(session, pool) -> None:
    known = KnownSeries()
    large = await add_series(pool, Labels("GPU-large"))
    text = "x" * CACHED_LABELS_BYTES
    await pool.execute("UPDATE series SET labels_raw = $2 WHERE series_id = $1", large, text)
    for _ in range(2):
        (found,) = await known.labels(session.connection, [large])
        assert len(found.labels_raw) == CACHED_LABELS_BYTES
    assert await session.asked() == [([large],)] * 2


async def test_labels_of_more_bytes_than_a_query_may_read_are_refused(session, ids) -> None:
    limits = Limits(max_series=10, max_samples=10, max_bytes=1000)
    assert len(await KnownSeries().labels(session.connection, ids[:1], limits)) == 1
    with pytest.raises(QueryTooLarge, match="--query-max-bytes"):
        await KnownSeries().labels(session.connection, ids, limits)
