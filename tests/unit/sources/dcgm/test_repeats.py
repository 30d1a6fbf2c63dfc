"""Parsing every distinct part of a line once says the same as parsing whole lines."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gputel.model.columns import CSV_NAMES, LABELS
from gputel.sources.dcgm import parse, repeats
from gputel.sources.dcgm.header import parse_header
from gputel.sources.dcgm.lines import Piece
from gputel.sources.dcgm.parse import ColumnParser
from gputel.sources.dcgm.repeats import RepeatsParser
from gputel.sources.dcgm.strict import StrictCsv

LAYOUT = parse_header(",".join(CSV_NAMES.values()).encode(), Path("x"))
HEADERS = {
    "time first": b"timestamp,metric_name,uuid,value,extra,pod",
    "value last": b"pod,timestamp,metric_name,uuid,value",
    "value before time": b"uuid,value,timestamp,metric_name",
    "side by side": b"metric_name,uuid,timestamp,value,pod",
}
BOUNDED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def piece_of(content: bytes, before: bytes = b"") -> Piece:
    """The lines of ``content``, behind other bytes in one buffer."""
    ends = [len(before) + at + 1 for at, byte in enumerate(content) if byte == 10]
    if content and not content.endswith(b"\n"):
        ends.append(len(before) + len(content))
    return Piece(0, bytearray(before + content), len(before), np.array(ends, np.int64))


def written(rows, quoting=csv.QUOTE_ALL, end="\n") -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator=end).writerows(rows)
    return out.getvalue().encode()


def fleet(rows: int, pods: int = 7) -> list[list[str]]:
    """Rows of LAYOUT whose parts repeat, with quotes and commas where DCGM has them."""
    return [
        [f"2025-07-18T20:42:{row % 60:02}Z", "m", str(row % 8), "", f"GPU-{row % pods}", "H100",
         "h", "", f"pod-é{row % pods}", "", str(row / 4), f'a="{row % pods}",b="c"']
        for row in range(rows)
    ]  # fmt: skip


def plain(columns) -> dict[str, list]:
    """Columns as Python lists, times in whole microseconds."""
    read = {}
    for name, column in columns.items():
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if name == "timestamp":
            array = array.cast(pa.timestamp("us", tz="UTC"), safe=False)
        text = pa.types.is_dictionary(array.type)
        values = array.cast(pa.binary() if text else array.type).to_pylist()
        read[name] = ["nan" if value != value else value for value in values]
    return read


def by_lines(piece: Piece, layout):
    table = StrictCsv(layout).read(piece)
    return None if table is None else plain(dict(zip(table.column_names, table, strict=True)))


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_columns_are_those_of_whole_lines(quoting, end):
    parser = RepeatsParser(LAYOUT)
    for rows in (fleet(500), fleet(300, pods=11)):  # the second has parts that are new
        rows = [[*row[:-1], ""] if quoting == csv.QUOTE_MINIMAL else row for row in rows]
        piece = piece_of(written(rows, quoting, end), before=b"x,y\n")
        assert plain(parser.parse(piece)) == by_lines(piece, LAYOUT)


def test_last_line_needs_no_line_end():
    piece = piece_of(written(fleet(400)).removesuffix(b"\n"))
    assert plain(RepeatsParser(LAYOUT).parse(piece)) == by_lines(piece, LAYOUT)


def test_times_with_a_zone_and_without_may_follow_each_other():
    parser, rows = RepeatsParser(LAYOUT), fleet(400)
    parser.parse(piece_of(written(rows)))
    naive = piece_of(written([[row[0].rstrip("Z"), *row[1:]] for row in rows]))
    assert plain(parser.parse(naive))["timestamp"] == by_lines(naive, LAYOUT)["timestamp"]


def test_parts_that_are_forgotten_are_learnt_again(monkeypatch):
    monkeypatch.setattr(repeats, "_MOST_BYTES", 100)
    parser = RepeatsParser(LAYOUT)
    for start in range(3):
        piece = piece_of(written(fleet(200)[start:]))
        assert plain(parser.parse(piece)) == by_lines(piece, LAYOUT)
    assert all(len(part._known) <= 200 for part in parser._parts)


times = st.sampled_from(["2025-07-18T20:42:34Z", "2025-07-18 20:42:34", "junk", ""])
fields = st.sampled_from(["m", "", "a b", 'q"q', "c,d", "é"])
values = st.sampled_from(["1", "", " ", "nan", "x"])
raw = st.text(alphabet='a",\r 1', max_size=12).map(str.encode) | st.binary(max_size=8)


@st.composite
def contents(draw, layout):
    """Lines, most of them well formed and the same again and again, and some that are not."""
    kinds = {"timestamp": times, "value": values}
    rows = draw(
        st.lists(st.tuples(*(kinds.get(name, fields) for name in layout.names)), max_size=4)
    )
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    lines = [written([row], quoting).removesuffix(b"\n") for row in rows]
    lines += [line.replace(b"\n", b"") for line in draw(st.lists(raw, max_size=1))]
    lines = draw(st.permutations(lines * 6))
    return draw(st.sampled_from([b"\n", b"\r\n"])).join([*lines, b""])


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_what_is_accepted_is_what_whole_lines_say(header):
    layout = parse_header(header, Path("x"))
    accepted = []

    @BOUNDED
    @given(contents(layout))
    @example(b'"2025-07-18","m","u","1","a","b"\n' * 9)
    @example(b"m,1,2025-07-18,u\n" * 9)
    @example(b',,""\r,\n' * 6)
    def check(content):
        if not content:
            return
        piece = piece_of(content)
        columns = RepeatsParser(layout).parse(piece)
        if columns is not None:
            accepted.append(piece)
            assert plain(columns) == by_lines(piece, layout)

    check()
    assert accepted


def test_cuts_that_split_a_field_are_refused_or_right():
    layout = parse_header(b"timestamp,metric_name,uuid,value", Path("x"))
    for line in (b'2025-07-18,"a,b",1,2', b'2025-07-18,"a,b""",u,1', b'2025-07-18,"m","","1'):
        assert RepeatsParser(layout).parse(piece_of((line + b"\n") * 50)) is None


def test_lines_without_anything_in_common_are_left_to_the_other_way(monkeypatch):
    monkeypatch.setattr(parse, "LEAST_LINES", 1)
    tried = []
    monkeypatch.setattr(RepeatsParser, "parse", lambda *_: tried.append(1))
    parser = ColumnParser(LAYOUT)
    for _ in range(10):
        assert parser.parse(piece_of(written(fleet(3)))).num_rows == 3
    assert len(tried) == parse._FUTILE


def test_batches_hold_no_text_that_is_not_utf8(monkeypatch):
    monkeypatch.setattr(parse, "LEAST_LINES", 1)
    content = written(fleet(200))
    assert ColumnParser(LAYOUT).parse(piece_of(content)).num_rows == 200
    assert ColumnParser(LAYOUT).parse(piece_of(content.replace(b"\xc3\xa9", b"\xff"))) is None
    assert set(LABELS) < set(ColumnParser(LAYOUT).parse(piece_of(content)).schema.names)
