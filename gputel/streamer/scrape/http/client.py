"""HTTP GET for scrapes and discovery: one session, bounded answers, no proxy and no cookies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from gputel import __version__
from gputel.errors import ScrapeFailed
from gputel.streamer.scrape.http.body import read_body
from gputel.streamer.scrape.http.credentials import Auth, TlsConfig
from gputel.streamer.scrape.http.loaded import LoadedCredentials
from gputel.streamer.scrape.http.names import NameResolver
from gputel.streamer.scrape.http.reasons import reason_of

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_IDLE_S = 75.0  # a connection is kept over a usual interval


@dataclass(frozen=True)
class GetRequest:
    """One GET, and the limits of its answer."""

    url: str
    timeout_s: float  # for connect, headers and body together
    limit: int  # bytes of the body, unpacked
    limit_name: str = ""  # the setting of the limit
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: Auth | None = None
    tls: TlsConfig | None = None
    within_s: float | None = None  # if it has to end before the timeout, which the reason names

    @property
    def ends_after_s(self) -> float:
        """The seconds after which it is given up."""
        return min(self.timeout_s, self.within_s or self.timeout_s)


class GetAnswer(NamedTuple):
    """The body of an answer with the status 200, and its headers."""

    body: bytes
    headers: CIMultiDictProxy[str]


class HttpGetter:
    """GETs from many servers; an async context manager."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._credentials: dict[tuple[Auth | None, TlsConfig | None], LoadedCredentials] = {}
        self._open: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpGetter:
        self._open = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=_IDLE_S, resolver=NameResolver()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None),
            headers={"User-Agent": f"gputel/{__version__}", "Accept-Encoding": "gzip"},
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._open is not None
        await self._open.close()

    async def get(self, request: GetRequest) -> GetAnswer:
        """The answer to the GET. Raises ScrapeFailed with the reason if there is none."""
        try:
            url = URL(request.url)
        except ValueError:
            raise ScrapeFailed("the URL cannot be used") from None
        try:
            async with asyncio.timeout(request.ends_after_s):
                return await self._follow(url, request)
        except TimeoutError:
            raise ScrapeFailed(f"no answer within {request.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ScrapeFailed(reason_of(error, url.host or "")) from None

    async def _follow(self, url: URL, request: GetRequest) -> GetAnswer:
        """The answer, after the redirects. Another server never gets the credentials."""
        assert self._open is not None, "is used before it is entered"
        credentials = self._credentials_of(request)
        origin, own = url.origin(), True
        for _ in range(_MOST_REDIRECTS + 1):
            own = own and url.origin() == origin
            headers = {**request.headers, **(credentials.headers() if own else {})}
            async with self._open.get(
                url,
                headers=headers,
                allow_redirects=False,
                ssl=credentials.context(own=own) if url.scheme == "https" else True,
                server_hostname=credentials.server_name if own else None,
            ) as response:
                if response.status == 200:
                    body = await read_body(response, request.limit, request.limit_name)
                    return GetAnswer(body, response.headers)
                url = _redirected(url, response)
        raise ScrapeFailed(f"over {_MOST_REDIRECTS} redirects")

    def _credentials_of(self, request: GetRequest) -> LoadedCredentials:
        key = (request.auth, request.tls)
        if key not in self._credentials:
            self._credentials[key] = LoadedCredentials(*key)
        return self._credentials[key]


def _redirected(url: URL, response: aiohttp.ClientResponse) -> URL:
    """The URL to which the server redirects. Raises ScrapeFailed if it does not."""
    location = response.headers.get("Location", "")
    if response.status not in _REDIRECTS or not location:
        raise ScrapeFailed(f"HTTP {response.status}")
    try:
        target = url.join(URL(location))
    except ValueError:
        raise ScrapeFailed("redirected to what is no URL") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise ScrapeFailed("redirected to what is neither http nor https")
    return target.with_user(None)
