"""The check of a configuration, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gputel.cli.scrape.answer import SubjectCheck
from gputel.cli.scrape.answer_json import counts
from gputel.cli.scrape.configuration import JobCheck
from gputel.cli.scrape.outcome import Outcome
from gputel.cli.scrape.summary import warnings_of
from gputel.cli.scrape.text import count, say
from gputel.cli.terminal import echo, echo_json
from gputel.masking import mask
from gputel.streamer.scrape.jobs import Target
from gputel.units import span


def show_configuration(checks: Sequence[JobCheck], shape: str) -> None:
    """Print the jobs with their targets, and how each fetch went."""
    if shape == "json":
        echo_json({"jobs": [_job(check) for check in checks]}, indent=2)
        return
    for check in checks:
        _show_job(check)
        echo()
    targets = sum(len(check.targets) for check in checks)
    text = f"{count(len(checks), 'job')}, {count(targets, 'target')}"
    fetched = [each for check in checks for each in check.fetched.values()]
    if fetched:
        failed = sum(each.outcome is Outcome.FAILED for each in fetched)
        text += f", {failed} failed"
    say(text)


def _show_job(check: JobCheck) -> None:
    job = check.job
    say(
        f"job {job.name}: every {span(job.interval_s)}, timeout {span(job.timeout_s)}, "
        f"{count(len(check.targets), 'target')}"
    )
    for problem in check.problems:
        say(f"  PROBLEM: {problem}")
    for target in check.targets:
        say(f"  {target.url}")
        say(f"    {_labels(target)}")
        if target.url in check.fetched:
            say(f"    {_result(check.fetched[target.url])}")


def _labels(target: Target) -> str:
    return " ".join(f'{name}="{text}"' for name, text in target.labels.items() if name != "job")


def _result(check: SubjectCheck) -> str:
    """How the fetch of a target went, in one line."""
    answer = check.answer
    if answer is None or answer.error:
        return f"FAILED: {check.error}"
    warnings = warnings_of(answer)
    if check.outcome is Outcome.FAILED:
        return f"FAILED: {(warnings or ['no sample would be stored'])[0]}"
    text = f"ok: {count(answer.stored, 'sample')}, {len(answer.refused):,} refused"
    if check.duration_s is not None:
        text += f", {span(check.duration_s)}"
    return f"{text}; {count(len(warnings), 'warning')}" if warnings else text


def _job(check: JobCheck) -> dict[str, Any]:
    return {
        "job": check.job.name,
        "scrape_interval_s": check.job.interval_s,
        "scrape_timeout_s": check.job.timeout_s,
        "problems": [mask(problem) for problem in check.problems],
        "targets": [_target(target, check.fetched.get(target.url)) for target in check.targets],
    }


def _target(target: Target, check: SubjectCheck | None) -> dict[str, Any]:
    labels = {name: mask(text) for name, text in target.labels.items()}
    listed: dict[str, Any] = {"url": mask(target.url), "labels": labels}
    if check is None:
        return listed
    return listed | {
        "ok": check.outcome is not Outcome.FAILED,
        "error": mask(check.error),
        **({"seconds": round(check.duration_s, 6)} if check.duration_s is not None else {}),
        **({**counts(check.answer), "warnings": warnings_of(check.answer)} if check.answer else {}),
    }
