"""Each source of targets: what it lists, and that a source that is wrong takes no target away."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gputel.errors import ConfigError, SourceError
from gputel.streamer.scrape.discovery.dns import DnsLister
from gputel.streamer.scrape.discovery.files import FileLister
from gputel.streamer.scrape.discovery.http import HttpLister
from gputel.streamer.scrape.discovery.kinds import (
    DnsDiscovery,
    EndpointSlices,
    FileDiscovery,
    HttpDiscovery,
    RecordType,
    TargetGroup,
)
from gputel.streamer.scrape.discovery.kubernetes import EndpointLister
from gputel.streamer.scrape.discovery.watcher import Watcher
from gputel.streamer.scrape.http.client import HttpGetter
from gputel.streamer.scrape.http.credentials import BasicAuth
from tests.helpers.exporters import Authority, served

ONE, TWO = TargetGroup(("gpu1:9400",), {"rack": "r1"}), TargetGroup(("gpu2:9400",))


@pytest.fixture
async def getter() -> AsyncIterator[HttpGetter]:
    async with HttpGetter(16) as getter:
        yield getter


async def test_files_in_json_and_yaml_are_listed_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"targets": ["gpu1:9400"], "labels": {"rack": "r1"}}]')
    (tmp_path / "b.yml").write_text("- targets: [gpu2:9400]\n")
    lister = FileLister(FileDiscovery((tmp_path / "*.json", tmp_path / "b.yml")))
    assert await lister.look() == ((ONE, TWO), "")
    (tmp_path / "a.json").write_text("[]")
    assert await lister.look() == ((TWO,), "")
    (tmp_path / "c.json").write_text('[{"targets": ["gpu3"]}]')
    assert await lister.look() == ((TWO, TargetGroup(("gpu3",))), "")
    (tmp_path / "c.json").unlink()
    assert await lister.look() == ((TWO,), "")


@pytest.mark.parametrize(
    "garbage", ["", "[", "{}", '[{"targets": "gpu1"}]', '["gpu1"]', '[{"targets": ["a"], "x": 1}]']
)
async def test_a_file_that_is_wrong_keeps_its_last_list(tmp_path: Path, garbage: str) -> None:
    good, bad = tmp_path / "a.json", tmp_path / "b.json"
    good.write_text('[{"targets": ["gpu1:9400"], "labels": {"rack": "r1"}}]')
    bad.write_text('[{"targets": ["gpu2:9400"]}]')
    lister = FileLister(FileDiscovery((tmp_path / "*.json",)))
    await lister.look()
    bad.write_text(garbage)
    for _ in range(2):
        groups, problem = await lister.look()
        assert groups == (ONE, TWO)
        assert problem.startswith(f"{bad}: ")
    bad.write_text("[ ]")
    assert await lister.look() == ((ONE,), "")


async def test_a_pattern_without_any_file_keeps_the_files_that_it_had(tmp_path: Path) -> None:
    file = tmp_path / "b.yml"
    lister = FileLister(FileDiscovery((file, tmp_path / "*.json")))
    groups, problem = await lister.look()
    assert groups == ()
    assert problem == f"{file}: there is no such file (and 1 more problems)"
    file.write_text("- targets: [gpu2:9400]\n")
    await lister.look()
    file.unlink()
    groups, problem = await lister.look()
    assert groups == (TWO,)
    assert problem.startswith(f"{file}: there is no such file")


async def test_a_url_is_asked_as_prometheus_asks(getter: HttpGetter) -> None:
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        requests.append(request)
        return web.json_response([{"targets": ["gpu1:9400"], "labels": {"rack": "r1"}}])

    async with served(handle) as address:
        discovery = HttpDiscovery(f"http://{address}/sd?site=1", 30.0, BasicAuth("me", "word"))
        assert await HttpLister(discovery, getter).look() == ((ONE,), "")
    (request,) = requests
    assert str(request.rel_url) == "/sd?site=1"
    assert request.headers["X-Prometheus-Refresh-Interval-Seconds"] == "30"
    assert request.headers["Authorization"] == "Basic bWU6d29yZA=="


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (500, "[]", "HTTP 500"),
        (200, "<html>", "is not JSON"),
        (200, '{"targets": []}', "must be a list of"),
        (200, "[1]", "must have keys with values, but is a number"),
        (200, '[{"targets": [1]}]', "must be a list of texts"),
        (200, '[{"targets": ["a"], "labels": {"b": null}}]', "b: must be text"),
    ],
)
async def test_an_answer_without_a_list_is_an_error(
    getter: HttpGetter, status: int, text: str, reason: str
) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with served(handle) as address:
        with pytest.raises((SourceError, ConfigError), match=reason):
            await HttpLister(HttpDiscovery(f"http://{address}/"), getter).look()


async def test_an_answer_of_a_url_over_16_mib_is_an_error(getter: HttpGetter) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=b" " * ((16 << 20) + 1))

    async with served(handle) as address:
        with pytest.raises(SourceError, match="the answer is over 16 MiB"):
            await HttpLister(HttpDiscovery(f"http://{address}/"), getter).look()


async def test_names_become_addresses_and_keep_them_when_they_do_not_resolve() -> None:
    lister = DnsLister(DnsDiscovery(("localhost", "gone.invalid"), 9400, RecordType.A))
    groups, problem = await lister.look()
    assert groups == (TargetGroup(("127.0.0.1:9400",)),)
    assert problem == "the name gone.invalid does not resolve"
    too_long = DnsLister(DnsDiscovery(("a" * 64 + ".example",), 9400))
    groups, problem = await too_long.look()
    assert groups == ()
    assert problem.endswith("does not resolve")


async def test_addresses_of_ipv6_are_in_brackets() -> None:
    groups, _ = await DnsLister(DnsDiscovery(("::1",), 9400, RecordType.AAAA)).look()
    assert groups == (TargetGroup(("[::1]:9400",)),)


def endpoint(address: str, node: str | None, uid: str, ready: bool | None = True) -> dict[str, Any]:
    return {
        "addresses": [address],
        "nodeName": node,
        "targetRef": {"kind": "Pod", "uid": uid},
        "conditions": {} if ready is None else {"ready": ready},
    }


def slice_of(*endpoints: dict[str, Any], family: str = "IPv4") -> dict[str, Any]:
    ports = [{"name": "metrics", "port": 9400}, {"name": "other", "port": 1}]
    return {"addressType": family, "ports": ports, "endpoints": list(endpoints)}


def broken(addresses: object) -> dict[str, Any]:
    """A page whose endpoint has no address."""
    ports = [{"name": "grpc", "port": 1}]
    endpoints = [{"addresses": addresses}]
    return {"items": [{"addressType": "IPv4", "ports": ports, "endpoints": endpoints}]}


PAGES: dict[str, dict[str, Any]] = {
    "": {
        "items": [
            slice_of(endpoint("2001:db8::1", "node1", "pod1"), family="IPv6"),
            slice_of(endpoint("10.0.0.1", "node1", "pod1"), endpoint("10.0.0.2", None, "b", None)),
        ],
        "metadata": {"continue": "more"},
    },
    "more": {
        "items": [
            slice_of(endpoint("10.0.0.3", "node3", "c", False), endpoint("10.0.0.1", "n", "pod1")),
            slice_of(endpoint("2001:db8::4", "node4", "d"), family="IPv6"),
            {"addressType": "IPv4", "ports": None, "endpoints": None},
        ],
        "metadata": {},
    },
}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("pod-token-1")
    return tmp_path


class ApiServer:
    """Answers as Kubernetes does; ``pages`` by the token of the page."""

    def __init__(self) -> None:
        self.pages = PAGES
        self.status = 200
        self.requests: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        page = self.pages[request.query.get("continue", "")]
        return web.json_response(page, status=self.status)


def in_pod(address: str) -> dict[str, str]:
    host, _, port = address.rpartition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


@pytest.mark.parametrize("port", [9400, "metrics"])
async def test_ready_pods_of_a_service_are_listed_once(
    getter: HttpGetter, account: Path, port: int | str
) -> None:
    api = ApiServer()
    discovery = EndpointSlices("gpu-operator", "dcgm", port, service_account=account)
    async with served(api.handle, Authority(account).server("127.0.0.1")) as address:
        lister = EndpointLister(discovery, getter, in_pod(address))
        assert await lister.look() == (
            (
                TargetGroup(("10.0.0.1:9400",), {"node": "node1"}),
                TargetGroup(("10.0.0.2:9400",), {}),
                TargetGroup(("[2001:db8::4]:9400",), {"node": "node4"}),
            ),
            "",
        )
        (account / "token").write_text("pod-token-22")
        await lister.look()
    first, *_, last = api.requests
    assert first.path == "/apis/discovery.k8s.io/v1/namespaces/gpu-operator/endpointslices"
    assert first.query == {"labelSelector": "kubernetes.io/service-name=dcgm", "limit": "500"}
    assert first.headers["Authorization"] == "Bearer pod-token-1"
    assert last.headers["Authorization"] == "Bearer pod-token-22"


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"kind": "Status"}, "is not a list in JSON"),
        ({"items": 3}, "is not a list in JSON"),
        ({"items": ["x"]}, "is not a list of EndpointSlices"),
        (broken([]), "is not a list of EndpointSlices"),
        (broken(3), "is not a list of EndpointSlices"),
        ({"items": [slice_of(endpoint("10.0.0.1", "n", "u"))]}, "has no port named 'grpc'"),
        ({"items": [], "metadata": {"continue": "more"}}, "has over 100 pages"),
    ],
)
async def test_an_answer_of_kubernetes_without_a_list_is_an_error(
    getter: HttpGetter, account: Path, page: dict[str, Any], reason: str
) -> None:
    api = ApiServer()
    api.pages = {"": page, "more": page}
    discovery = EndpointSlices("ns", "dcgm", "grpc", service_account=account)
    async with served(api.handle, Authority(account).server("127.0.0.1")) as address:
        with pytest.raises(SourceError, match=reason):
            await EndpointLister(discovery, getter, in_pod(address)).look()


async def test_a_service_without_pods_is_an_empty_list(getter: HttpGetter, account: Path) -> None:
    api = ApiServer()
    api.pages = {"": {"items": None}}
    discovery = EndpointSlices("ns", "dcgm", "metrics", service_account=account)
    async with served(api.handle, Authority(account).server("127.0.0.1")) as address:
        assert await EndpointLister(discovery, getter, in_pod(address)).look() == ((), "")


async def test_outside_of_a_pod_the_error_says_so(getter: HttpGetter, account: Path) -> None:
    lister = EndpointLister(EndpointSlices("ns", "dcgm", 1, service_account=account), getter, {})
    with pytest.raises(SourceError, match="works only in a pod"):
        await lister.look()


async def test_a_source_that_fails_keeps_its_list_and_is_logged_once(
    getter: HttpGetter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gputel.streamer")
    text, status, changes = json.dumps([{"targets": ["gpu2:9400"]}]), 200, []

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    async with served(handle) as address:
        discovery = HttpDiscovery(f"http://{address}/sd")
        watcher = Watcher("gpus", discovery, getter, lambda: changes.append(watcher.groups))
        await watcher.look()
        status = 503
        for _ in range(3):
            await watcher.look()
        assert watcher.groups == (TWO,)
        text, status = "[]", 200
        await watcher.look()
    assert changes == [(TWO,), ()]
    failed, back = [record.getMessage() for record in caplog.records]
    assert failed == (
        f"job 'gpus': http_sd_configs http://{address}/sd cannot list its targets, trying again "
        "until it is back: HTTP 503"
    )
    assert "is back after" in back


async def test_a_watcher_has_answered_although_it_failed(getter: HttpGetter) -> None:
    discovery = FileDiscovery((Path(os.devnull) / "none.json",))
    watcher = Watcher("gpus", discovery, getter, lambda: None)
    stopping = asyncio.Event()
    running = asyncio.create_task(watcher.run(stopping))
    await watcher.answered.wait()
    stopping.set()
    await running
    assert watcher.groups == ()
