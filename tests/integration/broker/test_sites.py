"""Pages of other sites change nothing at the broker, and read nothing by a name of their own."""

from itertools import product

import pytest

from gputel.broker.server import serve
from gputel.config.settings import BrokerSettings
from gputel.web.access.access import Access
from gputel.web.health import Health
from tests.helpers.raw_http import raw_to, request

MESSAGE = b'{"id":"a","payload":"x"}'
CHANGES = [
    ("POST", "/publish", MESSAGE),
    ("POST", "/consume?wait_s=0", b""),
    ("POST", "/ack", b'{"id":"a"}'),
    ("POST", "/nack", b'{"id":"a"}'),
    ("POST", "/extend", b'{"id":"a"}'),
    ("POST", "/held", b'{"id":"a"}'),
    ("POST", "/admin/drain", b""),
    ("POST", "/dead-letters/purge", b'{"all":true}'),
    ("POST", "/dead-letters/replay", b'{"all":true}'),
    ("PUT", "/queues/q", b""),
    ("DELETE", "/queues/q", b""),
    ("POST", "/no-such-path", b""),
]
READS = ["/stats", "/peek", "/queues", "/dead-letters", "/healthz", "/readyz", "/metrics"]
JSON = "Content-Type: application/json"
FOREIGN = [
    ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site"),
    ("Origin: https://evil.example",),
    ("Origin: null",),
    ("Origin: null", "Sec-Fetch-Site: cross-site"),
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site",),
    ("Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"),
    ("Origin: http://localhost:3000",),
    ("Origin: http://[",),
]
OWN = [
    (),
    ("Origin: http://localhost",),
    ("Origin: http://localhost", "Sec-Fetch-Site: same-origin"),
    ("Sec-Fetch-Site: none",),
]


def broker_with(access):
    settings = BrokerSettings(broker_port=0)
    return serve(settings, "127.0.0.1", Health(), drain_deadline_s=1, access=access)


async def asked(port, method, target, body=b"", *fields, host="localhost"):
    data = request(target, body, *fields, method=method)
    async with raw_to(port) as raw:
        await raw.send(data.replace(b"Host: localhost", f"Host: {host}".encode()))
        return await raw.reply()


@pytest.mark.parametrize(("method", "target", "body"), CHANGES)
async def test_pages_of_other_sites_may_change_nothing(broker, method, target, body) -> None:
    for content_type, sent in product((JSON, "Content-Type: text/plain"), FOREIGN):
        reply = await asked(broker.port, method, target, body, content_type, *sent)
        assert (reply.status, reply.body["code"]) == (403, "cross_site"), (content_type, sent)
        assert "of another site" in reply.body["message"]
    stats = await broker.client.stats()
    assert (stats["published"], stats["closed"]) == (0, False)


@pytest.mark.parametrize("sent", OWN, ids=" ".join)
async def test_own_pages_and_what_is_no_browser_go_on(broker, sent) -> None:
    reply = await asked(broker.port, "POST", "/publish", MESSAGE, JSON, *sent)
    assert reply.status == 202


async def test_a_page_must_say_that_it_sends_json(broker) -> None:
    own = "Sec-Fetch-Site: same-origin"
    for sent in ((own,), (own, "Content-Type: text/plain;charset=UTF-8")):
        reply = await asked(broker.port, "POST", "/publish", MESSAGE, *sent)
        assert (reply.status, reply.body["code"]) == (415, "unsupported_media_type")
        assert "application/json" in reply.body["message"]
    assert (await asked(broker.port, "POST", "/consume?wait_s=0", b"", own)).status in (200, 204)


async def test_curl_and_clients_without_a_content_type_go_on(broker) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    assert (await asked(broker.port, "POST", "/publish", MESSAGE, form)).status == 202
    assert (await asked(broker.port, "POST", "/publish", MESSAGE)).status == 202


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "rebound.evil.example."])
async def test_a_foreign_name_reads_and_changes_nothing(broker, host) -> None:
    for method, target, body in [*CHANGES, *(("GET", target, b"") for target in READS)]:
        reply = await asked(broker.port, method, target, body, host=host)
        assert (reply.status, reply.body["code"]) == (403, "host_not_allowed"), target
        assert "--allowed-hosts" in reply.body["message"]
    assert (await broker.client.stats())["published"] == 0


async def test_a_foreign_name_is_refused_on_a_connection_that_had_a_good_one(broker) -> None:
    good = request("/publish", MESSAGE)
    async with raw_to(broker.port) as raw:
        await raw.send(good + good.replace(b"localhost", b"evil.example") + good)
        assert [(await raw.reply()).status for _ in range(3)] == [202, 403, 202]


async def test_two_hosts_are_refused(broker) -> None:
    reply = await asked(broker.port, "POST", "/publish", MESSAGE, "Host: evil.example")
    assert reply.status == 400


async def test_tokens_make_any_name_do_but_pages_of_other_sites_still_change_nothing() -> None:
    from gputel.web.access.tokens import parse

    tokens = parse(["me admin 0123456789abcdef"], "test")
    access = Access(lambda: tokens)
    shown = "Authorization: Bearer 0123456789abcdef"
    async with broker_with(access) as listener:
        publish = (listener.port, "POST", "/publish", MESSAGE, shown)
        assert (await asked(*publish, host="gpus.example")).status == 202
        assert (await asked(*publish, "Origin: https://evil.example")).status == 403


async def test_names_and_pages_of_the_setting_are_welcome() -> None:
    access = Access(allowed_hosts="gpus.example")
    async with broker_with(access) as listener:
        publish = (listener.port, "POST", "/publish", MESSAGE, JSON)
        assert (await asked(*publish, host="gpus.example:8081")).status == 202
        assert (await asked(*publish, "Origin: https://gpus.example")).status == 202
        assert (await asked(*publish, host="evil.example")).status == 403
