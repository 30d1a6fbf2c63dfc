"""``gputel scrape check`` with real exporters, files and configurations."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.helpers.exporters import served
from tests.helpers.query_command import Ended, gputel

SHAPES = Path(__file__).parents[2] / "helpers" / "shapes.prom"
GOOD = 'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1",Hostname="node-1"} 40\n'
BAD = 'DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-2",Hostname="node-1"} hot\n'


def answers(text: str, kind: str = "text/plain") -> web.Response:
    return web.Response(body=text.encode(), headers={"Content-Type": kind})


async def good(_request: web.Request) -> web.Response:
    return answers(GOOD)


async def check(*arguments: str | Path, shell: str = "") -> Ended:
    ended = await gputel(None, "scrape", "check", *map(str, arguments), shell=shell)
    assert "Traceback" not in ended.err
    return ended


def configuration(folder: Path, text: str) -> Path:
    file = folder / "scrape.yml"
    file.write_text(text)
    return file


async def test_target_is_fetched_once_and_its_samples_are_shown() -> None:
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        requests.append(request)
        return await good(request)

    async with served(handle) as address:
        ended = await check(address)
    assert (ended.code, ended.err, len(requests)) == (0, "", 1)
    assert requests[0].headers["X-Prometheus-Scrape-Timeout-Seconds"] == "10"
    head, summary, *_ = ended.out.splitlines()
    assert head.startswith(f"http://{address}/metrics: 64 bytes in ")
    assert summary == "1 sample, 1 GPU, 1 host, 0 refused"
    assert "of the target itself: up 1, scrape_duration_seconds" in ended.out


async def test_all_shapes_of_exporters_are_stored_or_refused_from_a_file() -> None:
    ended = await check(SHAPES, "--format", "json")
    report = json.loads(ended.out)
    assert (ended.code, report["samples_stored"]) == (3, 17)
    (refused,) = report["refused"]
    assert (refused["line"], refused["reason"]) == (15, "value is DCGM's blank sentinel (int64)")
    gpus = {gpu["uuid"]: gpu for gpu in report["gpus"]}
    assert len(gpus) == 14
    assert gpus["nvswitch0@testhost"]["is_gpu"] is False
    assert gpus["GPU-5fd4f087-86f3-7a43-b711-4771313afc50"]["pods"] == ["default/dcgmproftester2"]
    assert gpus["GPU-9a63752e-af8d-fe52-7f0d-968bca6d52e3"]["instances"] == [
        {"GPU_I_ID": instance, "GPU_I_PROFILE": "1g.6gb"} for instance in ("6", "3", "4")
    ]


async def test_every_line_of_standard_input_is_shown_and_no_control_character(
    tmp_path: Path,
) -> None:
    hostile = 'X{UUID="GPU-\x1b[2J",a="\\n"} 1\n\x9b31m 2\n'
    saved = tmp_path / "saved"
    saved.write_text(GOOD + BAD + hostile)
    ended = await check("-", "--every-line", shell=f"< {saved}")
    assert ended.code == 3
    assert ended.out.splitlines()[2:] == [
        "line 1: stored   DCGM_FI_DEV_GPU_TEMP 40  uuid=GPU-1 hostname=node-1 gpu=0",
        f"line 2: refused  the value is no number: 'hot': {BAD[:60]}…",
        "line 3: stored   X 1  uuid=GPU-\\x1b[2J hostname=target",
        "line 4: refused  it does not begin with a metric name: '\\x9b31m 2': \\x9b31m 2",
    ]
    for shape in ("text", "json"):
        ended = await check(saved, "--format", shape)
        assert (ended.code, ended.out.replace("\n", "").isprintable()) == (3, True)


async def test_saved_openmetrics_is_read_as_such(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.write_text(GOOD.replace("\n", " 1770000000.5\n") + "# EOF\n")
    ended = await check(saved)
    assert (ended.code, ended.out.splitlines()[0][-11:]) == (0, "OpenMetrics")


async def test_target_that_is_down_is_one_line() -> None:
    async with served(good) as address:
        pass
    ended = await check(address)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"gputel: http://{address}/metrics: connection refused\n"
    ended = await check(address, "--format", "json")
    assert (ended.code, json.loads(ended.out)["error"]) == (1, "connection refused")


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("<html></html>", "text/html", "the answer is HTML, not metrics"),
        ("<html>\n", "text/plain", "FAILED: no line of the answer can be read; line 1: it does"),
        ("", "text/plain", "WARNING: the answer is empty"),
        ("go_threads 7\n", "text/plain", "WARNING: the exporter answers, but has no GPU"),
    ],
)
async def test_answer_without_a_sample_fails_with_its_reason(
    text: str, kind: str, said: str
) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return answers(text, kind)

    async with served(handle) as address:
        ended = await check(address)
    assert ended.code == 1
    assert said in ended.out + ended.err


async def test_configuration_lists_its_targets_and_fetches_if_asked(tmp_path: Path) -> None:
    async with served(good) as up:
        async with served(good) as down:
            pass
        file = configuration(
            tmp_path,
            "scrape_configs:\n"
            "  - job_name: one\n"
            f"    static_configs: [{{targets: ['{up}'], labels: {{rack: r7}}}}]\n"
            f"  - {{job_name: two, static_configs: [{{targets: ['{down}']}}]}}\n",
        )
        listed = await check(file)
        fetched = await check(file, "--fetch")
        one = await check(file, "--fetch", "--job", "one", "--format", "json")
    assert (listed.code, listed.err) == (0, "")
    assert f"  http://{up}/metrics\n" in listed.out
    assert 'rack="r7"' in listed.out
    assert listed.out.endswith("2 jobs, 2 targets\n")
    assert (fetched.code, fetched.err) == (1, "")
    assert "    ok: 1 sample, 0 refused, " in fetched.out
    assert "    FAILED: connection refused\n" in fetched.out
    assert fetched.out.endswith("2 jobs, 2 targets, 1 failed\n")
    (job,) = json.loads(one.out)["jobs"]
    assert (one.code, job["targets"][0]["ok"], job["targets"][0]["samples_stored"]) == (0, True, 1)


async def test_discovery_that_fails_is_told_without_a_log(tmp_path: Path) -> None:
    async with served(good) as down:
        pass
    file = configuration(
        tmp_path,
        "scrape_configs:\n"
        f"  - {{job_name: one, http_sd_configs: [{{url: 'http://{down}/sd?token=topsecret'}}]}}\n",
    )
    ended = await check(file)
    assert (ended.code, ended.err) == (1, "")
    assert (
        f"PROBLEM: http_sd_configs http://{down}/sd?token=*** cannot list its targets: "
        in ended.out
    )
    assert "topsecret" not in ended.out


async def test_target_is_checked_by_the_rules_of_a_job(tmp_path: Path) -> None:
    secrets: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        secrets.append(request.headers["Authorization"])
        return answers(GOOD + GOOD.replace("GPU_TEMP", "SM_CLOCK") + BAD)

    async with served(handle) as address:
        file = configuration(
            tmp_path,
            "scrape_configs:\n  - job_name: one\n    metrics_drop: DCGM_FI_DEV_SM_.*\n"
            "    authorization: {credentials: topsecret}\n"
            f"    static_configs: [{{targets: ['{address}'], labels: {{rack: r7}}}}]\n",
        )
        options = ("--scrape-config", file, "--job", "one", "--every-line", "--format", "json")
        ended = await check(address, *options)
    report = json.loads(ended.out)
    assert (ended.code, secrets) == (3, ["Bearer topsecret"])
    assert [line["state"] for line in report["lines"]] == ["stored", "dropped", "refused"]
    assert 'rack="r7"' in report["lines"][0]["labels_raw"]
    assert "topsecret" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gpu 1",), "TARGET: 'gpu 1': is not host:port; write it like gpu1:9400"),
        (("http://me:topsecret@gpu1",), "TARGET: 'http://***@gpu1': has a user or password"),
        (("gpu1", "--job", "dcgm"), "--job: name the configuration that has it"),
        (("gpu1", "--scrape-config", "x.yml"), "--scrape-config: name one of its jobs"),
        (("gpu1", "--fetch"), "--fetch is for a configuration"),
        (("missing.yml",), "missing.yml: No such file or directory"),
        (("missing.yml", "--every-line"), "--every-line and --scrape-config are for an answer"),
        (("bad.yml",), "bad.yml: scrape_configs[1] (job 'one'): no_such_key: "),
        (("good.yml", "--job", "two"), "--job: good.yml has no job 'two'; it has 'one'"),
        (("gpu 1", "--scrape-config", "good.yml", "--job", "one"), "TARGET: 'gpu 1': is not"),
    ],
)
async def test_wrong_argument_or_configuration_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    job = "scrape_configs: [{job_name: one, static_configs: [{targets: [gpu1]}]"
    Path("good.yml").write_text(job + "}]\n")
    Path("bad.yml").write_text(job + ", no_such_key: 1}]\n")
    ended = await check(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"gputel: {said}")
    assert ended.err.count("\n") == 1
    assert "topsecret" not in ended.err


async def test_ctrl_c_stops_a_fetch_cleanly() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def handle(_request: web.Request) -> web.Response:
        asked.set()
        await ended.wait()
        return answers(GOOD)

    async with served(handle) as address:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gputel", "scrape", "check", address),
            stderr=asyncio.subprocess.PIPE,
            env={name: text for name, text in os.environ.items() if "GPUTEL" not in name},
        )
        await asked.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        ended.set()
    assert (process.returncode, err.strip()) == (130, b"gputel: stopped")


async def test_jobs_of_the_configuration_complete_the_option(tmp_path: Path) -> None:
    file = configuration(
        tmp_path, "scrape_configs: [{job_name: one, static_configs: [{targets: [gpu1]}]}]\n"
    )
    words = f"gputel scrape check gpu1 --scrape-config {file} --job "
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "_GPUTEL_COMPLETE": "bash_complete", "COMP_LINE": words},
    )
    out, _ = await process.communicate()
    assert out.decode() == "plain,one\n"
