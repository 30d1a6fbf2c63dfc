"""Rules of a scrape job: what is kept, and whose labels count."""

from __future__ import annotations

import re

import pytest

from gputel.sources.exposition.reader import ExpositionReader
from gputel.sources.exposition.target_rules import TargetRules

OF_TARGET = {"instance": "gpu1:9400", "job": "dcgm", "namespace": "monitoring"}
LINE = b'%s{UUID="GPU-1",namespace="ml",pod="train"} 1\n'


def labels(rules: TargetRules, text: bytes = LINE % b"A") -> dict[str, str]:
    (row,) = ExpositionReader(OF_TARGET, rules=rules).read(text, 0).batch.to_pylist()
    return row


def test_labels_of_the_sample_count_where_they_are_honored() -> None:
    row = labels(TargetRules(honor_labels=True))
    assert (row["namespace"], row["pod"]) == ("ml", "train")
    assert "exported_" not in row["labels_raw"]
    assert 'instance="gpu1:9400"' in row["labels_raw"]


def test_labels_of_the_target_count_otherwise_and_the_others_are_renamed() -> None:
    row = labels(TargetRules(honor_labels=False))
    assert 'exported_namespace="ml"' in row["labels_raw"]
    assert 'namespace="monitoring"' in row["labels_raw"]
    assert row["namespace"] == "ml"  # who uses the GPU


def test_renamed_label_takes_a_free_name() -> None:
    text = b'A{UUID="GPU-1",job="x",exported_job="y"} 1\n'
    raw = labels(TargetRules(honor_labels=False), text)["labels_raw"]
    assert 'exported_job="y"' in raw
    assert 'exported_exported_job="x"' in raw
    assert ',job="dcgm"' in raw


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        (TargetRules(), ["A", "AB", "B"]),
        (TargetRules(keep=re.compile("A")), ["A"]),
        (TargetRules(keep=re.compile("A.*")), ["A", "AB"]),
        (TargetRules(drop=re.compile("B|AB")), ["A"]),
        (TargetRules(keep=re.compile("A.*"), drop=re.compile("AB")), ["A"]),
    ],
)
def test_metrics_are_kept_and_dropped_by_whole_names(rules: TargetRules, kept: list[str]) -> None:
    reader = ExpositionReader(rules=rules)
    text = b"".join(LINE % name for name in (b"A", b"AB", b"B"))
    for _ in range(2):  # the second time, the lines are known
        answer = reader.read(text, 0)
        assert [row["metric_name"] for row in answer.batch.to_pylist()] == kept
        assert answer.bad == []
        assert reader.parse(text, 0).dropped == 3 - len(kept)


def test_labels_are_left_out_everywhere() -> None:
    row = labels(TargetRules(drop_labels=frozenset({"pod", "nothing"})))
    assert row["pod"] == ""
    assert "pod" not in row["labels_raw"]


def test_time_in_a_line_counts_only_where_it_is_honored() -> None:
    text = b'A{UUID="GPU-1"} 1 1700000000000\n'
    for honored, time_us in ((True, 1_700_000_000_000_000), (False, 5)):
        rules = TargetRules(honor_timestamps=honored)
        batch = ExpositionReader(rules=rules).read(text, 5).batch
        assert batch.column("timestamp")[0].value == time_us


def test_known_line_of_no_gpu_is_told_each_time() -> None:
    reader = ExpositionReader()
    for _ in range(2):
        answer = reader.read(b'go_threads{x="1"} 8\n', 0)
        assert [bad.is_foreign for bad in answer.bad] == [True]
        assert answer.batch.num_rows == 0
