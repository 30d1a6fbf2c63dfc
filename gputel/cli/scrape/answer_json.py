"""The check of an answer as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gputel.cli.scrape.answer import SubjectCheck
from gputel.cli.scrape.summary import GpuSummary, by_gpu, by_metric, warnings_of
from gputel.masking import mask
from gputel.model.names import RAW, SHOWN_COLUMNS
from gputel.streamer.scrape.check import CheckedAnswer, CheckedLine, CheckedSample


def as_dict(check: SubjectCheck, *, every_line: bool = False) -> dict[str, Any]:
    """The check of a target or a file; ``every_line`` adds what becomes of each line."""
    report: dict[str, Any] = {
        "name": mask(check.name),
        "job": check.job,
        "error": mask(check.error),
    }
    if check.duration_s is not None:
        report["seconds"] = round(check.duration_s, 6)
    if check.answer is None:
        return report
    return report | _answer(check.answer) | (_lines(check.answer) if every_line else {})


def counts(answer: CheckedAnswer) -> dict[str, Any]:
    """How many lines become what."""
    return {
        "bytes": answer.bytes,
        "format": "openmetrics" if answer.open_metrics else "prometheus",
        "samples_stored": answer.stored,
        "lines_refused": len(answer.refused),
        "lines_of_no_gpu": len(answer.foreign),
        "lines_dropped": len(answer.dropped),
    }


def _answer(answer: CheckedAnswer) -> dict[str, Any]:
    return {
        **counts(answer),
        "warnings": [mask(warning) for warning in warnings_of(answer)],
        "metrics": [
            {
                "metric": metric.metric,
                "samples": metric.samples,
                "gpus": len(metric.uuids),
                "example": metric.example,
            }
            for metric in by_metric(answer.samples)
        ],
        "gpus": [_gpu(gpu) for gpu in by_gpu(answer.samples)],
        "refused": [_refused(line) for line in answer.refused],
    }


def _gpu(gpu: GpuSummary) -> dict[str, Any]:
    return {
        "uuid": gpu.uuid,
        "is_gpu": gpu.is_gpu,
        "hostnames": list(gpu.hosts),
        "modelNames": list(gpu.models),
        "instances": [
            {"GPU_I_ID": instance, "GPU_I_PROFILE": profile}
            for instance, profile in gpu.instances.items()
        ],
        "pods": list(gpu.pods),
    }


def _refused(line: CheckedLine) -> dict[str, Any]:
    return {"line": line.line, "reason": mask(line.reason), "text": mask(line.text)}


def _lines(answer: CheckedAnswer) -> dict[str, Any]:
    lines = [
        *map(_stored, answer.samples),
        *_others("refused", answer.refused),
        *_others("no_gpu", answer.foreign),
        *_others("dropped", answer.dropped),
    ]
    return {"lines": sorted(lines, key=lambda line: line["line"])}


def _stored(sample: CheckedSample) -> dict[str, Any]:
    labels = sample.labels
    named = {each.api: labels[each.name] for each in SHOWN_COLUMNS if each.name in labels}
    raw = mask(labels.get(RAW, ""))
    return {"line": sample.line, "state": "stored"} | named | {"value": sample.value, RAW: raw}


def _others(state: str, lines: Iterable[CheckedLine]) -> Iterable[dict[str, Any]]:
    return ({"state": state} | _refused(line) for line in lines)
