"""The labels of series in memory, found by their values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gputel.model.names import LABELS
from gputel.store.head.series_table import SeriesTable
from gputel.store.read.records import SeriesLabels
from gputel.store.read.selection import EVERY, of_gpu

SERIES = 20_000


def labels(series_id: int) -> SeriesLabels:
    texts = dict.fromkeys(LABELS, "") | {"uuid": f"GPU-{series_id % 7}", "metric_name": "TEMP"}
    return SeriesLabels(series_id, *(texts[name] for name in LABELS))


def test_series_are_found_by_the_values_of_their_labels() -> None:
    table = SeriesTable(labels(each) for each in (9, 2, 3))
    assert table.where({}).tolist() == [2, 3, 9]
    assert table.where({"uuid": ["GPU-2", "GPU-8"]}).tolist() == [2, 9]
    assert table.where({"uuid": ["GPU-2"], "metric_name": ["POWER"]}).tolist() == []
    assert table.selected(of_gpu("GPU-3")).tolist() == [3]
    assert sorted(table.others_of([2])) == [9]
    gpu = table.gpu_of(np.array([2, 3, 9]))
    assert gpu[0] == gpu[2] != gpu[1]


def test_threads_may_ask_while_series_are_added() -> None:
    table = SeriesTable()

    def add() -> None:
        for first in range(0, SERIES, 100):
            table.add(labels(each) for each in range(first, first + 100))

    with ThreadPoolExecutor(1) as other:
        adding = other.submit(add)
        while not adding.done():
            found = table.selected(EVERY)
            assert len(table.gpu_of(found)) == len(found)
            table.selected(of_gpu("GPU-3"))
        adding.result()
    assert len(table.selected(EVERY)) == SERIES
