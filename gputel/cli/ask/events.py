"""Server-sent events of the API, which go on over lost connections."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gputel.cli.ask import api as api_client
from gputel.cli.ask.api import ApiRefusal, BrokenAnswer, Parameter
from gputel.cli.terminal import print_notice
from gputel.errors import ApiError

_SILENT_S = 45.0  # three heartbeats
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True)
class Event:
    """The name of an event, and its data in JSON."""

    name: str
    data: bytes


class Events:
    """The events of a request from now on, without end.

    If a connection is lost, another goes on after the last event; both are reported on standard
    error. Raises ApiError if the API does not answer the first request, or refuses one.
    """

    def __init__(
        self, api_url: str, path: tuple[str, ...], parameters: Mapping[str, Parameter]
    ) -> None:
        self._api_url, self._path, self._parameters = api_url, path, parameters
        self._last_id = ""
        self._pause_s = _FIRST_PAUSE_S

    def __iter__(self) -> Iterator[Event]:
        while True:
            try:
                yield from self._connection()
                lost = "the API ended the stream"
            except BrokenAnswer:
                lost = f"the connection to the API at {self._api_url} was lost"
            except ApiError as error:
                if not self._last_id or _is_final(error):
                    raise
                lost = error.message
            print_notice(f"{lost}; going on in {self._pause_s:g} s")
            time.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _connection(self) -> Iterator[Event]:
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        with api_client.get(
            self._api_url, self._path, self._parameters, timeout_s=_SILENT_S, headers=headers
        ) as pieces:
            self._report_open()
            for event in self._events(_lines(pieces)):
                self._pause_s = _FIRST_PAUSE_S
                yield event

    def _report_open(self) -> None:
        if self._last_id:
            print_notice("the API answers again")
        elif sys.stdout.isatty():
            print_notice("records come as they land; Ctrl-C ends it")

    def _events(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """Complete events; an id counts once the caller has handled its event and asks for more."""
        name, data, last_id = "message", b"", self._last_id
        for line in lines:
            field, _, text = line.partition(b":")
            text = text.removeprefix(b" ")
            if field == b"id":
                last_id = text.decode()
            elif field == b"event":
                name = text.decode()
            elif field == b"data":
                data = text
            elif not line:
                if data:
                    yield Event(name, data)
                self._last_id = last_id
                name, data = "message", b""


def _is_final(error: ApiError) -> bool:
    """Whether the API would refuse the same request again.

    "Too many requests" passes: the API may still count a connection that was lost.
    """
    return (
        isinstance(error, ApiRefusal)
        and error.http_status < http.client.INTERNAL_SERVER_ERROR
        and error.http_status != http.client.TOO_MANY_REQUESTS
    )


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
