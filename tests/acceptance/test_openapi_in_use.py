"""The document as programs use it: it is tried whole, and a client is made of it."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.captures import ROOT
from tests.helpers.processes import Gputel, Processes, free_port

Ingest = Callable[..., Coroutine[Any, Any, Gputel]]
BIN = Path(sys.executable).parent
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
CONFIG = HOOKS.with_name("schemathesis.toml")
SMALL = ROOT / "fixtures" / "dcgm_small.csv"
GPUS, ROWS = 32, 640
TOKEN = "t" * 32
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "6")  # of each kind, for each operation


@pytest.fixture
async def live_url(processes: Processes, dsn: str, ingest: Ingest) -> str:
    """A broker, a collector and an API that has real records."""
    assert (await ingest(SMALL)).process.returncode == 0
    api, broker = free_port(), free_port()
    ports = ("--api-port", str(api), "--broker-port", str(broker))
    roles = ("--role", "broker,collector,api")
    environment = {"GPUTEL_POSTGRES_DSN": dsn, "GPUTEL_TOKENS": f"everything admin {TOKEN}"}
    await processes.start("run", *roles, *ports, **environment).says("ready")
    return f"http://127.0.0.1:{api}"


async def command(*words: str | Path, cwd: Path, wait_s: float, **environment: str) -> str:
    """What a command printed, which has to succeed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"} | environment,
    )
    try:
        said = (await asyncio.wait_for(process.communicate(), wait_s))[0].decode()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, said[-8000:]
    return said


@pytest.mark.timeout(400)
async def test_schemathesis_finds_nothing(live_url: str, tmp_path: Path) -> None:
    said = await command(
        *(BIN / "schemathesis", "--config-file", CONFIG, "run", f"{live_url}/openapi.json"),
        *(
            "--header",
            f"Authorization: Bearer {TOKEN}",
            "--max-examples",
            EXAMPLES,
            "--no-color",
            "--request-timeout",
            "30",
        ),
        cwd=tmp_path,
        wait_s=360,
        SCHEMATHESIS_HOOKS=str(HOOKS),
        PYTHONPATH=str(ROOT),
    )
    print(said)
    assert "No issues found" in said


async def test_a_client_made_of_the_document_reads_and_pushes(
    live_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "made_of_openapi"
    # The generator knows lists only where they are the one body that there is.
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    bodies = document["paths"]["/api/v1/telemetry"]["post"]["requestBody"]
    bodies["content"] = {"application/json": bodies["content"]["application/json"]}
    for protocol_buffers in ("/api/v1/write", "/v1/metrics", "/api/v1/otlp/v1/metrics"):
        del document["paths"][protocol_buffers]  # it writes no client for them
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document))
    said = await command(
        *(BIN / "openapi-python-client", "generate", "--path", path),
        *("--output-path", package, "--meta", "none", "--fail-on-warning"),
        cwd=tmp_path,
        wait_s=250,
    )
    assert "Warning" not in said, said
    monkeypatch.syspath_prepend(str(tmp_path))
    made = importlib.import_module("made_of_openapi")
    listing = importlib.import_module("made_of_openapi.api.telemetry.list_gpus")
    reading = importlib.import_module("made_of_openapi.api.telemetry.list_gpu_telemetry")
    pushing = importlib.import_module("made_of_openapi.api.telemetry.push_telemetry")
    models = importlib.import_module("made_of_openapi.models")
    async with made.AuthenticatedClient(
        base_url=live_url, token=TOKEN, raise_on_unexpected_status=True
    ) as client:
        gpus = await listing.asyncio(client=client)
        assert len(gpus) == GPUS
        records = await reading.asyncio(gpus[0].uuid, client=client)
        record = models.PushedRecord(metric_name="M", uuid="GPU-pushed", value=1.0)
        pushed = await pushing.asyncio(body=[record], client=client)
    assert (pushed.accepted, pushed.rejected) == (1, [])
    assert len(records) == ROWS // GPUS
    assert {record.uuid for record in records} == {gpus[0].uuid}
    assert all(record.timestamp.tzinfo for record in records)
