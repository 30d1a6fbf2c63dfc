"""A question to the API, and what is said where it finds nothing or is refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import click

from gputel.cli.ask import api as api_client
from gputel.cli.ask.api import ApiRefusal, Parameter
from gputel.cli.query import output as query_output
from gputel.errors import ApiError

_NEAREST = 3


@dataclass(frozen=True)
class Question:
    """``GET /api/v1/<path>`` of an API, with what is wanted of it."""

    api_url: str
    path: tuple[str, ...]
    wanted: Mapping[str, Parameter]

    @contextmanager
    def answer(self, format_: str = "json") -> Iterator[Iterator[bytes]]:
        """The answer in pieces; raises ApiError, which names flags where the API named parameters.

        An answer without records, to a question for metrics that there are none of, is an error
        that names the nearest.
        """
        query = {**self.wanted, "format": format_}
        with in_flags(), api_client.get(self.api_url, ("api", "v1", *self.path), query) as pieces:
            first, ended = query_output.head(pieces)
            if ended and query_output.may_be_empty(first, format_):
                self._check_metrics()
            yield chain([first], pieces)

    def rows(self, most: int | None = None) -> list[dict[str, Any]]:
        """The objects of the answer, ``most`` at most."""
        with self.answer() as pieces:
            found = api_client.objects(pieces)
            return [row for row, _ in zip(found, range(most), strict=False)] if most else [*found]

    def print(self, format_: str | None, show: Callable[[list[dict[str, Any]]], None]) -> None:
        """Print the answer in its format; ``show`` prints the rows of a table."""
        shape = query_output.chosen(format_)
        if shape == "table":
            show(self.rows())
            return
        with self.answer(shape) as pieces:
            query_output.copy(pieces, sys.stdout.buffer, shape)

    def _check_metrics(self) -> None:
        asked = self.wanted.get("metric")
        names = [asked] if isinstance(asked, str) else asked
        if not isinstance(names, Sequence) or not names:
            return
        known = [
            str(row["metric_name"])
            for row in api_client.rows(self.api_url, ("api", "v1", "metrics"), {})
        ]
        if known and not any(fnmatchcase(name, _glob(each)) for each in names for name in known):
            raise ApiError(_unknown(names[0], known))


def _glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")  # which the API takes as it is


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name[:200], known, n=_NEAREST, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"no metric is called {name!r}: {hint}`gputel query metrics` lists those that exist"


@contextmanager
def in_flags() -> Iterator[None]:
    """Have what the API says of its parameters said of the flags that they came from."""
    try:
        yield
    except ApiRefusal as error:
        context = click.get_current_context()
        flags = {
            str(each.name): each.opts[0] if isinstance(each, click.Option) else str(each.name)
            for each in context.command.params
        }
        raise ApiError(_renamed(error.message, flags)) from None


def _renamed(message: str, flags: Mapping[str, str]) -> str:
    for name, flag in flags.items():
        # A name that is also a word stands before what is said of it, or before its value.
        message = re.sub(rf"(^|; ){name}: ", rf"\g<1>{flag}: ", message)
        message = re.sub(rf"(?<![\w?&'-]){name}=(?=\w)", f"{flag} ", message)
        if re.search("[_A-Z]", name):
            message = re.sub(rf"(?<![\w'-]){name}\b", flag, message)
    return re.sub(r"GET /api/v1/(gpus|hosts) lists", r"`gputel query \1` lists", message)
