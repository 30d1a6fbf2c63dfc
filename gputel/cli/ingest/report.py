"""The result of an ingest for people and for programs, and its progress meanwhile."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from gputel.cli.terminal import console
from gputel.errors import GputelError, SourceError
from gputel.printable import json_text, printable
from gputel.store.write.streams import deletion_note


class DeadChunk(GputelError):
    """Rows reached the broker but can never land; its dead letters say why."""

    code = "dead_letter"


@dataclass
class Report:
    """The result of one file."""

    file: str
    stream_id: str
    rows_per_line: int = 1  # more than 1 for nvidia-smi, where each value is a row
    rows_read: int = 0
    lines_skipped: int = 0  # blank ones, and the header once more; of nvidia-smi, rows
    rows_landed: int = 0
    rows_rejected: int = 0
    rejected_for_time: int = 0  # the part that the collector rejected: in no rejects file
    rejected_before: int = 0  # by an earlier run, whose rejects file has them
    rows_already_there: int = 0  # another file or push has brought their series and time
    duplicates_dropped: int = 0
    samples_deleted: int = 0  # that an earlier run landed, and gputel db delete took away
    seconds: float = 0.0
    complete: bool = False
    rejects_file: str | None = None
    first_rejects: list[str] = field(default_factory=list)
    damage: str | None = None  # why the file ends before it should

    @property
    def rows_per_s(self) -> float:
        """Rows landed each second, from open file to queryable."""
        return self.rows_landed / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, object]:
        """The report for a program."""
        return dataclasses.asdict(self) | {"rows_per_s": round(self.rows_per_s, 1)}


def shown(report: Report, shape: str, *, alone: bool, followed: bool = False) -> str:
    """One file's report: a table if the file is ``alone``, else a single line.

    ``followed``: the ingest of a growing file stops without an end of the file.
    """
    if shape == "json":
        return json_text(report.as_dict())
    name = f"{printable(report.file)}  (stream {printable(report.stream_id)})"
    if not alone:
        return "\n".join([f"{name}  {_in_words(report)}", *_examples(report)])
    lines = [name]
    if report.complete and not report.rows_read and report.duplicates_dropped:
        every = "row that can land" if report.rejected_before else "row"
        lines.append(f"  every {every} had landed before: nothing was landed twice")
    if report.samples_deleted:
        lines.append(f"  {deletion_note(report.samples_deleted)}")
    lines += _table(report)
    if not report.complete:
        stopped = "following was stopped" if followed else "stopped before the end"
        lines.append(f"  {stopped}: run it again to go on where it stood")
    return "\n".join(lines)


def summary(reports: Sequence[Report], files: int, seconds: float, shape: str) -> str:
    """All files together. ``files`` is how many there were; those without a report have failed."""
    total = Report(f"{files} files", "", seconds=seconds)
    for report in reports:
        total.rows_read += report.rows_read
        total.lines_skipped += report.lines_skipped
        total.rows_landed += report.rows_landed
        total.rows_rejected += report.rows_rejected
        total.rejected_for_time += report.rejected_for_time
        total.rejected_before += report.rejected_before
        total.rows_already_there += report.rows_already_there
        total.duplicates_dropped += report.duplicates_dropped
    complete = sum(report.complete for report in reports)
    if shape == "json":
        counts = {name: value for name, value in total.as_dict().items() if name in _COUNTS}
        return json_text({"files": files, "files_complete": complete} | counts)
    title = f"{files} files" + (f", {complete} of them complete" if complete < files else "")
    return "\n".join([title, *_table(total)])


_ALREADY_THERE = "the store has their series and time"
_COUNTS = {"rows_read", "rows_landed", "rows_rejected", "rejected_for_time", "rejected_before"}
_COUNTS |= {"rows_already_there", "lines_skipped", "duplicates_dropped", "seconds", "rows_per_s"}


_SETTLED = (
    "rows_landed",
    "rows_already_there",
    "rows_rejected",
    "lines_skipped",
    "duplicates_dropped",
)


def _table(report: Report) -> list[str]:
    there = report.rows_already_there
    return [
        f"  rows read           {report.rows_read:>14,}",
        f"  rows landed         {report.rows_landed:>14,}",
        *([f"  rows already there  {there:>14,}   {_ALREADY_THERE}"] if there else []),
        f"  rows rejected       {report.rows_rejected:>14,}"
        + (f"   kept in {printable(report.rejects_file)}" if report.rejects_file else "")
        + (f"   {report.rejected_before:,} by an earlier run" if report.rejected_before else ""),
        *_examples(report),
        *_skipped(report),
        f"  duplicates dropped  {report.duplicates_dropped:>14,}"
        + ("   had landed before" if report.duplicates_dropped else ""),
        f"  seconds             {report.seconds:>14,.2f}",
        f"  rows/s              {report.rows_per_s:>14,.0f}",
    ]


def _skipped(report: Report) -> list[str]:
    if not report.lines_skipped:
        return []
    if report.rows_per_line == 1:
        name, what = "lines skipped", "blank, or the header once more"
    else:
        name, what = "rows skipped", "[N/A] and the like, blank lines, the header once more"
    return [f"  {name:<19} {report.lines_skipped:>14,}   {what}"]


def _in_words(report: Report) -> str:
    parts = [f"{report.rows_landed:,} landed"]
    if report.rows_already_there:
        parts.append(f"{report.rows_already_there:,} already there")
    if report.rows_rejected:
        kept = f", kept in {printable(report.rejects_file)}" if report.rejects_file else ""
        parts.append(f"{report.rows_rejected:,} rejected{kept}")
    if report.rejected_before:
        parts.append(f"{report.rejected_before:,} rejected by an earlier run")
    if report.duplicates_dropped:
        parts.append(f"{report.duplicates_dropped:,} had landed before")
    if report.samples_deleted:
        parts.append(deletion_note(report.samples_deleted))
    if not report.complete:
        parts.append("stopped before the end")
    return f"{', '.join(parts)}, {report.seconds:,.2f} s"


def _examples(report: Report) -> list[str]:
    late = report.rejected_for_time
    more = report.rows_rejected - late - len(report.first_rejects)
    examples = list(report.first_rejects)
    if examples and more > 0:
        examples.append(f"and {more:,} more")
    if late:
        examples.append(f"{late:,} outside of --retention, --future-limit or --impossible-values")
    return [f"    {printable(example)}" for example in examples]


@contextmanager
def progress(name: str, count_rows: Callable[[], int]) -> Iterator[Callable[[Report], None]]:
    """A function that shows a growing report: as a bar on a terminal, nowhere else.

    Only the bar needs the number of rows, so ``count_rows`` is called for it alone.
    """
    if not sys.stderr.isatty():
        yield lambda report: None
        return
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            """Rows landed, and how many a second."""
            speed = task.finished_speed or task.speed or 0
            text = f"{task.completed:,.0f} rows  {speed:,.0f} rows/s"
            return Text(text, style="progress.download")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    rows: int | None = None
    with suppress(SourceError):  # a file that cannot be read: the ingest reports it
        rows = count_rows()
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        bar = bars.add_task(printable(name), total=rows)
        yield lambda report: bars.update(
            bar, completed=sum(getattr(report, name) for name in _SETTLED)
        )
