"""Requests to the API from the command line, whose answers are read as they come."""

from __future__ import annotations

import codecs
import http.client
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from gputel.cli.ask.http import Server, query_string, quoted, request
from gputel.config.resolve import from_environment
from gputel.config.values import check_plain_url, is_server_url
from gputel.errors import ApiError, UsageError
from gputel.masking import mask

_TIMEOUT_S = 90.0  # more than --query-timeout-s of the api, whose refusal says what to do
_READ_BYTES = 1 << 16

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Parameter = str | int | Sequence[str] | None
"""The value of a query's parameter."""


def default_api_url() -> str:
    """The API of this machine, on the port that it has by the environment.

    Raises ConfigError when GPUTEL_API_PORT is no port.
    """
    return f"http://127.0.0.1:{from_environment('api_port')}"


class ApiRefusal(ApiError):
    """The API refused the request, in its own words; ``http_status`` is the response's."""

    def __init__(self, message: str, http_status: int) -> None:
        super().__init__(message)
        self.http_status = http_status


class BrokenAnswer(ApiError):
    """An answer broke off before its end."""


@contextmanager
def get(
    api_url: str,
    path: tuple[str, ...],
    query: Mapping[str, Parameter],
    timeout_s: float = _TIMEOUT_S,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Iterator[Iterator[bytes]]:
    """The body of ``GET <api_url>/<path>?<query>``, in pieces, each as soon as it comes.

    A parameter of None is left out, one of several texts is repeated.

    Blocks. Raises UsageError for a text that is not a URL, and ApiError when the API is away,
    refuses, or breaks off; the message says what to do.
    """
    server = _server(api_url)
    sent = {name: value for name, value in query.items() if value is not None}
    target = "".join(f"/{quoted(part)}" for part in path) + query_string(sent)
    with request(server, "GET", target, timeout_s=timeout_s, headers=headers) as response:
        yield _body(api_url, response)


def _server(api_url: str) -> Server:
    check_plain_url(api_url, "--api-url")
    if not is_server_url(api_url, ("http", "https")):
        raise UsageError(f"--api-url: {mask(api_url)!r} must look like http://127.0.0.1:8080")
    return Server(api_url, "API", "--api-url", "gputel run --role all", ApiError, ApiRefusal)


def _body(api_url: str, response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            piece = response.read1(_READ_BYTES)
        except (OSError, http.client.HTTPException):
            raise BrokenAnswer(
                f"the API at {api_url} broke off its answer, which is incomplete: try again, and "
                "see its log if it happens again"
            ) from None
        if not piece:
            return
        yield piece


def objects(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array that comes in pieces, each as soon as it is complete."""
    decoder, utf8 = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")()
    text = ""
    for piece in pieces:
        text += utf8.decode(piece)
        end = 0
        while True:
            start = text.find("{", end)
            if start < 0:
                break
            try:
                value, end = decoder.raw_decode(text, start)
            except json.JSONDecodeError:
                break
            yield value
        text = text[end:]


def rows(
    api_url: str,
    path: tuple[str, ...],
    query: Mapping[str, Parameter],
    timeout_s: float = _TIMEOUT_S,
) -> list[dict[str, Any]]:
    """The objects of a list that is known to be small; raises as ``get`` does."""
    with get(api_url, path, query, timeout_s) as pieces:
        return list(objects(pieces))
