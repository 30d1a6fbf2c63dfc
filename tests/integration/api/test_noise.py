"""Nobody without a token can fill the log, whatever is sent."""

from __future__ import annotations

import logging

import pytest

from gputel.web.server.listener import Listener
from tests.helpers.raw_http import raw_to, request

NAMES = ["a" * 5000, "a" * 300, "%00", "a%00b", "%FF%FE", "%ED%A0%80", "%", "%2e%2e/%2e%2e/x", "/"]
NAMES += ["..%2f..%2f..%2fetc/passwd", "a/" * 2000, "%F0%9F%98%80" * 100, "vendor", "."]
ODD = {
    **{f"static {name[:20]}": request(f"/static/{name}", method="GET") for name in NAMES},
    "long path": request("/" + "x" * 8000, method="GET"),
    "too long path": request("/" + "x" * 20_000, method="GET"),
    "long query": request("/api/v1/gpus?x=" + "y" * 8000, method="GET"),
    "bytes in the path": request("/\xff\xfe", method="GET"),
    "long field": request("/", b"", "X: " + "x" * 20_000, method="GET"),
    "many fields": request("/", b"", *(f"X-{n}: x" for n in range(500)), method="GET"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
    "nothing": b"\r\n\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "strange method": request("/", method="X" * 2000),
    "connect": request("evil.example:443", method="CONNECT"),
    "absolute": request("http://[/", method="GET"),
    "bad port": request("http://a:99999999/x", method="GET"),
    "star": request("*", method="OPTIONS"),
    "ranges": request("/static/swagger.js", b"", "Range: bytes=9-1,-,a-b", method="GET"),
    "huge range": request("/static/pages.css", b"", f"Range: bytes={'9' * 500}-", method="GET"),
    "bad date": request("/", b"", "If-Modified-Since: x", "If-Range: \xff", method="GET"),
    "bad etag": request("/api/v1/gpus", b"", 'If-None-Match: "\xff', "Accept: ;q=", method="GET"),
    "token": request("/api/v1/gpus", b"", "Authorization: Bearer \xff" + "x" * 6000, method="GET"),
    "bad chunks": request("/api/v1/telemetry", b"zz\r\n", "Transfer-Encoding: chunked"),
    "bad gzip": request("/api/v1/telemetry", b"no gzip", "Content-Encoding: gzip"),
    "bad form": request(
        "/prometheus/api/v1/query", b"--x", "Content-Type: multipart/form-data; boundary=y"
    ),
    "bad charset": request(
        "/prometheus/api/v1/query",
        b"query=1",
        "Content-Type: application/x-www-form-urlencoded; charset=none",
    ),
    "bytes in a form": request(
        "/prometheus/api/v1/query", b"query=\xff", "Content-Type: application/x-www-form-urlencoded"
    ),
    "websocket": request(
        "/api/v1/stream", b"", "Upgrade: websocket", "Connection: Upgrade", method="GET"
    ),
    "expectation": request("/api/v1/telemetry", b"", "Expect: the unexpected"),
    "cookies": request("/", b"", "Cookie: " + "=;\xff" * 2000, method="GET"),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
async def test_odd_requests_are_answered_and_put_nothing_in_the_log(
    api: Listener, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with raw_to(api.port) as raw:
        await raw.send(data)
        raw.writer.write_eof()
        answer = await raw.rest()
    assert not answer.startswith(b"HTTP/1.1 5")
    assert [record.getMessage()[:300] for record in caplog.records] == []


@pytest.mark.parametrize("name", ["a" * 5000, "%00", "a%00b", "no-such-file.js"])
async def test_a_static_name_that_no_file_can_have_is_not_found(api: Listener, name: str) -> None:
    async with raw_to(api.port) as raw:
        await raw.send(request(f"/static/{name}", method="GET"))
        reply = await raw.reply()
    assert (reply.status, reply.body["code"]) == (404, "not_found")
    assert len(reply.body["message"]) < 500


async def test_clients_that_leave_at_any_moment_put_nothing_in_the_log(
    api: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = request("/api/v1/gpus", method="GET") + request("/static/swagger.js", method="GET")
    for cut in range(0, len(data) + 1, 7):
        async with raw_to(api.port) as raw:
            await raw.send(data[:cut])
            raw.vanish()
    async with raw_to(api.port) as raw:
        await raw.send(request("/healthz", method="GET"))
        assert (await raw.reply()).status == 200
    assert [record.getMessage()[:300] for record in caplog.records] == []


async def test_a_form_that_does_not_come_is_not_waited_for(
    api: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.api.prometheus.form._FORM_S", 0.2)
    form = "Content-Type: application/x-www-form-urlencoded"
    async with raw_to(api.port) as raw:
        await raw.send(request("/prometheus/api/v1/query", b"que", form, "Content-Length: 100"))
        assert (await raw.reply()).status == 408
