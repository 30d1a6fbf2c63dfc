"""Every dialect that is not damage reads as the same records."""

import csv
from datetime import UTC, datetime

import pytest

from gputel.model.columns import SCHEMA
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.open import CsvOptions

MOMENT = datetime(2025, 7, 18, 20, 42, 34, tzinfo=UTC)


def test_record_holds_what_the_line_says(bench):
    batch = bench.read(bench.file([bench.line(pod="p", value="-1.5e3")])).batch
    assert batch.schema.equals(SCHEMA)
    batch.validate(full=True)
    assert batch.to_pylist() == [
        {
            "timestamp": MOMENT,
            "metric_name": "DCGM_FI_DEV_OTHER",
            "gpu_id": "0",
            "device": "nvidia0",
            "uuid": "GPU-5fd4f087-86f3-7a43-b711-4771313afc50",
            "model_name": "NVIDIA H100 80GB HBM3",
            "hostname": "dgx-001",
            "container": "",
            "pod": "p",
            "namespace": "",
            "labels_raw": 'gpu="0",instance="dgx-001:9400"',
            "value": -1500.0,
        }
    ]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_quotes_line_ends_and_bom_do_not_matter(bench, quoting, end, bom):
    lines = [bench.line(quoting, value=str(number)) for number in range(3000)]
    plain = bench.read(bench.file(bench.numbered(3000)))
    content = bom + end.join([bench.header, *lines]) + end
    chunk = bench.read(bench.raw(content, "other.csv"))
    assert list(chunk.rejects) == []
    assert chunk.batch.to_pylist() == plain.batch.to_pylist()


def test_unquoted_file_lands_whole(bench):
    content = b"timestamp,metric_name,uuid,value\n" + b"2025-07-18T20:42:34Z,m,GPU-1,5\n" * 3
    chunk = bench.read(bench.raw(content))
    assert bench.values(chunk) == [5, 5, 5]
    assert chunk.batch.column("hostname").to_pylist() == ["", "", ""]


def test_reordered_and_extra_columns_change_nothing(bench):
    content = (
        b"site,value,Hostname,uuid,metric_name,timestamp\n"
        b'"a ""b"", c",7,dgx-9,GPU-1,m,2025-07-18T20:42:34Z\n'
        b"\xff,8,dgx-9,GPU-1,m,2025-07-18T20:42:34Z\n"
    )
    chunk = bench.read(bench.raw(content))
    assert bench.values(chunk) == [7, 8]
    assert chunk.batch.column("hostname").to_pylist() == ["dgx-9", "dgx-9"]
    assert list(chunk.rejects) == []


def test_text_beyond_ascii_is_kept(bench):
    chunk = bench.read(bench.file([bench.line(hostname="häuschen-µ-🚀")]))
    assert chunk.batch.column("hostname").to_pylist() == ["häuschen-µ-🚀"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-07-18T20:42:34Z", MOMENT),
        ("2025-07-18 20:42:34", MOMENT),
        ("2025-07-18T20:42:34", MOMENT),
        ("2025-07-18T22:42:34+02:00", MOMENT),
        ("2025-07-18T22:42:34+0200", MOMENT),
        ("2025-07-18T13:42:34-07", MOMENT),
        ("2025-07-18T20:42:34.5Z", MOMENT.replace(microsecond=500_000)),
        ("2025-07-18T20:42:34.123456", MOMENT.replace(microsecond=123_456)),
        ("2025-07-18T20:42:34.123456789Z", MOMENT.replace(microsecond=123_456)),
        ("2025-07-18T20:42Z", MOMENT.replace(second=0)),
        ("2025-07-18", MOMENT.replace(hour=0, minute=0, second=0)),
        ("2025-07-18t20:42:34z", MOMENT),
        (" 2025-07-18T20:42:34Z ", MOMENT),
        ("2025-07-18 20:42:34,5", MOMENT.replace(microsecond=500_000)),
        ("2025-07-18T20:42:34.1234567890Z", MOMENT.replace(microsecond=123_456)),
        ("2025/07/18 20:42:34.123", MOMENT.replace(microsecond=123_000)),
        ("2025-07-18 20:42:34 UTC", MOMENT),
        ("2025-07-18 20:42:34 +0000 UTC", MOMENT),
        ("2025-07-18 13:42:34.000000001 -0700 PDT m=+0.001", MOMENT),
        ("2025-07-19 02:12:34 +0530 +0530", MOMENT),
        ("1752871354", MOMENT),
        ("1752871354.123", MOMENT.replace(microsecond=123_000)),
        ("1752871354123", MOMENT.replace(microsecond=123_000)),
        ("1752871354123456", MOMENT.replace(microsecond=123_456)),
        ("1752871354123456789", MOMENT.replace(microsecond=123_456)),
        ("1.752871354e+09", MOMENT),
        ("1.752871354123e+12", MOMENT.replace(microsecond=123_000)),
        ("2016-12-31T23:59:60.5Z", datetime(2017, 1, 1, microsecond=500_000, tzinfo=UTC)),
        ("2017-01-01T00:59:60+01:00", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_timestamps_are_read_as_utc(bench, text, moment):
    alone = bench.read(bench.file([bench.line(timestamp=text)]))
    assert alone.batch.column("timestamp").to_pylist() == [moment]
    among_others = [bench.line(), bench.line(timestamp="2025-07-18"), bench.line(timestamp=text)]
    mixed = bench.read(bench.file(among_others))
    assert mixed.batch.column("timestamp").to_pylist()[2] == moment


def test_blanks_around_fields_do_not_matter_if_the_header_has_them(bench):
    for count in (1, 5000):
        line = b'2025-07-18T20:42:34Z , m, GPU-1,\t%d, "a, ""b"" ,c"\n'
        content = b" timestamp, metric_name, uuid , value, labels_raw\n"
        content += b"".join(line % number for number in range(count))
        content += b' 2025-07-18T20:42:34Z, m, "GPU-2, 1", 7 , x y \r\n  \n'
        chunk = bench.read(bench.raw(content))
        assert list(chunk.rejects) == []
        assert bench.values(chunk) == [*range(count), 7]
        assert chunk.batch.column("uuid").to_pylist() == ["GPU-1"] * count + ["GPU-2, 1"]
        assert set(chunk.batch.column("labels_raw").to_pylist()) == {'a, "b" ,c', "x y"}
        assert chunk.skipped == 1


def test_lines_of_a_spaced_file_keep_their_numbers_and_their_last_one(bench):
    good = "2025-07-18T20:42:34Z, m, GPU-1, 1"
    for last in ("", "\n", "  ", '2025-07-18T20:42:34Z, m, "GPU-1, 2'):
        content = f"timestamp, metric_name, uuid, value\n{good}\n\n, x\n{good}\n{last}"
        chunk = bench.read(bench.raw(content.encode()))
        assert bench.values(chunk) == [1, 1]
        assert [line for line, *_ in bench.reasons(chunk)] == [4] + [6] * last.startswith("2")


@pytest.mark.parametrize("count", [1, 5000])
def test_nvswitch_or_cpu_without_a_uuid_lands_under_its_name(bench, count):
    switch = bench.line(uuid="", labels_raw='nvswitch="nvswitch0",Hostname="dgx-001"')
    core = bench.line(uuid="", labels_raw='cpu="0",cpucore="1"')
    chunk = bench.read(bench.file([*bench.numbered(count), switch, core]))
    assert list(chunk.rejects) == []
    uuids = chunk.batch.column("uuid").to_pylist()
    assert uuids[-2:] == ["nvswitch0@dgx-001", "cpu0@dgx-001"]
    assert set(uuids[:-2]) == {"GPU-5fd4f087-86f3-7a43-b711-4771313afc50"}


def test_blanks_belong_to_fields_if_the_header_has_none(bench):
    chunk = bench.read(bench.raw(b"timestamp,metric_name,uuid,value\n2025-07-18, m,GPU-1, 1\n"))
    assert chunk.batch.column("metric_name").to_pylist() == [" m"]


def test_time_of_processing_rises_by_a_microsecond_a_row(bench):
    path = bench.file(bench.numbered(5))
    now_ns = 1_752_871_354_000_000_000
    source = CsvFile.open(path, CsvOptions("processing"), clock_ns=lambda: now_ns)
    times = [
        stamp.timestamp() * 1_000_000 - now_ns // 1000
        for first, count in ((0, 3), (3, 2))
        for stamp in source.read(first, count).batch.column("timestamp").to_pylist()
    ]
    assert [round(time) for time in times] == [0, 1, 2, 3, 4]


def test_value_out_of_the_sentinels_lands(bench):
    texts = ["2147483631", "2147483636", "140737488355332", "9223372036854770000", "-2147483632"]
    chunk = bench.read(bench.file([bench.line(value=text) for text in texts]))
    assert bench.values(chunk) == [float(text) for text in texts]


def test_label_values_appear_once_in_a_chunk(bench):
    chunk = bench.read(bench.file(bench.numbered(50_000)))
    assert chunk.batch.num_rows == 50_000
    assert chunk.batch.column("uuid").dictionary.to_pylist() == [
        "GPU-5fd4f087-86f3-7a43-b711-4771313afc50"
    ]


def test_real_capture_lands_whole(capture):
    chunk = CsvFile.open(capture).read(0, 10_000)
    assert (chunk.batch.num_rows, chunk.row_count, list(chunk.rejects)) == (2470, 2470, [])
    assert len(chunk.batch.column("uuid").dictionary) == 247
    assert len(chunk.batch.column("hostname").dictionary) == 31
    with capture.open(newline="") as text:
        rows = list(csv.reader(text))[1:]
    mine = zip(chunk.batch.to_pylist(), rows, strict=True)
    for record, row in mine:
        assert [record["uuid"], record["labels_raw"]] == [row[4], row[11]]
        assert record["value"] == float(row[10])
        assert record["timestamp"] == datetime.fromisoformat(row[0])
