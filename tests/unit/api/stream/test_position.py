"""Ids of events of the live stream are read back as they were written."""

import pytest

from gputel.api.stream.position import StreamPosition
from gputel.errors import BadRequest
from gputel.store.write.recent_landings import LandingPosition


@pytest.mark.parametrize(
    "place",
    [
        StreamPosition(LandingPosition(1, "10:10:")),
        StreamPosition(LandingPosition(1790000000000, "10:20:11,12,19")),
        StreamPosition(LandingPosition(1, "10:20:11"), "21:21:", 17),
    ],
    ids=str,
)
def test_an_id_is_read_as_it_was_written(place: StreamPosition) -> None:
    assert StreamPosition.parse(str(place)) == place


@pytest.mark.parametrize(
    "snapshot",
    ["0:5:", "5:4:", "3:9:5,4", "3:9:5,5", "3:9:9", "3:9:2", "3:9:,", "3:99999999999999999999:"],
)
def test_a_snapshot_that_postgres_would_not_take_is_refused(snapshot: str) -> None:
    for text in (f"1.{snapshot}", f"1.1:1:.{snapshot}.1"):
        with pytest.raises(BadRequest, match="Last-Event-ID"):
            StreamPosition.parse(text)


def test_an_id_that_is_very_long_is_refused_in_few_words() -> None:
    with pytest.raises(BadRequest) as refused:
        StreamPosition.parse("1.1:99999:" + ",".join(map(str, range(1, 9999))))
    assert len(refused.value.message) < 300
