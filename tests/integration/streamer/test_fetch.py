"""One GET of an exporter: what is sent, what is bounded, and the words for what goes wrong."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gzip
import socket
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gputel import __version__
from gputel.errors import ScrapeFailed
from gputel.streamer.scrape.fetch import FetchedAnswer, Fetcher
from gputel.streamer.scrape.http.credentials import Authorization, BasicAuth, TlsConfig
from gputel.streamer.scrape.jobs import ScrapeJob, target_of
from tests.helpers.exporters import Authority, raw_served, served

TEXT = b'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1"} 40\n'
JOB = ScrapeJob("gpus", timeout_s=30.0)


CLOSED = ("the connection was closed without an answer", "the connection was reset")


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher() as fetcher:
        yield fetcher


async def fetch(fetcher: Fetcher, address: str, job: ScrapeJob = JOB) -> FetchedAnswer:
    return await fetcher.get(job, target_of(job, address, {}))


async def failure(fetcher: Fetcher, address: str, job: ScrapeJob = JOB) -> str:
    with pytest.raises(ScrapeFailed) as raised:
        await fetch(fetcher, address, job)
    return raised.value.message


async def plain(_request: web.Request) -> web.Response:
    return web.Response(body=TEXT, headers={"Content-Type": "text/plain; version=0.0.4"})


async def test_the_request_is_that_of_a_scraper(fetcher: Fetcher) -> None:
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        requests.append(request)
        response = await plain(request)
        response.set_cookie("session", "1")
        return response

    async with served(handle) as address:
        assert await fetch(fetcher, address) == (TEXT, False)
        await fetch(fetcher, address)
    headers = requests[1].headers
    assert headers["Accept"] == "text/plain;version=0.0.4;q=1,*/*;q=0.1"
    assert headers["Accept-Encoding"] == "gzip"
    assert headers["User-Agent"] == f"gputel/{__version__}"
    assert headers["X-Prometheus-Scrape-Timeout-Seconds"] == "30"
    assert "Cookie" not in headers
    assert "Authorization" not in headers
    assert str(requests[1].rel_url) == "/metrics"


async def test_fetch_may_end_before_the_timeout_of_its_job(fetcher: Fetcher) -> None:
    go = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        await go.wait()
        return await plain(request)

    async with served(handle) as address:
        with pytest.raises(ScrapeFailed) as raised:
            await fetcher.get(JOB, target_of(JOB, address, {}), within_s=0.05)
        go.set()
    assert raised.value.message == "no answer within 30 s"


async def test_connections_are_kept(fetcher: Fetcher) -> None:
    peers = set()

    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return await plain(request)

    async with served(handle) as address:
        for _ in range(3):
            await fetch(fetcher, address)
    assert len(peers) == 1


async def test_no_proxy_of_the_environment_is_used(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with served(plain) as address:
        assert (await fetch(fetcher, address)).body == TEXT


@pytest.mark.parametrize(
    ("kind", "open_metrics"),
    [("application/openmetrics-text; version=1.0.0", True), ("text/plain", False), ("", False)],
)
async def test_the_content_type_tells_the_format(
    fetcher: Fetcher, kind: str, open_metrics: bool
) -> None:
    head = f"Content-Type: {kind}\r\n" if kind else ""
    answer = f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(TEXT)}\r\n\r\n".encode() + TEXT
    async with raw_served(answer) as address:
        assert await fetch(fetcher, address) == (TEXT, open_metrics)


@pytest.mark.parametrize("members", [1, 3])
async def test_gzip_is_unpacked(fetcher: Fetcher, members: int) -> None:
    async def handle(_request: web.Request) -> web.Response:
        body = gzip.compress(TEXT) * members
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with served(handle) as address:
        assert (await fetch(fetcher, address)).body == TEXT * members


@pytest.mark.parametrize("packed", [True, False])
async def test_the_limit_is_for_the_unpacked_body(fetcher: Fetcher, packed: bool) -> None:
    async def handle(_request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip"} if packed else {}
        return web.Response(body=gzip.compress(TEXT) if packed else TEXT, headers=headers)

    async with served(handle) as address:
        for limit in (len(TEXT), len(TEXT) + 1):
            job = dataclasses.replace(JOB, body_size_limit=limit)
            assert (await fetch(fetcher, address, job)).body == TEXT
        job = dataclasses.replace(JOB, body_size_limit=len(TEXT) - 1)
        reason = await failure(fetcher, address, job)
    assert reason == f"the answer is over body_size_limit, {len(TEXT) - 1} bytes"


async def test_gzip_of_empty_members_without_end_is_refused_at_once(fetcher: Fetcher) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    async with raw_served(head + gzip.compress(b"") * 20_000, stay=True) as address:
        assert await failure(fetcher, address) == "the answer's gzip has over 1000 members"


async def test_a_gzip_bomb_is_not_unpacked(fetcher: Fetcher) -> None:
    bomb = gzip.compress(b"\n" * (64 << 20))

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with served(handle) as address:
        reason = await failure(fetcher, address)
    assert reason == "the answer is over body_size_limit, 16 MiB"


PACKED = gzip.compress(TEXT * 100, mtime=0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + TEXT, "the answer ended too early"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nDCGM_\r\n",
            "the answer ended too early",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\n"
            + PACKED[:30],
            "the answer ended too early",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nDCGM",
            "the answer's gzip is damaged",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nDCGM",
            "the answer is compressed, but not by gzip, which was asked for",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\nContent-Length: 1\r\n\r\n<",
            "the answer is HTML, not metrics",
        ),
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204"),
        (b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", "HTTP 301"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "HTTP 401"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (
            b"HTTP/1.1 302 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
            "redirected to what is neither http nor https",
        ),
    ],
)
async def test_a_wrong_answer_has_a_short_reason(
    fetcher: Fetcher, answer: bytes, reason: str
) -> None:
    async with raw_served(answer) as address:
        assert await failure(fetcher, address) == reason


async def test_a_connection_that_is_reset_in_the_body_has_a_short_reason(
    fetcher: Fetcher,
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nDCGM"
    async with raw_served(answer, reset=True) as address:
        reason = await failure(fetcher, address)
    assert reason in ("the connection was reset", "the answer ended too early")


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nDCGM"],
)
async def test_the_timeout_is_for_the_whole_answer(fetcher: Fetcher, answer: bytes) -> None:
    job = dataclasses.replace(JOB, timeout_s=0.25)
    async with raw_served(answer, stay=True) as address:
        assert await failure(fetcher, address, job) == "no answer within 0.25 s"


async def test_an_answer_that_drips_takes_no_longer_than_the_timeout(fetcher: Fetcher) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None:
            await response.write(b"a")
            await asyncio.sleep(0.01)
        return response

    job = dataclasses.replace(JOB, timeout_s=0.25)
    async with served(handle) as address:
        assert await failure(fetcher, address, job) == "no answer within 0.25 s"


async def test_a_host_that_is_not_there_has_a_short_reason(
    fetcher: Fetcher, unused_tcp_port: int
) -> None:
    assert await failure(fetcher, f"127.0.0.1:{unused_tcp_port}") == "connection refused"
    assert await failure(fetcher, f"localhost:{unused_tcp_port}") == "connection refused"
    reason = await failure(fetcher, "gpu9.invalid:9400")
    assert reason == "the name gpu9.invalid does not resolve"


async def test_names_that_get_no_answer_hold_up_nothing_else(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, ended = socket.getaddrinfo, threading.Event()

    def hanging(host: str, *arguments: Any, **options: Any) -> Any:
        if host.startswith("lost"):
            ended.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    job = dataclasses.replace(JOB, timeout_s=10.0)
    async with served(plain) as address:
        lost = [asyncio.ensure_future(failure(fetcher, f"lost{n}:9400", job)) for n in range(40)]
        await asyncio.sleep(0.1)
        try:
            answer = await fetch(fetcher, address.replace("127.0.0.1", "gpu1"), job)
            async with asyncio.timeout(10):
                await asyncio.to_thread(int)
        finally:
            ended.set()
            await asyncio.gather(*lost)
    assert answer.body == TEXT


async def test_a_redirect_is_followed_and_a_circle_ends(fetcher: Fetcher) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/metrics":
            raise web.HTTPFound("moved?x=1")
        if request.path == "/moved":
            return await plain(request)
        raise web.HTTPFound(request.path)

    async with served(handle) as address:
        assert (await fetch(fetcher, address)).body == TEXT
        assert await failure(fetcher, f"http://{address}/circle") == "over 10 redirects"


async def test_credentials_stay_with_the_server_that_they_are_for(fetcher: Fetcher) -> None:
    shown: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        if request.path == "/metrics":
            raise web.HTTPTemporaryRedirect(f"http://{home}/back")
        return await plain(request)

    async def at_home(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        if request.path == "/back":
            return await plain(request)
        raise web.HTTPTemporaryRedirect(f"http://{other}/metrics")

    job = dataclasses.replace(JOB, auth=Authorization(credentials="open-sesame"))
    async with served(elsewhere) as other, served(at_home) as home:
        assert (await fetch(fetcher, home, job)).body == TEXT
    assert shown == ["Bearer open-sesame", None, None]


async def test_passwords_and_tokens_are_sent_and_read_again_when_they_rotate(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    shown: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        shown.append(request.headers["Authorization"])
        return await plain(request)

    file = tmp_path / "token"
    token = dataclasses.replace(JOB, auth=Authorization(credentials_file=file))
    basic = dataclasses.replace(JOB, auth=BasicAuth("mé", "pass:word"))
    async with served(handle) as address:
        assert await failure(fetcher, address, token) == (
            f"credentials_file {file}: No such file or directory"
        )
        for text in ("first-token\n", "the-second-token"):
            file.write_text(text)
            await fetch(fetcher, address, token)
        file.write_text("two\nlines")
        assert await failure(fetcher, address, token) == (
            f"credentials_file {file}: must have one line, the secret"
        )
        await fetch(fetcher, address, basic)
    encoded = base64.b64encode("mé:pass:word".encode()).decode()
    assert shown == ["Bearer first-token", "Bearer the-second-token", f"Basic {encoded}"]


async def test_tls_trusts_the_authority_of_the_job_and_the_name(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other.crt")

    def job(tls: TlsConfig | None) -> ScrapeJob:
        return dataclasses.replace(JOB, scheme="https", tls=tls)

    async with served(plain, authority.server("127.0.0.1")) as address:
        trusted = job(TlsConfig(authority.file))
        assert (await fetch(fetcher, address, trusted)).body == TEXT
        assert (await fetch(fetcher, address, job(TlsConfig(insecure_skip_verify=True)))).body
        reason = await failure(fetcher, address, job(TlsConfig(other.file)))
        assert reason.startswith("the certificate is not trusted: ")
        named = job(TlsConfig(authority.file, server_name="gpu.example"))
        reason = await failure(fetcher, address, named)
        assert reason.startswith("the certificate is not trusted: Hostname mismatch")
        assert await failure(fetcher, address) in CLOSED
    async with served(plain, authority.server("gpu.example")) as address:
        assert (await fetch(fetcher, address, named)).body == TEXT
    async with served(plain) as address:
        reason = await failure(fetcher, address, trusted)
        assert reason == "no TLS with the server: wrong version number"


async def test_a_certificate_that_has_expired_is_not_trusted(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    job = dataclasses.replace(JOB, scheme="https", tls=TlsConfig(authority.file))
    expired = authority.server("127.0.0.1", until=datetime(2020, 1, 1, tzinfo=UTC))
    async with served(plain, expired) as address:
        reason = await failure(fetcher, address, job)
    assert reason == "the certificate is not trusted: certificate has expired"


async def test_an_authority_that_is_replaced_is_read_again(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "real.crt")
    file = Authority(tmp_path).file
    job = dataclasses.replace(JOB, scheme="https", tls=TlsConfig(file))
    async with served(plain, authority.server("127.0.0.1")) as address:
        assert (await failure(fetcher, address, job)).startswith("the certificate is not trusted")
        authority.file.replace(file)
        assert (await fetch(fetcher, address, job)).body == TEXT
        file.write_text("no certificate")
        reason = await failure(fetcher, address, job)
    assert reason.startswith(f"ca_file {file}: is not usable (")


async def test_a_client_certificate_is_shown_only_to_its_server(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = TlsConfig(authority.file, authority.client_file(tmp_path / "client.pem"))
    job = dataclasses.replace(JOB, scheme="https", tls=tls)

    async def redirect(_request: web.Request) -> web.Response:
        raise web.HTTPFound(f"https://{target}/metrics")

    async with served(plain, authority.server("127.0.0.1", clients=True)) as target:
        assert (await fetch(fetcher, target, job)).body == TEXT
        async with served(redirect, authority.server("127.0.0.1")) as address:
            reason = await failure(fetcher, address, job)
    assert reason in CLOSED
