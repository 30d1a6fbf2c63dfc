"""The check of one answer, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from gputel.cli.ask.table import Column, write_table
from gputel.cli.scrape.answer import SubjectCheck
from gputel.cli.scrape.answer_json import as_dict
from gputel.cli.scrape.every_line import lines_of
from gputel.cli.scrape.refused import refused_lines
from gputel.cli.scrape.summary import GpuSummary, by_gpu, by_metric, names_of, warnings_of
from gputel.cli.scrape.text import count, say
from gputel.cli.terminal import echo, echo_json, print_notice
from gputel.masking import mask
from gputel.streamer.scrape.check import CheckedAnswer, CheckedLine
from gputel.streamer.scrape.target_reader import DURATION, SCRAPED, UP
from gputel.units import size, span

_MOST_METRICS = 500
_MOST_GPUS = 32
_MOST_NAMES = 6
_MOST_PODS = 8
_COLUMNS = (
    Column("metric", "metric", unbroken=True),
    Column("samples", "samples", right=True),
    Column("gpus", "GPUs", right=True),
    Column("example", "example", right=True),
)


def show_answer(check: SubjectCheck, shape: str, *, every_line: bool) -> None:
    """Print the check; a target that cannot be fetched is one line on standard error."""
    if shape == "json":
        echo_json(as_dict(check, every_line=every_line), indent=2)
    elif check.answer is None:
        print_notice(f"{check.name}: {check.error}")
    elif every_line:
        _show_head(check, check.answer)
        for line in lines_of(check.answer):
            say(line)
    else:
        _show_head(check, check.answer)
        _show_samples(check, check.answer)
        _show_others(check.answer)


def _show_head(check: SubjectCheck, answer: CheckedAnswer) -> None:
    took = f" in {span(check.duration_s)}" if check.duration_s is not None else ""
    kind = "OpenMetrics" if answer.open_metrics else "Prometheus text"
    name = "standard input" if check.name == "-" else check.name
    say(f"{name}: {size(answer.bytes)}{took}, {kind}")
    if answer.error:
        say(f"FAILED: {answer.error}: nothing would be stored")
    say(summary_of(answer))
    for warning in warnings_of(answer):
        say(f"WARNING: {warning}")


def summary_of(answer: CheckedAnswer) -> str:
    """How many lines of the answer are stored, and why others are not."""
    gpus = by_gpu(answer.samples)
    hosts = len({host for gpu in gpus for host in gpu.hosts})
    parts = [
        count(answer.stored, "sample"),
        count(sum(gpu.is_gpu for gpu in gpus), "GPU"),
        count(hosts, "host"),
        f"{len(answer.refused):,} refused",
    ]
    if answer.foreign:
        parts.append(f"{len(answer.foreign):,} of no GPU")
    if answer.dropped:
        parts.append(f"{len(answer.dropped):,} dropped by the job")
    return ", ".join(parts)


def _show_samples(check: SubjectCheck, answer: CheckedAnswer) -> None:
    if not answer.samples:
        return
    echo()
    _show_metrics(answer)
    if check.duration_s is not None:
        say(
            f"of the target itself: {UP} {0 if answer.error else 1}, "
            f"{DURATION} {check.duration_s:.3g}, {SCRAPED} {answer.scraped}"
        )
    echo()
    _show_gpus(answer)


def _show_metrics(answer: CheckedAnswer) -> None:
    metrics = by_metric(answer.samples)
    rows = [
        {
            "metric": mask(metric.metric),
            "samples": metric.samples,
            "gpus": len(metric.uuids),
            "example": metric.example,
        }
        for metric in metrics[:_MOST_METRICS]
    ]
    write_table(rows, _COLUMNS)
    if len(metrics) > _MOST_METRICS:
        say(f"and {len(metrics) - _MOST_METRICS:,} more metrics")


def _show_gpus(answer: CheckedAnswer) -> None:
    gpus = by_gpu(answer.samples)
    for gpu in gpus[:_MOST_GPUS]:
        for line in _lines_of_gpu(gpu):
            say(line)
    if len(gpus) > _MOST_GPUS:
        say(f"and {len(gpus) - _MOST_GPUS:,} more GPUs; --format json has all")


def _lines_of_gpu(gpu: GpuSummary) -> Iterator[str]:
    yield "  ".join([gpu.uuid, *gpu.models])
    parts = [f"host {_some(list(gpu.hosts), _MOST_PODS)}"] if gpu.hosts else ["no hostname"]
    if gpu.instances:
        instances = [
            f"{instance} ({profile})" if profile else instance
            for instance, profile in gpu.instances.items()
        ]
        parts.append(f"MIG {_some(instances, _MOST_PODS)}")
    if gpu.pods:
        parts.append(f"pod {_some(list(gpu.pods), _MOST_PODS)}")
    yield f"  {'; '.join(parts)}"


def _show_others(answer: CheckedAnswer) -> None:
    if answer.refused:
        echo()
        for line in refused_lines(answer.refused):
            say(line)
    for title, lines in (
        ("of no GPU", answer.foreign),
        ("dropped by the job", answer.dropped),
    ):
        if lines:
            echo()
            say(f"{title}: {_names(lines)}")


def _names(lines: Sequence[CheckedLine]) -> str:
    return f"{count(len(lines), 'line')}: {_some(names_of(lines), _MOST_NAMES)}"


def _some(texts: Sequence[str], most: int) -> str:
    """The first texts, and how many others there are."""
    shown = ", ".join(islice(texts, most))
    return shown if len(texts) <= most else f"{shown} and {len(texts) - most:,} more"
