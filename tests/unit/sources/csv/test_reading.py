"""Where reads begin and end: in order, by jumps, in gzip, over a file that changes."""

import gzip
import random
import tracemalloc

import pyarrow as pa
import pytest

from gputel.errors import SourceError
from gputel.sources.bytes.open import open_bytes
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.looping import LoopingSource
from gputel.sources.csv.open import CsvOptions
from gputel.sources.dcgm.lines import LINE_LIMIT, LineIndex, LineReader

ROWS = 60_000  # several buffers full


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of rows whose value is their number, plain and compressed."""
    path = tmp_path_factory.mktemp("large") / "large.csv"
    text = "timestamp,metric_name,uuid,value,labels_raw\n" + "".join(
        f"2025-07-18T20:42:34Z,m,GPU-{row % 8},{row},{'x' * 700}\n" for row in range(ROWS)
    )
    path.write_text(text)
    packed = path.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(text.encode(), 1))
    zstd = path.with_suffix(".csv.zst")
    zstd.write_bytes(pa.Codec("zstd").compress(text.encode(), asbytes=True))
    return {"plain": path, "gzip": packed, "zstd": zstd}


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_reads_in_order_cover_every_row_once(large, kind):
    source = CsvFile.open(large[kind])
    values, row = [], 0
    while True:
        chunk = source.read(row, 7_001)
        assert chunk.first_row == row
        values += chunk.batch.column("value").to_pylist()
        row += chunk.row_count
        if chunk.at_end:
            break
        assert chunk.row_count == 7_001
    assert values == list(range(ROWS))


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_jumps_forward_and_backward_find_their_rows(large, kind):
    source = CsvFile.open(large[kind])
    chance = random.Random(3)
    for _ in range(12):
        first, count = chance.randrange(ROWS), chance.randrange(1, 50)
        chunk = source.read(first, count)
        expected = list(range(first, min(first + count, ROWS)))
        assert chunk.batch.column("value").to_pylist() == expected


def test_last_row_is_known_to_be_the_last(bench):
    source = CsvFile.open(bench.file(bench.numbered(4)))
    assert [source.read(first, 2).at_end for first in (0, 2)] == [False, True]
    beyond = source.read(9, 5)
    assert (beyond.first_row, beyond.row_count, beyond.at_end) == (9, 0, True)


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_count_rows_leaves_the_reading_where_it_was(large, kind):
    source = CsvFile.open(large[kind])
    source.read(0, 10)
    assert source.count_rows() == ROWS
    assert source.read(10, 2).batch.column("value").to_pylist() == [10, 11]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n\n", b"\nx", b"\n" + b"y" * LINE_LIMIT * 2])
def test_count_rows_agrees_with_reading(bench, tail):
    source = CsvFile.open(bench.raw(b"\n".join([bench.header, *bench.numbered(3)]) + tail))
    assert source.count_rows() == source.read(0, 100).row_count


def test_gzip_is_known_by_its_content_not_its_name(bench):
    content = bench.file(bench.numbered(3)).read_bytes()
    assert bench.values(bench.read(bench.raw(gzip.compress(content), "a.csv"))) == [0, 1, 2]
    assert bench.values(bench.read(bench.raw(content, "b.csv.gz"))) == [0, 1, 2]


def test_gzip_members_and_padding_are_read_through(bench):
    parts = [bench.header + b"\n", *(line + b"\n" for line in bench.numbered(5))]
    content = b"".join(gzip.compress(part) for part in parts) + b"\0" * 512
    chunk = bench.read(bench.raw(content))
    assert (bench.values(chunk), list(chunk.rejects)) == ([0, 1, 2, 3, 4], [])


def test_gzip_cut_short_keeps_the_whole_lines_before_and_says_where(bench):
    content = bench.file(bench.numbered(500)).read_bytes()
    packed = gzip.compress(content)
    for cut in (len(packed) - 1, len(packed) - 9, len(packed) // 2):
        source = CsvFile.open(bench.raw(packed[:cut]))
        chunk = source.read(0, 1000)
        good = chunk.batch.num_rows
        assert bench.values(chunk) == list(range(good))
        (reject,) = chunk.rejects
        assert (reject.row, reject.column, chunk.at_end) == (good, None, True)
        assert "gzip data ends in its middle" in reject.reason
        assert source.count_rows() == chunk.row_count == good + 1
    assert good > 100


def test_zstd_frames_are_read_through_and_one_cut_short_is_told(bench):
    parts = bench.file(bench.numbered(5000)).read_bytes()
    half = len(parts) // 2
    frames = [
        pa.Codec("zstd").compress(part, asbytes=True) for part in (parts[:half], parts[half:])
    ]
    assert bench.values(bench.read(bench.raw(b"".join(frames)))) == list(range(5000))
    source = CsvFile.open(bench.raw(b"".join(frames)[:-10], "cut.csv"))
    chunk = source.read(0, 100_000)
    landed = chunk.batch.num_rows
    assert 2400 < landed < 5000
    assert bench.values(chunk) == list(range(landed))
    reason = "the zstd data ends in its middle"
    assert chunk.rejects[-1].reason == f"{reason}; no row from here on can be read"
    assert source.damage == reason
    assert source.count_rows() == chunk.row_count


def test_gzip_damaged_in_its_middle_loses_only_what_follows(bench):
    chance = random.Random(5)
    lines = [bench.line(value=str(chance.random())) for _ in range(20_000)]
    packed = bytearray(gzip.compress(bench.file(lines).read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    chunk = bench.read(bench.raw(packed))
    assert 8_000 < chunk.batch.num_rows < 12_000
    assert "gzip data is damaged" in chunk.rejects[-1].reason
    assert chunk.at_end


def test_file_that_shrinks_while_it_is_read_is_an_error(large, tmp_path):
    path = tmp_path / "shrinking.csv"
    path.write_bytes(large["plain"].read_bytes())
    source = CsvFile.open(path)
    source.read(0, 10)
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(SourceError, match=r"shrinking\.csv: shrank"):
        source.read(ROWS - 10, 10)


def test_file_that_grows_is_read_as_it_was_when_opened(bench):
    path = bench.file(bench.numbered(3))
    source = CsvFile.open(path)
    with path.open("ab") as file:
        file.write(bench.line() + b"\n")
    assert source.count_rows() == 3
    assert source.read(0, 10).row_count == 3


def test_file_whose_name_goes_to_another_is_read_on(bench):
    path = bench.file(bench.numbered(3))
    source = CsvFile.open(path)
    bench.file(bench.numbered(9, 100), name="new.csv").replace(path)
    assert source.count_rows() == 3
    assert bench.values(source.read(0, 10)) == [0, 1, 2]


def test_line_without_an_end_is_never_held_whole(bench):
    path = bench.file([])
    with path.open("ab") as file:
        for _ in range(200):
            file.write(b"z" * LINE_LIMIT)
        file.write(b"\n" + bench.line(value="5"))
    tracemalloc.start()
    chunk = bench.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bench.values(chunk) == [5]
    assert peak < 32 * LINE_LIMIT


def test_line_index_stays_small_and_never_points_behind(bench):
    index = LineIndex(100)
    for line in range(0, 1_000_000, 3):
        index.note(line, 100 + 10 * line)
    for line in (0, 1, 17, 4_000, 500_000, 999_999):
        known, offset = index.before(line)
        assert known <= line
        assert offset == 100 + 10 * known
        assert line - known < 2_000
    assert len(index._lines) <= 4096


def test_backward_jump_in_a_plain_file_starts_near_its_row(large):
    reader = LineReader(open_bytes(large["plain"]), 44)
    reader.go_to_line(ROWS, lambda _: None)
    known, _ = reader._index.before(ROWS - 1)
    assert ROWS - known < 30_000


@pytest.mark.parametrize("first", [0, 3, 8, 24, 1_000_003])
def test_loop_wraps_around_as_often_as_asked(bench, first):
    source = LoopingSource(CsvFile.open(bench.file(bench.numbered(8))))
    chunk = source.read(first, 30)
    assert bench.values(chunk) == [row % 8 for row in range(first, first + 30)]
    assert (chunk.first_row, chunk.row_count, chunk.at_end) == (first, 30, False)
    assert source.count_rows() == 8


def test_loop_counts_rejects_by_absolute_row_and_file_line(bench):
    lines = [bench.line(value="0"), b"junk", b"", bench.line(value="3")]
    chunk = LoopingSource(CsvFile.open(bench.file(lines))).read(2, 8)
    assert bench.values(chunk) == [3, 0, 3, 0]
    assert [(reject.row, reject.line) for reject in chunk.rejects] == [(5, 3), (9, 3)]


def test_loop_stamps_processing_times_in_order(bench):
    source = LoopingSource(CsvFile.open(bench.file(bench.numbered(3)), CsvOptions("processing")))
    times = source.read(1, 10).batch.column("timestamp").to_pylist()
    times += source.read(11, 10).batch.column("timestamp").to_pylist()
    assert times == sorted(set(times))


def test_loop_over_a_file_without_rows_is_an_error(bench):
    source = LoopingSource(CsvFile.open(bench.file([])))
    with pytest.raises(SourceError, match="nothing to loop over"):
        source.read(0, 1)
