"""One HTTP request of a command to the API or a broker: TLS, the token, and its errors."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote, urlencode, urlsplit

from gputel.config.values import check_token
from gputel.errors import GputelError, UsageError
from gputel.failures import tls_failure
from gputel.masking import remember

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Server:
    """A server that commands ask, and the words that errors use for it."""

    url: str
    noun: str  # "API"
    flag: str  # that names its URL
    start: str  # the command that starts one
    unavailable: Callable[[str], GputelError]  # from a message
    refusal: Callable[[str, int], GputelError]  # from the server's message and its status


@contextmanager
def request(
    server: Server,
    method: str,
    target: str,
    *,
    timeout_s: float,
    body: bytes | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Iterator[http.client.HTTPResponse]:
    """Send one request; its response, not yet read. Blocks.

    It follows no redirect and uses no proxy, so that no other server sees the token. Raises
    ``server.refusal`` for an error of gputel's own, and ``server.unavailable`` if no response
    begins or if something else answers.
    """
    parts = urlsplit(server.url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=timeout_s)
    sent = {"Accept": "application/json", **_token_header(), **headers}
    try:
        try:
            connection.request(method, parts.path.rstrip("/") + target, body, sent)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise server.unavailable(_unavailable(server, error)) from None
        if response.status >= http.client.MULTIPLE_CHOICES:
            raise _refusal(server, response)
        yield response
    finally:
        connection.close()


def quoted(part: str) -> str:
    """A part of a path, for a request. Raises UsageError if it is not UTF-8."""
    return quote(_utf8(part), safe="")


def query_string(query: Mapping[str, object]) -> str:
    """``?NAME=VALUE&...`` of a request; of several values each. Raises UsageError as ``quoted``."""
    pairs = [
        (name, _utf8(str(each)))
        for name, value in query.items()
        for each in (value if isinstance(value, list | tuple) else [value])
    ]
    return "?" + urlencode(pairs) if pairs else ""


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is not UTF-8 text: check the argument") from None
    return text


def _token_header() -> dict[str, str]:
    """The token comes from the environment alone: other users can read a process's flags."""
    token = check_token(os.environ.get("GPUTEL_TOKEN", ""), "GPUTEL_TOKEN")
    remember(token)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _unavailable(server: Server, error: Exception) -> str:
    """What is wrong, and what to do, if no response has begun."""
    url, noun = server.url, server.noun
    if isinstance(error, TimeoutError):
        return (
            f"the {noun} at {url} did not answer in time: try again, ask for less, or name another "
            f"with {server.flag}"
        )
    if failure := tls_failure(url, error):
        return failure
    if isinstance(error, http.client.RemoteDisconnected):
        return f"{url} gave no answer: try again, or use https:// if it has a certificate"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (
        f"no {noun} answers at {url} ({reason}): start it with `{server.start}`, or "
        f"name another with {server.flag}"
    )


def _refusal(server: Server, response: http.client.HTTPResponse) -> GputelError:
    try:
        message = str(json.loads(response.read())["message"])
    except (OSError, http.client.HTTPException, ValueError, RecursionError, KeyError, TypeError):
        answer = f"{server.url} answered {response.status} {response.reason}"
        return server.unavailable(f"{answer}: is it gputel's {server.noun}?")
    return server.refusal(message, response.status)
