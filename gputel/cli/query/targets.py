"""``gputel query targets``: the targets of scrapes, and how the last scrape of each went."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from gputel.cli.ask import api as api_client
from gputel.cli.ask import table
from gputel.cli.ask.table import Column
from gputel.cli.query import options
from gputel.cli.query import output as query_output
from gputel.cli.query.ask import in_flags
from gputel.cli.terminal import echo
from gputel.printable import printable
from gputel.units import span

Targets = Sequence[dict[str, Any]]

NO_TARGETS = "no target is scraped yet: `gputel run --scrape HOST:9400` adds one"
_NEVER = "0001-01-01"
_STYLES = {"up": "green", "down": "red", "unknown": "yellow"}


def _last(time: str) -> str:
    return "never" if time.startswith(_NEVER) else table.ago(time)


def _positive(count: int) -> str:
    return str(count) if count else ""


_COLUMNS = (
    Column("scrapePool", "job", shared=True),
    Column("instance", "target", unbroken=True, style="cyan"),
    Column("health", "health", unbroken=True, style=lambda health: _STYLES.get(health, "")),
    Column("lastScrape", "last", _last, right=True, unbroken=True),
    Column("lastScrapeDuration", "took", lambda s: span(s) if s else "", right=True, unbroken=True),
    Column("samples", "samples", right=True, unbroken=True),
    Column("refused", "refused", _positive, right=True, unbroken=True),
    Column("slotsLost", "lost", _positive, right=True, unbroken=True),
    Column("owner", "owner", shared=True),
)
_CSV = ("scrapePool", "instance", "scrapeUrl", "health", "lastScrape", "lastScrapeDuration",
        "samples", "refused", "slotsLost", "owner", "lastError", "hint", "lastReport",
        "scrapeInterval", "scrapeTimeout", "labels")  # fmt: skip


@click.command("targets")
@click.option("--job", "scrapePool", metavar="TEXT", help="Only targets of this job.")
@click.option("--down", is_flag=True, help="Only targets that are not up.")
@options.common(("table", "json", "csv"))
def targets_command(api_url: str, format_: str | None, down: bool, **parameters: Any) -> None:
    """List the targets of scrapes, and how the last scrape of each went."""
    shape = query_output.chosen(format_)
    with in_flags(), api_client.get(api_url, ("api", "v1", "targets"), parameters) as pieces:
        targets = json.loads(b"".join(pieces))["data"]["activeTargets"]
    shown = [each for each in targets if not down or each["health"] != "up"]
    if shape != "table":
        query_output.copy([_ENCODERS[shape](shown)], sys.stdout.buffer, shape)
    elif shown:
        _show(shown)
    elif targets:
        are = "1 is" if len(targets) == 1 else f"all {len(targets)} are"
        echo(f"no target is down: {are} up")
    elif parameters["scrapePool"] is None:
        echo(NO_TARGETS)
    else:
        echo("no target is of this job: leave --job out")


def _show(targets: Targets) -> None:
    """Print a table, and below it a line for each error or hint, for which it has no room."""
    table.write_table([{**each, "instance": _instance(each)} for each in targets], _COLUMNS)
    remarks = [(each, each["lastError"] or each["hint"]) for each in targets]
    remarks = [(each, text) for each, text in remarks if text]
    if remarks:
        echo()
    for each, text in remarks:
        echo(printable(f"{_instance(each)}: {text}"))
    up = sum(each["health"] == "up" for each in targets)
    never = sum(each["lastScrape"].startswith(_NEVER) for each in targets)
    waiting = f", {never} not scraped yet" if never else ""
    echo(f"\n{len(targets)} target{'s' if len(targets) != 1 else ''}, {up} up{waiting}")


def _instance(target: dict[str, Any]) -> str:
    return str(target["labels"].get("instance") or target["scrapeUrl"])


def _json(targets: Targets) -> bytes:
    return json.dumps(targets, ensure_ascii=False).encode()


def _csv(targets: Targets) -> bytes:
    """A line for each target; its labels are a JSON object in the last column."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_CSV)
    for each in targets:
        labels = json.dumps(each["labels"], ensure_ascii=False)
        cells = {**each, "instance": _instance(each), "labels": labels}
        writer.writerow([cells[name] for name in _CSV])
    return text.getvalue().encode()


_ENCODERS: dict[str, Callable[[Targets], bytes]] = {"json": _json, "csv": _csv}
