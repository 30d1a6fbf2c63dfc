"""An API that takes records, in front of a pipeline's broker."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from gputel.api.push.pusher import Pusher
from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.mq.client import QueueClient
from gputel.store.read.reader import Reader
from gputel.store.write.admission import Admission
from gputel.store.write.push_keys import PushKeys
from gputel.web.health import Health

if TYPE_CHECKING:
    from tests.integration.pipeline.conftest import Pipeline

PATH = "/api/v1/telemetry"
JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
NOON = "2026-03-01T12:00:00Z"


@dataclasses.dataclass
class Api:
    """A client of the API."""

    session: aiohttp.ClientSession

    async def push(
        self, body: bytes | str, kind: str = JSON, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer; ``Idempotency_Key`` and the like are headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Content-Type"] = kind
        async with self.session.post(PATH, data=body, headers=named) as response:
            if response.status == 503:
                assert int(response.headers["Retry-After"]) > 0
            return response.status, await response.json()

    async def pushed(self, body: bytes | str, kind: str = JSON, **headers: str) -> dict[str, Any]:
        """The answer to a push that is accepted."""
        status, answer = await self.push(body, kind, **headers)
        assert status == 202, answer
        return answer

    async def read(self, uuid: str, kind: str = JSON) -> Any:
        """The records of a GPU, oldest first: a list from JSON, else bytes."""
        path = f"/api/v1/gpus/{uuid}/telemetry?order=asc"
        async with self.session.get(path, headers={"Accept": kind}) as response:
            assert response.status == 200, await response.text()
            return await response.json() if kind == JSON else await response.read()


@asynccontextmanager
async def api_of(
    pipeline: Pipeline, admission: Admission | None = None, **settings: Any
) -> AsyncIterator[Api]:
    """An API in front of the broker that the pipeline has now, or had."""
    chosen = ApiSettings(api_port=0, **settings)
    async with QueueClient(pipeline.url) as queue:
        pusher = Pusher(queue, PushKeys(pipeline.pool), chosen, admission or Admission())
        reader = Reader(pipeline.pool)
        async with (
            serve(chosen, "127.0.0.1", reader, Health(), pusher=pusher) as listener,
            aiohttp.ClientSession(listener.url) as session,
        ):
            yield Api(session)


def record(value: Any = 1, uuid: str = "GPU-a", **others: Any) -> dict[str, Any]:
    """A record of noon as a client writes it."""
    return {"metric_name": "TEMP", "uuid": uuid, "value": value, "timestamp": NOON, **others}


def whole(value: float = 1, uuid: str = "GPU-a", **others: Any) -> dict[str, Any]:
    """The same as the API answers it."""
    texts = ("gpu_id", "device", "modelName", "hostname", "container", "pod", "namespace")
    return {**record(value, uuid), **dict.fromkeys((*texts, "labels_raw"), ""), **others}


def now() -> datetime:
    """The present, UTC."""
    return datetime.now(UTC)
