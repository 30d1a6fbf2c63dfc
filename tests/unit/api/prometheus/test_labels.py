"""Labels of a stored series in Prometheus' terms, whatever its text of labels is."""

from __future__ import annotations

import pytest

from gputel import metrics
from gputel.api.prometheus.labels import labels_bytes, prometheus_labels, searched_column
from gputel.store.read.records import SeriesLabels


def labels(raw: str) -> dict[str, str]:
    series = SeriesLabels(1, "TEMP", "0", "", "GPU-a", "", "", "", "", "", raw)
    return dict(prometheus_labels(series))


COLUMNS = {"__name__": "TEMP", "UUID": "GPU-a", "gpu": "0"}


@pytest.mark.parametrize(
    ("raw", "own"),
    [
        ('job="dcgm",instance="a:9400"', {"job": "dcgm", "instance": "a:9400"}),
        ('a="",UUID="other",a="2"', {"a": "2"}),
        ('{"GPU_I_ID":"1"}', {"GPU_I_ID": "1"}),
    ],
)
def test_labels_are_those_of_the_text_that_have_no_column(raw, own):
    assert labels(raw) == COLUMNS | own


@pytest.mark.parametrize(
    ("raw", "own"),
    [
        ('a="1",b="not closed', {"a": "1"}),
        ('a="1",a="2"', {"a": "1"}),
        ("a" * 4096, {}),
        ('\\"' * 2048, {}),
    ],
)
def test_text_that_is_not_read_whole_is_a_label_itself_and_is_counted(raw, own):
    before = metrics.REGISTRY.get_sample_value("gputel_api_labels_unread_total") or 0
    assert labels(raw) == COLUMNS | own | {"labels_raw": raw}
    assert metrics.REGISTRY.get_sample_value("gputel_api_labels_unread_total") == before + 1


def test_the_bytes_of_labels_grow_with_their_number_and_their_texts():
    few, many = (("a", "1"),), tuple((f"a{n}", "1") for n in range(100))
    assert labels_bytes(many) > 100 * 100
    assert labels_bytes((("a", "x" * 4000),)) - labels_bytes(few) == 3999


def test_a_target_has_no_uuid():
    raw = 'instance="gpu1:9400",job="dcgm"'
    series = SeriesLabels(1, "up", "", "", "target@gpu1:9400", "", "", "", "", "", raw)
    assert dict(prometheus_labels(series)) == {
        "__name__": "up",
        "instance": "gpu1:9400",
        "job": "dcgm",
    }


@pytest.mark.parametrize(
    ("label", "values", "column"),
    [
        ("UUID", ["GPU-a", "GPU-b"], "uuid"),
        ("UUID", [""], None),
        ("UUID", ["GPU-a", "target@a"], None),
        ("Hostname", [""], "hostname"),
        ("job", ["dcgm"], None),
    ],
)
def test_a_column_is_searched_only_where_it_agrees_with_the_label(label, values, column):
    assert searched_column(label, values) == column
