from __future__ import annotations

import io
import math

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from gputel.api.formats.columnar import ArrowRecords, ColumnarRecords, ParquetRecords
from gputel.api.formats.shape import RECORD, grouped
from gputel.store.blocks.samples import Samples
from gputel.store.read.records import Records, SeriesLabels


def records(ids: list[int], series: dict[int, SeriesLabels]) -> Records:
    count = len(ids)
    return Records(Samples(np.array(ids), np.arange(count), np.arange(float(count))), series)


def labels(series_id: int) -> SeriesLabels:
    texts = (f"metric {series_id}", *"gduMhcpn", f"raw={series_id}")
    return SeriesLabels(series_id, *texts)


def read(encoder: ColumnarRecords, data: bytes) -> pa.Table:
    if isinstance(encoder, ArrowRecords):
        return ipc.open_stream(data).read_all()
    return parquet.read_table(io.BytesIO(data))


@pytest.mark.parametrize("make", [ArrowRecords, ParquetRecords])
def test_series_that_come_later_make_the_dictionaries_grow(
    make: type[ColumnarRecords],
) -> None:
    encoder = make()
    pieces = [
        records([7, 3, 7], {7: labels(7), 3: labels(3)}),
        records([9, 3], {9: labels(9), 3: labels(3)}),
        records([3, 7, 9], {}),
    ]
    data = encoder.start() + b"".join(map(encoder.add, pieces)) + encoder.end()
    found = read(encoder, data)
    assert found.column_names == list(RECORD.names)
    assert found["metric_name"].to_pylist() == [f"metric {n}" for n in (7, 3, 7, 9, 3, 3, 7, 9)]
    assert found["labels_raw"].to_pylist() == [f"raw={n}" for n in (7, 3, 7, 9, 3, 3, 7, 9)]
    assert found["value"].to_pylist() == [0, 1, 2, 0, 1, 0, 1, 2]
    assert found.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert pa.types.is_dictionary(found.schema.field("hostname").type)


@pytest.mark.parametrize("make", [ArrowRecords, ParquetRecords])
def test_an_answer_without_records_has_its_columns(make: type[ColumnarRecords]) -> None:
    encoder = make(grouped(["metric_name", "hostname"]))
    found = read(encoder, encoder.start() + encoder.end())
    assert found.num_rows == 0
    assert found.column_names == ["timestamp", "metric_name", "hostname", "value"]


@pytest.mark.parametrize("make", [ArrowRecords, ParquetRecords])
def test_what_is_not_finite_stays_what_it_is(make: type[ColumnarRecords]) -> None:
    samples = Samples(np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([math.nan, math.inf]))
    encoder = make()
    data = encoder.start() + encoder.add(Records(samples, {0: labels(0)})) + encoder.end()
    nan, infinite = read(encoder, data)["value"].to_pylist()
    assert math.isnan(nan)
    assert infinite == math.inf


def test_row_groups_are_written_as_they_fill() -> None:
    encoder = ParquetRecords()
    encoder.start()
    piece = records([5] * 50_000, {5: labels(5)})
    sizes = [len(encoder.add(piece)) for _ in range(6)]
    assert [size > 0 for size in sizes] == [False, False, True] * 2
