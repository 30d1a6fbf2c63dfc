"""The broker from a shell: JSON over a real socket."""

import asyncio
import shlex
import subprocess
from typing import Any

import msgspec
import pytest

from tests.integration.broker.conftest import Broker, until

ISSUED = [
    """curl -d '{"id":"1","key":"k","payload":"hello"}' :8081/publish""",
    """curl -X POST :8081/consume""",
    """curl -d '{"id":"1"}' :8081/ack""",
]


async def curl(command: str, port: int) -> Any:
    words = shlex.split(command.replace(":8081", f":{port}"))
    words[-1] = words[-1].replace(f":{port}", f"127.0.0.1:{port}") if words else ""
    process = await asyncio.create_subprocess_exec(
        *words, "-sS", "--noproxy", "*", stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(out)


async def test_three_curl_lines_publish_consume_and_ack(broker) -> None:
    published, consumed, acked = [await curl(line, broker.port) for line in ISSUED]
    assert published == {"id": "1", "state": "accepted"}
    assert consumed["id"] == "1"
    assert consumed["key"] == "k"
    assert consumed["payload"] == "hello"
    assert consumed["attempts"] == 1
    assert consumed["lease"]
    assert acked == {"id": "1", "ok": True}
    assert (await broker.client.stats())["acked"] == 1


async def test_single_publish_answers_202_and_makes_an_id_when_there_is_none(broker) -> None:
    status, reply = await broker.post("/publish", {"payload": "x"})
    assert status == 202
    assert reply["id"]


@pytest.mark.parametrize(
    ("payload", "encoding", "stored"),
    [
        ("grüße\n\x00", "text", "grüße\n\x00"),
        ("", "text", ""),
        ({"a": [1, 2.50, None]}, "text", '{"a":[1,2.5,null]}'),
        (12, "text", "12"),
        (None, "text", "null"),
    ],
)
async def test_payload_comes_back_as_it_was_published(broker, payload, encoding, stored) -> None:
    await broker.post("/publish", {"payload": payload})
    _, reply = await broker.post("/consume")
    assert (reply["payload"], reply["encoding"]) == (stored, encoding)


async def test_binary_payload_travels_in_base64(broker) -> None:
    body = {"id": "b", "payload": "//79", "encoding": "base64", "metadata": {"rows": [0, 5]}}
    assert (await broker.post("/publish", body))[0] == 202
    _, reply = await broker.post("/consume")
    assert (reply["payload"], reply["encoding"]) == ("//79", "base64")
    assert reply["metadata"] == {"rows": [0, 5]}
    await broker.post("/nack", {"id": "b"})
    (delivery,) = await broker.client.consume(1)
    assert delivery.payload == b"\xff\xfe\xfd"
    assert delivery.metadata == {"rows": [0, 5]}


async def test_list_forms_give_a_result_for_each(broker) -> None:
    bodies = [{"id": "a", "payload": "1"}, {"id": "b", "payload": "2"}, {"id": "a", "payload": "3"}]
    status, results = await broker.post("/publish", bodies)
    assert status == 202
    assert results == [
        {"id": "a", "state": "accepted"},
        {"id": "b", "state": "accepted"},
        {"id": "a", "state": "duplicate", "held": "ready"},
    ]
    _, deliveries = await broker.post("/consume?max=10")
    assert [d["payload"] for d in deliveries] == ["1", "2"]
    first, second = deliveries
    status, results = await broker.post(
        "/ack",
        [
            {"id": "a", "lease": first["lease"]},
            {"id": "b", "lease": first["lease"]},
            {"id": "c", "lease": "?"},
        ],
    )
    assert status == 200
    assert [(r["id"], r["ok"], r.get("code")) for r in results] == [
        ("a", True, None),
        ("b", False, "stale_lease"),
        ("c", True, None),
    ]
    assert (await broker.post("/ack", [{"id": "b", "lease": second["lease"]}]))[1][0]["ok"]


async def test_nothing_there_is_204_for_one_and_an_empty_list_for_many(broker) -> None:
    assert await broker.post("/consume?wait_s=0") == (204, None)
    assert await broker.post("/consume?wait_s=0.01") == (204, None)
    assert await broker.post("/consume?max=5&wait_s=0.01") == (200, [])


@pytest.mark.parametrize("lease", [{}, {"lease": ""}, {"lease": "of-an-earlier-delivery"}])
async def test_ack_and_nack_of_a_message_that_is_gone_or_unknown_do_nothing(
    broker: Broker, lease: dict[str, str]
) -> None:
    await broker.publish("gone")
    await broker.post("/consume")
    for _ in range(2):
        assert await broker.post("/ack", {"id": "gone"}) == (200, {"id": "gone", "ok": True})
    for path in ("/ack", "/nack"):
        for id_ in ("gone", "nobody"):
            reply = await broker.post(path, {"id": id_, **lease})
            assert reply == (200, {"id": id_, "ok": True})
    status, reply = await broker.post("/extend", {"id": "gone", **lease})
    assert (status, reply["code"]) == (404, "unknown_message")
    await until(broker, acked=1, nacked=0, ready=0, dead=0)


@pytest.mark.parametrize("lease", [{}, {"lease": ""}, {"lease": None}])
async def test_who_sends_no_lease_is_not_told_that_it_is_stale(
    broker: Broker, lease: dict[str, str | None]
) -> None:
    await broker.publish("a", "b", "new")
    await broker.post("/consume?max=2&visibility_timeout_s=0.05")
    await until(broker, ready=3)
    for path in ("/nack", "/ack"):
        for id_ in ("a", "new"):
            reply = await broker.post(path, {"id": id_, **lease})
            assert reply == (200, {"id": id_, "ok": True})
    _, deliveries = await broker.post("/consume?max=9")
    assert [each["id"] for each in deliveries] == ["b", "new"]  # never delivered: not removed
    await until(broker, acked=1, nacked=0, in_flight=2)


async def test_ack_with_a_stale_lease_is_409(broker) -> None:
    await broker.publish("a")
    _, first = await broker.post("/consume?visibility_timeout_s=0.05")
    _, second = await broker.post("/consume")
    assert (first["attempts"], second["attempts"]) == (1, 2)
    for path in ("/ack", "/nack", "/extend"):
        status, reply = await broker.post(path, {"id": "a", "lease": first["lease"]})
        assert (status, reply["code"]) == (409, "stale_lease")
    assert (await broker.post("/ack", {"id": "a", "lease": second["lease"]}))[0] == 200


async def test_extended_lease_outlives_its_first_timeout(broker) -> None:
    await broker.publish("a")
    _, delivery = await broker.post("/consume?visibility_timeout_s=0.2")
    body = {"id": "a", "lease": delivery["lease"], "visibility_timeout_s": 60}
    assert (await broker.post("/extend", body))[0] == 200
    assert await broker.post("/consume?wait_s=0.4") == (204, None)


async def test_nacked_message_returns_at_once_or_after_its_delay(broker) -> None:
    await broker.publish("a")
    await broker.post("/consume")
    await broker.post("/nack", {"id": "a"})
    assert (await broker.post("/consume"))[1]["attempts"] == 2
    await broker.post("/nack", {"id": "a", "delay_s": 0.2})
    assert await broker.post("/consume?wait_s=0") == (204, None)
    assert (await broker.post("/publish", {"id": "a", "payload": ""}))[1]["held"] == "ready"
    assert (await broker.post("/consume"))[1]["attempts"] == 3


async def test_dead_letters_are_listed_shown_replayed_and_purged(start) -> None:
    async with start(max_attempts=1) as broker:
        await broker.publish("s/0", "s/1", "s/2", metadata={"row": 7})
        await broker.post("/consume?max=3")
        for id_ in ("s/0", "s/1", "s/2"):
            await broker.post("/nack", {"id": id_, "reason": "no such table"})
        _, listed = await broker.get("/dead-letters?offset=1&limit=1")
        assert listed["total"] == 3
        assert [letter["id"] for letter in listed["dead_letters"]] == ["s/1"]
        _, shown = await broker.get("/dead-letters/s%2F1")
        assert shown["payload"] == "s/1"
        assert shown["metadata"] == {"row": 7}
        assert shown["history"][0]["reason"] == shown["reason"] == "no such table"
        assert abs(shown["died_at"] - shown["history"][0]["at"]) < 1
        assert await broker.post("/dead-letters/replay", {"id": "s/1"}) == (200, {"replayed": 1})
        assert (await broker.post("/consume"))[1]["id"] == "s/1"
        purge = "/dead-letters/purge"
        assert await broker.post(purge, {"ids": ["s/0", "nobody"]}) == (200, {"purged": 1})
        assert await broker.post(purge, {"all": True}) == (200, {"purged": 1})
        for path in ("/dead-letters/replay", purge):
            assert (await broker.post(path, {"id": "s/0"}))[0] == 404
            assert (await broker.post(path))[0] == 400
        assert (await broker.get("/dead-letters/s/0"))[0] == 404
