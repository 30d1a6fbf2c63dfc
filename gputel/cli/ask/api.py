"""Questions to the API from the command line: one request, an answer that is read as it comes."""

from __future__ import annotations

import codecs
import http.client
import json
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from gputel.config.resolve import from_environment
from gputel.config.values import check_plain_url, check_token
from gputel.errors import ApiError, UsageError
from gputel.masking import mask, remember

_TIMEOUT_S = 90.0  # more than --query-timeout-s of the api, whose refusal says what to do
_READ_BYTES = 1 << 16

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Item = str | int | Sequence[str] | None
"""What a parameter of a query may be."""


def default_api_url() -> str:
    """The API of this machine, on the port that it has by the environment.

    Raises ConfigError when GPUTEL_API_PORT is no port.
    """
    return f"http://127.0.0.1:{from_environment('api_port')}"


class ApiRefusal(ApiError):
    """The API refused the question, in its own words; ``answered`` is the status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.answered = status


class BrokenAnswer(ApiError):
    """An answer broke off before its end."""


@contextmanager
def get(
    api_url: str,
    path: tuple[str, ...],
    query: Mapping[str, Item],
    timeout_s: float = _TIMEOUT_S,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Iterator[Iterator[bytes]]:
    """The body of ``GET <api_url>/<path>?<query>``, in pieces, each as soon as it comes.

    A query item of None is left out, one of several texts is repeated.

    Blocks. Raises UsageError for a URL that is none, and ApiError when the API is away, refuses,
    or breaks off; the message says what to do.
    """
    connection = _connection(api_url, timeout_s)
    given = urlencode({key: item for key, item in query.items() if item is not None}, doseq=True)
    target = urlsplit(api_url).path.rstrip("/") + "".join(f"/{quote(part, '')}" for part in path)
    try:
        target = f"{target}?{given}" if given else target
        response = _answer(connection, api_url, target, headers)
        if response.status != http.client.OK:
            raise _refusal(api_url, response)
        yield _body(api_url, response)
    finally:
        connection.close()


def _connection(api_url: str, timeout_s: float) -> http.client.HTTPConnection:
    check_plain_url(api_url, "--api-url")
    try:
        parts = urlsplit(api_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"--api-url: {mask(api_url)!r} must look like http://127.0.0.1:8080")
    return connection_to(parts.scheme, host, port, timeout_s)


def connection_to(
    scheme: str, host: str, port: int | None, timeout_s: float
) -> http.client.HTTPConnection:
    """A connection to a server, not opened yet.

    It follows no redirect and asks no proxy, so that no other server is shown the token.
    """
    secure = scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    return kind(host, port, timeout=timeout_s)


def _answer(
    connection: http.client.HTTPConnection, api_url: str, target: str, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    try:
        shown = {"Accept": "application/json", **token_header(), **headers}
        connection.request("GET", target, headers=shown)
        return connection.getresponse()
    except TimeoutError:
        raise ApiError(
            f"the API at {api_url} did not answer in time: try again, ask for less, or "
            "name another with --api-url"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(_unanswered(api_url, error)) from None


def _unanswered(api_url: str, error: Exception) -> str:
    """What is wrong, and what to do, where no answer has begun."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {api_url} is not trusted ({error.verify_message}): ask the name "
            "that it is for, and where its authority is not known here, name that file in "
            "SSL_CERT_FILE"
        )
    if isinstance(error, ssl.SSLError):
        return f"{api_url} does not speak HTTPS ({error.reason}): ask it by http://"
    if isinstance(error, http.client.RemoteDisconnected):
        return f"{api_url} gave no answer: try again, and by https:// if it has a certificate"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (
        f"no API answers at {api_url} ({reason}): start it with `gputel run --role all`, "
        "or name another with --api-url"
    )


def token_header() -> dict[str, str]:
    """What shows the token of the environment; a flag would show it to other users as well."""
    token = check_token(os.environ.get("GPUTEL_TOKEN", ""), "GPUTEL_TOKEN")
    remember(token)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refusal(api_url: str, response: http.client.HTTPResponse) -> ApiError:
    try:
        return ApiRefusal(str(json.loads(response.read())["message"]), response.status)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ApiError(
            f"{api_url} answered {response.status} {response.reason}: is it gputel's API?"
        )


def _body(api_url: str, response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            piece = response.read1(_READ_BYTES)
        except (OSError, http.client.HTTPException):
            raise BrokenAnswer(
                f"the API at {api_url} broke off its answer, which is not whole: try again, and "
                "see its log if it happens again"
            ) from None
        if not piece:
            return
        yield piece


def objects(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array that comes in pieces, each as soon as it is whole."""
    decoder, utf8 = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")()
    text = ""
    for piece in pieces:
        text += utf8.decode(piece)
        place = 0
        while True:
            start = text.find("{", place)
            if start < 0:
                break
            try:
                found, place = decoder.raw_decode(text, start)
            except json.JSONDecodeError:
                break
            yield found
        text = text[place:]


def rows(
    api_url: str,
    path: tuple[str, ...],
    query: Mapping[str, Item],
    timeout_s: float = _TIMEOUT_S,
) -> list[dict[str, Any]]:
    """The objects of a list that is known to be small; raises as ``get`` does."""
    with get(api_url, path, query, timeout_s) as pieces:
        return list(objects(pieces))
