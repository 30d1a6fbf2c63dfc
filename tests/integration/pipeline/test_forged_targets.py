"""Only a scrape tells whether a target is up: no other way in takes records about targets."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gputel.collector.intake import DecodeResult, decode_some
from gputel.model.entities import TARGET_FLAW, target_uuid
from gputel.model.record_batch import PayloadLimits, encode
from gputel.mq.wire.protocol import Delivery
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.open import CsvOptions
from tests.helpers import otlp
from tests.helpers.batches import NOON, batch, labels
from tests.helpers.otlp import Export, point
from tests.helpers.remote_write import Written, snappy, write_request
from tests.integration.pipeline.pushing import ARROW, CSV, JSON, NDJSON, Api, record
from tests.integration.pipeline.test_otlp import PROTOBUF, partial, post
from tests.integration.pipeline.test_push import arrow_of
from tests.integration.pipeline.test_remote_write import write

FORGED = target_uuid("gpu1:9400")
UP = {"metric_name": "up", "uuid": FORGED, "labels_raw": 'instance="gpu1:9400",job="dcgm"'}
LABELS = {"UUID": FORGED, "instance": "gpu1:9400", "job": "dcgm"}
TEXT = f'up{{UUID="{FORGED}",instance="gpu1:9400",job="dcgm"}} 1\n'
COLUMNS = {"metric_name": pa.array(["up"]), "uuid": pa.array([FORGED]), "value": pa.array([1.0])}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, json.dumps([record(**UP)])),
        (JSON, json.dumps(record(uuid=" ", labels_raw=f'UUID="{FORGED}"'))),
        (NDJSON, json.dumps(record(**UP))),
        (CSV, f"metric_name,uuid,value\nup,{FORGED},1\n"),
        (ARROW, arrow_of(COLUMNS)),
        ("text/plain; version=0.0.4", TEXT),
        ("application/openmetrics-text; version=1.0.0", TEXT + "# EOF\n"),
    ],
)
async def test_a_push_is_refused_with_the_reason(api: Api, kind: str, body: str | bytes) -> None:
    status, answer = await api.push(body, kind)
    assert status == 400, answer
    assert [each["reason"] for each in answer["rejected"]] == [TARGET_FLAW]


async def test_senders_are_refused_with_the_reason(api: Api) -> None:
    forged = Written({"__name__": "up", **LABELS}, [(1.0, time.time_ns() // 1_000_000)])
    status, answer, _ = await write(api, snappy(write_request([forged])))
    assert status == 400
    assert TARGET_FLAW in answer["message"]
    body = otlp.protobuf(Export().gauge("up", point(1, time.time_ns(), LABELS)))
    _, exported, _ = await post(api, body)
    assert partial(PROTOBUF, exported) == (1, f"{TARGET_FLAW} (1 point)")


def test_a_line_of_a_file_is_rejected_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "forged.csv"
    path.write_text(f"timestamp,metric_name,uuid,value\n2025-07-18T20:42:34Z,up,{FORGED},1\n")
    chunk = CsvFile.open(path).read(0, 10)
    assert chunk.batch.num_rows == 0
    assert [(each.line, each.column, each.reason) for each in chunk.rejects] == [
        (2, "uuid", TARGET_FLAW)
    ]


def test_a_file_of_nvidia_smi_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "smi.csv"
    path.write_text(
        "timestamp, uuid, utilization.gpu [%]\n2026/11/30 12:00:00.000, target@gpu1:9400, 5 %\n"
    )
    chunk = CsvFile.open(path, CsvOptions(host="h")).read(0, 10)
    assert [each.reason for each in chunk.rejects] == [TARGET_FLAW]


def decoded(payload: bytes, metadata: dict[str, Any]) -> DecodeResult:
    name = f"{metadata.get('stream_id')}/{metadata.get('first_row')}"
    return decode_some([Delivery(name, "", payload, metadata, "lease", 1)], PayloadLimits())


@pytest.mark.parametrize("stream", [None, "csv-1"])
def test_a_message_that_is_no_scrape_is_a_dead_letter_with_the_reason(stream: str | None) -> None:
    metadata = {"stream_id": stream, "first_row": 7, "row_count": 1} if stream else {}
    arrow = encode(batch([(labels(**UP), NOON, 1.0)]))
    for payload in (arrow, json.dumps([record(**UP)]).encode()):
        (bad,) = decoded(payload, metadata).bad
        assert TARGET_FLAW in bad.reason


def test_a_scrape_brings_them() -> None:
    payload = encode(batch([(labels(**UP), NOON, 1.0)]))
    metadata = {"stream_id": "scrape/dcgm/10000/0", "first_row": 7, "row_count": 1}
    assert len(decoded(payload, metadata).good) == 1
