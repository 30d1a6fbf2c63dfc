"""The fast path answers what is hot itself, and leaves aiohttp what it does not know."""

import asyncio

import msgspec
import pytest

from gputel import metrics
from gputel.broker.fast import connection as fast_path
from gputel.broker.fast.head import MAX_HEAD_BYTES, parse_head
from gputel.broker.queues.queues import Queues
from gputel.broker.requests.exchange import Reply
from gputel.broker.requests.messages import Consumers
from gputel.broker.server import make_app
from gputel.config.settings import BrokerSettings
from gputel.web.health import Health
from tests.integration.broker.conftest import until

STATS = b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n"


def publish(id_: str, payload: str = "") -> bytes:
    body = msgspec.json.encode({"id": id_, "payload": payload})
    return (
        b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )


def consume(query: str = "?wait_s=5") -> bytes:
    return f"POST /consume{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class Raw:
    """A connection on which bytes are written and replies read in their order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> tuple[int, dict]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
        body = await self.reader.readexactly(int(fields["Content-Length"]))
        return int(head[9:12]), msgspec.json.decode(body)


@pytest.fixture
async def raw(broker):
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    yield Raw(reader, writer)
    writer.close()


@pytest.fixture
def answered(monkeypatch) -> list[str]:
    """The paths that the fast path answered."""
    paths: list[str] = []
    answer = fast_path.FastPath._answer

    async def noting(self, request) -> None:
        paths.append(request.path)
        await answer(self, request)

    monkeypatch.setattr(fast_path.FastPath, "_answer", noting)
    return paths


async def test_client_goes_the_fast_way_and_statistics_do_not_end_it(
    broker, answered, plain_http
) -> None:
    for _ in range(2):
        await broker.client.stats()
        await broker.client.held(["a"])
    assert answered == ([] if plain_http else ["/held", "/held"])


async def test_pipelined_requests_are_answered_in_their_order(
    raw, broker, answered, plain_http
) -> None:
    raw.writer.write(publish("a") + publish("b") + consume() + consume() + consume() + STATS)
    ids = [(await raw.reply())[1]["id"] for _ in range(4)]
    assert ids == ["a", "b", "a", "b"]
    await until(broker, waiting_consumers=1)
    raw.writer.write(publish("c"))  # aiohttp's, or it waits in line: the consume is not answered
    raw.writer.write_eof()
    assert (await raw.reader.read()) == b""
    assert len(answered) == (0 if plain_http else 5)


async def test_request_in_pieces_of_any_size_is_answered(raw) -> None:
    data = publish("a", "x" * 300)
    head = data.index(b"\r\n\r\n") + 4
    for cut in (1, head - 2, head, head + 1, len(data) - 1):
        raw.writer.write(data[:cut])
        await asyncio.sleep(0.01)
        raw.writer.write(data[cut:])
        status, reply = await raw.reply()
        assert (status, reply["id"]) == (202, "a")


async def test_body_that_is_slow_to_come_is_left_to_aiohttp(
    raw, answered, monkeypatch, plain_http
) -> None:
    monkeypatch.setattr(fast_path, "_SLOW_BODY_S", 0.02)
    left, too_slow = asyncio.Event(), fast_path.FastPath._too_slow

    def noting(self) -> None:
        left.set()
        too_slow(self)

    monkeypatch.setattr(fast_path.FastPath, "_too_slow", noting)
    data = publish("a", "x" * 300)
    raw.writer.write(data[:-10])
    if not plain_http:
        async with asyncio.timeout(60):
            await left.wait()
    raw.writer.write(data[-10:])
    assert (await raw.reply())[0] == 202
    assert answered == []


@pytest.mark.parametrize(
    "line",
    [
        "Expect: 100-continue",
        "Transfer-Encoding: chunked",
        "Upgrade: websocket",
        "Connection: close",
        "Content-Length: 0",
        "X: " + "x" * MAX_HEAD_BYTES,
        " folded: x",
        "Bad\x01Name: x",
        "Umlaut: \xe4",
    ],
)
def test_head_with_anything_unusual_is_not_read_here(line: str) -> None:
    head = f"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{line}\r\n\r\n"
    assert parse_head(head.encode("latin-1")) is None


@pytest.mark.parametrize(
    "first",
    [
        "POST /publish HTTP/1.0",
        "PUT /publish HTTP/1.1",
        "POST /consume?max=%31 HTTP/1.1",
        "POST /consume?max=+1 HTTP/1.1",
        "POST /consume#x HTTP/1.1",
        "POST  /publish HTTP/1.1",
        "POST http://x/publish HTTP/1.1",
        "\r\nPOST /publish HTTP/1.1",
    ],
)
def test_request_line_with_anything_unusual_is_not_read_here(first: str) -> None:
    assert parse_head(f"{first}\r\nHost: localhost\r\n\r\n".encode()) is None


async def test_first_of_two_arguments_counts_and_empty_ones_are_told(broker) -> None:
    await broker.publish("a", "b")
    status, reply = await broker.post("/consume?max=1&max=2")
    assert (status, len(reply)) == (200, 1)
    assert (await broker.post("/consume?max"))[0] == 400


async def test_both_ways_count_their_requests_alike(broker) -> None:
    def count(status: str) -> float:
        labels = {"role": "broker", "route": "/extend", "status": status}
        return metrics.REGISTRY.get_sample_value("gputel_http_requests_total", labels) or 0.0

    before = count("404"), count("200")
    assert (await broker.post("/extend", {"id": "a"}))[0] == 404
    assert (await broker.post("/extend", [{"id": "a"}]))[0] == 200
    assert (count("404"), count("200")) == (before[0] + 1, before[1] + 1)


async def test_many_requests_that_wait_in_line_pause_the_reading(raw, broker) -> None:
    raw.writer.write(consume())
    raw.writer.write(publish("a", "x" * 1000) * 300)
    await until(broker, waiting_consumers=1)
    assert (await broker.post("/publish", {"id": "first", "payload": ""}))[0] == 202
    assert (await raw.reply())[1]["id"] == "first"
    for _ in range(300):
        assert (await raw.reply())[0] == 202


async def test_no_message_is_a_reply_without_a_length_or_a_body(raw) -> None:
    raw.writer.write(consume("?wait_s=0") + publish("a"))
    head = await asyncio.wait_for(raw.reader.readuntil(b"\r\n\r\n"), 60)
    assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-length" not in head.lower()
    assert (await raw.reply())[1]["id"] == "a"


async def test_requests_in_line_are_bounded_however_often_one_of_them_waits(
    raw, broker, monkeypatch, plain_http
) -> None:
    if plain_http:
        pytest.skip("aiohttp has bounds of its own")
    in_line: list[int] = []
    answer = fast_path.FastPath._answer

    async def noting(self, request) -> None:
        in_line.append(sum(map(len, self._parts)))
        await answer(self, request)

    monkeypatch.setattr(fast_path.FastPath, "_answer", noting)
    raw.writer.write(consume("") * 40_000)
    for n in range(12):
        await broker.publish(f"m{n}")
        assert (await raw.reply())[1]["id"] == f"m{n}"
    raw.writer.transport.abort()
    assert max(in_line) <= 64 * 1024 + 256 * 1024


async def test_others_get_their_turn_between_many_pipelined_requests(
    raw, monkeypatch, plain_http
) -> None:
    if plain_http:
        pytest.skip("aiohttp gives every request a turn of its own")
    loop = asyncio.get_running_loop()
    turn, turns = 0, []

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(next_turn)

    answer = fast_path.FastPath._answer

    async def noting(self, request) -> None:
        turns.append(turn)
        await answer(self, request)

    monkeypatch.setattr(fast_path.FastPath, "_answer", noting)
    next_turn()
    raw.writer.write(publish("a") * 100)
    for _ in range(100):
        assert (await raw.reply())[0] == 202
    assert turns[-1] > turns[0]


async def test_fault_while_a_reply_is_written_ends_the_connection_and_loses_no_message(
    raw, broker, monkeypatch, caplog, plain_http
) -> None:
    if plain_http:
        pytest.skip("the replies of aiohttp are its own")
    raw.writer.write(consume())
    await until(broker, waiting_consumers=1)
    whole = fast_path.reply_bytes  # type: ignore[attr-defined]

    def fails(given: Reply) -> list[bytes]:
        if given.status == 200:
            raise ValueError("a fault")
        return whole(given)

    monkeypatch.setattr(fast_path, "reply_bytes", fails)
    await broker.publish("a")
    assert await asyncio.wait_for(raw.reader.read(), 60) == b""
    monkeypatch.undo()
    (delivery,) = await broker.client.consume(1)
    assert (delivery.id, delivery.attempts) == ("a", 1)
    assert "ValueError: a fault" in caplog.text
    caplog.clear()  # it was foreseen here


async def test_fast_path_stands_for_every_middleware_of_the_application() -> None:
    settings = BrokerSettings()
    app = make_app(Queues(settings), settings, Health(), Consumers())
    # The fast path counts, turns errors into replies and asks for tokens itself: a fourth
    # middleware must be added.
    assert len(app.middlewares) == 4
