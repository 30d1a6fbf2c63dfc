"""Labels of a stored series in Prometheus' terms, whatever its text of labels is."""

from __future__ import annotations

import pytest

from gputel.api.prometheus.labels import labels_bytes, prometheus_labels
from gputel.model.raw_labels import MOST_RAW_LABELS
from gputel.store.read.records import SeriesLabels


def labels(raw: str) -> dict[str, str]:
    series = SeriesLabels(1, "TEMP", "0", "", "GPU-a", "", "", "", "", "", raw)
    return dict(prometheus_labels(series))


COLUMNS = {"__name__": "TEMP", "UUID": "GPU-a", "gpu": "0"}


@pytest.mark.parametrize(
    ("raw", "own"),
    [
        ('job="dcgm",instance="a:9400"', {"job": "dcgm", "instance": "a:9400"}),
        (r'a="say \"hi\"",b="\\",c="1\n2"', {"a": 'say "hi"', "b": "\\", "c": "1\n2"}),
        ('a="",UUID="other",a="2"', {"a": "2"}),
        ('a="1",b="not closed', {"a": "1"}),
        ('a="ends in \\', {}),
        ("a" * 4096, {}),
        ('\\"' * 2048, {}),
    ],
)
def test_labels_are_those_of_the_text_that_have_no_column(raw, own):
    assert labels(raw) == COLUMNS | own


def test_only_so_many_labels_are_taken_from_the_text():
    raw = ",".join(f'a{n}="1"' for n in range(600))
    assert len(labels(raw)) == len(COLUMNS) + MOST_RAW_LABELS


def test_the_bytes_of_labels_grow_with_their_number_and_their_texts():
    few, many = (("a", "1"),), tuple((f"a{n}", "1") for n in range(100))
    assert labels_bytes(many) > 100 * 100
    assert labels_bytes((("a", "x" * 4000),)) - labels_bytes(few) == 3999
