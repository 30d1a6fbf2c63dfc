"""Our queue beside Redis Streams, NATS JetStream and RabbitMQ, each through its Python client.

    python3 -m venv bench && bench/bin/pip install -e . psutil hiredis redis nats-py aio-pika
    apt-get install redis-server nats-server rabbitmq-server
    bench/bin/python benchmarks/queue_speed.py [--quick] [--journal]

Every peer is a process of its own, and so is its client. A message has 300 bytes, its publish is
confirmed by the server, and it is acked by itself or with its batch. Rounds go over all peers in
turns; medians and ratios to Redis are printed. A peer that is not installed is left out. The peers'
Python clients are part of what is measured: this compares what a Python program gets. "gputel" has
the fast path (--no-plain-http), "gputel plain" is without it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import statistics
import struct
import subprocess
import sys
import time
from collections import defaultdict

import psutil
import uvloop
from queue_peers import CLIENTS, Client, served

SMALL, LARGE = 300, 200 * 1024
CASES = ("single", "64 publishers", "64 sends", "batches of 100", "200 KB", "p50 ms")
MEMORY = ("gputel", "gputel plain", "redis", "redis pipelined", "nats", "rabbitmq")
OUTSTANDING = 2_000
DURABLE = ("gputel journal", "redis AOF")


async def round_trips(client: Client, batch: int, size: int, seconds: float) -> tuple[int, float]:
    payloads = [os.urandom(size)] * batch
    started, count = time.perf_counter(), 0
    handles: list[object] = []
    while time.perf_counter() - started < seconds:
        await client.publish(payloads)
        left = batch
        while left:
            handles = [handle for _, handle in await client.take(left, handles)]
            left -= len(handles)
        count += batch
    elapsed = time.perf_counter() - started
    await drain(client, handles)
    return count, elapsed


async def flow(
    producers: list[Client], consumers: list[Client], seconds: float
) -> tuple[int, float]:
    """Batches of 100 from producers to consumers that work side by side; counts what was acked."""
    payloads = [os.urandom(SMALL)] * 100
    started = time.perf_counter()
    published = taken = 0
    room = asyncio.Event()

    async def produce(client: Client) -> list[object]:
        nonlocal published
        while time.perf_counter() - started < seconds:
            if published - taken > OUTSTANDING:
                room.clear()
                await room.wait()
            published += 100
            await client.publish(payloads)
        return []

    async def consume(client: Client) -> list[object]:
        nonlocal taken
        handles: list[object] = []
        while time.perf_counter() - started < seconds:
            handles = [handle for _, handle in await client.take(100, handles)]
            taken += len(handles)
            if published - taken <= OUTSTANDING:
                room.set()
        room.set()
        return handles

    tasks = [produce(client) for client in producers] + [consume(client) for client in consumers]
    left = await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - started
    for client, handles in zip(consumers, left[len(producers) :], strict=True):
        await drain(client, handles)
    return taken, elapsed


async def publishers(
    client: Client, side_by_side: int, batch: int, seconds: float
) -> tuple[int, float]:
    payloads = [os.urandom(SMALL)] * batch
    started, count = time.perf_counter(), 0

    async def publish() -> None:
        nonlocal count
        while time.perf_counter() - started < seconds:
            await client.publish(payloads)
            count += batch

    await asyncio.gather(*(publish() for _ in range(side_by_side)))
    return count, time.perf_counter() - started


async def sends(client: Client, seconds: float) -> tuple[int, float]:
    """As 64 publishers, through ``send``, which puts concurrent messages into one request."""
    queue = getattr(client, "client", None)
    if not hasattr(queue, "send"):
        return 0, 1.0
    payload = os.urandom(SMALL)
    started, count = time.perf_counter(), 0

    async def publish() -> None:
        nonlocal count
        while time.perf_counter() - started < seconds:
            await queue.send(payload)
            count += 1

    await asyncio.gather(*(publish() for _ in range(64)))
    return count, time.perf_counter() - started


async def drain(client: Client, handles: list[object] | None = None) -> None:
    while got := await client.take(500, handles or []):
        handles = [handle for _, handle in got]


async def latency(producer: Client, consumer: Client, seconds: float) -> list[float]:
    took: list[float] = []

    async def consume() -> None:
        handles: list[object] = []
        while True:
            got = await consumer.take(100, handles)
            now = time.perf_counter()
            took.extend(now - struct.unpack_from("d", payload)[0] for payload, _ in got)
            handles = [handle for _, handle in got]

    task = asyncio.create_task(consume())
    started, sent = time.perf_counter(), 0
    while (now := time.perf_counter()) - started < seconds:
        await producer.publish([struct.pack("d", now) + bytes(SMALL - 8)])
        sent += 1
        await asyncio.sleep(max(0.0, started + sent / 500 - time.perf_counter()))
    await asyncio.sleep(0.1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return took[len(took) // 10 :]


async def measure(peer: str, port: int, case: str, seconds: float) -> dict[str, float]:
    client = await CLIENTS[peer].connect(port)
    if case == "p50 ms":
        other = await CLIENTS[peer].connect(port)
        took = await latency(client, other, seconds)
        await other.close()
        count, result = len(took), statistics.median(took) * 1000
    else:
        if case == "single":
            count, elapsed = await round_trips(client, 1, SMALL, seconds)
        elif case == "64 publishers":
            count, elapsed = await publishers(client, 64, 1, seconds)
        elif case == "64 sends":
            count, elapsed = await sends(client, seconds)
        elif case == "batches of 100":
            others = [await CLIENTS[peer].connect(port) for _ in range(3)]
            count, elapsed = await flow([client, others[0]], others[1:], seconds)
            for other in others:
                await other.close()
        elif case == "200 KB":
            count, elapsed = await round_trips(client, 1, LARGE, seconds)
        else:
            count, elapsed = await publishers(client, 8, 100, seconds)
        result = count / elapsed
    await client.close()
    return {"count": count, "result": result}


async def empty(peer: str, port: int) -> None:
    client = await CLIENTS[peer].connect(port)
    await drain(client)
    await client.close()


async def ready(peer: str, port: int) -> bool:
    for _ in range(150):
        with contextlib.suppress(Exception):
            client = await asyncio.wait_for(CLIENTS[peer].connect(port), 3)
            await client.close()
            return True
        await asyncio.sleep(0.2)
    return False


def cpu_seconds(pid: int) -> float:
    total = 0.0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def child(*words: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--client", *map(str, words)]
    out = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if out.returncode:
        print(f"{words}: {out.stderr.decode()[-300:]}", file=sys.stderr)
    return json.loads(out.stdout or b"{}")


def run(peers: tuple[str, ...], cases: tuple[str, ...], rounds: int, seconds: float) -> None:
    results: dict[tuple[str, str], list[float]] = defaultdict(list)
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        running = {peer: stack.enter_context(served(peer)) for peer in peers}
        for peer in [peer for peer, at in running.items() if at is None]:
            print(f"{peer} is not installed: left out")
            del running[peer]
        for peer, (port, _) in list(running.items()):
            if not uvloop.run(ready(peer, port)):
                print(f"{peer} does not answer: left out")
                del running[peer]
        for n in range(rounds):
            for case in cases:
                for peer, (port, pid) in list(running.items())[:: 1 if n % 2 else -1]:
                    if case == "64 sends" and not peer.startswith("gputel"):
                        continue
                    before = cpu_seconds(pid)
                    got = child(peer, port, case, seconds)
                    cost = cpu_seconds(pid) - before
                    if not got:
                        continue
                    results[case, peer].append(got["result"])
                    costs[case, peer].append(cost / max(1, got["count"]) * 1e6)
                    if "64" in case or case == "durable batches":
                        child(peer, port, "empty", 0)
    table(cases, tuple(running), results, costs)


def table(cases, peers, results, costs) -> None:  # type: ignore[no-untyped-def]
    base = next((peer for peer in peers if peer.startswith("redis")), "")
    print("| messages/s (server CPU s per million) | " + " | ".join(peers) + " | ratio to Redis |")
    print("|---" * (len(peers) + 2) + "|")
    for case in cases:
        cells, median = [], {}
        for peer in peers:
            values = results.get((case, peer))
            if not values:
                cells.append("")
                continue
            median[peer] = statistics.median(values)
            cost = statistics.median(costs[case, peer])
            value = f"{median[peer]:.2f} ms" if case == "p50 ms" else f"{median[peer]:,.0f}"
            cells.append(f"{value} ({cost:,.0f})")
        against = median.get(base) or statistics.median(results.get(("64 publishers", base), [0]))
        ratio = f"{median[peers[0]] / against:.2f}" if against else ""
        print(f"| {case} | " + " | ".join(cells) + f" | {ratio} |")


def main() -> None:
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--journal", action="store_true", help="durable batches too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--peers", default=",".join(MEMORY))
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        peer, port, case, seconds = arguments.client
        if case == "empty":
            uvloop.run(empty(peer, int(port)))
        else:
            print(json.dumps(uvloop.run(measure(peer, int(port), case, float(seconds)))))
        return
    rounds, seconds = (1, 1.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    peers = tuple(arguments.peers.split(","))
    if arguments.cases:
        run(peers, tuple(arguments.cases.split(",")), rounds, seconds)
    if arguments.journal:
        run(DURABLE, ("durable batches",), rounds, seconds)
    print(f"rounds: {rounds}, seconds each: {seconds}, load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
