"""A query to the API, and the errors of one that finds nothing or is refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import chain, islice
from typing import Any

from gputel.cli.ask import api as api_client
from gputel.cli.ask.api import ApiRefusal, Parameter
from gputel.cli.query import options
from gputel.cli.query import output as query_output
from gputel.errors import ApiError

_NEAREST = 3


@dataclass(frozen=True)
class Query:
    """``GET /api/v1/<path>`` of an API, with its parameters."""

    api_url: str
    path: tuple[str, ...]
    parameters: Mapping[str, Parameter]

    @contextmanager
    def answer(self, format_: str = "json") -> Iterator[Iterator[bytes]]:
        """The answer in pieces. Raises ApiError, which names flags instead of the API's parameters.

        It is also raised, with the nearest names, if there are no records because no metric has a
        name that the query asks for.
        """
        sent = {**self.parameters, "format": format_}
        with in_flags(), api_client.get(self.api_url, ("api", "v1", *self.path), sent) as pieces:
            first, ended = query_output.head(pieces)
            if ended and query_output.may_be_empty(first, format_):
                self._check_metrics()
            yield chain([first], pieces)

    def rows(self, most: int | None = None) -> list[dict[str, Any]]:
        """The objects of the answer; only the first ``most`` if that is set."""
        with self.answer() as pieces:
            return list(islice(api_client.objects(pieces), most))

    def print(self, format_: str | None, show: Callable[[list[dict[str, Any]]], None]) -> None:
        """Print the answer in its format; ``show`` prints the rows of a table."""
        shape = query_output.chosen(format_)
        if shape == "table":
            show(self.rows())
            return
        with self.answer(shape) as pieces:
            query_output.copy(pieces, sys.stdout.buffer, shape)

    def _check_metrics(self) -> None:
        metric = self.parameters.get("metric")
        names = [metric] if isinstance(metric, str) else metric
        if not isinstance(names, Sequence) or not names:
            return
        known = [
            str(row["metric_name"])
            for row in api_client.rows(self.api_url, ("api", "v1", "metrics"), {})
        ]
        if known and not any(fnmatchcase(name, _glob(each)) for each in names for name in known):
            raise ApiError(_unknown(names[0], known))


def _glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")  # not special for the API


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name[:200], known, n=_NEAREST, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"no metric is called {name!r}: {hint}`gputel query metrics` lists those that exist"


@contextmanager
def in_flags() -> Iterator[None]:
    """Replace the names of the API's parameters in its errors by the command's flags."""
    try:
        yield
    except ApiRefusal as error:
        raise ApiError(_renamed(error.message, options.flags())) from None


def _renamed(message: str, flags: Mapping[str, str]) -> str:
    for name, flag in flags.items():
        # A name that is also a word is replaced only before a colon, or before a value.
        message = re.sub(rf"(^|; ){name}: ", rf"\g<1>{flag}: ", message)
        message = re.sub(rf"(?<![\w?&'-]){name}=(?=\w)", f"{flag} ", message)
        if re.search("[_A-Z]", name):
            message = re.sub(rf"(?<![\w'-]){name}\b", flag, message)
    return re.sub(r"GET /api/v1/(gpus|hosts) lists", r"`gputel query \1` lists", message)
