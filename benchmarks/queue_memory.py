"""What the queue costs a message: bytes of memory, and time of the core alone.

    .venv/bin/python benchmarks/queue_memory.py --messages 1000000 --bytes 300

Messages are decoded from MessagePack publishes of 100, as the broker does, with ids of 36
characters. Each case runs in a process of its own; memory is what its resident set grew by (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from gputel.broker.requests.encoding import decode_publish
from gputel.mq.core.message import OVERHEAD_BYTES, QueuedMessage
from gputel.mq.core.queue import MessageQueue, QueueLimits
from gputel.mq.wire.protocol import MSGPACK

BATCH = 100
KEYS = 10_000
CASES: dict[str, dict[str, bool]] = {
    "ready": {},
    "in flight": {"leased": True},
    "ready, with a time to live": {"lives": True},
    "ready, with keys": {"keys": True},
    "ready, ordered keys": {"keys": True, "ordered": True},
}


def resident_bytes() -> int:
    """The resident set of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def batches(messages: int, size: int, *, keys: bool, lives: bool):
    """Decoded publishes, and the seconds that each took to decode."""
    for start in range(0, messages, BATCH):
        items = []
        for n in range(start, min(start + BATCH, messages)):
            item = {"id": str(uuid.uuid4()), "payload": n.to_bytes(8, "big").ljust(size, b"x")}
            item |= {"key": f"key-{n % KEYS}"} if keys else {}
            item |= {"ttl_s": 3600.0 + n % 1000} if lives else {}
            items.append(item)
        yield decode_publish(msgspec.msgpack.encode(items), MSGPACK)[0]


def measure(
    messages: int,
    size: int,
    *,
    leased: bool = False,
    lives: bool = False,
    keys: bool = False,
    ordered: bool = False,
) -> dict[str, float]:
    """Bytes a message in one state, and microseconds a message to get there and away."""
    queue = MessageQueue(QueueLimits(messages, 2**50, 86_400.0), "lease-", ordered_keys=ordered)
    before = resident_bytes()
    publish_s = sum(
        timed(publish, queue, batch) for batch in batches(messages, size, keys=keys, lives=lives)
    )
    held = 0
    if leased:
        lease_s, ack_s = timed(lease_all, queue), 0.0
        held = resident_bytes()
        ack_s = timed(ack_all, queue)
    else:
        held = resident_bytes()
        lease_s, ack_s = work_off(queue)
    assert queue.counters.acked == messages
    each = 1e6 / messages
    return {
        "bytes": (held - before) / messages - size,
        "publish_us": publish_s * each,
        "lease_us": lease_s * each,
        "ack_us": ack_s * each,
    }


def timed(work: Callable[..., None], *args: object) -> float:
    """Seconds of CPU that a call takes."""
    started = time.process_time()
    work(*args)
    return time.process_time() - started


def publish(queue: MessageQueue, batch: list[QueuedMessage]) -> None:
    """Publish a batch."""
    for message in batch:
        queue.publish(message, 0.0)


def lease_all(queue: MessageQueue) -> None:
    """Lease all that there is, in batches."""
    while queue.lease(BATCH, None, 0.0):
        pass


def ack_all(queue: MessageQueue) -> None:
    """Ack all that is in flight."""
    for message in list(queue._messages.values()):
        queue.ack(message.id, message.lease, 0.0)


def work_off(queue: MessageQueue) -> tuple[float, float]:
    """Consume and ack batch after batch; seconds of CPU of each."""
    lease_s = ack_s = 0.0
    while queue:
        started = time.process_time()
        deliveries = queue.lease(BATCH, None, 0.0)
        leased = time.process_time()
        for delivery in deliveries:
            queue.ack(delivery.message.id, delivery.lease, 0.0)
        ack_s += time.process_time() - leased
        lease_s += leased - started
    return lease_s, ack_s


def run(case: str, messages: int, size: int, results: multiprocessing.Queue) -> None:
    """One case, in a process of its own."""
    results.put(measure(messages, size, **CASES[case]))


def main() -> None:
    """Print a table of the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=300, dest="size")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    print(
        f"{args.messages:,} messages of {args.size} bytes; the bound counts {OVERHEAD_BYTES} each"
    )
    print("| state | bytes beside the payload | publish µs | lease µs | ack µs |")
    print("|---|---|---|---|---|")
    for case in CASES:
        rounds = []
        for _ in range(args.rounds):
            results = spawn.Queue()
            process = spawn.Process(target=run, args=(case, args.messages, args.size, results))
            process.start()
            rounds.append(results.get())
            process.join()
        row = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
        times = " | ".join(f"{row[name]:.2f}" for name in ("publish_us", "lease_us", "ack_us"))
        print(f"| {case} | {row['bytes']:.0f} | {times} |", flush=True)


if __name__ == "__main__":
    main()
