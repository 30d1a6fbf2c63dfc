"""Records of a loop have a label that tells so, in whatever form their labels are."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gputel.model.bounds import RAW_BYTES
from gputel.model.columns import SCHEMA
from gputel.model.raw_labels import read_raw
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.looping import LoopingSource, marked
from gputel.sources.csv.open import CsvOptions
from gputel.sources.dcgm.chunk import EMPTY
from tests.helpers.batches import batch_of


@pytest.mark.parametrize(
    "text",
    [
        "",
        'gpu="0",pod="train-0"',
        'gpu="0", ',
        "gpu='0' pod=train-0",
        '{gpu="0"}',
        ' { "gpu": "0" }',
        '{"k8s.pod"="a"}',
        "{}",
        'DCGM_FI_DEV_GPU_TEMP {gpu="{0}"}',
    ],
)
def test_the_mark_is_one_more_label_of_any_form(text: str) -> None:
    before = read_raw(text)
    after = read_raw(marked(with_labels(text)).column("labels_raw")[0].as_py())
    assert before.whole
    assert after == ({"gputel_loop": "true", **before.labels}, True)


def test_a_text_that_cannot_be_read_stays_in_the_marked_one() -> None:
    (text,) = marked(with_labels("what is this?")).column("labels_raw").to_pylist()
    assert text == 'gputel_loop="true",what is this?'
    assert read_raw(text).labels["gputel_loop"] == "true"


def test_a_text_that_the_mark_would_make_too_long_stays_as_it_is() -> None:
    for size in (RAW_BYTES - 19, RAW_BYTES - 18):
        text = "é" + "x" * (size - 2)
        (result,) = marked(with_labels(text)).column("labels_raw").to_pylist()
        assert result == (text if size > RAW_BYTES - 19 else f'gputel_loop="true",{text}')


def test_a_batch_without_rows_can_be_marked() -> None:
    assert marked(EMPTY).num_rows == 0


def test_only_a_loop_marks_its_records(bench) -> None:
    csv = CsvFile.open(
        bench.file([bench.line(), bench.line(labels_raw="")]), CsvOptions("processing")
    )
    plain = 'gpu="0",instance="dgx-001:9400"'
    once = csv.read(0, 2).batch
    looped = LoopingSource(csv).read(1, 3).batch
    assert once.column("labels_raw").to_pylist() == [plain, ""]
    mark = 'gputel_loop="true"'
    assert looped.column("labels_raw").to_pylist() == [mark, f"{mark},{plain}", mark]
    assert looped.schema.equals(SCHEMA)
    looped.validate(full=True)


def with_labels(text: str) -> pa.RecordBatch:
    return batch_of({"labels_raw": text})
