"""Targets from Kubernetes: the pods behind a Service, by its EndpointSlices.

A plain GET with the pod's own token, which needs the right to ``list`` ``endpointslices`` in the
namespace. https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/

A target gets one label more, ``node``, the name of the pod's node. Prometheus has many labels
``__meta_kubernetes_*`` here, but without relabeling they would all be dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from gputel.errors import SourceError
from gputel.streamer.scrape.discovery.kinds import EndpointSlices, TargetGroup
from gputel.streamer.scrape.discovery.listing import MOST_BYTES, Listing
from gputel.streamer.scrape.documents.parse import parse_json
from gputel.streamer.scrape.http.client import GetRequest, HttpGetter
from gputel.streamer.scrape.http.credentials import Authorization, TlsConfig

_TIMEOUT_S = 30.0
_PAGE = 500
_MOST_PAGES = 100
_FAMILIES = ("IPv4", "IPv6")


class EndpointLister:
    """Lists the ready endpoints of one Service."""

    def __init__(
        self,
        discovery: EndpointSlices,
        getter: HttpGetter,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._discovery = discovery
        self._getter = getter
        self._environ = os.environ if environ is None else environ
        account = discovery.service_account
        self._auth = Authorization(credentials_file=account / "token")
        self._tls = TlsConfig(ca_file=account / "ca.crt")

    async def look(self) -> Listing:
        """The present endpoints. Raises SourceError if the API server does not list them."""
        slices = await self._slices()
        try:
            groups = tuple(_groups(slices, self._discovery.port))
        except (LookupError, TypeError, AttributeError):
            raise SourceError("the API server's answer is not a list of EndpointSlices") from None
        if slices and not groups and not _has_port(slices, self._discovery.port):
            raise SourceError(
                f"the Service {self._discovery.service} has no port named {self._discovery.port!r}"
            )
        return Listing(groups)

    async def _slices(self) -> list[Any]:
        """The EndpointSlices of the Service, page by page."""
        slices: list[Any] = []
        following = ""
        for _ in range(_MOST_PAGES):
            answer = await self._getter.get(self._request(following))
            try:
                page: Any = parse_json(answer.body)
                slices += page["items"] or []
                following = page.get("metadata", {}).get("continue") or ""
            except (ValueError, KeyError, TypeError, AttributeError):
                raise SourceError("the API server's answer is not a list in JSON") from None
            if not following:
                return slices
        raise SourceError(f"the API server's list has over {_MOST_PAGES} pages")

    def _request(self, following: str) -> GetRequest:
        query = {
            "labelSelector": f"kubernetes.io/service-name={self._discovery.service}",
            "limit": str(_PAGE),
        }
        query |= {"continue": following} if following else {}
        url = (
            f"{self._server()}/apis/discovery.k8s.io/v1/namespaces/{self._discovery.namespace}"
            f"/endpointslices?{urlencode(query)}"
        )
        return GetRequest(
            url,
            _TIMEOUT_S,
            MOST_BYTES,
            headers={"Accept": "application/json"},
            auth=self._auth,
            tls=self._tls,
        )

    def _server(self) -> str:
        host = self._environ.get("KUBERNETES_SERVICE_HOST", "")
        if not host:
            raise SourceError(
                "KUBERNETES_SERVICE_HOST is not set: kubernetes_endpointslices works only in a pod"
            )
        port = self._environ.get("KUBERNETES_SERVICE_PORT") or "443"
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _groups(slices: list[Any], port: int | str) -> Iterator[TargetGroup]:
    """One group for each pod, although a pod may be in two slices, or have an address of each kind.

    The slices with IPv4 come first, so that a pod with both kinds keeps its address.
    """
    seen = set()
    for part in sorted(slices, key=lambda part: str(part.get("addressType"))):
        number = _port_of(part, port)
        if number is None or part.get("addressType") not in _FAMILIES:
            continue
        for endpoint in part.get("endpoints") or ():
            address = endpoint["addresses"][0]  # others are the same endpoint
            identity = (endpoint.get("targetRef") or {}).get("uid") or address
            ready = (endpoint.get("conditions") or {}).get("ready") is not False
            if ready and identity not in seen:
                seen.add(identity)
                yield _group(address, number, endpoint.get("nodeName"))


def _group(address: str, port: int, node: str | None) -> TargetGroup:
    host = f"[{address}]" if ":" in address else address
    return TargetGroup((f"{host}:{port}",), {"node": str(node)} if node else {})


def _port_of(part: Any, port: int | str) -> int | None:
    """The number of the port, which a slice may know by name."""
    if isinstance(port, int):
        return port
    for each in part.get("ports") or ():
        if each.get("name") == port:
            number = each.get("port")
            return number if isinstance(number, int) else None
    return None


def _has_port(slices: list[Any], port: int | str) -> bool:
    return any(_port_of(part, port) is not None or not part.get("ports") for part in slices)
