"""``/healthz`` (the process runs), ``/readyz`` (it can do its work) and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from gputel import metrics

Check = Callable[[], Awaitable[str | None]]
"""Returns None if there is no problem, else a description of the problem."""

Note = Callable[[], str | None]
"""Returns what people should know, or None. Must not block."""

_CHECK_TIMEOUT_S = 3.0


class Health:
    """The readiness checks of one process, by name, and what people should know besides."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._notes: dict[str, Note] = {}

    def add(self, name: str, check: Check) -> None:
        """Make readiness depend on ``check``."""
        self._checks[name] = check

    def add_note(self, name: str, note: Note) -> None:
        """Let ``/readyz`` tell what ``note`` returns; the process is ready all the same."""
        self._notes[name] = note

    def notes(self) -> dict[str, str]:
        """The notes that say something now."""
        return {name: text for name, note in self._notes.items() if (text := note()) is not None}

    async def problems(self) -> dict[str, str]:
        """The problems by check; empty if the process is ready. Takes 3 seconds at most."""
        checks = dict(self._checks)  # a copy: a process that starts adds more checks meanwhile
        results = await asyncio.gather(*map(self._run, checks.values()))
        return {
            name: result for name, result in zip(checks, results, strict=True) if result is not None
        }

    async def _run(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                return await check()
        except TimeoutError:
            return f"no answer within {_CHECK_TIMEOUT_S:g} s"
        except Exception as error:
            return str(error) or type(error).__name__


def add_health_routes(app: web.Application, health: Health) -> None:
    """Add the three routes to an application."""

    async def healthz(_request: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        problems = await health.problems()
        notes = {"notes": told} if (told := health.notes()) else {}
        if problems:
            return _json(503, {"status": "not ready", "problems": problems, **notes})
        return _json(200, {"status": "ready", **notes})

    async def metrics_text(_request: web.Request) -> web.Response:
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=await metrics.render(), headers={"Content-Type": content_type})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics_text)


def _json(status: int, value: object) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json"
    )
