"""What a report says about an answer: its GPUs, its metrics, and what looks wrong in it."""

from __future__ import annotations

import re

import pytest

from gputel.cli.scrape.every_line import lines_of
from gputel.cli.scrape.refused import refused_lines
from gputel.cli.scrape.summary import by_gpu, by_metric, names_of, warnings_of
from gputel.streamer.scrape.check import CheckedAnswer, CheckedLine, check_answer
from gputel.streamer.scrape.fetch import FetchedAnswer
from gputel.streamer.scrape.jobs import ScrapeJob

JOB = ScrapeJob("gpus")


def checked(text: str, job: ScrapeJob = JOB, *, keep_impossible: bool = False) -> CheckedAnswer:
    labels = {"instance": "node-1:9400", "job": job.name}
    answer = FetchedAnswer(text.encode(), open_metrics=False)
    return check_answer(job, labels, answer, keep_impossible=keep_impossible)


def test_each_line_is_stored_refused_of_no_gpu_or_dropped() -> None:
    answer = checked(
        "# HELP A about\n"
        '\nA{gpu="0",UUID="GPU-1",Hostname="h"} 1.5\n'
        'B{gpu="0",UUID="GPU-1"} 1\n'
        "go_threads 7\n"
        'A{gpu="0",UUID="GPU-2"} NaN\n'
        'A{gpu="0",UUID="GPU-3"} x\n',
        ScrapeJob("gpus", metrics_drop=re.compile("B")),
    )
    assert list(lines_of(answer)) == [
        "line 3: stored   A 1.5  uuid=GPU-1 hostname=h gpu=0",
        'line 4: dropped  B{gpu="0",UUID="GPU-1"} 1',
        "line 5: no GPU   go_threads 7",
        'line 6: refused  value is not finite: A{gpu="0",UUID="GPU-2"} NaN',
        'line 7: refused  the value is no number: \'x\': A{gpu="0",UUID="GPU-3"} x',
    ]
    assert (answer.stored, answer.scraped) == (1, 2)


def test_samples_are_counted_by_metric_and_by_gpu() -> None:
    answer = checked(
        'B{UUID="GPU-1",modelName="H100",GPU_I_ID="3",GPU_I_PROFILE="1g",Hostname="h"} 1\n'
        'B{UUID="GPU-1",modelName="H100",GPU_I_ID="4",pod="p",namespace="n",Hostname="h"} 2\n'
        'B{UUID="GPU-2"} 3\n'
        'DCGM_FI_DEV_CPU_UTIL{cpu="0",hostname="h"} 4\n'
    )
    assert [(each.metric, each.samples, len(each.uuids)) for each in by_metric(answer.samples)] == [
        ("B", 3, 2),
        ("DCGM_FI_DEV_CPU_UTIL", 1, 1),
    ]
    one, two, cpu = by_gpu(answer.samples)
    assert (one.uuid, list(one.hosts), list(one.models)) == ("GPU-1", ["h"], ["H100"])
    assert (one.instances, list(one.pods)) == ({"3": "1g", "4": ""}, ["n/p"])
    assert (two.uuid, list(two.hosts)) == ("GPU-2", ["node-1"])
    assert (cpu.uuid, cpu.is_gpu) == ("cpu0@h", False)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ('A{UUID="GPU-1",Hostname="node-1"} 1\n', []),
        ("", ["the answer is empty"]),
        ("go_threads 1\n", ["the exporter answers, but has no GPU"]),
        ('DCGM_CPU{cpu="0",hostname="h"} 1\n', ["the exporter answers, but has no GPU"]),
        ('A{UUID="GPU-1"} NaN\n', ["the exporter answers, but has no GPU"]),
        ('A{UUID="GPU-1",Hostname="dcgm-exporter-x"} 1\n', ["dcgm-exporter-x is that of the"]),
        ('A{UUID="GPU-1",Hostname="localhost"} 1\n', ["the hostname is localhost"]),
        ('A{UUID="G",Hostname="h",pod="nvidia-dcgm-exporter-x"} 1\n', ["is the exporter's own"]),
        (
            'A{UUID="G",Hostname="h",pod="nvidia-dcgm-exporter-x",exported_pod="p"} 1\n',
            ["lines have exported_pod"],
        ),
    ],
)
def test_operator_is_warned_of_what_is_well_formed_but_wrong(
    text: str, warnings: list[str]
) -> None:
    found = warnings_of(checked(text))
    assert len(found) == len(warnings)
    for part, warning in zip(warnings, found, strict=True):
        assert part in warning


def test_rules_that_leave_out_everything_are_told() -> None:
    answer = checked('A{UUID="GPU-1"} 1\n', ScrapeJob("gpus", metrics_keep=re.compile("B")))
    assert warnings_of(answer) == ["metrics_keep and metrics_drop of the job leave out every line"]


def test_a_failed_scrape_would_store_nothing() -> None:
    lines = 'A{UUID="GPU-1"} 1\nA{UUID="GPU-2"} 1\n'
    answer = checked(lines, ScrapeJob("gpus", sample_limit=1))
    assert (answer.stored, answer.error) == (0, "the answer has over 1 samples, the sample_limit")
    assert checked(lines, ScrapeJob("gpus", sample_limit=2)).stored == 2


def test_impossible_values_are_kept_if_they_are_to_be() -> None:
    line = 'DCGM_FI_DEV_GPU_TEMP{UUID="GPU-1"} 82505\n'
    assert checked(line).stored == 0
    assert checked(line, keep_impossible=True).stored == 1


def test_of_each_reason_some_lines_are_shown() -> None:
    refused = [CheckedLine(number, f"no number: {number}", "A x") for number in range(1, 26)]
    refused += [CheckedLine(30 + number, f"reason {number}", "B") for number in range(11)]
    shown = list(refused_lines(refused))
    assert shown[:2] == ["line 1: no number: 1", "        A x"]
    assert sum(line.startswith("line ") for line in shown) == 20 + 9
    assert shown[-2:] == [
        "and 5 more lines: no number",
        "and 2 more lines for other reasons; --every-line shows all",
    ]


def test_a_long_line_is_shown_by_its_beginning() -> None:
    _, text = refused_lines([CheckedLine(7, "bad", "x" * 61)])
    assert text == " " * 8 + "x" * 60 + "…"


def test_names_of_lines_are_shown_once() -> None:
    texts = ("a 1", 'a{b="c"} 2', "d{} 3", '{"my.name",a="b"} 4')
    lines = [CheckedLine(1, "", text) for text in texts]
    assert names_of(lines) == ["a", "d", '{"my.name"']


@pytest.mark.parametrize("time", ["999999999999999", "-999999999999999"])
def test_a_time_far_away_is_refused(time: str) -> None:
    (line,) = checked(f'A{{UUID="GPU-1"}} 1 {time}\n').refused
    assert line.reason == "its time is over a day from that of the scrape"
