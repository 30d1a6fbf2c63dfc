"""Each kind of damage: the bad row is reported, the good ones around it land."""

import csv
import random
from typing import Any

import pytest

from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.open import CsvOptions
from gputel.sources.dcgm.chunk import TEXT_LIMIT
from gputel.sources.dcgm.lines import LINE_LIMIT

CUT = "the file looks cut off in this line: "


def check(bench, bad: bytes, column: str | None, reason: str) -> None:
    """The bad line between good ones, at the start, at the end, and among many."""
    for before, after in ((1, 1), (0, 2), (2, 0), (3000, 3000)):
        lines = [*bench.numbered(before), bad, *bench.numbered(after, before)]
        chunk = bench.read(bench.file(lines))
        assert bench.values(chunk) == list(range(before + after))
        assert chunk.row_count == before + after + 1
        ((line, at, why),) = bench.reasons(chunk)
        assert (line, at) == (before + 2, column)
        assert why.startswith(reason)


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("value", "", "value is blank"),
        ("value", "  ", "value is blank"),
        ("value", "N/A", "value is not a number: 'N/A'"),
        ("value", "1_000", "value is not a number"),
        ("value", "0x10", "value is not a number"),
        ("value", "1,5", "value is not a number"),
        ("value", "nan", "value is not finite"),
        ("value", "-inf", "value is not finite"),
        ("value", "1e400", "value is not finite"),
        ("value", "2147483632", "value is DCGM's blank sentinel (int32, blank)"),
        ("value", "2147483634", "value is DCGM's blank sentinel (int32, not supported)"),
        ("value", "2147483635.0", "value is DCGM's blank sentinel (int32, not permissioned)"),
        ("value", "9223372036854775792", "value is DCGM's blank sentinel (int64)"),
        ("value", "9223372036854775795", "value is DCGM's blank sentinel (int64)"),
        ("value", "140737488355328", "value is DCGM's blank sentinel (fp64, blank)"),
        ("value", "140737488355329", "value is DCGM's blank sentinel (fp64, not found)"),
        ("metric_name", "gputel:gpu_power_watts", "metric_name is the name of a meaning"),
        ("timestamp", "", "timestamp is blank"),
        ("timestamp", "  ", "timestamp is blank"),
        ("timestamp", "yesterday", "timestamp is not like 2025-07-18T20:42:34Z: 'yesterday'"),
        ("timestamp", "20250718", "timestamp is not within"),
        ("timestamp", "1e99", "timestamp is not within"),
        ("timestamp", "-1752871354", "timestamp is not like"),
        ("timestamp", "2025-07-18T20:42:60Z", "timestamp is not like"),
        ("timestamp", "2025-07/18", "timestamp is not like"),
        ("timestamp", "07/18/2025 20:42:34", "timestamp is not like"),
        ("timestamp", "2025-02-30T00:00:00Z", "timestamp is not like"),
        ("timestamp", "2025-07-18T20:42:34+25:00", "timestamp is not like"),
        ("timestamp", "1999-12-31T23:59:59Z", "timestamp is not within"),
        ("timestamp", "2100-01-01T00:00:00Z", "timestamp is not within"),
        ("timestamp", "0001-01-01T00:00:00Z", "timestamp is not within"),
        ("metric_name", "", "metric_name is blank"),
        ("metric_name", " ", "metric_name is blank"),
        ("uuid", "", "uuid is blank"),
        ("uuid", "\u3000", "uuid is blank"),
        ("uuid", "x" * 257, "uuid is over 256 characters"),
        ("metric_name", "é" * 257, "metric_name is over 256 characters"),
        ("pod", "\N{GRINNING FACE}" * 257, "pod is over 256 characters"),
        ("labels_raw", "é" * 2049, "labels_raw is over 4096 bytes"),
    ],
)
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_field_that_makes_no_reading_is_rejected(bench, field, text, reason, quoting):
    check(bench, bench.line(quoting, **{field: text}), field, reason)


@pytest.mark.parametrize(
    ("old", "new", "column", "reason"),
    [
        (b',"42"', b"", None, "wrong number of fields: found 11, expected 12"),
        (b',"42"', b',"42","43"', None, "wrong number of fields: found 13, expected 12"),
        (b'"42"', b'4"2', "value", "stray quote"),
        (b'"nvidia0"', b'nvidia"0"', "device", "stray quote"),
        (b'"nvidia0"', b'"nvi"dia"0"', "device", "stray quote"),
        (b'9400"""', b'9400""', "labels_raw", "unclosed quote"),
        (b"nvidia0", b"nv\xffidia0", "device", "text is not UTF-8"),
        (b"nvidia0", b"nv\x00idia0", None, "NUL character"),
        (b"nvidia0", b"nv\ridia0", None, "carriage return within the line"),
    ],
)
def test_line_that_is_not_well_formed_is_rejected(bench, old, new, column, reason):
    good = bench.line()
    assert old in good
    check(bench, good.replace(old, new), column, reason)


def test_value_that_its_field_cannot_have_is_rejected_unless_it_is_kept(bench):
    bad = bench.line(metric_name="DCGM_FI_DEV_GPU_TEMP", value="644245923")
    reason = "value is none that DCGM_FI_DEV_GPU_TEMP can have: -60 to 200 C"
    check(bench, bad, "value", reason)
    path = bench.file([bad, bench.line(value="1")])
    assert bench.values(bench.read(path, keep_impossible=True)) == [644245923, 1]


def test_line_of_something_else_is_rejected(bench):
    check(bench, b"--- log rotated ---", None, "wrong number of fields: found 1, expected 12")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_header_once_more_in_a_joined_file_is_skipped(bench, mark, end):
    for count in (2, 3000):
        one, two = bench.numbered(count), bench.numbered(count, count)
        quoted = b",".join(b'"%b"' % title for title in bench.header.split(b","))
        lines = [*one, mark + bench.header, *two, quoted]
        chunk = bench.read(bench.file(lines, end))
        assert bench.values(chunk) == list(range(2 * count))
        assert (list(chunk.rejects), chunk.row_count, chunk.skipped) == ([], 2 * count + 2, 2)


def test_line_break_within_quotes_damages_its_own_two_lines_only(bench):
    first, second = bench.line(device="nvidia\n0").split(b"\n")
    chunk = bench.read(bench.file([*bench.numbered(2), first, second, *bench.numbered(2, 2)]))
    assert bench.values(chunk) == [0, 1, 2, 3]
    assert [(line, reason) for line, _, reason in bench.reasons(chunk)] == [
        (4, "unclosed quote"),
        (5, "stray quote"),
    ]


def test_unclosed_quotes_that_would_pair_up_damage_only_their_own_lines(bench):
    bad = bench.line().replace(b'"nvidia0"', b'"nvidia0')
    lines = [bench.line(value="1"), bad, bench.line(value="2"), bad, bench.line(value="3")]
    chunk = bench.read(bench.file(lines))
    assert bench.values(chunk) == [1, 2, 3]
    assert [line for line, _, _ in bench.reasons(chunk)] == [3, 5]


def test_line_over_the_limit_is_rejected_and_shown_in_part(bench):
    check(bench, b"x" * (LINE_LIMIT + 1), None, "line too long")
    check(bench, bench.line(labels_raw="y" * LINE_LIMIT * 9), None, "line too long")
    (reject,) = bench.read(bench.file([b"x" * (2 * LINE_LIMIT)])).rejects
    assert len(reject.text) == TEXT_LIMIT + 1


def test_line_at_the_limit_is_read_and_its_labels_are_looked_at(bench):
    most = LINE_LIMIT - len(bench.line(labels_raw="")) - 1
    for size, reason in ((most, "labels_raw is over 4096 bytes"), (most + 1, "line too long")):
        lines = [bench.line(labels_raw="z" * size), bench.line(value="7")]
        chunk = bench.read(bench.file(lines))
        assert bench.values(chunk) == [7]
        ((_, _, why),) = bench.reasons(chunk)
        assert why.startswith(reason)


def test_labels_at_their_bounds_land(bench):
    labels = {"uuid": "\N{GRINNING FACE}" * 256, "pod": "p" * 256, "labels_raw": "é" * 2048}
    chunk = bench.read(bench.file([bench.line(**labels)]))
    assert bench.values(chunk) == [42]


def test_labels_that_are_over_the_bounds_travel_in_no_batch(bench):
    """A batch has what repeats in the file so far, and the collector looks at all of it."""
    lines = [*bench.numbered(5000), bench.line(pod="z" * 100_000), *bench.numbered(5000, 5000)]
    chunk = bench.read(bench.file(lines))
    assert len(bench.values(chunk)) == 10_000
    assert max(len(text) for text in chunk.batch.column("pod").dictionary.to_pylist()) < 100


def test_last_line_cut_in_its_middle_says_so(bench):
    good = bench.line()
    for cut in (10, 100, len(good) - 1):
        lines = [bench.header, bench.line(value="1"), good[:cut]]
        chunk = bench.read(bench.raw(b"\n".join(lines)))
        assert bench.values(chunk) == [1]
        ((line, _, reason),) = bench.reasons(chunk)
        assert line == 3
        assert reason.startswith(CUT)


def test_last_line_without_a_line_end_lands(bench):
    for end in (b"", b"\r"):
        chunk = bench.read(bench.raw(b"\n".join([bench.header, *bench.numbered(2)]) + end))
        assert (bench.values(chunk), list(chunk.rejects)) == ([0, 1], [])


def test_blank_lines_are_numbered_and_skipped_in_silence(bench):
    lines = [
        b" ",
        bench.line(value="1"),
        b"\t\r",
        b"",
        bench.line(value="x"),
        bench.line(value="2"),
    ]
    chunk = bench.read(bench.file(lines))
    assert (bench.values(chunk), chunk.row_count, chunk.skipped) == ([1, 2], 6, 3)
    assert [(reject.row, reject.line) for reject in chunk.rejects] == [(4, 6)]
    assert bench.reasons(bench.read(bench.file([b"", b"", bench.line(value="")]))) == [
        (4, "value", "value is blank")
    ]


def test_reject_names_the_column_as_the_header_does(bench):
    content = b"TIMESTAMP,Metric_Name,UUID,Value\n2025-07-18T20:42:34Z,m,GPU-1,none\n"
    assert bench.reasons(bench.read(bench.raw(content)))[0][1] == "Value"


def test_every_line_bad_yields_as_many_rejects(bench):
    bad = [bench.line(value="x"), bench.line(uuid=""), b"junk", bench.line(value="inf")]
    chunk = bench.read(bench.file(bad * 1500))
    assert chunk.batch.num_rows == 0
    assert [reject.row for reject in chunk.rejects] == list(range(6000))


def test_acceptance_does_not_depend_on_where_chunks_begin(bench):
    chance = random.Random(1)
    kinds = [bench.line(), b"", b"junk", bench.line(value="x"), bench.line(timestamp="2025-07-18")]
    kinds += [bench.line(csv.QUOTE_MINIMAL), b"\xef\xbb\xbf" + bench.line(), b'"']
    path = bench.file(chance.choices(kinds, k=60))
    whole = bench.read(path)
    for size in (1, 2, 7):
        source, rows, rejects = CsvFile.open(path), [], list[Any]()
        for first in range(0, 60, size):
            chunk = source.read(first, size)
            rows += chunk.batch.to_pylist()
            rejects += chunk.rejects
        assert rows == whole.batch.to_pylist()
        assert rejects == whole.rejects


def test_acceptance_does_not_depend_on_whose_timestamps_are_kept(bench):
    lines = [bench.line(timestamp=text) for text in ("", "x", "2025-07-18", "1999-01-01T00:00Z")]
    path = bench.file(lines)
    processing = CsvFile.open(path, CsvOptions("processing")).read(0, 10)
    assert processing.rejects == bench.read(path).rejects
    assert processing.batch.num_rows == 1
