from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.growing import GrowingCsv, open_growing
from gputel.sources.csv.open import CsvOptions
from gputel.sources.dcgm.chunk import CsvChunk, RejectedRow
from tests.helpers.captures import ROOT

FIXTURE = ROOT / "fixtures" / "nvidia_smi.csv"
HEADER = "timestamp, index, uuid, name, utilization.gpu [%], memory.used [MiB], power.draw [W]"
ROWS_PER_LINE = 3
OTHER = "timestamp, uuid, name, power.draw [W], temperature.gpu, index, persistence_mode"
MORE = "timestamp, uuid, fan.speed [%], power.draw [W], temperature.gpu, utilization.gpu [%], index"


def line(second: int, gpu: int = 0, util: str = "45 %", memory: str = "1024 MiB") -> str:
    when = f"2026/11/30 14:36:{second:02}.123"
    return f"{when}, {gpu}, GPU-{gpu}, NVIDIA L4, {util}, {memory}, 71.50 W"


def write(path: Path, *lines: str, header: str = HEADER, end: str = "\n") -> Path:
    path.write_text(end.join([header, *lines]) + end, newline="")
    return path


def read(path: Path, host: str = "node-7") -> CsvChunk:
    return CsvFile.open(path, CsvOptions(host=host)).read(0, 100_000)


def samples(chunk: CsvChunk) -> list[tuple[int, str, str, float]]:
    return [
        (row["timestamp"].second, row["uuid"], row["metric_name"], row["value"])
        for row in chunk.batch.to_pylist()
    ]


def of_line(second: int, gpu: int = 0) -> list[tuple[int, str, str, float]]:
    values = {"GPU_UTIL": 45.0, "FB_USED": 1024.0, "POWER_USAGE": 71.5}
    return [(second, f"GPU-{gpu}", f"DCGM_FI_DEV_{name}", value) for name, value in values.items()]


def reasons(chunk: CsvChunk) -> list[tuple[int, str | None, str]]:
    return [(reject.line, reject.column, reject.reason) for reject in chunk.rejects]


def test_a_line_gives_a_record_for_each_value(tmp_path: Path) -> None:
    chunk = read(FIXTURE)
    first = chunk.batch.to_pylist()[:14]
    assert {row["metric_name"]: row["value"] for row in first} == {
        "DCGM_FI_DEV_PSTATE": 0,
        "DCGM_FI_DEV_GPU_UTIL": 99,
        "DCGM_FI_DEV_MEM_COPY_UTIL": 41,
        "DCGM_FI_DEV_FB_TOTAL": 81559,
        "DCGM_FI_DEV_FB_USED": 32480,
        "DCGM_FI_DEV_POWER_USAGE": 689.35,
        "DCGM_FI_DEV_GPU_TEMP": 61,
        "DCGM_FI_DEV_MEMORY_TEMP": 74,
        "DCGM_FI_DEV_SM_CLOCK": 1755,
        "nvidia_smi_clocks_current_graphics_clock_hz": 1.755e9,
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": 4,
        "nvidia_smi_clocks_event_reasons_hw_slowdown": 0,
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": 0,
        "nvidia_smi_encoder_stats_session_count": 0,
    }
    assert first[0] == {
        "timestamp": datetime(2025, 7, 18, 20, 42, 11, 123_000, UTC),
        "metric_name": "DCGM_FI_DEV_PSTATE",
        "gpu_id": "0",
        "device": "nvidia0",
        "uuid": "GPU-3f6c1c1e-0000-4000-8000-000000000000",
        "model_name": "NVIDIA H100 80GB HBM3",
        "hostname": "node-7",
        "container": "",
        "pod": "",
        "namespace": "",
        "value": 0.0,
        "labels_raw": 'DCGM_FI_DRIVER_VERSION="590.48.01",Hostname="node-7",'
        'UUID="GPU-3f6c1c1e-0000-4000-8000-000000000000",device="nvidia0",gpu="0",'
        'modelName="NVIDIA H100 80GB HBM3",pci_bus_id="00000000:19:00.0"',
    }
    assert reasons(chunk) == [
        (
            5,
            None,
            "not a row of values, but a message: Unable to determine the device handle for GPU "
            "00000000:3B:00.0: GPU is lost.  Reboot the system to recover this GPU",
        ),
        (
            6,
            "power.draw [W]",
            "value is none that DCGM_FI_DEV_POWER_USAGE can have: 0 to 100000 W",
        ),
    ]
    assert chunk.row_count == 5 * 15
    assert chunk.batch.num_rows == 4 * 14 - 2
    assert chunk.skipped == 4 + 1 + 14, "fans, an unknown error, the rest of the message"


def test_notes_name_the_zone_and_what_is_left_out() -> None:
    zone, host, left_out = CsvFile.open(FIXTURE, CsvOptions(host="dgx-7")).notes
    assert "UTC" in zone
    assert host == "its GPUs count as those of host dgx-7: --csv-host names another one"
    assert left_out == "columns without numbers are left out: persistence_mode"


def test_no_note_tells_of_a_host_that_the_file_names(tmp_path: Path) -> None:
    path = write(tmp_path / "smi.csv", header="timestamp, index, hostname, fan.speed [%]")
    (zone,) = CsvFile.open(path, CsvOptions(host="dgx-7")).notes
    assert "UTC" in zone


@pytest.mark.parametrize("absent", ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]"])
def test_absent_values_are_skipped(tmp_path: Path, absent: str) -> None:
    chunk = read(write(tmp_path / "smi.csv", line(1, util=absent)))
    assert samples(chunk) == of_line(1)[1:]
    assert (chunk.skipped, reasons(chunk)) == (1, [])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_units_bom_repeated_headers_and_blank_lines_change_nothing(
    tmp_path: Path, end: str
) -> None:
    lines = (line(1), "", HEADER, line(2, util="45", memory="1024"), "\ufeff" + HEADER, line(3))
    chunk = read(write(tmp_path / "smi.csv", *lines, header="\ufeff" + HEADER, end=end))
    assert samples(chunk) == of_line(1) + of_line(2) + of_line(3)
    assert (chunk.skipped, reasons(chunk)) == (3 * ROWS_PER_LINE, [])


def test_a_value_with_another_unit_or_none_at_all_costs_itself(tmp_path: Path) -> None:
    lines = (line(1, memory="1 GiB"), line(2, util=""), line(3, util="12 % 7"))
    chunk = read(write(tmp_path / "smi.csv", *lines))
    assert reasons(chunk) == [
        (2, "memory.used [MiB]", "value is not a number: '1 GiB'"),
        (3, "utilization.gpu [%]", "value is blank"),
        (4, "utilization.gpu [%]", "value is not a number: '12 % 7'"),
    ]
    assert chunk.batch.num_rows == 3 * ROWS_PER_LINE - 3


def test_a_bad_line_is_one_reject(tmp_path: Path) -> None:
    lines = (
        line(1).replace("2026/11/30", "yesterday"),
        line(2) + ", 7",
        line(3).replace("GPU-0", "[N/A]").replace(" 0,", " [N/A],"),
        line(5).replace("NVIDIA", "\0"),
        line(6),
    )
    chunk = read(write(tmp_path / "smi.csv", *lines))
    assert samples(chunk) == of_line(6)
    assert [(number, column) for number, column, _ in reasons(chunk)] == [
        (2, "timestamp"), (3, None), (4, None), (5, None),
    ]  # fmt: skip
    texts = [reason for _, _, reason in reasons(chunk)]
    assert "is not like" in texts[0]
    assert texts[1] == "wrong number of fields: found 8, expected 7"
    assert texts[2].startswith("no GPU is named")
    assert texts[3] == "NUL character"


def test_lines_are_read_by_the_header_above_them(tmp_path: Path) -> None:
    row = "2026/11/30 14:36:0{}.123, GPU-0, NVIDIA L4, 71.50, 64, 0, Enabled"
    lines = (line(1, util="45", memory="1024"), OTHER, row.format(2), HEADER, line(3))
    chunk = read(write(tmp_path / "smi.csv", *lines))
    other = [(2, "GPU-0", f"DCGM_FI_DEV_{name}", value)
             for name, value in (("POWER_USAGE", 71.5), ("GPU_TEMP", 64.0))]  # fmt: skip
    assert samples(chunk) == of_line(1) + other + of_line(3)
    assert (chunk.skipped, reasons(chunk)) == (2 * ROWS_PER_LINE + 1, [])


def test_a_faulty_value_is_named_by_the_title_of_its_own_header(tmp_path: Path) -> None:
    row = "2026/11/30 14:36:02.123, GPU-0, NVIDIA L4, 71.50 W, 64 F, 0, Enabled"
    chunk = read(write(tmp_path / "smi.csv", line(1), OTHER, row))
    assert reasons(chunk) == [(4, "temperature.gpu", "value is not a number: '64 F'")]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (MORE, "the header in line 3: it has 4 columns of numbers, and the first one 3"),
        (
            "timestamp, gpu_uuid, pid, used_gpu_memory [MiB]",
            "the header in line 3: is about processes, not",
        ),
        (
            "timestamp, name, utilization.gpu [%]",
            "the header in line 3: the header is one of nvidia-smi, and",
        ),
        (
            "timestamp,metric_name,uuid,value",
            "the header in line 3: it is one of DCGM, and the first one of nvidia-smi",
        ),
    ],
)
def test_lines_below_a_header_that_cannot_be_used_are_rejected(
    tmp_path: Path, header: str, why: str
) -> None:
    chunk = read(write(tmp_path / "smi.csv", line(1), header, line(2), line(3), HEADER, line(4)))
    assert samples(chunk) == of_line(1) + of_line(4)
    assert [number for number, _, _ in reasons(chunk)] == [3, 4, 5]
    assert all(reason.startswith(why) for _, _, reason in reasons(chunk))


@pytest.mark.parametrize("text", ["P0", "Active", "Yes", "0x4"])
def test_text_of_another_column_is_no_value(tmp_path: Path, text: str) -> None:
    header = "timestamp, uuid, temperature.gpu, pcie.link.gen.current, encoder.stats.averageFps"
    row = f"2026/11/30 14:36:01.123, GPU-0, {text}, {text}, {text}"
    chunk = read(write(tmp_path / "smi.csv", row, header=header))
    assert samples(chunk) == []
    assert [reason for _, _, reason in reasons(chunk)] == [f"value is not a number: '{text}'"] * 3


def test_last_line_without_a_line_feed_may_lack_digits(tmp_path: Path) -> None:
    path = tmp_path / "smi.csv"
    path.write_text("\n".join([HEADER, line(1), line(2)])[:-4])
    chunk = read(path)
    assert samples(chunk) == of_line(1)
    assert reasons(chunk) == [(3, None, "the file looks cut off in this line: it has no line feed")]


def test_identity_without_a_uuid_is_made_of_the_host(tmp_path: Path) -> None:
    header = "timestamp, index, pci.bus_id, hostname, fan.speed [%]"
    rows = ("0, 00000000:19:00.0, [N/A]", "0, [N/A], dgx-1", "[N/A], 00000000:3B:00.0, dgx-1")
    lines = [f"2026/11/30 14:36:11.123, {row}, 30 %" for row in rows]
    batch = read(write(tmp_path / "smi.csv", *lines, header=header)).batch.to_pylist()
    assert [(row["uuid"], row["gpu_id"], row["hostname"]) for row in batch] == [
        ("00000000:19:00.0@node-7", "0", "node-7"),
        ("gpu0@dgx-1", "0", "dgx-1"),
        ("00000000:3B:00.0@dgx-1", "", "dgx-1"),
    ]


@given(data=st.data())
def test_any_cut_into_chunks_gives_each_row_once(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    others = [OTHER, MORE, "timestamp, temperature.gpu"]
    kinds = st.sampled_from(["good", "", HEADER, "GPU is lost", "12 parsecs", "[N/A]", *others])
    lines = []
    for number, kind in enumerate(data.draw(st.lists(kinds, max_size=12))):
        if kind in ("good", "12 parsecs", "[N/A]"):
            lines.append(line(number, util="45 %" if kind == "good" else kind))
        else:
            lines.append(kind)
    path = write(tmp_path_factory.mktemp("smi") / "smi.csv", *lines)
    if data.draw(st.booleans()):
        path.write_bytes(gzip.compress(path.read_bytes()))
    complete = read(path)
    csv = CsvFile.open(path, CsvOptions(host="node-7"))
    rows = csv.count_rows()
    assert rows == complete.row_count == len(lines) * ROWS_PER_LINE
    found: list[dict[str, object]] = []
    rejects: list[RejectedRow] = []
    skipped = at = 0
    while at < rows:
        chunk = csv.read(at, data.draw(st.integers(1, 2 * ROWS_PER_LINE + 1)))
        found += chunk.batch.to_pylist()
        rejects += chunk.rejects
        skipped += chunk.skipped
        at += chunk.row_count
        assert chunk.at_end == (at == rows)
    assert found == complete.batch.to_pylist()
    assert rejects == complete.rejects
    assert skipped == complete.skipped
    assert rows == len(found) + len(rejects) + skipped


def growing(path: Path) -> GrowingCsv:
    csv = open_growing(path, CsvOptions(host="node-7"))
    assert csv is not None
    return csv


def test_a_growing_file_has_the_rows_of_complete_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "smi.csv", line(1))
    csv = growing(path)
    with path.open("a") as file:
        file.write(line(2) + "\n" + line(3)[:-3])
    assert csv.rows_ready() == 2 * ROWS_PER_LINE
    assert samples(csv.read(0, 2 * ROWS_PER_LINE)) == of_line(1) + of_line(2)
    with path.open("a") as file:
        file.write(line(3)[-3:] + "\n")
    assert csv.rows_ready() == 3 * ROWS_PER_LINE
    assert samples(csv.read(2 * ROWS_PER_LINE, 99)) == of_line(3)


def test_a_growing_file_begins_where_an_ingest_ended(tmp_path: Path) -> None:
    path = write(tmp_path / "smi.csv", line(1), line(2))
    ingested = CsvFile.open(path)
    ended = {ingested.fingerprint: ingested.count_rows()}
    with path.open("a") as file:
        file.write(line(3) + "\n")
    assert growing(path).rows_of(ended) == 2 * ROWS_PER_LINE
    assert growing(path).rows_of({ingested.fingerprint: ROWS_PER_LINE}) == 0
