"""The roles as the chart starts them: they find each other, let nobody in, and stop in time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from tests.chart.conftest import RenderOf
from tests.chart.release import ROLES, TOKENS, Release
from tests.chart.renders import CHART
from tests.chart.tools import ROOT
from tests.helpers.exporters import served
from tests.helpers.processes import Gputel, Processes, processes_in
from tests.helpers.waiting import eventually

PATHS = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
PUSH = "post" in PATHS.get("/api/v1/telemetry", {})

with_tokens = pytest.mark.skipif(not TOKENS, reason="this gputel has no tokens")
with_push = pytest.mark.skipif(not PUSH, reason="this gputel takes no records over its API")


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    async with processes_in(tmp_path) as processes:
        yield processes


async def status(url: str, token: str | None = None, method: str = "GET") -> int:
    """A kubelet's probe, too, asks by HTTPS without checking the certificate."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with aiohttp.request(method, url, headers=headers, ssl=False) as response:
            return response.status
    except aiohttp.ClientConnectionError:
        return 0


async def start(release: Release) -> dict[str, Gputel]:
    """Start every role, and wait until their readiness probes are content."""
    started = {role: release.start(role) for role in ROLES}
    for role in ROLES:

        async def ready(role: str = role) -> bool:
            assert started[role].running, started[role].err
            return await status(release.readiness(role)) == 200

        await eventually(ready)
    return started


def roundtrip(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script of ``helm test``, where proxies are set that it must not use."""
    command = [sys.executable, str(CHART / "files" / "roundtrip.py")]
    nobody = "http://127.0.0.1:9"
    env = {"PATH": os.environ["PATH"], "http_proxy": nobody, "https_proxy": nobody, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True)


async def test_roles_find_each_other_land_the_sample_and_stop(
    processes: Processes, tmp_path: Path, dsn: str, render_of: RenderOf
) -> None:
    release = Release(render_of(auth={"enabled": False}), processes, tmp_path, dsn)
    started = await start(release)

    async def gpus() -> bool:
        async with aiohttp.request("GET", release.url("api", "/api/v1/gpus")) as response:
            return len(await response.json()) == 32

    await eventually(gpus)
    for role in reversed(ROLES):
        assert await started[role].stop() == 0, started[role].err


async def test_streamers_scrape_what_the_values_name(
    processes: Processes, tmp_path: Path, dsn: str, render_of: RenderOf
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text='DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1",Hostname="gpu1"} 64\n')

    async with served(answer) as exporter:
        job = {"job_name": "racks", "scrape_interval": "1s"}
        targets = {"static_configs": [{"targets": [exporter]}]}
        source = {"type": "scrape", "scrape": {"scrapeConfigs": [{**job, **targets}]}}
        render = render_of(auth={"enabled": False}, streamer={"source": source})
        release = Release(render, processes, tmp_path, dsn)
        await start(release)

        async def gpus() -> bool:
            async with aiohttp.request("GET", release.url("api", "/api/v1/gpus")) as response:
                return [gpu["uuid"] for gpu in await response.json()] == ["GPU-1"]

        await eventually(gpus)


async def test_the_script_of_helm_test_says_in_a_line_where_it_stopped(
    processes: Processes, tmp_path: Path, dsn: str, render_of: RenderOf
) -> None:
    release = Release(render_of(auth={"enabled": False}), processes, tmp_path, dsn)
    environment = release.environment("test")
    done = await asyncio.to_thread(roundtrip, environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"roundtrip: {environment['GPUTEL_API_URL']}: ")
    assert done.stderr.count("\n") == 1

    release.start("broker")
    await release.start("api").says("ready")
    done = await asyncio.to_thread(roundtrip, {**environment, "ROUNDTRIP_PATIENCE_S": "1"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert ("is not in the store after 1 s" if PUSH else "answered 404") in done.stderr


@with_push
async def test_the_script_of_helm_test_finds_its_record(
    processes: Processes, tmp_path: Path, dsn: str, render_of: RenderOf
) -> None:
    release = Release(render_of(auth={"enabled": TOKENS}), processes, tmp_path, dsn)
    await start(release)
    done = await asyncio.to_thread(roundtrip, release.environment("test"))
    assert done.returncode == 0, done.stderr
    assert "read back after" in done.stdout


async def test_with_tls_the_roles_find_each_other_and_believe_only_their_authority(
    processes: Processes, tmp_path: Path, dsn: str, render_of: RenderOf
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    render = render_of(tls={"enabled": True, "existingSecret": "my-certificate"})
    release = Release(render, processes, tmp_path, dsn)
    await start(release)
    assert all(release.url(role, "").startswith("https://") for role in ROLES)
    environment = release.environment("test")
    done = await asyncio.to_thread(roundtrip, environment)
    assert done.returncode == 0, done.stderr
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    done = await asyncio.to_thread(roundtrip, environment)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr


@with_tokens
async def test_nobody_is_let_in_without_a_token(
    processes: Processes, tmp_path: Path, dsn: str, render_of: RenderOf
) -> None:
    release = Release(render_of(), processes, tmp_path, dsn)
    await start(release)
    tokens = release.render.one("Secret", "tokens")["stringData"]
    for role in ROLES:
        assert await status(release.url(role, "/metrics")) == 401
        assert await status(release.url(role, "/metrics"), tokens["read"]) == 200
    assert await status(release.url("broker", "/stats"), tokens["read"]) == 200, "KEDA asks so"
    assert await status(release.url("broker", "/publish"), tokens["read"], "POST") == 403
    assert await status(release.url("api", "/api/v1/gpus")) == 401
