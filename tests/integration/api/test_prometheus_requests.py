"""How Prometheus' API is asked: forms, times, paths, and the pages that Grafana looks at."""

from __future__ import annotations

import aiohttp
import pytest

from tests.helpers.batches import NOON
from tests.helpers.telemetry_rows import Labels, add_block

AT = str(NOON.timestamp() + 60)
API = "/prometheus/api/v1"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def sample(pool):
    """One series of one sample."""
    await add_block(pool, Labels(), [NOON], [42.5])


async def ask(client, path, **parameters):
    async with client.get(f"{API}/{path}", params=parameters) as answer:
        return answer.status, await answer.json()


async def post(client, path, body, content_type=FORM):
    async with client.post(
        f"{API}/{path}", data=body, headers={"Content-Type": content_type}
    ) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    "charset", ["", "; charset=utf-16", "; charset=no-such", "; charset=\u00e9"]
)
async def test_a_form_is_utf_8_whatever_it_says_of_itself(client, sample, charset):
    body = f'query=TEMP{{Hostname!="h%C3%B6st"}}&time={AT}'.encode() + b"&x=\xc3\xb6"
    status, answer = await post(client, "query", body, FORM + charset)
    assert status == 200
    assert answer["data"]["result"][0]["value"] == [float(AT), "42.5"]


@pytest.mark.parametrize(
    ("body", "names"), [(b"query=\xff", "query"), (b"query=%FF", "query"), (b"query=1&a%ff=1", "a")]
)
async def test_a_form_that_is_not_utf_8_is_refused_by_the_name_of_its_field(client, body, names):
    status, answer = await post(client, "query", body)
    assert (status, answer["errorType"]) == (400, "bad_data")
    assert f'invalid parameter "{names}' in answer["error"]
    assert "not UTF-8" in answer["error"]


async def test_a_form_may_be_multipart(client, sample):
    form = aiohttp.FormData({"query": "TEMP", "time": AT})
    form.add_field("file", b"\xff\x00", filename="x")
    async with client.post(f"{API}/query", data=form) as answer:
        assert answer.status == 200
        assert (await answer.json())["data"]["result"][0]["value"] == [float(AT), "42.5"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"query=1"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--y"),
        ("multipart/form-data; boundary=x",
         b'--x\r\nContent-Disposition: form-data; name="query"\r\n'
         b"Content-Transfer-Encoding: base64\r\n\r\n%%%\r\n--x--"),
        ("multipart/form-data; boundary=x",
         b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\n\xff\r\n--x--'),
        (FORM, b"a=1&" * 2000),
        (FORM, b""),
    ],
)  # fmt: skip
async def test_a_form_without_a_query_is_refused(client, content_type, body):
    status, answer = await post(client, "query", body, content_type)
    assert (status, answer["errorType"]) == (400, "bad_data")


async def test_a_blank_time_is_one_that_is_missing(client, sample):
    status, answer = await ask(client, "query", query="1", time="", timeout="")
    assert (status, answer["data"]["result"][1]) == (200, "1")
    assert (await ask(client, "labels", start="", end=""))[1]["data"]
    span = {"start": "", "end": AT, "step": "1"}
    assert (await ask(client, "query_range", query="1", **span))[0] == 400


async def test_the_least_and_greatest_times_of_prometheus_are_taken(client, sample):
    ends = {
        "start": "-292273086-05-16T16:47:06Z",
        "end": "292277025-08-18T07:12:54.999999999Z",
    }
    for path in ("labels", "label/gpu/values", "series"):
        status, answer = await ask(client, path, **ends, **{"match[]": "TEMP"})
        assert status == 200
        assert answer["data"]
    for time in (*ends.values(), "1e12", "-1e12", "1e300", "0", "-0.5"):
        for query in ("TEMP", "rate(TEMP[290y])", "TEMP offset -290y", "TEMP[1m]", "year()",
                      "TEMP @ 9e18", "max_over_time(TEMP[5m:1m])", "TEMP @ end()"):  # fmt: skip
            status, _ = await ask(client, "query", query=query, time=time)
            assert status == 200
    whole = {**ends, "step": "9e8"}
    assert (await ask(client, "query_range", query="TEMP", **whole))[0] == 200


@pytest.mark.parametrize("time", ["NaN", "Inf", "yesterday", "2026-01-01", "0x10", "1_000"])
async def test_a_time_that_is_none_is_refused_by_its_name(client, time):
    status, answer = await ask(client, "query", query="1", time=time)
    assert (status, answer["errorType"]) == (400, "bad_data")
    assert answer["error"].startswith('invalid parameter "time": cannot parse')


async def test_empty_parts_of_a_path_are_left_out(client, sample):
    for path in ("//api/v1/query", "/api//v1///query"):
        url = f"/prometheus{path}"
        async with client.get(url, params={"query": "TEMP", "time": AT}) as answer:
            assert answer.status == 200
            assert (await answer.json())["data"]["result"]
        async with client.post(url, data={"query": "TEMP", "time": AT}) as answer:
            assert answer.status == 200
            assert (await answer.json())["data"]["result"]
    async with client.get("/prometheus//nothing") as answer:
        assert answer.status == 404


async def test_the_way_around_empty_parts_holds_behind_a_base_path(client):
    async with client.get("/prometheus//api//v1/query?query=1", allow_redirects=False) as answer:
        assert answer.status == 308
        assert answer.headers["Location"] == "../../../../api/v1/query?query=1"


NONE = {
    "rules": {"groups": []},
    "rules?type=alert": {"groups": []},
    "alerts": {"alerts": []},
    "alertmanagers": {"activeAlertmanagers": [], "droppedAlertmanagers": []},
    "targets": {"activeTargets": [], "droppedTargets": []},
    "targets/metadata": [],
    "scrape_pools": {"scrapePools": []},
    "query_exemplars?query=up": [],
    "status/walreplay": {"min": 0, "max": 0, "current": 0},
}


@pytest.mark.parametrize("path", NONE)
async def test_what_gputel_has_not_is_an_empty_list(client, path):
    async with client.get(f"{API}/{path}") as answer:
        assert await answer.json() == {"status": "success", "data": NONE[path]}


async def test_an_expression_without_series_has_no_exemplars_to_list(client):
    async with client.get(f"{API}/query_exemplars?query=1") as answer:
        assert (answer.status, await answer.read()) == (204, b"")


@pytest.mark.parametrize(
    "path",
    ["rules?type=x", "query_exemplars?query=(", "query_exemplars",
     "query_exemplars?query=up&start=2&end=1",
     "targets/metadata?limit=x", "metadata?limit=x", "format_query?query=(", "format_query",
     "label/a-b/values"],
)  # fmt: skip
async def test_what_is_wrong_there_is_refused(client, path):
    async with client.get(f"{API}/{path}") as answer:
        assert answer.status == 400
        assert (await answer.json())["errorType"] == "bad_data"


async def test_an_expression_is_written_in_prometheus_layout(client):
    _, answer = await ask(client, "format_query", query="sum(a{x='1'})by(b)/2")
    assert answer["data"] == 'sum by (b) (a{x="1"}) / 2'
    _, answer = await post(client, "format_query", b"query=+a%2Bb")
    assert answer["data"] == "a + b"


async def test_metadata_is_of_no_more_metrics_than_asked_for(client, pool):
    for metric in ("A", "B"):
        await add_block(pool, Labels(metric=metric), [NOON], [1.0])
    for limit, names in (("1", ["A"]), ("0", []), ("-1", ["A", "B"]), ("", ["A", "B"])):
        assert list((await ask(client, "metadata", limit=limit))[1]["data"]) == names


async def test_the_server_tells_of_itself(client, sample):
    _, flags = await ask(client, "status/flags")
    assert flags["data"]["query.lookback-delta"] == "5m"
    assert all(isinstance(value, str) for value in flags["data"].values())
    _, info = await ask(client, "status/runtimeinfo")
    assert info["data"]["startTime"].endswith("Z")
    _, config = await ask(client, "status/config")
    assert "evaluation_interval: 1m" in config["data"]["yaml"]
    _, tsdb = await ask(client, "status/tsdb")
    assert tsdb["data"]["headStats"]["numSeries"] == 1
    assert tsdb["data"]["seriesCountByMetricName"] == [{"name": "TEMP", "value": 1}]
    assert {"name": "__name__=TEMP", "value": 1} in tsdb["data"]["seriesCountByLabelValuePair"]
