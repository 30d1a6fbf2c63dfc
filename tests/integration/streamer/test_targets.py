"""The present targets, while the file, the sources and the answers change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gputel.errors import ConfigError
from gputel.streamer.scrape import targets
from gputel.streamer.scrape.discovery.kinds import (
    FileDiscovery,
    HttpDiscovery,
    StaticTargets,
    TargetGroup,
)
from gputel.streamer.scrape.jobs import ScrapeJob, from_flags
from gputel.streamer.scrape.targets import TargetList
from tests.helpers.exporters import served
from tests.helpers.waiting import until

QUICK_S = 0.01


def config(*hosts: str, name: str = "gpus", more: str = "") -> str:
    listed = ", ".join(hosts)
    return (
        f"scrape_configs:\n- job_name: {name}\n  static_configs: [{{targets: [{listed}]}}]\n{more}"
    )


def urls(present: TargetList, job: str = "gpus") -> list[str]:
    return [target.url for target in present.jobs()[job][1]]


@asynccontextmanager
async def running(present: TargetList) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(present.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def test_jobs_of_flags_and_of_the_file_are_together(tmp_path: Path) -> None:
    file = tmp_path / "scrape.yml"
    file.write_text(config("gpu1:1"))
    present = TargetList([from_flags(["gpu2"], 5.0)], file)
    assert urls(present) == ["http://gpu1:1/metrics"]
    assert urls(present, "dcgm") == ["http://gpu2:9400/metrics"]
    assert await present.first(1.0)


async def test_a_job_of_the_file_cannot_have_the_name_of_the_flags_job(tmp_path: Path) -> None:
    file = tmp_path / "scrape.yml"
    file.write_text(config("gpu1:1", name="dcgm"))
    with pytest.raises(ConfigError, match=r"job 'dcgm': the job of --scrape has this name"):
        TargetList([from_flags(["gpu2"], 5.0)], file)


async def test_a_target_is_once_in_its_job_and_in_each_other_job() -> None:
    group = TargetGroup(("b:1", "a:1", "b:1", "http://b:1/metrics"), {"rack": "first"})
    static = StaticTargets((group, TargetGroup(("a:1",), {"rack": "second"})))
    jobs = [ScrapeJob("gpus", discoveries=(static,)), ScrapeJob("too", discoveries=(static,))]
    present = TargetList(jobs)
    for job in ("gpus", "too"):
        assert urls(present, job) == ["http://a:1/metrics", "http://b:1/metrics"]
        assert {target.labels["rack"] for target in present.jobs()[job][1]} == {"first"}


async def test_a_changed_file_is_read_again_and_a_wrong_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gputel.streamer")
    file = tmp_path / "scrape.yml"
    file.write_text(config("gpu1:1"))
    present = TargetList(path=file)
    version = present.version
    assert not await present.reload()
    for wrong in ("scrape_configs: [", "scrape_configs: [ "):
        file.write_text(wrong)
        assert not await present.reload()
        assert not await present.reload()
    assert (urls(present), present.version) == (["http://gpu1:1/metrics"], version)
    file.write_text(config("gpu1:1", "gpu2:1"))
    assert await present.reload()
    assert urls(present) == ["http://gpu1:1/metrics", "http://gpu2:1/metrics"]
    assert present.version > version
    wrong_line, *other_wrong, read = [record.getMessage() for record in caplog.records]
    assert "is not YAML" in wrong_line
    assert wrong_line.endswith("; the scrape jobs stay as they were")
    assert len(other_wrong) <= 1  # the place of the mistake is another
    assert read == f"{file}: read again, 1 scrape jobs"


async def test_the_version_grows_when_only_a_job_changes(tmp_path: Path) -> None:
    file = tmp_path / "scrape.yml"
    file.write_text(config("gpu1:1"))
    present = TargetList(path=file)
    version = present.version
    file.write_text(config("gpu1:1") + "  sample_limit: 5\n")
    assert await present.reload()
    assert present.version > version
    version = present.version
    file.write_text(config("gpu1:1") + "  sample_limit: 5 # the same\n")
    assert await present.reload()
    assert present.version == version
    assert present.jobs()["gpus"][0].sample_limit == 5


async def test_run_follows_the_file_and_its_discoveries(tmp_path: Path) -> None:
    file, listed = tmp_path / "scrape.yml", tmp_path / "gpus.yml"
    file.write_text(config("gpu1:1"))
    listed.write_text("- targets: [gpu2:1]\n")
    present = TargetList(path=file, look_s=QUICK_S)
    async with running(present):
        more = "  file_sd_configs: [{files: [gpus.yml], refresh_interval: 1s}]\n"
        file.write_text(config("gpu1:1", more=more))
        await until(lambda: len(urls(present)) == 2, 60, "the targets")
        listed.write_text("- targets: [gpu2:1, gpu3:1]\n")
        await until(lambda: len(urls(present)) == 3, 60, "the targets")
        file.write_text(config("gpu1:1", name="other"))
        await until(lambda: list(present.jobs()) == ["other"], 60, "the targets")
    assert urls(present, "other") == ["http://gpu1:1/metrics"]


async def test_first_waits_for_the_first_answer_of_each_discovery(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def handle(_request: web.Request) -> web.Response:
        await held.wait()
        return web.json_response([{"targets": ["gpu1:1"]}])

    async with served(handle) as address:
        discoveries = (
            HttpDiscovery(f"http://{address}/"),
            FileDiscovery((tmp_path / "none.yml",)),  # a failure is an answer too
        )
        present = TargetList([ScrapeJob("gpus", discoveries=discoveries)])
        async with running(present):
            assert not await present.first(0.05)
            held.set()
            assert await present.first(30.0)
            assert urls(present) == ["http://gpu1:1/metrics"]


async def test_stopping_does_not_wait_for_a_source_that_does_not_answer() -> None:
    asked, held = asyncio.Event(), asyncio.Event()

    async def handle(_request: web.Request) -> web.Response:
        asked.set()
        await held.wait()
        return web.Response()

    async with served(handle) as address:
        discovery = HttpDiscovery(f"http://{address}/")
        present = TargetList([ScrapeJob("gpus", discoveries=(discovery,))])
        async with running(present):
            await asked.wait()
        held.set()
    assert urls(present) == []


async def test_a_job_keeps_its_targets_until_a_new_source_has_answered(tmp_path: Path) -> None:
    file, listed = tmp_path / "scrape.yml", tmp_path / "gpus.yml"
    file.write_text(config("gpu1:1"))
    listed.write_text("- targets: [gpu2:1]\n")
    present = TargetList(path=file, look_s=QUICK_S)
    file.write_text("scrape_configs: [{job_name: gpus, file_sd_configs: [{files: [gpus.yml]}]}]")
    assert await present.reload()
    assert urls(present) == ["http://gpu1:1/metrics"]
    async with running(present):
        assert await present.first(60.0)
        assert urls(present) == ["http://gpu2:1/metrics"]


async def test_targets_that_cannot_be_used_are_left_out_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "gpus.yml"
    file.write_text("- targets: ['gpu1:1', 'gpu2:x', 'http://me:correcthorse@gpu3']\n")
    discovery = FileDiscovery((file,), QUICK_S)
    present = TargetList([ScrapeJob("gpus", discoveries=(discovery,))])
    async with running(present):
        await present.first(30.0)
        file.write_text("- targets: ['gpu00:1', 'gpu2:x', 'http://me:correcthorse@gpu3']\n")
        await until(lambda: urls(present) == ["http://gpu00:1/metrics"], 60, "the targets")
    assert [record.getMessage() for record in caplog.records] == [
        "job 'gpus': 2 targets cannot be used, such as 'gpu2:x': is not host:port"
    ]


async def test_a_job_has_a_bound_of_targets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(targets, "MOST_TARGETS", 2)
    static = StaticTargets((TargetGroup(("c:1", "b:1", "c:1")), TargetGroup(("a:1",))))
    present = TargetList([ScrapeJob("gpus", discoveries=(static,))])
    assert urls(present) == ["http://b:1/metrics", "http://c:1/metrics"]
    (record,) = caplog.records
    assert record.getMessage() == ("job 'gpus': it has over 2 targets; only the first are scraped")
