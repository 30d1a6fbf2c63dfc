"""A process knows its own servers, also once their certificate has been renewed."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest
import trustme

from gputel.web.server import watched
from gputel.web.server.tls import Certificate


def issue(cert: Path, key: Path) -> None:
    issued = trustme.CA().issue_cert("gputel.example")  # each time by another authority
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())


async def serial(port: int, context: ssl.SSLContext) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
    writer.close()
    return str(shown)


async def test_its_own_client_goes_on_after_a_renewal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.monotonic()
    monkeypatch.setattr(watched.time, "monotonic", lambda: clock)  # type: ignore[attr-defined]
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    issue(cert, key)
    certificate = Certificate(cert, key)
    client = certificate.client_context()
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.server_context()
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        before = await serial(port, client)
        issue(cert, key)
        clock += 2
        assert await serial(port, client) != before
        with pytest.raises(ssl.SSLCertVerificationError):
            await serial(port, ssl.create_default_context())
