"""A producer in any language publishes records as JSON, and the collector lands them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import aiohttp
import pytest

from gputel import metrics
from gputel.collector.intake import decode_some
from gputel.model.record_batch import PayloadLimits, encode
from gputel.mq.wire.protocol import Delivery
from gputel.sources.json.payload import is_json
from tests.helpers.batches import steady
from tests.helpers.waiting import eventually
from tests.integration.pipeline.conftest import Pipeline
from tests.integration.pipeline.pushing import record

LIMITS = PayloadLimits()


def decoded(records: Any, limits: PayloadLimits = LIMITS) -> list[dict[str, Any]]:
    (message,) = decode_some([delivery(json.dumps(records).encode())], limits).good
    rows: list[dict[str, Any]] = message.arrival.batch.to_pylist()
    return rows


def refusal(payload: bytes, limits: PayloadLimits = LIMITS) -> str:
    (message,) = decode_some([delivery(payload)], limits).bad
    return message.reason


def delivery(payload: bytes) -> Delivery:
    return Delivery("a", "", payload, {}, "lease", 1)


async def test_records_that_were_published_with_curl_land(pipeline: Pipeline) -> None:
    async with pipeline.broker(), aiohttp.ClientSession() as session:
        await pipeline.start_collector()
        one = {"id": "one", "payload": record("42", modelName="H100")}
        some = {
            "id": "some",
            "payload": json.dumps(
                [record(1, uuid="GPU-1"), record("2.5", uuid="GPU-2"), record(3, uuid="GPU-3")]
            ),
        }
        wrong = {"id": "wrong", "payload": [record(7), record("high")]}
        for body in (one, some, wrong):
            async with session.post(f"{pipeline.url}/publish", json=body) as response:
                assert response.status == 202

        async def settled() -> bool:
            async with session.get(f"{pipeline.url}/dead-letters") as response:
                letters = (await response.json())["dead_letters"]
            return [(each["id"], each["reason"]) for each in letters] == [
                ("wrong", "record 1 of the payload: value is not a number: 'high'")
            ] and await pipeline.landed() == 4

        await eventually(settled)
        rows = await pipeline.pool.fetch("SELECT value, model_name FROM telemetry ORDER BY 1")
        assert [tuple(row) for row in rows] == [(1, ""), (2.5, ""), (3, ""), (42, "H100")]


async def test_message_of_json_that_comes_again_lands_once(pipeline: Pipeline) -> None:
    async with pipeline.broker(), aiohttp.ClientSession() as session:
        await pipeline.start_collector()
        for name in ("a", "a", "b"):
            body = {"id": name, "payload": record()}
            async with session.post(f"{pipeline.url}/publish", json=body) as response:
                assert response.status == 202
            await eventually(partial(is_landed, pipeline, name))
        assert await pipeline.pool.fetchval("SELECT count(*) FROM message_ledger") == 2


async def is_landed(pipeline: Pipeline, message_id: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM message_ledger WHERE message_id = $1)"
    return bool(await pipeline.pool.fetchval(query, message_id))


def test_one_record_or_a_list_is_read_with_either_name_of_a_field() -> None:
    assert decoded(record(Hostname="h"))[0]["hostname"] == "h"
    assert [row["value"] for row in decoded([record(1, hostname="h"), record(2)])] == [1, 2]
    assert decoded([]) == []


def test_thousands_of_records_are_read_in_parts() -> None:
    rows = decoded([record(number, uuid=f"GPU-{number % 7}") for number in range(20_000)])
    assert [row["value"] for row in rows] == list(range(20_000))
    assert [row["uuid"] for row in rows[:8]] == [f"GPU-{number % 7}" for number in range(8)]


def test_values_that_are_no_readings_are_left_out_and_counted() -> None:
    name, labels = "gputel_collector_rows_rejected_total", {"reason": "no_reading"}
    before = metrics.REGISTRY.get_sample_value(name, labels) or 0
    values = [1, 0x7FFFFFF0, "nan", 9223372036854775794, 2]
    assert [row["value"] for row in decoded([record(value) for value in values])] == [1, 2]
    assert metrics.REGISTRY.get_sample_value(name, labels) == before + 3


def test_nvswitch_has_a_name_in_json_too() -> None:
    (row,) = decoded(record(uuid="", hostname="h", labels_raw='nvswitch="nvswitch0"'))
    assert row["uuid"] == "nvswitch0@h"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"[1", "payload is not JSON at record 1: a comma or the end"),
        (b"{", "payload is not JSON at record 0: its end is not found"),
        (b"{} {}", "payload is not JSON: there is more text"),
        (b'{"a":\xff}', "payload is not UTF-8 text"),
        (b"[7]", "record 0 of the payload: a record is a number instead of an object"),
        (json.dumps(record(uuid="")), "record 0 of the payload: uuid is blank"),
        (json.dumps(record(timestamp=None)), "record 0 of the payload: timestamp is missing"),
        (json.dumps(record(color="red")), "record 0 of the payload: unknown field 'color'"),
        (
            json.dumps([record(1), record(pod="x" * 257), record(uuid=" "), {}]),
            "record 1 of the payload: pod is over 256 characters, and 2 more records are wrong",
        ),
        (b"[" * 100_000, "payload is not JSON at record 0: its end is not found"),
    ],
)
def test_payload_with_a_wrong_record_is_refused_whole_with_the_record(
    payload: str | bytes, reason: str
) -> None:
    raw = payload.encode() if isinstance(payload, str) else payload
    assert refusal(raw).startswith(reason)


def test_limits_of_a_payload_hold_for_json() -> None:
    rows = [record(number) for number in range(5)]
    assert len(decoded(rows, PayloadLimits(max_rows=5))) == 5
    payload = json.dumps(rows).encode()
    assert "more than 4 rows" in refusal(payload, PayloadLimits(max_rows=4))
    assert "more than 100 bytes" in refusal(payload, PayloadLimits(max_bytes=100))


def test_json_is_told_from_arrow_by_how_it_begins() -> None:
    assert not is_json(encode(steady(3)))
    assert not is_json(b"")
    for text in (b"{}", b" \r\n\t[", b"\xef\xbb\xbf{"):
        assert is_json(text)
