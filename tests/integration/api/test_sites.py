"""Pages of other sites and the API: what they may send, and by which names they may read."""

import aiohttp
import pytest

FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
GRAFANA = {"Origin": "https://grafana.example", "Sec-Fetch-Site": "cross-site"}
QUERY = "/prometheus/api/v1/query"
PUSH = "/api/v1/telemetry"


async def status(client, method, path, **more) -> tuple[int, str]:
    async with client.request(method, path, **more) as reply:
        body = await reply.json(content_type=None)
        return reply.status, body.get("code") or body.get("errorType", "")


async def pushed(client, headers) -> int:
    """The status of a push that no broker takes: 503 once it has been let in."""
    headers = {"Content-Type": "text/csv", **headers}
    async with client.post(PUSH, data=b"", headers=headers) as reply:
        return reply.status


async def test_pages_of_other_sites_push_and_query_nothing(client) -> None:
    assert await pushed(client, FOREIGN) == 403
    assert (await status(client, "POST", QUERY, data={"query": "1"}, headers=FOREIGN))[0] == 403
    async with client.post(QUERY, data={"query": "1"}, headers=FOREIGN) as reply:
        assert (await reply.json())["status"] == "error"  # in Prometheus' shape


async def test_own_pages_push_and_query_as_swagger_ui_does(client) -> None:
    own = {"Origin": str(client._base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert (await status(client, "POST", QUERY, data={"query": "1"}, headers=own))[0] == 200
    assert await pushed(client, own) != 403


async def test_pages_of_named_origins_may_push(start) -> None:
    async with start(cors_origins="https://grafana.example") as client:
        assert await pushed(client, GRAFANA) != 403
        assert await pushed(client, FOREIGN) == 403


async def test_pages_of_any_origin_may_query_but_not_push_where_no_token_is_asked_for(
    start,
) -> None:
    async with start(cors_origins="*") as client:
        assert (await status(client, "POST", QUERY, data={"query": "1"}, headers=FOREIGN))[0] == 200
        assert await pushed(client, FOREIGN) == 403


@pytest.mark.parametrize(
    "path", ["/", "/swagger", "/openapi.json", "/healthz", "/metrics", "/api/v1/gpus", "/nothing"]
)
async def test_a_foreign_name_reads_nothing(client, path) -> None:
    for method in ("GET", "OPTIONS"):
        got = await status(client, method, path, headers={"Host": "evil.example"})
        assert got == (403, "host_not_allowed")


async def test_own_names_read(client: aiohttp.ClientSession) -> None:
    for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "gputel.localhost"):
        assert (await status(client, "GET", "/healthz", headers={"Host": host}))[0] == 200
