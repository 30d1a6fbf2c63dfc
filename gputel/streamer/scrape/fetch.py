"""One scrape of one target: the body of its answer, or the reason why there is none."""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple

from gputel.errors import ScrapeFailed
from gputel.file_limit import file_limit
from gputel.streamer.nvml.client import NvmlClient
from gputel.streamer.scrape.http.client import GetRequest, HttpGetter
from gputel.streamer.scrape.jobs import ScrapeJob, Target

_ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
_OPEN_METRICS = "application/openmetrics-text"


class FetchedAnswer(NamedTuple):
    """The text that an exporter answered; ``open_metrics``: in the format OpenMetrics."""

    body: bytes
    open_metrics: bool


_MOST_CONNECTIONS = 20_000


def most_connections() -> int:
    """How many targets may hang at once before others have to wait for their turn.

    Half of the files that the process may have open are left to the rest of it.
    """
    return min(_MOST_CONNECTIONS, file_limit() // 2)


class Fetcher:
    """Fetches from targets; an async context manager."""

    def __init__(self) -> None:
        self._getter = HttpGetter(most_connections())
        self._nvml: NvmlClient | None = None

    async def __aenter__(self) -> Fetcher:
        await self._getter.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._nvml:
            await self._nvml.close()
        await self._getter.__aexit__(kind, error, traceback)

    async def get(
        self, job: ScrapeJob, target: Target, within_s: float | None = None
    ) -> FetchedAnswer:
        """Fetch once. Raises ScrapeFailed, whose message is a short reason.

        ``within_s`` may be shorter than the timeout of the job.
        """
        request = _request(job, target, within_s)
        if job.nvml_host:
            self._nvml = self._nvml or NvmlClient(job.nvml_host)
            text = await self._nvml.get(request.ends_after_s)
            return FetchedAnswer(text, open_metrics=False)
        answer = await self._getter.get(request)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise ScrapeFailed("the answer is HTML, not metrics")
        return FetchedAnswer(answer.body, kind == _OPEN_METRICS)


def _request(job: ScrapeJob, target: Target, within_s: float | None) -> GetRequest:
    headers = {"Accept": _ACCEPT, "X-Prometheus-Scrape-Timeout-Seconds": f"{job.timeout_s:g}"}
    return GetRequest(
        target.url,
        job.timeout_s,
        job.body_size_limit,
        "body_size_limit",
        headers,
        job.auth,
        job.tls,
        within_s,
    )
