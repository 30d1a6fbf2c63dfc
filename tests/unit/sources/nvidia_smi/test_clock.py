"""Local times that come twice: in no case are two samples taken for one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.growing import open_growing
from gputel.sources.dcgm.chunk import CsvChunk

HEADER = "timestamp, index, uuid, temperature.gpu"


def line(time: str, value: int, gpu: int = 0) -> str:
    return f"2026/10/25 {time}, {gpu}, GPU-{gpu}, {value}"


def write(directory: Path, *lines: str) -> Path:
    path = directory / "smi.csv"
    path.write_text("\n".join([HEADER, *lines, ""]))
    return path


def read(path: Path) -> CsvChunk:
    return CsvFile.open(path).read(0, 100_000)


def values(chunks: Iterable[CsvChunk]) -> list[float]:
    return [row["value"] for chunk in chunks for row in chunk.batch.to_pylist()]


def half_hours() -> list[str]:
    """The end of summer time: 2:00 and 2:30 come twice."""
    times = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00", "03:30"]
    return [line(f"{time}:00.12{number}", number) for number, time in enumerate(times)]


def test_the_hour_that_comes_again_is_rejected(tmp_path: Path) -> None:
    chunk = read(write(tmp_path, *half_hours()))
    assert values([chunk]) == [0, 1, 2, 5, 6]
    assert [reject.line for reject in chunk.rejects] == [5, 6]
    assert chunk.rejects[0].reason == (
        "the time went back from 02:30:00 to 02:00:00, as local time does when summer time ends: "
        "which of two hours a line is of cannot be told; let nvidia-smi run with TZ=UTC"
    )


def test_a_line_each_second_loses_one_hour_and_no_other(tmp_path: Path) -> None:
    seconds = [*range(7000, 10800), *range(7200, 11000)]  # 3:00 is followed by 2:00
    times = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}.500" for s in seconds]
    lines = [line(time, number % 90) for number, time in enumerate(times)]
    chunk = read(write(tmp_path, *lines))
    assert [reject.line for reject in chunk.rejects] == list(range(3802, 7402))
    assert len(values([chunk])) == 4000


@pytest.mark.parametrize("first", range(7))
def test_a_read_from_the_middle_knows_what_came_before(tmp_path: Path, first: int) -> None:
    path = write(tmp_path, *half_hours())
    chunk = CsvFile.open(path).read(first, 1)
    assert values([chunk]) == ([] if first in (3, 4) else [first])


def test_a_file_that_grows_by_the_hour(tmp_path: Path) -> None:
    path = write(tmp_path, *half_hours()[:3])
    csv = open_growing(path)
    assert csv is not None
    chunks = [csv.read(0, csv.rows_ready())]
    for number, each in enumerate(half_hours()[3:], 3):
        with path.open("a") as file:
            file.write(each + "\n")
        assert csv.rows_ready() == number + 1
        chunks.append(csv.read(number, 1))
    assert values(chunks) == [0, 1, 2, 5, 6]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(
            [line("10:00:00.005", 0), line("10:00:00.001", 1, 1), line("10:00:00.005", 2, 2)],
            id="several GPUs in one tick",
        ),
        pytest.param(
            [line("10:00:00.005", 0), HEADER, line("09:30:00.001", 2)], id="files in any order"
        ),
        pytest.param(
            [line("10:00:00.005", 0), line("22:00:00.005", 1), line("10:00:01.005", 2)],
            id="a clock that was wrong",
        ),
    ],
)
def test_other_steps_back_are_read(tmp_path: Path, lines: list[str]) -> None:
    chunk = read(write(tmp_path, *lines))
    assert list(chunk.rejects) == []
    assert values([chunk]) == [float(each[-1]) for each in lines if each != HEADER]


def test_a_time_that_is_none_costs_itself(tmp_path: Path) -> None:
    lines = (line("10:00:00.005", 0), line("99:00:00.005", 1), line("10:00:01.005", 2))
    chunk = read(write(tmp_path, *lines))
    assert values([chunk]) == [0, 2]
    assert [reject.line for reject in chunk.rejects] == [3]
