"""How many connections scrapes may have open."""

from __future__ import annotations

import pytest

from gputel.streamer.scrape import fetch
from gputel.streamer.scrape.fetch import most_connections


@pytest.mark.parametrize(
    ("files", "connections"), [(1024, 512), (20_000, 10_000), (1 << 20, 20_000)]
)
def test_targets_that_hang_leave_files_to_the_rest_of_the_process(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr(fetch, "file_limit", lambda: files)
    assert most_connections() == connections
