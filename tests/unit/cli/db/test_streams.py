from __future__ import annotations

import pytest

from gputel.cli.db.streams import _show


def test_a_long_path_stays_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = "/srv/" + "captures/" * 20 + "smi.csv"
    stream = {
        "stream": "csv-1.loop",
        "rows": 2470,
        "last_read": "2026-03-01T12:00:00Z",
        "source": path,
        "loop": True,
    }
    _show([stream])
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == [
        "csv-1.loop", "2,470", "2026-03-01T12:00:00Z", path, "(in", "a", "loop)"
    ]  # fmt: skip
