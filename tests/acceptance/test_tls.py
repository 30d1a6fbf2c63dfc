"""HTTPS on every port, from files, renewed while it runs; clients that trust its authority."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.helpers.processes import Processes, free_port


class Authority:
    """Signs certificates for 127.0.0.1, and writes them where a process looks for them."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.cert, self.key = directory / "tls.crt", directory / "tls.key"
        self.trust = directory / "ca.crt"
        self._ca.cert_pem.write_to_path(self.trust)
        self.issue()

    def issue(self) -> None:
        issued = self._ca.issue_cert("127.0.0.1", "localhost")
        new = self.cert.with_suffix(".new")
        new.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.key)
        new.replace(self.cert)

    async def serial(self, port: int) -> int:
        """The serial number of the certificate that a server shows now."""
        from cryptography import x509

        context = ssl.create_default_context(cafile=self.trust)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(shown).serial_number


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_the_whole_pipeline_speaks_tls_and_its_clients_know_it_by_its_authority(
    processes: Processes, authority: Authority, dsn: str
) -> None:
    api, broker = free_port(), free_port()
    ports = ("--api-port", str(api), "--broker-port", str(broker))
    tls = ("--tls-cert", authority.cert, "--tls-key", authority.key)
    rate = ("--rate", "1000", "--data-dir", authority.cert.parent)
    process = processes.start("run", "--role", "all", *ports, *tls, *rate, GPUTEL_POSTGRES_DSN=dsn)
    await process.says("ready")
    assert f"api listens on https://127.0.0.1:{api}" in process.err
    trusting = {"SSL_CERT_FILE": str(authority.trust)}
    query = ("query", "gpus", "--api-url", f"https://127.0.0.1:{api}", "--format", "json")
    async with asyncio.timeout(60):
        while True:
            asked = await processes.run(*query, **trusting)
            assert asked.process.returncode == 0, asked.err
            if asked.out.strip() != "[]":
                break
    stats = ("queue", "--broker-url", f"https://127.0.0.1:{broker}", "stats")
    assert (await processes.run(*stats, **trusting)).process.returncode == 0
    unknown = await processes.run(*query)
    assert unknown.process.returncode == 1
    assert "is not trusted" in unknown.err
    assert "SSL_CERT_FILE" in unknown.err
    plain = await processes.run("query", "gpus", "--api-url", f"http://127.0.0.1:{api}")
    assert "use https:// if it has a certificate" in plain.err
    health = await processes.run("healthcheck", *ports, *tls[:2])
    assert health.out == "ok\n", health.err
    assert await process.stop() == 0


async def test_collectors_of_other_processes_use_a_broker_over_tls(
    processes: Processes, authority: Authority, dsn: str
) -> None:
    port = free_port()
    tls = ("--tls-cert", authority.cert, "--tls-key", authority.key)
    await processes.start("run", "--role", "broker", "--broker-port", str(port), *tls).says("ready")
    arguments = ("--role", "collector,streamer", "--rate", "1000", "--no-loop")
    environment = {
        "GPUTEL_POSTGRES_DSN": dsn,
        "GPUTEL_BROKER_URL": f"https://127.0.0.1:{port},https://localhost:{port}",
        "SSL_CERT_FILE": str(authority.trust),
        "GPUTEL_DATA_DIR": str(authority.cert.parent),
    }
    process = processes.start("run", *arguments, **environment)
    await process.says("ready")
    environment = {"SSL_CERT_FILE": str(authority.trust)}
    stats = ("queue", "--broker-url", f"https://127.0.0.1:{port}", "stats")
    async with asyncio.timeout(60):
        while True:
            told = await processes.run(*stats, **environment)
            if re.search(r'"acked": [1-9]', told.out):
                break
    assert await process.stop() == 0


async def test_a_role_that_does_not_trust_its_broker_or_its_database_ends_and_says_so(
    processes: Processes, authority: Authority, dsn: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.cert, authority.key)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    ended = await processes.run(
        *("run", "--role", "collector", "--broker-url", url), GPUTEL_POSTGRES_DSN=dsn
    )
    assert ended.process.returncode == 1
    assert ended.err.splitlines()[-1].startswith(
        f"gputel: the broker cannot be asked: the certificate of {url} is not trusted"
    )
    assert "is away" not in ended.err
    server.close()


async def test_a_renewed_certificate_is_shown_without_a_restart(
    processes: Processes, authority: Authority
) -> None:
    port = free_port()
    tls = ("--tls-cert", authority.cert, "--tls-key", authority.key)
    process = processes.start("run", "--role", "broker", "--broker-port", str(port), *tls)
    await process.says("ready")
    before = await authority.serial(port)
    authority.issue()
    async with asyncio.timeout(60):
        while await authority.serial(port) == before:
            await asyncio.sleep(0.2)
    authority.cert.write_text("nonsense")
    async with asyncio.timeout(60):
        while "the certificate stays as it was" not in process.err:
            assert await authority.serial(port) != before
            await asyncio.sleep(0.1)
    assert await process.stop() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.cert.unlink(), ["--tls-cert", "No such file"]),
        (lambda a: a.key.write_text("x"), ["--tls-key", "no certificate and its key"]),
        (lambda a: a.cert.write_bytes(a.trust.read_bytes()), ["--tls-cert", "key values mismatch"]),
    ],
)
async def test_wrong_files_are_one_line(
    processes: Processes,
    authority: Authority,
    change: Callable[[Authority], object],
    words: list[str],
) -> None:
    change(authority)
    tls = ("--tls-cert", authority.cert, "--tls-key", authority.key)
    ended = await processes.run("run", "--role", "broker", *tls)
    assert ended.process.returncode == 2
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err


async def test_a_certificate_without_its_key_is_one_line(
    processes: Processes, authority: Authority
) -> None:
    ended = await processes.run("run", "--role", "broker", "--tls-cert", authority.cert)
    assert ended.process.returncode == 2
    assert "--tls-key: a certificate and its key go together" in ended.err
