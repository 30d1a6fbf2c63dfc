"""The status of the store as people see it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from gputel.cli.db.status import print_status
from gputel.store.status import DayStatus, StoreStatus

NEWEST = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
DAY = DayStatus(
    day=date(2026, 3, 1), samples=123_456_789, blocks=1_234_567, to_merge=1_234_000,
    heap=3 << 30, toast=2 << 30, index=1 << 30,
    oldest=NEWEST, newest=NEWEST, estimated=False, expired=True,
)  # fmt: skip


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_a_narrow_terminal_shortens_no_day_and_no_number(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    now = NEWEST + timedelta(seconds=2)
    print_status(StoreStatus([DAY], 10, False, 0, 0, now), "table")
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("2026-03-01 expired"))
    words = "123,456,789 1,234,567 1,234,000 3 GiB 2 GiB 1 GiB 2026-03-01T12:30:15Z"
    assert [word for word in words.split() if word not in line.split()] == []
    assert "the newest sample is 2 s old" in lines
