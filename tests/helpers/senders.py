"""What writes to gputel by remote write: Prometheus in agent mode, and VictoriaMetrics' agent."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.helpers.processes import free_port

Sender = Callable[[Path, int, str], list[str]]
"""The command of a sender: files go into the directory; the port of the exporter, and the URL."""
COUNTER = "DCGM_FI_DEV_PCIE_REPLAY_COUNTER"  # any number is possible


class Exporter:
    """Answers as dcgm-exporter does: two GPUs, each with a counter of the answers."""

    def __init__(self) -> None:
        self.answers = 0

    async def metrics(self, _request: web.Request) -> web.Response:
        self.answers += 1
        lines = [
            f'{COUNTER}{{gpu="{number}",UUID="GPU-{number}",Hostname="h",pod="p"}} {self.answers}\n'
            for number in range(2)
        ]
        return web.Response(text="".join([*lines, "go_goroutines 12\n"]))


@asynccontextmanager
async def exporting() -> AsyncIterator[tuple[Exporter, int]]:
    """An exporter and its port."""
    made = Exporter()
    app = web.Application()
    app.router.add_get("/metrics", made.metrics)
    async with TestServer(app) as server:
        assert server.port is not None
        yield made, server.port


SCRAPES = (
    "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n"
    "scrape_configs:\n"
    "- job_name: dcgm\n"
    "  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
)
WRITES = (
    "remote_write:\n- url: {url}\n"
    "  queue_config: {{batch_send_deadline: 200ms, max_backoff: 200ms}}\n"
)


def prometheus(directory: Path, exporter_port: int, url: str) -> list[str]:
    """A Prometheus in agent mode that scrapes the exporter and writes to a URL."""
    config = directory / "prometheus.yml"
    config.write_text(SCRAPES.format(port=exporter_port) + WRITES.format(url=url))
    return [
        *("prometheus", "--enable-feature=agent", f"--config.file={config}"),
        f"--storage.agent.path={directory / 'agent'}",
        f"--web.listen-address=127.0.0.1:{free_port()}",
    ]


def vmagent(directory: Path, exporter_port: int, url: str) -> list[str]:
    """The same with VictoriaMetrics' agent."""
    config = directory / "vmagent.yml"
    config.write_text(SCRAPES.format(port=exporter_port))
    return [
        *("vmagent", f"-promscrape.config={config}", f"-remoteWrite.url={url}"),
        f"-remoteWrite.tmpDataPath={directory / 'agent'}",
        "-remoteWrite.flushInterval=200ms",
        f"-httpListenAddr=127.0.0.1:{free_port()}",
    ]


@asynccontextmanager
async def sending(command: list[str], directory: Path) -> AsyncIterator[None]:
    """Run a sender; its log is printed at the end."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()  # when it is told to end, it tries for a minute to send the rest
        await asyncio.to_thread(process.wait, 60)
        print((directory / "log").read_text())


SENDERS = [
    pytest.param(
        sender,
        marks=pytest.mark.skipif(
            shutil.which(sender.__name__) is None, reason=f"{sender.__name__} is not installed"
        ),
    )
    for sender in (prometheus, vmagent)
]
"""Both, as parameters of a test; one that is not installed is skipped."""
