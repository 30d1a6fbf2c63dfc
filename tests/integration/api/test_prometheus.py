"""Prometheus' API on real Postgres, where no Prometheus is needed to say what is right."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from gputel.api.server import serve
from gputel.config.settings import AccessSettings, ApiSettings
from gputel.store.read.reader import Reader
from gputel.store.write.writer import Arrival, Writer
from gputel.version import full_version
from gputel.web.access.access import Access
from gputel.web.health import Health
from tests.helpers.batches import NOON, batch, labels
from tests.helpers.telemetry_rows import Labels, add_block, add_many, every

AT = str(NOON.timestamp() + 60)
API = "/prometheus/api/v1"


async def ask(client, path, **parameters):
    async with client.get(f"{API}/{path}", params=parameters) as answer:
        return answer.status, await answer.json()


async def error_of(client, path, **parameters):
    status, answer = await ask(client, path, **parameters)
    assert set(answer) == {"status", "errorType", "error"}, answer
    assert answer["status"] == "error"
    return status, answer["errorType"], answer["error"]


RAW = r'instance="h:9400",job="a\"b\\c",pod="other",empty=""'


@pytest.fixture
async def landed(pool):
    """One GPU whose labels tell everything that can be told."""
    whole = labels("GPU-x", "TEMP", gpu_id="3", device="nvidia3", hostname="h", pod="p",
                   model_name="H100", container="c", namespace="n",
                   labels_raw=RAW)  # fmt: skip
    rows = [(whole, moment, 42.5) for moment in every(NOON, 15, 5)]
    await Writer(pool).land([Arrival("1", None, batch(rows))])


LABELS = {"__name__": "TEMP", "gpu": "3", "device": "nvidia3", "UUID": "GPU-x", "Hostname": "h",
          "pod": "p", "modelName": "H100", "container": "c", "namespace": "n",
          "instance": "h:9400", "job": 'a"b\\c'}  # fmt: skip


async def test_labels_are_named_as_by_dcgm_exporter(client, landed):
    status, answer = await ask(client, "query", query="TEMP", time=AT)
    assert status == 200
    assert answer == {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": LABELS, "value": [float(AT), "42.5"]}],
        },
    }


async def test_a_query_may_come_as_a_form(client, landed):
    form = {"query": "TEMP", "start": AT, "end": AT, "step": "15"}
    async with client.post(f"{API}/query_range", data=form) as answer:
        (series,) = (await answer.json())["data"]["result"]
    assert series == {"metric": LABELS, "values": [[float(AT), "42.5"]]}
    async with client.post(f"{API}/series", data={"match[]": "TEMP"}) as answer:
        assert (await answer.json())["data"] == [LABELS]
    async with client.post(f"{API}/labels", params={"match[]": "TEMP"}) as answer:
        assert (await answer.json())["data"] == sorted(LABELS)
    packed = {"Content-Encoding": "gzip"}
    async with client.post(f"{API}/series", data={"match[]": "TEMP"}, headers=packed) as answer:
        assert answer.status == 400
        assert "send it uncompressed" in (await answer.json())["error"]


async def test_series_that_differ_in_raw_labels_of_no_meaning_are_one(client, pool):
    for number, raw in enumerate(('a="1",b="2"', 'b="2", a="1"')):
        rows = [(labels(labels_raw=raw), moment, float(number)) for moment in every(NOON, 30, 2)]
        rows.append((labels(labels_raw=raw), every(NOON, 40 + number, 2)[1], 9.0))
        await Writer(pool).land([Arrival(str(number), None, batch(rows))])
    _, answer = await ask(client, "query", query="TEMP[5m]", time=AT)
    (series,) = answer["data"]["result"]
    noon = NOON.timestamp()
    assert series["values"] == [[noon, "1"], [noon + 30, "1"], [noon + 40, "9"], [noon + 41, "9"]]


async def test_an_empty_store_answers_with_nothing(client):
    for path, more in (("query", {}), ("query_range", {"start": AT, "end": AT, "step": "1"})):
        _, answer = await ask(client, path, query="TEMP", **more)
        assert answer["data"]["result"] == []
    for path in ("labels", "label/pod/values"):
        assert (await ask(client, path))[1]["data"] == []
    assert (await ask(client, "series", **{"match[]": "TEMP"}))[1]["data"] == []
    assert (await ask(client, "metadata"))[1]["data"] == {}


async def test_metadata_and_buildinfo(client, landed):
    assert list((await ask(client, "metadata"))[1]["data"]) == ["TEMP"]
    assert (await ask(client, "metadata", metric="OTHER"))[1]["data"] == {}
    _, answer = await ask(client, "status/buildinfo")
    assert answer["data"]["version"].count(".") == 2
    assert answer["data"]["revision"] == f"gputel-{full_version()}"


async def test_a_function_that_there_is_not_is_refused_by_name(client):
    status, kind, message = await error_of(client, "query", query="mad_over_time(a[5m])")
    assert (status, kind) == (400, "bad_data")
    assert message == '1:1: parse error: unknown function with name "mad_over_time"'


async def test_steps_of_a_subquery_count_against_the_limit_of_samples(client, landed):
    query = "sum_over_time(sum_over_time(TEMP[99y:1s])[1h:1m])"
    status, kind, message = await error_of(client, "query", query=query, time=AT)
    assert (status, kind) == (422, "execution")
    assert "a subquery has" in message
    assert "--query-max-samples" in message


async def test_unicode_and_nul_are_text_like_others(client, pool):
    await add_block(pool, Labels(hostname="höst ✓", pod="a\nb"), [NOON], [1.0])
    _, answer = await ask(
        client, "query", query='TEMP{Hostname="höst ✓",pod=~"a.b|a\\nb"}', time=AT
    )
    assert answer["data"]["result"][0]["metric"]["pod"] == "a\nb"
    _, answer = await ask(client, "query", query='TEMP{Hostname="h\\x00"}', time=AT)
    assert answer["data"]["result"] == []
    _, answer = await ask(client, "query", query='TEMP{Hostname!~"h\\x00"}', time=AT)
    assert len(answer["data"]["result"]) == 1


@pytest.mark.parametrize(
    "query",
    ["(" * 60_000 + "1" + ")" * 60_000, "+".join(["TEMP"] * 10_000), "abs(" * 9000, "-" * 60_000,
     'TEMP{pod=~"((a{900}){900}){900}"}',
     "TEMP[" + "9" * 50 + "d]", "TEMP offset 9999999999y", "TEMP @ 1e300",
     "a" * 200_000, '"' + "\\" * 60_001],
    ids=lambda text: text[:12],
)  # fmt: skip
async def test_hostile_expressions_are_refused_with_a_line(client, query):
    async with client.post(f"{API}/query", data={"query": query}) as answer:
        body = await answer.json()
    assert answer.status in (400, 413)
    assert body["errorType"] == "bad_data"
    assert len(body["error"]) < 100_000


@pytest.mark.parametrize(
    "query", ["TEMP[99y]", "TEMP offset 90y", "TEMP @ 0", "TEMP @ -1", "TEMP offset -290y"]
)
async def test_times_far_away_have_no_samples_or_all(client, landed, query):
    status, answer = await ask(client, "query", query=query, time=AT)
    assert status == 200
    assert len(answer["data"]["result"]) == (query == "TEMP[99y]")
    for at in ("0", "253402300799", "-62135596800"):
        assert (await ask(client, "query", query=query, time=at))[0] == 200


async def test_patterns_that_backtrack_elsewhere_are_quick(client, pool):
    await add_block(pool, Labels(pod="a" * 5000), [NOON], [1.0])
    for pattern in ("(a*)*b|(a|aa)+c", "(a*)*" * 3000 + "b"):
        form = {"query": f'TEMP{{pod=~"{pattern}"}}', "time": AT}
        async with client.post(f"{API}/query", data=form) as answer:
            assert (await answer.json())["data"]["result"] == []


@pytest.mark.parametrize(
    ("settings", "query", "says"),
    [
        ({"query_max_series": 1}, "TEMP", "--query-max-series"),
        ({"query_max_samples": 100}, "avg_over_time(TEMP[1h])", "--query-max-samples"),
        ({"query_max_samples": 1000}, "TEMP", "--query-max-samples"),
    ],
)
async def test_what_is_over_a_limit_is_refused_with_its_name(client, pool, settings, query, says):
    for uuid in ("GPU-a", "GPU-b"):
        await add_many(pool, Labels(uuid), NOON, 2, 500)
    span = {"start": AT, "end": str(float(AT) + 3600), "step": "5"}
    assert (await ask(client, "query_range", query=query, **span))[0] == 200
    small = ApiSettings(api_port=0, **settings)
    parameters = {"query": query, **span}
    async with (
        serve(small, "127.0.0.1", Reader(pool), Health()) as api,
        client.get(f"{api.url}{API}/query_range", params=parameters) as answer,
    ):
        body = await answer.json()
    assert answer.status == 422
    assert body["errorType"] == "execution"
    assert says in body["error"]


async def test_a_query_that_takes_too_long_is_ended(client, pool):
    await add_many(pool, Labels(), NOON, 20, 1000)
    query = " + ".join(f"quantile_over_time(0.{n + 1}, TEMP[10m])" for n in range(40))
    span = {"start": AT, "end": str(float(AT) + 3600), "step": "1", "timeout": "50ms"}
    status, kind, message = await error_of(client, "query_range", query=query, **span)
    assert (status, kind) == (503, "timeout")
    assert "--query-timeout-s" in message
    assert (await ask(client, "query", query="1"))[0] == 200


async def test_postgres_being_away_is_told_in_prometheus_shape(wired_client, wire):
    await wire.cut()
    status, kind, _ = await error_of(wired_client, "query", query="TEMP")
    assert (status, kind) == (503, "unavailable")


async def test_many_at_once_all_get_their_answer(client, landed):
    queries = [ask(client, "query", query=f"TEMP + {n}", time=AT) for n in range(40)]
    answers = await asyncio.gather(*queries)
    found = [answer["data"]["result"][0]["value"][1] for _, answer in answers]
    assert found == [json.dumps(42.5 + n) for n in range(40)]


@pytest.mark.parametrize("path", ["", "/", "/api/v1", "/x/y/z", "/api/v1/nothing",
                                  "/api/v1/label/x", "/api/v1/" + "x" * 5000])  # fmt: skip
async def test_a_path_that_is_none_is_refused_in_prometheus_shape(client, path):
    for method in ("GET", "POST"):
        async with client.request(method, f"/prometheus{path}") as answer:
            body = await answer.json()
        assert answer.status == 404
        assert (body["status"], body["errorType"]) == ("error", "not_found")
        assert body["error"].startswith(f"there is nothing at /prometheus{path[:100]}")
        assert len(body["error"]) < 300


async def test_a_method_that_is_none_is_refused_in_prometheus_shape(client):
    for method, path, taken in (("DELETE", "query", "GET, POST"), ("POST", "metadata", "GET")):
        async with client.request(method, f"{API}/{path}") as answer:
            body = await answer.json()
        assert (answer.status, answer.headers["Allow"]) == (405, taken.replace(" ", ""))
        assert body == {
            "status": "error",
            "errorType": "bad_data",
            "error": f"{API}/{path} does not take {method}, only {taken}",
        }


async def test_the_rest_api_beside_it_refuses_in_its_own_shape(client):
    for path in ("/prometheusx", "/api/v1/prometheus"):
        async with client.get(path) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "not_found")


async def test_who_may_not_ask_is_told_in_prometheus_shape(pool):
    one, other = "1" * 32, "2" * 32
    access = Access.of(AccessSettings(tokens=f"one read {one};other write {other}"))
    settings = ApiSettings(api_port=0, rate_limit=0.001, rate_burst=1)

    async def refused(client, token):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with client.get(f"{API}/labels", headers=headers) as answer:
            body = await answer.json()
        assert body.pop("status") == "error", body
        return answer.status, body.pop("errorType"), body.pop("error"), answer.headers

    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health(), access=access) as api,
        aiohttp.ClientSession(api.url) as client,
    ):
        status, kind, message, headers = await refused(client, None)
        assert (status, kind) == (401, "unauthorized")
        assert message.startswith("a token is needed")
        assert headers["WWW-Authenticate"] == "Bearer"
        status, kind, message, _ = await refused(client, other)
        assert (status, kind) == (403, "forbidden")
        assert message.endswith("it needs read")
        async with client.get(f"{API}/labels", headers={"Authorization": f"Bearer {one}"}) as first:
            assert first.status == 200
        status, kind, _, headers = await refused(client, one)
        assert (status, kind) == (429, "too_many_requests")
        assert 900 <= int(headers["Retry-After"]) <= 1000
        assert headers["RateLimit-Remaining"] == "0"
