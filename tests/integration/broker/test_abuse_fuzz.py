"""Anything at all on the socket: the broker answers or closes, never fails, and serves others."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.raw_http import raw_to, request

FUZZ = settings(
    max_examples=120,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ENDLESS_S = 0.2  # what was not answered until then never will be: it is no whole request
PATHS = [
    *("/publish", "/consume?wait_s=0", "/consume?max=3&wait_s=0", "/ack", "/nack", "/extend"),
    *("/held", "/dead-letters", "/dead-letters/replay", "/dead-letters/purge", "/stats"),
    *("/queues", "/queues/q", "/nowhere", "/dead-letters/%ff", "/healthz"),
]
FIELDS = ["id", "key", "payload", "metadata", "lease", "delay_s", "ttl_s", "dead", "reason", "ack"]
SIZES = ["", "0", "-1", "1", "30", "1e9", "nan", "inf", "0x10", "1_0", " 1", "%D9%A1"]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(["", -1, 0, 1e308])
    | st.just(10_000).map("x".__mul__),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
bodies = st.one_of(
    st.binary(max_size=200),
    values.map(msgspec.msgpack.encode),
    values.map(msgspec.json.encode),
    st.builds(
        lambda data, cut: data[: cut % (len(data) + 1)],
        st.one_of(values.map(msgspec.msgpack.encode), values.map(msgspec.json.encode)),
        st.integers(0, 500),
    ),
)
arguments = st.lists(
    st.tuples(
        st.sampled_from(
            ["max", "max_bytes", "wait_s", "visibility_timeout_s", "queue", "offset", "limit", "a"]
        ),
        st.sampled_from(SIZES),
    ),
    max_size=3,
)
fields = st.lists(
    st.sampled_from(
        [
            "Content-Type: application/msgpack",
            "Content-Type: \xff/;;",
            "Accept: application/msgpack",
            "Content-Encoding: deflate",
            "Content-Encoding: gzip",
            "Content-Length: 3",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Connection: close",
            "Connection: upgrade",
            "Upgrade: websocket",
            "Expect: 100-continue",
            " folded: x",
            "Host: y",
        ]
    ),
    max_size=3,
)
METHODS = ["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PRI", "post"]


heads = st.builds(
    lambda method, path, query, more, body: request(
        path + ("?" + "&".join(map("=".join, query)) if query else ""), body, *more, method=method
    ),
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    arguments,
    fields,
    bodies,
)
GOOD = request("/publish", b'{"id":"a","payload":"x"}') + request("/consume?max=2&wait_s=0")
broken = st.builds(
    lambda at, bytes_, drop: GOOD[:at] + bytes_ + GOOD[at + drop :],
    st.integers(0, len(GOOD)),
    st.binary(max_size=5)
    | st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b":", b" ", b"\0"]),
    st.integers(0, 8),
)


@dataclass
class Target:
    """A broker that is fired at, and what it logs."""

    broker: Any
    log: pytest.LogCaptureFixture

    async def take(self, data: bytes, cut: int) -> None:
        """Send it in two segments: an answer is none of a fault, and others are served."""
        async with raw_to(self.broker.port) as raw:
            await raw.send(data[:cut])
            await asyncio.sleep(0)
            await raw.send(data[cut:])
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(ENDLESS_S):
                    assert await raw.status() not in (500, 502, 504)  # one to HEAD has no body
        async with raw_to(self.broker.port) as raw:
            await raw.send(request("/healthz", method="GET"))
            assert (await raw.reply()).status == 200
        assert not [r for r in self.log.records if r.levelno >= logging.WARNING], self.log.text


@pytest.fixture
async def target(start, caplog):
    """A broker that soon gives up on a body."""
    async with start(receive_timeout_s=0.1) as broker:
        yield Target(broker, caplog)


@FUZZ
@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
async def test_any_bytes(target, data, cut) -> None:
    await target.take(data + b"\r\n\r\n", cut)


@FUZZ
@given(data=broken, cut=st.integers(0, 300))
async def test_good_requests_with_something_broken(target, data, cut) -> None:
    await target.take(data, cut)


@FUZZ
@given(data=heads, cut=st.integers(0, 300))
async def test_any_request(target, data, cut) -> None:
    await target.take(data, cut)


@FUZZ
@given(
    path=st.sampled_from(PATHS[:10]),
    body=bodies,
    type_=st.sampled_from(["application/json", "application/msgpack"]),
)
async def test_any_body_is_answered(broker, path, body, type_) -> None:
    status, reply = await broker.post(path, body, **{"Content-Type": type_})
    assert status in (200, 202, 204, 400, 404, 405, 409, 413)
    if status >= 400:
        assert set(reply) == {"code", "message"}
    stats = await broker.client.stats()
    held = sum(stats[name] for name in ("ready", "delayed", "in_flight", "dead"))
    assert stats["published"] == stats["acked"] + stats["purged"] + stats["expired"] + held
