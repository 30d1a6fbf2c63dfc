"""Records pushed over the API, in every format, until they are read back."""

from __future__ import annotations

import gzip
import io
import json
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from gputel.store.write.admission import Admission
from tests.helpers.waiting import eventually
from tests.integration.pipeline.conftest import Pipeline
from tests.integration.pipeline.pushing import (
    ARROW,
    CSV,
    JSON,
    NDJSON,
    NOON,
    Api,
    api_of,
    now,
    record,
    whole,
)

LABELED = {
    "gpu_id": "3",
    "device": "nvidia3",
    "modelName": "NVIDIA H100 80GB HBM3",
    "hostname": "host-ü",
    "container": "main",
    "pod": "train-0",
    "namespace": "ml",
    "labels_raw": 'gpu="3",modelName="NVIDIA, ""H100"""',
}


LATER = "2026-03-01T12:00:01Z"
UNTIMED = {"metric_name": "TEMP", "uuid": "GPU-a", "value": 1}
UNTIMED_COLUMNS = {"metric_name": ["TEMP"] * 2, "uuid": ["GPU-a"] * 2, "value": [1, 2]}


async def read_back(pipeline: Pipeline, api: Api, rows: int, uuid: str = "GPU-a") -> list[Any]:
    async def landed() -> bool:
        return await pipeline.landed() >= rows

    await eventually(landed)
    assert await pipeline.landed() == rows
    records = await api.read(uuid)
    return sorted(records, key=lambda read: (len(read["timestamp"]), read["value"]))


def arrow_of(columns: dict[str, pa.Array], codec: str | None = None) -> bytes:
    sink = io.BytesIO()
    table = pa.table(columns)
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


async def test_json_lands_as_it_was_pushed(pipeline: Pipeline, api: Api) -> None:
    body = json.dumps([record(1), record(2.5, timestamp="2026-03-01T14:00:00.25+02:00", **LABELED)])
    answer = await api.pushed(body)
    assert answer.pop("message_id").startswith("push/")
    assert answer == {"accepted": 2, "rejected_count": 0, "rejected": []}
    later = whole(2.5, timestamp="2026-03-01T12:00:00.250000Z", **LABELED)
    assert await read_back(pipeline, api, 2) == [whole(1), later]


async def test_one_object_is_a_record(pipeline: Pipeline, api: Api) -> None:
    assert (await api.pushed(json.dumps(record(7, Hostname="h"))))["accepted"] == 1
    assert await read_back(pipeline, api, 1) == [whole(7, hostname="h")]


async def test_numbers_may_be_texts_and_times_numbers(pipeline: Pipeline, api: Api) -> None:
    noon = datetime.fromisoformat(NOON).timestamp()
    records = [record("1"), record(" 2.0 ", timestamp=int(noon) + 1)]
    records += [record("3e0", timestamp=noon + 2), record(4, timestamp=(noon + 3) * 1000)]
    records += [record("5", timestamp=str(noon + 4))]
    assert (await api.pushed(json.dumps(records)))["accepted"] == 5
    read = await read_back(pipeline, api, 5)
    assert sorted(each["value"] for each in read) == [1, 2, 3, 4, 5]
    assert sorted(each["timestamp"] for each in read) == [
        f"2026-03-01T12:00:0{second}Z" for second in range(5)
    ]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, json.dumps([UNTIMED, {**UNTIMED, "timestamp": None}])),
        (NDJSON, f"{json.dumps(UNTIMED)}\n{json.dumps({**UNTIMED, 'timestamp': None})}"),
        (CSV, "metric_name,uuid,value\nTEMP,GPU-a,1\nTEMP,GPU-a,2"),
        (CSV, 'timestamp,metric_name,uuid,value\n,TEMP,GPU-a,1\n"",TEMP,GPU-a,2'),
        (ARROW, arrow_of(UNTIMED_COLUMNS)),
        (ARROW, arrow_of({**UNTIMED_COLUMNS, "timestamp": pa.nulls(2, pa.timestamp("s"))})),
    ],
)
async def test_a_record_without_a_time_is_of_now(
    pipeline: Pipeline, api: Api, kind: str, body: str | bytes
) -> None:
    before = now()
    assert (await api.pushed(body, kind))["accepted"] == 2
    for read in await read_back(pipeline, api, 2):
        assert before <= now().fromisoformat(read["timestamp"]) <= now()


async def test_lines_of_csv_without_a_time_are_told_from_those_with_a_wrong_one(
    pipeline: Pipeline, api: Api
) -> None:
    lines = [",TEMP,GPU-a,1", "soon,TEMP,GPU-a,2", f"{NOON},TEMP,GPU-a,3", ",TEMP,GPU-a,high"]
    answer = await api.pushed("\n".join(["timestamp,metric_name,uuid,value", *lines]), CSV)
    assert answer["accepted"] == 2
    assert [each["index"] for each in answer["rejected"]] == [1, 3]
    found = await read_back(pipeline, api, 2)
    assert [(each["value"], each["timestamp"] == NOON) for each in found] == [(3, True), (1, False)]


async def test_thousands_of_lines_of_csv_without_a_time_land(pipeline: Pipeline, api: Api) -> None:
    lines = [f"TEMP,GPU-a,{n}" for n in range(5000)]
    answer = await api.pushed("\n".join(["metric_name,uuid,value", *lines]), CSV)
    assert (answer["accepted"], answer["rejected"]) == (5000, [])


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV])
async def test_a_byte_order_mark_is_passed_over(pipeline: Pipeline, api: Api, kind: str) -> None:
    text = "metric_name,uuid,value\nTEMP,GPU-a,1" if kind == CSV else json.dumps(record(1))
    assert (await api.pushed(f"\ufeff{text}", kind))["accepted"] == 1


async def test_ndjson_lands_as_it_was_pushed(pipeline: Pipeline, api: Api) -> None:
    lines = [json.dumps(record(1)), "", json.dumps(record(2, **LABELED)), "no JSON", ""]
    answer = await api.pushed("\r\n".join(lines), NDJSON)
    assert answer["accepted"] == 2
    assert [each["index"] for each in answer["rejected"]] == [3]
    assert await read_back(pipeline, api, 2) == [whole(1), whole(2, **LABELED)]


async def test_csv_lands_as_it_was_pushed(pipeline: Pipeline, api: Api) -> None:
    quoted = LABELED["labels_raw"].replace('"', '""')
    body = (
        "timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,container,pod,namespace,"
        f'value,labels_raw\n{NOON},TEMP,,,GPU-a,,,,,,1,\n\n{NOON},TEMP,"3",nvidia3,GPU-a,'
        f'NVIDIA H100 80GB HBM3,host-ü,main,train-0,ml,2,"{quoted}"\n{NOON},TEMP,,,,,,,,,1,'
    )
    answer = await api.pushed(body, CSV)
    assert answer["accepted"] == 2
    assert answer["rejected"] == [{"index": 3, "reason": "uuid is blank"}]
    assert await read_back(pipeline, api, 2) == [whole(1), whole(2, **LABELED)]


async def test_arrow_lands_as_it_was_pushed(pipeline: Pipeline, api: Api) -> None:
    noon = now().fromisoformat(NOON)
    columns = {
        "timestamp": pa.array([noon, noon, None], pa.timestamp("ns")),
        "metric_name": pa.array(["TEMP", "TEMP", "TEMP"]).dictionary_encode(),
        "uuid": pa.array(["GPU-a", "GPU-a", None], pa.large_string()),
        "value": pa.array([1, 2, 3], pa.int32()),
    }
    labels = {name: pa.array([None, value, "x"]) for name, value in LABELED.items()}
    answer = await api.pushed(arrow_of({**columns, **labels}), ARROW)
    assert answer["accepted"] == 2
    assert answer["rejected"] == [{"index": 2, "reason": "uuid is blank"}]
    assert await read_back(pipeline, api, 2) == [whole(1), whole(2, **LABELED)]


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV, ARROW])
async def test_what_is_read_can_be_pushed_again(pipeline: Pipeline, api: Api, kind: str) -> None:
    await api.pushed(json.dumps([record(1.5), record(2, **LABELED)]))
    before = await read_back(pipeline, api, 2)
    body = await api.read("GPU-a", kind)
    again = json.dumps(body) if kind == JSON else body
    assert (await api.pushed(again, kind))["accepted"] == 2

    async def noted() -> bool:
        return bool(await pipeline.pool.fetchval("SELECT count(*) = 2 FROM message_ledger"))

    await eventually(noted)
    assert await read_back(pipeline, api, 2) == before


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_compressed_body_is_unpacked(pipeline: Pipeline, api: Api, coding: str) -> None:
    text = json.dumps([UNTIMED] * 1000).encode()
    packed = gzip.compress(text) if coding == "gzip" else pa.compress(text, "zstd", asbytes=True)
    assert (await api.pushed(packed, Content_Encoding=coding))["accepted"] == 1000
    assert len(await read_back(pipeline, api, 1000)) == 1000


async def test_each_reject_has_its_place_and_its_reason(pipeline: Pipeline, api: Api) -> None:
    missing = {"uuid": "GPU-a", "value": 1}
    wrong: list[tuple[Any, str]] = [
        (missing, "metric_name is missing"),
        (record(uuid=" "), "uuid is blank"),
        (record(color="red"), "unknown field 'color'"),
        (record("high"), "value is not a number: 'high'"),
        (record(" "), "value is blank"),
        (record("nan(7)"), "value is not finite"),
        (record(True), "value is true or false instead of a number"),
        (record(timestamp=[1]), "timestamp is a list instead of"),
        (record(timestamp=12345), "timestamp is not within the years 2000"),
        (record(timestamp=1e300), "timestamp is not within the years 2000"),
        (record(None), "value is null instead of a number"),
        (record([1]), "value is a list instead of a number"),
        (record(timestamp="yesterday"), "timestamp is not like 2025-07-18T20:42:34Z: 'yesterday'"),
        (record(timestamp="1999-12-31T23:59:59Z"), "timestamp is not within the years 2000"),
        (record(uuid="a\0b"), "uuid has a line break or a NUL character"),
        (record(pod="a\nb"), "pod has a line break or a NUL character"),
        (record(uuid="x" * 257), "uuid is over 256 characters"),
        (record(0x7FFFFFF0), "value is DCGM's blank sentinel"),
        (record(hostname="a", Hostname="b"), "Hostname and hostname are two names"),
        (7, "a record is a number instead of an object"),
        ("text", "a record is text instead of an object"),
        ([], "a record is a list instead of an object"),
    ]
    records = [record(-1), *(given for given, _ in wrong), record(-2, timestamp=LATER)]
    answer = await api.pushed(json.dumps(records))
    assert answer["accepted"] == 2
    assert answer["rejected_count"] == len(wrong)
    for place, (told, (_, reason)) in enumerate(zip(answer["rejected"], wrong, strict=True), 1):
        assert told["index"] == place
        assert told["reason"].startswith(reason)
    assert [read["value"] for read in await read_back(pipeline, api, 2)] == [-2, -1]


async def test_numbers_that_no_reading_can_be_are_rejected_alone(
    pipeline: Pipeline, api: Api
) -> None:
    good = json.dumps(record(1))
    body = f"[{good.replace(': 1,', ': 1e999,')}, {good.replace(': 1,', ': NaN,')}, {good}]"
    answer = await api.pushed(body)
    assert [each["index"] for each in answer["rejected"]] == [0, 1]
    assert await read_back(pipeline, api, 1) == [whole(1)]


@pytest.mark.parametrize("kind", [JSON, CSV])
async def test_values_that_their_field_cannot_have_are_rejected_at_the_door_unless_kept(
    pipeline: Pipeline, kind: str
) -> None:
    values = (95, 4294967295)
    lines = [f"DCGM_FI_DEV_GPU_UTIL,GPU-1,{value}\n" for value in values]
    body = "metric_name,uuid,value\n" + "".join(lines)
    if kind == JSON:
        body = json.dumps([record(value, metric_name="DCGM_FI_DEV_GPU_UTIL") for value in values])
    async with pipeline.broker():
        async with api_of(pipeline, Admission(keep_impossible=False)) as api:
            answer = await api.pushed(body, kind)
        async with api_of(pipeline, Admission(keep_impossible=True)) as keeping:
            kept = await keeping.pushed(body, kind)
    reason = "value is none that DCGM_FI_DEV_GPU_UTIL can have: 0 to 100 %"
    assert answer["rejected"] == [{"index": 1, "reason": reason}]
    assert kept["accepted"] == 2


async def test_the_collector_s_rule_of_times_holds_at_the_door(pipeline: Pipeline) -> None:
    admission = Admission(timedelta(days=30), timedelta(days=1))
    times = [now() - timedelta(days=40), now(), now() + timedelta(days=2)]
    async with pipeline.broker(), api_of(pipeline, admission) as api:
        answer = await api.pushed(json.dumps([record(timestamp=t.isoformat()) for t in times]))
    assert answer["accepted"] == 1
    assert answer["rejected"] == [
        {"index": 0, "reason": "timestamp is older than what is kept (--retention)"},
        {"index": 2, "reason": "timestamp is too far in the future (--future-limit)"},
    ]


async def test_where_all_is_rejected_the_answer_is_an_error(pipeline: Pipeline, api: Api) -> None:
    status, answer = await api.push(json.dumps([record("x")] * 1500))
    assert status == 400
    assert answer["code"] == "all_rejected"
    assert answer["message"].startswith("none of 1500 records was accepted; record 0: value is")
    assert answer["rejected_count"] == 1500
    assert [each["index"] for each in answer["rejected"]] == list(range(1000))
    assert await pipeline.landed() == 0


NO_ROWS = arrow_of(
    {
        "metric_name": pa.array([], pa.string()),
        "uuid": pa.array([], pa.string()),
        "value": pa.array([], pa.float64()),
    }
)


@pytest.mark.parametrize(
    ("body", "kind"),
    [("[]", JSON), ("", NDJSON), (NO_ROWS, ARROW), ("timestamp,metric_name,uuid,value", CSV)],
)
async def test_no_records_are_none_accepted(api: Api, body: Any, kind: str) -> None:
    assert await api.pushed(body, kind) == {"accepted": 0, "rejected_count": 0, "rejected": []}


EXPOSITION = """\
# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a",device="nvidia0",Hostname="h",pod="say "hi""} 40
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a",device="nvidia0",Hostname="h"} 41
go_goroutines 12
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a",device="nvidia0",Hostname="h"} 43 1772366400000
DCGM_FI_DEV_MEM_TEMP{gpu="0",UUID="GPU-a",device="nvidia0",Hostname="h"} NaN
"""


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain; version=0.0.4", EXPOSITION),
        ("application/x-www-form-urlencoded", EXPOSITION),  # as curl --data-binary says
        (
            "application/openmetrics-text; version=1.0.0",
            EXPOSITION.replace("1772366400000", "1772366400.0") + "# EOF\n",
        ),
    ],
    ids=["text", "curl", "openmetrics"],
)
async def test_answer_of_an_exporter_lands_but_for_its_bad_lines(
    pipeline: Pipeline, api: Api, kind: str, body: str
) -> None:
    started = now()
    answer = await api.pushed(body, kind)
    assert answer["accepted"] == 2
    assert [(each["index"], each["reason"][:24]) for each in answer["rejected"]] == [
        (2, "after the label pod ther"),
        (4, "it names no GPU: it has "),
        (6, "value is not finite"),
    ]
    old, new = await read_back(pipeline, api, 2)
    assert (old["timestamp"], old["value"], old["gpu_id"]) == (NOON, 43, "0")
    assert old["labels_raw"] == 'Hostname="h",UUID="GPU-a",device="nvidia0",gpu="0"'
    assert new["value"] == 41
    assert datetime.fromisoformat(new["timestamp"]) >= started.replace(microsecond=0)
