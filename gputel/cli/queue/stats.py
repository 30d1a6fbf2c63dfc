"""The statistics of a queue as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from gputel.units import size, span

Stats = Mapping[str, Any]
StatsRow = tuple[str, str, str]

_COUNTED = {
    "published": "duplicates",
    "delivered": "redelivered",
    "acked": "",
    "nacked": "",
    "lease_timeouts": "",
    "expired": "",
    "dead_lettered": "replayed",
    "purged": "",
}


def stats_table(stats: Stats) -> Table:
    """The answer of ``GET /stats``, in sections."""
    traits = [
        *(["keys in order"] if stats["ordered_keys"] else []),
        *(["closed: it takes no messages"] if stats["closed"] else []),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify)
    table.add_row(Text(f"queue {stats['queue']}", "bold"), "", Text(", ".join(traits), "bold"))
    sections = {
        "holds": _holds(stats),
        "waiting now": _waiting(stats),
        "counted so far": _counted(stats),
        "times": _times(stats),
        "journal of the broker": _journal(stats["journal"]),
    }
    for title, rows in sections.items():
        for at, (name, value, note) in enumerate(rows):
            if not at:
                table.add_row()
                table.add_row(Text(title, "bold"))
            table.add_row(f"  {name}", value, Text(note, "dim"))
    return table


def _holds(stats: Stats) -> Iterator[StatsRow]:
    blocked = f"{stats['blocked']:,} behind others of their key" if stats["blocked"] else ""
    oldest = f"the next is {span(stats['oldest_ready_s'])} old" if stats["ready"] else ""
    yield "ready", f"{stats['ready']:,}", ", ".join(filter(None, (oldest, blocked)))
    yield "delayed", f"{stats['delayed']:,}", ""
    yield "in flight", f"{stats['in_flight']:,}", ""
    dead = size(stats["dead_bytes"]) if stats.get("dead_bytes") else ""  # new in the broker
    dropped = stats.get("dead_dropped", 0)
    gone = f"{dropped:,} dropped for new messages" if dropped else ""
    yield "dead letters", f"{stats['dead']:,}", ", ".join(filter(None, (dead, gone)))
    messages = sum(stats[state] for state in ("ready", "delayed", "in_flight", "dead"))
    most, most_bytes = stats["max_messages"], stats["max_bytes"]
    yield "messages", f"{messages:,}", f"of {most:,}, {messages / most:.1%}"
    yield "size", size(stats["bytes"]), f"of {size(most_bytes)}, {stats['bytes'] / most_bytes:.1%}"
    if (broker := stats.get("broker")) is not None:  # an earlier broker does not have it
        share = broker["bytes"] / broker["max_bytes"]
        yield (
            "size of all queues",
            size(broker["bytes"]),
            (f"of {size(broker['max_bytes'])}, {share:.1%}"),
        )


def _waiting(stats: Stats) -> Iterator[StatsRow]:
    yield "publishes", f"{stats['waiting_publishers']:,}", "for room"
    yield "consumes", f"{stats['waiting_consumers']:,}", "for a message"


def _counted(stats: Stats) -> Iterator[StatsRow]:
    for name, beside in _COUNTED.items():
        note = f"{stats[beside]:,} {beside}" if beside and stats[beside] else ""
        yield name.replace("_", " "), f"{stats[name]:,}", note


def _times(stats: Stats) -> Iterator[StatsRow]:
    for name, what in (("wait_s", "until delivered"), ("work_s", "until acked")):
        timed = stats[name]
        if timed["count"]:
            half, most = span(timed["p50"]), span(timed["p99"])
            yield what, span(timed["mean"]), f"on average; half below {half}, 99% below {most}"


def _journal(journal: Stats | None) -> Iterator[StatsRow]:
    if journal is None:
        return
    state = "BROKEN: nothing is confirmed; see the broker's log" if journal["broken"] else ""
    yield "on disk", size(journal["bytes"]), f"in {journal['segments']:,} segments"
    yield "in use", size(journal["live_bytes"]), state
