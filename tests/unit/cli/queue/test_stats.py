"""The statistics of a queue as people see them."""

from typing import Any

from rich.console import Console

from gputel.cli.queue.stats import stats_table

NAMES = """
ready blocked delayed in_flight dead bytes waiting_publishers waiting_consumers published duplicates
delivered redelivered acked nacked lease_timeouts expired dead_lettered replayed purged
"""
NOTHING: dict[str, Any] = {
    **dict.fromkeys(NAMES.split(), 0),
    "queue": "default",
    "closed": False,
    "ordered_keys": False,
    "max_messages": 100_000,
    "max_bytes": 268_435_456,
    "oldest_ready_s": 0.0,
    "wait_s": {"count": 0, "mean": 0.0, "p50": 0.0, "p99": 0.0},
    "work_s": {"count": 0, "mean": 0.0, "p50": 0.0, "p99": 0.0},
    "broker": {"bytes": 0, "max_bytes": 536_870_912, "waiting_bytes": 0},
    "journal": None,
}


def shown(**stats: Any) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(stats_table({**NOTHING, **stats}))
    lines = (" ".join(line.split()) for line in captured.get().splitlines())
    return "\n".join(lines)


def test_a_queue_of_which_nothing_is_known_has_no_times_and_no_journal() -> None:
    text = shown()
    assert text.startswith("queue default\n")
    assert "messages 0 of 100,000, 0.0%" in text
    assert "until" not in text
    assert "journal" not in text


def test_what_a_queue_holds_and_how_old_it_is() -> None:
    text = shown(ready=1234, blocked=12, dead=1, bytes=3 * 2**20, oldest_ready_s=90.0)
    assert "ready 1,234 the next is 1.5 min old, 12 behind others of their key" in text
    assert "messages 1,235 of 100,000, 1.2%" in text
    assert "size 3 MiB of 256 MiB, 1.2%" in text
    assert "size of all queues" in text


def test_times_and_journal_are_told_when_there_are_some() -> None:
    text = shown(
        wait_s={"count": 3, "mean": 0.0021, "p50": 0.002, "p99": 0.25},
        journal={"segments": 2, "bytes": 2**26, "live_bytes": 100, "broken": 1},
        published=9,
        duplicates=2,
    )
    assert "published 9 2 duplicates" in text
    assert "until delivered 2.1 ms on average; half below 2 ms, 99% below 250 ms" in text
    assert "on disk 64 MiB in 2 segments" in text
    assert "BROKEN" in text


def test_traits_of_a_queue_are_told() -> None:
    text = shown(queue="orders", ordered_keys=True, closed=True)
    assert text.startswith("queue orders keys in order, closed: it takes no messages\n")
