"""A broker whose certificate nobody here trusts, or that speaks no TLS."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from gputel.errors import BrokerNotTrusted, BrokerUnavailable
from gputel.mq.client import OutgoingMessage
from gputel.mq.connect import connect
from gputel.outage import Outage
from gputel.streamer.publisher import publish
from tests.integration.broker.conftest import running


async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.fixture
async def untrusted() -> AsyncIterator[str]:
    """The address of a server with the certificate of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(silent, "127.0.0.1", ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_it_is_an_error_that_trying_again_does_not_mend(untrusted: str) -> None:
    async with connect(untrusted) as client:
        told = f"the certificate of {untrusted} is not trusted .*SSL_CERT_FILE"
        with pytest.raises(BrokerNotTrusted, match=told) as raised:
            await client.send(b"x")
        assert not raised.value.retriable
        assert "is not trusted" in (await client.check() or "")


async def test_a_broker_without_tls_is_told_to_be_one() -> None:
    async with running() as broker, connect(f"https://127.0.0.1:{broker.port}") as client:
        with pytest.raises(BrokerNotTrusted, match=r"does not speak HTTPS .*: use http://"):
            await client.send(b"x")


async def test_a_broker_that_ends_during_the_handshake_is_only_away() -> None:
    server = await asyncio.start_server(silent, "127.0.0.1")
    async with connect(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(BrokerUnavailable) as raised:
            await client.publish([OutgoingMessage(payload=b"x")])
        assert raised.value.retriable
    server.close()


async def test_a_streamer_ends_with_the_reason_instead_of_trying_for_ever(
    untrusted: str, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(logging.getLogger("gputel"), "the broker")
    async with connect(untrusted) as client:
        with pytest.raises(BrokerNotTrusted):
            await publish(client, [OutgoingMessage(payload=b"x")], outage, asyncio.Event())
    (line,) = [each.getMessage() for each in caplog.records if each.name == "gputel"]
    assert line.startswith("the broker is there, but cannot be used: ")
    assert "is away" not in line


async def test_the_other_brokers_of_a_fleet_do_its_work(untrusted: str) -> None:
    async with running() as broker, connect([untrusted, broker.url]) as client:
        ids = [str(number) for number in range(20)]
        await client.publish([OutgoingMessage(payload=b"x", id=id_) for id_ in ids])
        deliveries = await client.consume(100)
        assert sorted(each.id for each in deliveries) == sorted(ids)
        assert all(each.ok for each in await client.ack([(d.id, d.lease) for d in deliveries]))


async def test_a_fleet_of_none_that_is_trusted_says_so(untrusted: str) -> None:
    same = untrusted.replace("127.0.0.1", "localhost")
    async with connect([untrusted, same]) as client:
        for call in (client.consume(1), client.publish([OutgoingMessage(payload=b"x")])):
            with pytest.raises(BrokerNotTrusted):
                await call
