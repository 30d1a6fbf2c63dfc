"""Server-sent events of the API, over as many connections as it takes."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gputel.cli.ask import api as api_client
from gputel.cli.ask.api import ApiRefusal, BrokenAnswer, Parameter
from gputel.cli.terminal import tell
from gputel.errors import ApiError

_SILENT_S = 45.0  # three heartbeats
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True)
class Event:
    """The name of an event, and what it says, in JSON."""

    name: str
    data: bytes


class Events:
    """What follows a question, from now on, without end.

    Where a connection is lost another one goes on after the last event, and both are told on
    standard error. Raises ApiError where the API does not answer at first, or refuses.
    """

    def __init__(
        self, api_url: str, path: tuple[str, ...], wanted: Mapping[str, Parameter]
    ) -> None:
        self._api_url, self._path, self._wanted = api_url, path, wanted
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
            tell(f"{lost}; going on in {self._pause_s:g} s")
            time.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _connection(self) -> Iterator[Event]:
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        with api_client.get(
            self._api_url, self._path, self._wanted, timeout_s=_SILENT_S, headers=headers
        ) as pieces:
            self._tell_open()
            for event in self._events(_lines(pieces)):
                self._pause_s = _FIRST_PAUSE_S
                yield event

    def _tell_open(self) -> None:
        if self._last_id:
            tell("the API answers again")
        elif sys.stdout.isatty():
            tell("records come as they land; Ctrl-C ends it")

    def _events(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """Whole events; the id of each holds once it is yielded, and the next is asked for."""
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
    """Whether the API will refuse the same again, whenever that is asked.

    Too many requests pass: the API may still count a connection that was lost.
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
