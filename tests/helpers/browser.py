"""A real Chromium, driven over the DevTools protocol.

Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in _NAMES if (found := shutil.which(name))), None)
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
_START_S = 120.0
_UNTIL_S = 60.0


class Page:
    """One tab: sends commands, keeps the events that come between."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._sent = 0
        self.events: list[dict[str, Any]] = []

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        self._sent += 1
        await self._socket.send_json({"id": self._sent, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._sent:
                return message["result"]
            self.events.append(message)

    async def evaluate(self, script: str) -> Any:
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of the script, once it has one that counts as true."""
        try:
            async with asyncio.timeout(_UNTIL_S):
                while not (value := await self.evaluate(script)):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not so in {_UNTIL_S:g} s: {script}; {self.problems()}") from None
        return value

    async def click(self, selector: str) -> None:
        await self.until(f"!!document.querySelector('{selector}')")
        await self.evaluate(f"document.querySelector('{selector}').click()")

    def problems(self) -> list[dict[str, Any]]:
        """What the page has complained of, once Log and Runtime are enabled."""
        return [event for event in self.events if _is_problem(event)]


@asynccontextmanager
async def open_page(directory: Path, *flags: str) -> AsyncIterator[Page]:
    """An empty tab of a Chromium of its own, which is started once more where it does not start."""
    try:
        process, url = await _start(directory, flags)
    except BrowserDidNotStart:
        process, url = await _start(directory, flags)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=0) as socket,
        ):
            yield Page(socket)
    finally:
        await _end(process)


class BrowserDidNotStart(Exception):
    """Chromium has no tab to drive; says what it wrote."""


async def _start(directory: Path, flags: Sequence[str]) -> tuple[asyncio.subprocess.Process, str]:
    """A process, and the address of its tab."""
    assert BROWSER is not None
    profile = Path(tempfile.mkdtemp(prefix="chromium-", dir=directory))
    said = profile.with_suffix(".stderr")
    with said.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(BROWSER, *_FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        async with asyncio.timeout(_START_S):
            return process, await _tab(process, profile / "DevToolsActivePort")
    except (TimeoutError, aiohttp.ClientError, ChildProcessError) as error:
        await _end(process)
        words = said.read_text(errors="replace")[-4000:]
        raise BrowserDidNotStart(f"{error!r} in {_START_S:g} s; it wrote: {words}") from error
    except BaseException:
        await _end(process)
        raise


async def _tab(process: asyncio.subprocess.Process, port_file: Path) -> str:
    while not port_file.exists() or "\n" not in port_file.read_text():
        if process.returncode is not None:
            raise ChildProcessError(f"Chromium ended with {process.returncode}")
        await asyncio.sleep(0.05)
    address = f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}/json"
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(address) as response:
                tabs = await response.json(content_type=None)
            for tab in tabs:
                if tab["type"] == "page":
                    return tab["webSocketDebuggerUrl"]
            await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def _is_problem(event: dict[str, Any]) -> bool:
    if event["method"] == "Runtime.consoleAPICalled":
        return bool(event["params"]["type"] == "error")
    return event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
