import csv
import hashlib
import io
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from gputel.cli.simulate import simulate_command
from gputel.errors import SourceError, UsageError
from gputel.sources.csv.file import CsvFile
from gputel.sources.simulated.fleet import METRICS
from gputel.sources.simulated.simulator import sample_csv, simulate

START = datetime(2025, 7, 18, 20, 42, 34, tzinfo=UTC)
SAMPLE_BLAKE2B = "5bb241aa7c8f0534af218c0f45954bf6"


def made(hosts=2, gpus=3, rows=60, **options) -> bytes:
    out = io.BytesIO()
    simulate(out, hosts, gpus, rows, **({"start": START} | options))
    return out.getvalue()


def records(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def by_metric(content: bytes, metric: str) -> list[float]:
    return [float(row["value"]) for row in records(content) if row["metric_name"] == metric]


def test_shape_is_that_of_the_real_capture(capture):
    with capture.open() as text:
        header, line = text.readline(), text.readline()
    mine = made().decode().splitlines(keepends=True)
    assert mine[0] == header
    (theirs,), (ours,) = csv.reader([line]), csv.reader([mine[1]])
    for place in (0, 1, 2, 3, 5, 7, 8, 9):
        assert ours[place] == theirs[place]
    assert ours[11].replace(ours[4], "U").replace(ours[6], "H") == theirs[11].replace(
        theirs[4], "U"
    ).replace(theirs[6], "H")
    assert mine[1].count('"') == line.count('"')


def test_metrics_are_those_of_the_real_capture(capture):
    with capture.open(newline="") as text:
        names = list(dict.fromkeys(row["metric_name"] for row in csv.DictReader(text)))
    assert tuple(names) == METRICS


@pytest.mark.parametrize("rows", [0, 1, 59, 60, 61, 1000])
def test_as_many_rows_as_asked(rows):
    assert made(rows=rows).count(b"\n") == rows + 1


def test_same_seed_and_start_give_the_same_bytes():
    assert made() == made() != made(seed=8)
    assert made(start=START + timedelta(seconds=1)) != made()


def test_every_gpu_reports_every_metric_at_every_step():
    rows = records(made(rows=180))
    counts = Counter((row["uuid"], row["metric_name"]) for row in rows)
    assert len(counts) == 60
    assert set(counts.values()) == {3}
    assert len({row["Hostname"] for row in rows}) == 2


def test_steps_are_an_interval_apart():
    times = [row["timestamp"] for row in records(made(1, 1, 20, interval_s=0.5))]
    assert times[0] == "2025-07-18T20:42:34Z"
    assert times[10] == "2025-07-18T20:42:34.5Z"


def test_readings_end_now_when_no_start_is_given():
    last = datetime.fromisoformat(records(made(rows=600, start=None))[-1]["timestamp"])
    assert abs(datetime.now(UTC) - last) < timedelta(seconds=60)


def test_values_are_believable_and_follow_the_load():
    content = made(hosts=20, gpus=8, rows=20 * 8 * 10 * 20)
    load, power, heat, clock, used, free = (
        by_metric(content, f"DCGM_FI_DEV_{name}")
        for name in ("GPU_UTIL", "POWER_USAGE", "GPU_TEMP", "SM_CLOCK", "FB_USED", "FB_FREE")
    )
    assert min(load) == 0
    assert max(load) == 100
    assert min(power) > 60
    assert max(power) < 720
    assert min(heat) > 20
    assert max(heat) < 90
    assert set(clock) <= {345, 1980, 1965}
    assert {a + b for a, b in zip(used, free, strict=True)} == {81_007}
    busy = [watts for watts, percent in zip(power, load, strict=True) if percent > 90]
    idle = [watts for watts, mhz in zip(power, clock, strict=True) if mhz == 345]
    assert min(busy) > 2 * max(idle)


def test_pods_are_given_to_some_gpus_when_asked():
    rows = records(made(hosts=10, gpus=8, rows=800, pods=True))
    labelled = [row for row in rows if row["pod"]]
    assert 200 < len(labelled) < 600
    assert all(row["namespace"] and row["container"] for row in labelled)
    assert all(f'pod="{row["pod"]}"' in row["labels_raw"] for row in labelled)
    assert not any(row["pod"] for row in records(made()))


def test_readings_beyond_the_supported_years_are_refused():
    with pytest.raises(UsageError, match="2000 to 2099"):
        made(1, 1, 10_000, interval_s=86_400.0 * 300)
    with pytest.raises(UsageError, match="2000 to 2099"):
        made(start=datetime(1999, 1, 1, tzinfo=UTC))


def test_what_is_simulated_lands_whole(tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_bytes(made(hosts=5, gpus=8, rows=4000, pods=True, interval_s=0.3))
    chunk = CsvFile.open(path).read(0, 10_000)
    assert (chunk.batch.num_rows, list(chunk.rejects)) == (4000, [])


def test_sample_is_the_same_bytes_on_every_machine(tmp_path):
    path = sample_csv(tmp_path / "not" / "there" / "yet")
    assert path.name == "sample.csv"
    assert hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() == SAMPLE_BLAKE2B
    assert CsvFile.open(path).count_rows() == 31 * 8 * 10 * 12


def test_sample_is_written_once_and_whole_by_many_at_once(tmp_path):
    threads = [threading.Thread(target=sample_csv, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["sample.csv"]
    written = (tmp_path / "sample.csv").stat().st_mtime_ns
    assert sample_csv(tmp_path).stat().st_mtime_ns == written


def test_sample_in_a_directory_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="--data-dir"):
        sample_csv(tmp_path / "file")


def test_command_writes_to_a_file(tmp_path):
    path = tmp_path / "out.csv"
    command = ["--hosts", "2", "--gpus", "3", "--rows", "60", "--output", str(path)]
    result = CliRunner().invoke(simulate_command, [*command, "--start", "2025-07-18T20:42:34Z"])
    assert result.exit_code == 0
    assert path.read_bytes() == made()


@pytest.mark.parametrize(
    "wrong", [["--rows", "-1"], ["--rows", "1", "--hosts", "0"], ["--rows", "1", "--start", "x"]]
)
def test_command_refuses_what_cannot_be(wrong):
    result = CliRunner().invoke(simulate_command, wrong)
    assert result.exit_code == 2
    assert "Invalid value" in result.stderr


def test_command_ends_quietly_when_its_reader_does():
    code = "from gputel.cli.simulate import simulate_command; simulate_command()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--rows", "200000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    )
    assert process.stdout.readline().startswith(b"timestamp,")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 1
    process.stderr.close()
