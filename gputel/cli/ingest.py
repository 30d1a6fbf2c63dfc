"""``gputel ingest``: files in, a report of every row out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from gputel import config
from gputel.cli.ingest_job import DeadChunk, Report, ingest_file
from gputel.cli.logs import configure_logs
from gputel.cli.options import settings_options
from gputel.errors import SourceError, Stopped, UsageError
from gputel.runtime import run_loop, running
from gputel.sources.dcgm_csv import DcgmCsv

DEFAULTS = {"rate": 0.0, "timestamps": "source", "log_level": "warning", "chunk_lease_s": 10.0}
_SKIP = ("csv", "loop", "broker_port", "health_port", "chunk_interval_s")
EXIT_REJECTS = 3
EXIT_STOPPED = 130


@click.command("ingest")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where rejected lines are kept.  [default: <FILE's name>.rejects.csv in this directory]",
)
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text",
              help="Shape of the summary.  [default: text]")  # fmt: skip
@settings_options("common", "postgres", "broker", "streamer", "collector",
                  skip=_SKIP, defaults=DEFAULTS)  # fmt: skip
def ingest_command(files: tuple[Path, ...], rejects: Path | None, shape: str, **flags: Any) -> None:
    """Land every row of DCGM CSV files (plain or .gz), exactly once, and report on it.

    Starts a broker and a collector of its own, on the embedded Postgres or on --postgres-dsn;
    with --broker-url the rows go to that broker, whose collectors must use the same Postgres.
    Running it again on the same file goes on where it stood, and lands nothing twice.

    Ends with 0 when every row has landed, 3 when some were rejected, 1 when a file could not be
    read or landed, 130 when it was stopped.
    """
    if len(files) > 1 and (rejects or flags.get("stream_id")):
        raise UsageError("--rejects and --stream-id are for one FILE: name them one at a time")
    settings = config.resolve(flags | {"loop": False, "broker_port": 0}, defaults=DEFAULTS).settings
    configure_logs(settings.common)
    try:
        code = run_loop(_ingest(files, rejects, shape, settings))
    except Stopped:  # while starting: unlike for a server, the work was not done
        code = EXIT_STOPPED
    sys.exit(code)


async def _ingest(
    files: Sequence[Path], rejects: Path | None, shape: str, settings: config.Settings
) -> int:
    roles = ["store"] if settings.common.broker_url else ["store", "broker", "collector"]
    readable = [path for path in files if _is_readable(path)]
    if not readable:
        return 1
    reports, failed = [], len(readable) < len(files)
    begun: set[Path] = set()  # rejects files: two files of one name share theirs
    async with running(roles, settings) as process:
        for path in readable:
            rejects_path = rejects or Path(f"{path.name}.rejects.csv")
            try:
                with _progress(path) as show:
                    report = await ingest_file(
                        process, path, rejects_path, show, append=rejects_path in begun
                    )
            except (SourceError, DeadChunk) as error:
                click.echo(f"gputel: {error.message}", err=True)
                failed = True
                continue
            reports.append(report)
            begun |= {rejects_path} if report.rejects_file else set()
            _print(report, shape)
            if process.stopping.is_set():
                break
        stopped = process.stopping.is_set()
    return _exit_code(reports, failed=failed, stopped=stopped)


def _is_readable(path: Path) -> bool:
    """Whether a file can be ingested, found out before anything is started for it."""
    try:
        DcgmCsv.open(path, "source")
    except SourceError as error:
        click.echo(f"gputel: {error.message}", err=True)
        return False
    return True


def _exit_code(reports: Sequence[Report], *, failed: bool, stopped: bool) -> int:
    if failed:
        return 1
    if stopped and not all(report.complete for report in reports):
        return EXIT_STOPPED
    rejected = any(report.rows_rejected or report.rejected_before for report in reports)
    return EXIT_REJECTS if rejected else 0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Rows landed, and how fast."""
        speed = task.finished_speed or task.speed or 0
        return Text(f"{task.completed:,.0f} rows  {speed:,.0f} rows/s", style="progress.download")


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[Report], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda report: None
        return
    columns = (TextColumn(path.name), BarColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(path.name, total=_total_rows(path))
        yield lambda report: progress.update(
            bar, completed=report.rows_landed + report.rows_rejected + report.duplicates_dropped
        )


def _total_rows(path: Path) -> int | None:
    """All rows of the file; None for one that cannot be read, which the ingest will report."""
    try:
        return DcgmCsv.open(path, "source").count_rows()
    except SourceError:
        return None


def _print(report: Report, shape: str) -> None:
    if shape == "json":
        click.echo(json.dumps(report.as_dict()))
        return
    lines = [f"{report.file}  (stream {report.stream_id})"]
    if report.complete and not report.rows_read and report.duplicates_dropped:
        every = "row that can land" if report.rejected_before else "row"
        lines.append(f"  every {every} had landed before: nothing was landed twice")
    lines += [
        f"  rows read           {report.rows_read:>14,}",
        f"  rows landed         {report.rows_landed:>14,}",
        f"  rows rejected       {report.rows_rejected:>14,}"
        + (f"   kept in {report.rejects_file}" if report.rejects_file else "")
        + (f"   {report.rejected_before:,} by an earlier run" if report.rejected_before else ""),
        f"  duplicates dropped  {report.duplicates_dropped:>14,}"
        + ("   had landed before" if report.duplicates_dropped else ""),
        f"  seconds             {report.seconds:>14,.2f}",
        f"  rows/s              {report.rows_per_s:>14,.0f}",
    ]
    at = next(n for n, line in enumerate(lines) if "rows rejected" in line) + 1
    more = report.rows_rejected - len(report.first_rejects)
    examples = [*report.first_rejects, *([f"and {more:,} more"] if more > 0 else [])]
    lines[at:at] = [f"    {example}" for example in examples]
    if not report.complete:
        lines.append("  stopped before the end: run it again to go on where it stood")
    click.echo("\n".join(lines))
