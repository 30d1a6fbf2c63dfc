"""What the tables of ``gputel query`` say above, below and in place of their rows."""

from __future__ import annotations

from typing import Any

import pytest

from gputel.cli.query import gpu, targets, telemetry, top

TIME = "2026-03-01T12:00:00Z"
GPU = {
    "uuid": "GPU-1",
    "modelName": "",
    "hostname": "node-7",
    "gpu_id": "3",
    "device": "nvidia3",
    "last_seen": TIME,
    "first_seen": TIME,
    "labels": {},
    "metrics": [],
}


@pytest.mark.parametrize(
    ("times", "footer"),
    [
        ({"start_time": None, "end_time": None, "agg": None}, "value: avg of the last hour"),
        ({"start_time": TIME, "end_time": None, "agg": "p95"}, "value: p95 of the time asked for"),
    ],
)
def test_a_ranking_says_what_its_values_are(
    times: dict[str, Any], footer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"rank": 1, "metric_name": "m", "uuid": "GPU-1", "hostname": "h", "value": 1.0}
    top._show([row], times)
    assert capsys.readouterr().out.splitlines()[-1] == footer


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (None, "no records in the last hour: --since 7d looks further back"),
        (TIME, "no records in this time: widen --since and --until"),
    ],
)
def test_an_empty_ranking_says_which_time_it_is_of(
    start: str | None, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    top._show([], {"start_time": start, "end_time": None, "agg": None})
    assert capsys.readouterr().out.startswith(text)


@pytest.mark.parametrize(
    ("index", "device", "text"),
    [
        ("3", "nvidia3", "node-7  (gpu 3, nvidia3)"),
        ("3", "", "node-7  (gpu 3)"),
        ("", "", "node-7"),
    ],
)
def test_what_a_source_does_not_say_leaves_no_brackets(
    index: str, device: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu._show({**GPU, "gpu_id": index, "device": device}, {})
    assert f"hostname   {text}\n" in capsys.readouterr().out


def test_a_target_is_not_counted_as_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"metric_name": "up", "value": 1.0, "age_s": 3.0, "hostname": ""}
    telemetry._show_latest([{**record, "uuid": "target@gpu1:9400"}])
    assert capsys.readouterr().out.endswith("\n1 record\n")
    telemetry._show_latest([{**record, "uuid": uuid} for uuid in ("target@gpu1:9400", "GPU-1")])
    assert capsys.readouterr().out.endswith("\n2 records of 1 GPU\n")


def test_targets_that_wait_for_their_first_scrape_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = {"labels": {"instance": "gpu1:9400"}, "lastError": "", "hint": ""}
    never = {"health": "unknown", "lastScrape": "0001-01-01T00:00:00Z"}
    targets._show([{**target, **never}, {**target, "health": "up", "lastScrape": TIME}])
    assert capsys.readouterr().out.endswith("\n2 targets, 1 up, 1 not scraped yet\n")
