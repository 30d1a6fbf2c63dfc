"""Answers of one target, one after the other: what repeats is looked up, and means the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputel.sources.exposition import reader as readers
from gputel.sources.exposition.reader import ExpositionReader

NOW_US = 1_770_000_000_000_000


def line(metric: str, gpu: int, value: object, *, pod: str = "", at: str = "") -> str:
    labels = f'gpu="{gpu}",UUID="GPU-{gpu}",Hostname="h",pod="{pod}"'
    return f"{metric}{{{labels}}} {value}{at}\n"


def rows(reader: ExpositionReader, text: str, now_us: int = NOW_US) -> list[tuple[Any, ...]]:
    batch = reader.read(text.encode(), now_us).batch
    names = ("metric_name", "uuid", "pod", "value")
    return [tuple(row[name] for name in names) for row in batch.to_pylist()]


def test_repeated_lines_give_the_new_values() -> None:
    reader = ExpositionReader()
    for value in (1, 2.5, -3):
        text = line("A", 0, value) + "# HELP B\n" + line("B", 1, value, pod="p")
        assert rows(reader, text) == [("A", "GPU-0", "", value), ("B", "GPU-1", "p", value)]


def test_number_of_each_row_is_that_of_its_line() -> None:
    text = "# TYPE A gauge\n" + line("A", 0, 1) + "\n" + line("A", 1, 2)
    assert ExpositionReader().read(text.encode(), NOW_US).lines.tolist() == [1, 3]


def test_known_line_may_have_a_time_or_a_bad_value() -> None:
    reader = ExpositionReader()
    reader.read(line("A", 0, 1).encode(), NOW_US)
    answer = reader.read((line("A", 0, 2, at=" 1700000000123")).encode(), NOW_US)
    assert answer.batch.column("timestamp")[0].value == 1700000000123000
    for value in ("1_0", "x", "", "1 2 3"):
        answer = reader.read(line("A", 0, value).encode(), NOW_US)
        assert (answer.batch.num_rows, len(answer.bad)) == (0, 1), value


def test_bad_line_costs_only_itself() -> None:
    text = line("A", 0, 1) + 'B{pod="say "hi""} 1\n' + line("A", 1, 2)
    answer = ExpositionReader().read(text.encode() + b"C\xff 1\n", NOW_US)
    assert answer.batch.num_rows == 2
    assert [(bad.line, bad.reason[:20]) for bad in answer.bad] == [
        (1, "after the label pod "),
        (3, "it is not UTF-8 text"),
    ]


def test_of_two_equal_lines_the_first_counts() -> None:
    reader = ExpositionReader()
    for _ in range(2):
        answer = reader.read((line("A", 0, 1) + line("A", 0, 2)).encode(), NOW_US)
        assert answer.batch.column("value").to_pylist() == [1]
        assert [bad.reason for bad in answer.bad] == [
            "another line before it has the same labels and time"
        ]
    both = line("A", 0, 1, at=" 1700000000000") + line("A", 0, 2, at=" 1700000001000")
    assert reader.read(both.encode(), NOW_US).batch.num_rows == 2


def test_last_line_without_a_line_feed_may_be_cut_off() -> None:
    answer = ExpositionReader().read((line("A", 0, 1) + line("A", 1, 25)).encode()[:-2], NOW_US)
    assert answer.batch.num_rows == 1
    assert "cut off" in answer.bad[0].reason


def test_openmetrics_ends_with_eof() -> None:
    reader = ExpositionReader(open_metrics=True)
    assert reader.read((line("A", 0, 1) + "# EOF\n").encode(), NOW_US).bad == []
    cut = reader.read(line("A", 0, 1).encode(), NOW_US)
    assert [bad.reason for bad in cut.bad] == ["# EOF is missing: the text is cut off"]
    after = reader.read(("# EOF\n" + line("A", 0, 1)).encode(), NOW_US)
    assert [bad.reason for bad in after.bad] == ["it comes after # EOF"]


def test_empty_answer_has_no_rows() -> None:
    answer = ExpositionReader().read(b"", NOW_US)
    assert (answer.batch.num_rows, answer.bad) == (0, [])


@pytest.mark.parametrize(
    ("body", "surplus"),
    [
        (b'A{UUID="%d"} 1\n', "over 9 samples, the sample_limit"),
        (b"go_goroutines_%d 1\n", "over 20 lines that are no samples of GPUs"),
        (b"junk %d\n", "over 20 lines that are no samples of GPUs"),
        (b"\n\n\n\n#%d\n", "over 100 lines"),
    ],
)
def test_answer_with_far_too_much_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, body: bytes, surplus: str
) -> None:
    monkeypatch.setattr(readers, "_MOST_BAD", 20)
    monkeypatch.setattr(readers, "_MOST_LINES", 100)
    reader = ExpositionReader(most_samples=9)
    whole = b"".join(body % number for number in range(60))
    answer = reader.parse(whole, NOW_US)
    assert answer.surplus == surplus
    assert len(answer.series) + len(answer.bad) <= 22
    assert reader.parse(body % 1, NOW_US).surplus == ""


def test_the_time_of_a_scraped_line_is_near_that_of_the_scrape() -> None:
    now_ms, day_ms = NOW_US // 1000, 86_400_000
    times = [now_ms - day_ms - 1, now_ms - day_ms, now_ms + day_ms, now_ms + day_ms + 1]
    body = "".join(line("A", 0, 1, at=f" {at}") for at in times).encode()
    answer = ExpositionReader(live=True).parse(body, NOW_US)
    assert answer.lines == [1, 2]
    assert {bad.reason for bad in answer.bad} == {"its time is over a day from that of the scrape"}
    assert len(ExpositionReader().parse(body, NOW_US).lines) == 4


def test_memory_is_bounded_by_the_lines_of_an_answer() -> None:
    reader = ExpositionReader()
    for round_ in range(200):
        text = "".join(line("A", gpu, 1, pod=f"p{round_}") for gpu in range(20))
        assert len(rows(reader, text)) == 20
    assert len(reader._heads) <= 2 * 20 + 1000 + 20
    assert len(reader._table) <= 2 * 20 + 1000 + 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from("AB"),
                st.integers(0, 3),
                st.sampled_from(["1", "2.5", "1_0", "NaN", "7 1700000000000", "x"]),
                st.sampled_from(["", "p", "} 5", "q"]),
            ),
            max_size=8,
        ),
        max_size=5,
    )
)
def test_reader_that_remembers_reads_as_a_new_one(answers: list[list[tuple]]) -> None:
    reader = ExpositionReader()
    for lines in answers:
        text = "".join(line(metric, gpu, value, pod=pod) for metric, gpu, value, pod in lines)
        new, old = (r.read(text.encode(), NOW_US) for r in (ExpositionReader(), reader))
        assert repr(old.batch.to_pylist()) == repr(new.batch.to_pylist())
        assert old.bad == new.bad
        assert old.lines.tolist() == new.lines.tolist()


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_lines_may_end_as_on_windows(end: str) -> None:
    reader = ExpositionReader()
    for value in (1.0, 2.0):
        text = line("A", 0, value).replace("\n", end) * 1
        assert rows(reader, text) == [("A", "GPU-0", "", value)]
