"""The broker's metrics say what its queue did."""

from gputel import metrics


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


COUNTERS = ("published", "duplicates", "delivered", "redelivered", "acked", "dead_lettered")


def counters() -> dict[str, float]:
    return {name: value(f"gputel_broker_{name}_total") for name in COUNTERS}


async def test_counters_and_gauges_follow_the_queue(broker) -> None:
    before = counters()
    await broker.publish("a", "b", "c", "d")
    await broker.publish("a")
    await broker.post("/consume?max=3")
    await broker.post("/ack", {"id": "a"})
    await broker.post("/nack", {"id": "b", "dead": True})
    await broker.post("/nack", {"id": "c"})
    await broker.post("/consume")
    grown = {name: count - before[name] for name, count in counters().items()}
    assert grown == {
        "published": 4,
        "duplicates": 1,
        "delivered": 4,
        "redelivered": 1,
        "acked": 1,
        "dead_lettered": 1,
    }
    assert value("gputel_broker_ready_messages") == 1
    assert value("gputel_broker_in_flight_messages") == 1
    assert value("gputel_broker_dead_letters") == 1
    assert value("gputel_broker_held_bytes") == (await broker.client.stats())["bytes"]


async def test_requests_are_counted_by_route_and_status(broker) -> None:
    labels = {"role": "broker", "route": "/dead-letters/{id}", "status": "404"}
    before = value("gputel_http_requests_total", **labels)
    await broker.get("/dead-letters/some/where")
    assert value("gputel_http_requests_total", **labels) == before + 1
