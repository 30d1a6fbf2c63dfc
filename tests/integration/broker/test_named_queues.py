"""Several queues on one broker, by name."""

import asyncio

import pytest

from gputel.broker.queues.queues import declared_queues
from gputel.errors import ConfigError


async def names(broker) -> list[str]:
    _, reply = await broker.get("/queues")
    return [queue["name"] for queue in reply["queues"]]


async def put(broker, name: str, body: bytes = b"") -> tuple[int, dict]:
    async with broker.http.put(f"{broker.url}/queues/{name}", data=body) as reply:
        return reply.status, await reply.json()


async def publish(broker, queue: str, *ids: str, **more: str) -> int:
    messages = [{"id": id_, "payload": id_, **more} for id_ in ids]
    status, _ = await broker.post(f"/publish?queue={queue}", messages)
    return status


async def consume(broker, queue: str) -> list[str]:
    _, reply = await broker.post(f"/consume?queue={queue}&max=100&wait_s=0")
    return [message["id"] for message in reply]


async def test_queue_is_made_by_the_first_publish_and_keeps_its_messages_to_itself(broker) -> None:
    assert await publish(broker, "jobs", "a") == 202
    await broker.publish("a", "b")
    assert await names(broker) == ["default", "jobs"]
    assert await consume(broker, "jobs") == ["a"]
    assert await consume(broker, "default") == ["a", "b"]


async def test_queue_is_made_by_the_first_consume_which_gets_what_comes(broker) -> None:
    waiting = asyncio.create_task(broker.post("/consume?queue=jobs"))
    while await names(broker) != ["default", "jobs"]:
        await asyncio.sleep(0.01)
    await publish(broker, "jobs", "a")
    assert (await waiting)[1]["id"] == "a"


async def test_every_request_about_messages_is_to_the_queue_that_it_names(broker) -> None:
    await publish(broker, "jobs", "a", "b")
    _, message = await broker.post("/consume?queue=jobs")
    item = {"id": "a", "lease": message["lease"]}
    assert (await broker.post("/ack", item))[0] == 200  # of the default queue, which has no "a"
    assert (await broker.post("/held?queue=jobs", {"id": "a"}))[1]["held"] == "in_flight"
    assert (await broker.post("/extend?queue=jobs", item))[0] == 200
    assert (await broker.post("/nack?queue=jobs", {**item, "dead": True}))[0] == 200
    assert (await broker.get("/dead-letters?queue=jobs"))[1]["total"] == 1
    assert (await broker.get("/dead-letters"))[1]["total"] == 0
    assert (await broker.get("/dead-letters/a?queue=jobs"))[1]["id"] == "a"
    replayed = await broker.post("/dead-letters/replay?queue=jobs", {"id": "a"})
    assert replayed[1] == {"replayed": 1}
    _, reply = await broker.post("/consume?queue=jobs&max=9", {"ack": []})
    acks = {"ack": [{"id": "a"}, {"id": "b"}]}
    _, reply = await broker.post("/consume?queue=jobs&wait_s=0", acks)
    assert [ack["ok"] for ack in reply["acks"]] == [True, True]
    assert (await broker.get("/stats?queue=jobs"))[1]["acked"] == 2
    assert (await broker.get("/stats"))[1]["acked"] == 0


async def test_requests_about_messages_that_must_be_there_make_no_queue(broker) -> None:
    for path in ("/extend", "/held"):
        status, reply = await broker.post(f"{path}?queue=jobs", {"id": "a"})
        assert (status, reply["code"]) == (404, "unknown_queue")
    for path in ("/ack", "/nack"):  # of a queue that was forgotten, as after a restart
        reply = await broker.post(f"{path}?queue=jobs", {"id": "a", "lease": "old"})
        assert reply == (200, {"id": "a", "ok": True})
    for path in ("/stats", "/dead-letters", "/dead-letters/a"):
        assert (await broker.get(f"{path}?queue=jobs"))[0] == 404
    assert await names(broker) == ["default"]


async def test_a_bound_is_that_of_each_queue(start) -> None:
    async with start(queue_max_messages=1, publish_wait_s=0) as broker:
        assert await publish(broker, "one", "a") == 202
        assert await publish(broker, "two", "a") == 202
        assert await publish(broker, "one", "b") == 503


async def test_broker_of_declared_queues_makes_no_others_unasked(start) -> None:
    async with start(queue_create="declared", queues="jobs, orders:ordered") as broker:
        assert await names(broker) == ["default", "jobs", "orders"]
        _, reply = await broker.get("/queues")
        assert [queue["ordered_keys"] for queue in reply["queues"]] == [False, False, True]
        status, refusal = await broker.post("/publish?queue=job", {"payload": ""})
        assert (status, refusal["code"]) == (404, "unknown_queue")
        status, refusal = await broker.post("/ack?queue=job", {"id": "a"})
        assert (status, refusal["code"]) == (404, "unknown_queue")
        assert (await put(broker, "job"))[0] == 200
        assert await publish(broker, "job", "a") == 202


async def test_ordered_queue_delivers_one_of_a_key_at_a_time(broker) -> None:
    status, queue = await put(broker, "orders", b'{"ordered_keys":true}')
    assert (status, queue["ordered_keys"]) == (200, True)
    await publish(broker, "orders", "a", "b", key="k")
    await publish(broker, "orders", "c")
    assert (await broker.get("/stats?queue=orders"))[1]["blocked"] == 1
    assert await consume(broker, "orders") == ["a", "c"]
    waiting = asyncio.create_task(broker.post("/consume?queue=orders"))
    while not (await broker.get("/stats?queue=orders"))[1]["waiting_consumers"]:
        await asyncio.sleep(0.01)
    await broker.post("/ack?queue=orders", {"id": "a"})
    assert (await waiting)[1]["id"] == "b"


async def test_options_change_only_while_nothing_waits_for_them(broker) -> None:
    await publish(broker, "orders", "a")
    status, refusal = await put(broker, "orders", b'{"ordered_keys":true}')
    assert (status, refusal["code"]) == (409, "queue_not_empty")
    assert (await put(broker, "orders"))[0] == 200
    await consume(broker, "orders")
    await broker.post("/ack?queue=orders", {"id": "a"})
    assert (await put(broker, "orders", b'{"ordered_keys":true}'))[0] == 200
    assert (await put(broker, "orders", b'{"ordered":true}'))[0] == 400
    assert (await put(broker, "orders", b'{"ordered_keys":null}'))[0] == 400


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_option_that_is_left_out_stays_as_it_is(broker, body: bytes) -> None:
    await put(broker, "orders", b'{"ordered_keys":true}')
    assert (await put(broker, "orders", body))[1]["ordered_keys"] is True
    await publish(broker, "orders", "a")
    assert (await put(broker, "orders", body))[0] == 200
    await consume(broker, "orders")
    await broker.post("/ack?queue=orders", {"id": "a"})
    assert (await put(broker, "orders", b'{"ordered_keys":false}'))[1]["ordered_keys"] is False
    assert (await put(broker, "orders", body))[1]["ordered_keys"] is False


async def test_queues_are_limited_and_useless_ones_make_room(start) -> None:
    async with start(max_queues=4) as broker:
        await put(broker, "declared")
        await publish(broker, "full", "a")
        await consume(broker, "empty")
        assert await publish(broker, "new", "a") == 202
        assert await names(broker) == ["declared", "default", "full", "new"]
        status, reply = await broker.post("/publish?queue=more", {"payload": ""})
        assert (status, reply["code"]) == (409, "too_many_queues")
        await consume(broker, "full")
        await broker.post("/ack?queue=full", {"id": "a"})
        assert await publish(broker, "more", "a") == 202


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ü", "x" * 129, "a\n"])
async def test_name_that_is_none_is_refused(broker, name) -> None:
    async with broker.http.post(broker.url + "/consume", params={"queue": name}) as reply:
        assert reply.status == 400
        assert "queue" in (await reply.json())["message"]


async def test_draining_closes_every_queue_and_makes_no_more(broker) -> None:
    await publish(broker, "jobs", "a")
    _, left = await broker.post("/admin/drain")
    assert (left["drained"], left["ready"]) == (False, 1)
    assert await publish(broker, "jobs", "b") == 410
    status, reply = await broker.post("/publish?queue=new", {"payload": ""})
    assert (status, reply["code"]) == (410, "queue_closed")
    assert await consume(broker, "jobs") == ["a"]
    await broker.post("/ack?queue=jobs", {"id": "a"})
    assert (await broker.post("/admin/drain"))[1]["drained"]


async def test_leases_of_two_queues_are_never_the_same(broker) -> None:
    for queue in ("one", "two"):
        await publish(broker, queue, "a")
    leases = {(await broker.post(f"/consume?queue={q}"))[1]["lease"] for q in ("one", "two")}
    assert len(leases) == 2


@pytest.mark.parametrize("text", ["a b", "a:orderly", ":ordered", "x" * 129])
def test_declaration_that_is_not_understood_is_refused(text) -> None:
    with pytest.raises(ConfigError, match="--queues"):
        declared_queues(text)
