"""The broker's metrics say what its queues did, and the same as its statistics."""

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry

from gputel import metrics


def value(name: str, **labels: str) -> float:
    """The value of a metric now; 0 where there is none."""
    read_now = CollectorRegistry()
    read_now.register(metrics.BROKER)
    found = (registry.get_sample_value(name, labels) for registry in (read_now, metrics.REGISTRY))
    return next((value for value in found if value is not None), 0.0)


def of_queue(name: str, queue: str = "default") -> float:
    return value(f"gputel_broker_{name}", queue=queue)


async def some_life(broker, queue: str = "default") -> None:
    """A bit of everything that can happen to messages."""
    argument = f"?queue={queue}"
    messages = [{"id": id_, "payload": id_} for id_ in "abcd"]
    await broker.post("/publish" + argument, messages)
    await broker.post("/publish" + argument, [messages[0], {"payload": "", "delay_s": 60}])
    await broker.post(f"/consume{argument}&max=3")
    await broker.post("/ack" + argument, {"id": "a"})
    await broker.post("/nack" + argument, {"id": "b", "dead": True})
    await broker.post("/nack" + argument, {"id": "c"})
    await broker.post("/consume" + argument)


async def test_counters_and_gauges_follow_the_queue(broker) -> None:
    await some_life(broker)
    counters = {
        "published": 5,
        "duplicates": 1,
        "delivered": 4,
        "redelivered": 1,
        "acked": 1,
        "nacked": 2,
        "dead_lettered": 1,
    }
    assert {name: of_queue(f"{name}_total") for name in counters} == counters
    gauges = {"ready_messages": 1, "delayed_messages": 1, "in_flight_messages": 1}
    assert {name: of_queue(name) for name in gauges} == gauges
    assert of_queue("dead_letters") == 1
    assert of_queue("held_bytes") == (await broker.client.stats())["bytes"]
    assert of_queue("oldest_ready_seconds") > 0


async def test_statistics_and_metrics_are_the_same_numbers(broker) -> None:
    await some_life(broker, "jobs")
    await some_life(broker)
    await broker.post("/ack?queue=jobs", {"id": "c"})
    for queue in ("default", "jobs"):
        _, stats = await broker.get(f"/stats?queue={queue}")
        assert stats["queue"] == queue
        for name, family in metrics.BROKER_QUEUE.items():
            if family.type == "histogram":
                assert stats[name]["count"] == value(f"{family.name}_count", queue=queue) > 0
            elif name != "oldest_ready_s":
                suffix = "_total" if family.type == "counter" else ""
                assert value(family.name + suffix, queue=queue) == stats[name], name
        numbers = {name for name, told in stats.items() if type(told) in (int, float)}
        assert numbers <= set(metrics.BROKER_QUEUE)
    assert set(stats["broker"]) == set(metrics.BROKER_TOTAL)
    for name, number in stats["broker"].items():
        assert value(metrics.BROKER_TOTAL[name].name) == number
    assert stats["broker"]["bytes"] > stats["bytes"] > 0


async def test_latencies_are_histograms_that_count_each_message_once(broker) -> None:
    await broker.publish("a", "b", "c")
    _, taken = await broker.post("/consume?max=2")
    await broker.post("/ack", [{"id": message["id"]} for message in taken])
    assert value("gputel_broker_wait_seconds_count", queue="default") == 2
    assert value("gputel_broker_work_seconds_bucket", queue="default", le="+Inf") == 2
    assert value("gputel_broker_work_seconds_bucket", queue="default", le="7200.0") == 2
    assert value("gputel_broker_wait_seconds_sum", queue="default") > 0


async def test_queue_that_is_forgotten_leaves_the_metrics(start) -> None:
    async with start(max_queues=2) as broker:
        await broker.post("/consume?queue=one&wait_s=0&max=1")
        assert of_queue("max_messages", "one") > 0
        await broker.post("/consume?queue=two&wait_s=0&max=1")
        assert of_queue("max_messages", "one") == 0
        assert of_queue("max_messages", "two") > 0
    assert of_queue("max_messages") == 0


async def test_journal_is_told_in_both(start, tmp_path: Path) -> None:
    synced = value("gputel_broker_journal_sync_seconds_count")
    commits = value("gputel_broker_journal_commit_seconds_count")
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.publish("a")
        _, stats = await broker.get("/stats")
        while stats["journal"]["segments"] < 2:  # one is made ahead of need
            await asyncio.sleep(0.01)
            _, stats = await broker.get("/stats")
        files = list(tmp_path.glob("*.journal"))
        assert len(files) == 2
        assert stats["journal"]["bytes"] == sum(file.stat().st_size for file in files)
        assert stats["journal"]["live_bytes"] > 0
        assert stats["journal"]["broken"] == 0
        for name, family in metrics.BROKER_JOURNAL.items():
            assert value(family.name) == stats["journal"][name]
        assert value("gputel_broker_journal_sync_seconds_count") > synced
    assert value("gputel_broker_journal_commit_seconds_count") > commits


async def test_commits_that_are_not_synced_are_not_timed_as_syncs(start, tmp_path: Path) -> None:
    synced = value("gputel_broker_journal_sync_seconds_count")
    commits = value("gputel_broker_journal_commit_seconds_count")
    async with start(journal=tmp_path, journal_sync="off", drain_deadline_s=0) as broker:
        await broker.publish("a", "b")
    assert value("gputel_broker_journal_commit_seconds_count") > commits
    assert value("gputel_broker_journal_sync_seconds_count") == synced


async def test_requests_are_counted_by_route_and_status(broker) -> None:
    labels = {"role": "broker", "route": "/dead-letters/{id}", "status": "404"}
    before = value("gputel_http_requests_total", **labels)
    await broker.get("/dead-letters/some/where")
    assert value("gputel_http_requests_total", **labels) == before + 1


async def test_exposition_has_every_queue(broker) -> None:
    await some_life(broker, "jobs")
    async with broker.http.get(broker.url + "/metrics") as reply:
        text = await reply.text()
    for line in (
        'gputel_broker_in_flight_messages{queue="jobs"} 1.0',
        'gputel_broker_published_total{queue="default"} 0.0',
        'gputel_broker_wait_seconds_bucket{le="+Inf",queue="jobs"} 3.0',
    ):
        assert f"\n{line}\n" in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
