"""A mapping of a document, whose keys are taken one by one, each with its type and limits.

An error names the file, the section and the key, for example
``scrape.yml: scrape_configs[1] (job 'gpu'): scrape_timeout: ...``. It shows no text of the file but
where that text cannot be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gputel.errors import ConfigError
from gputel.printable import printable
from gputel.streamer.scrape.documents.values import parse_seconds, parse_size

N = TypeVar("N", int, float)
_KINDS = {dict: "keys and values", list: "a list", bool: "true or false", type(None): "nothing"}
_KINDS |= {int: "a number", float: "a number", str: "text"}


def kind_of(value: object) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value), "a date" if hasattr(value, "year") else "something else")


class Fields:
    """The keys of one mapping. A key without a value is one that is not there."""

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: must have keys with values, but is {kind_of(value)}")
        self._left: dict[object, object] = dict(value)

    def error(self, key: str, text: str) -> ConfigError:
        """The error that a key has a wrong value, for the caller to raise."""
        return ConfigError(f"{self.where}: {key}: {text}")

    def has(self, key: str) -> bool:
        """Whether the key has a value, which was not taken yet."""
        return self._left.get(key) is not None

    def take(self, key: str) -> object:
        """The value, of any type; None if there is none."""
        return self._left.pop(key, None)

    def end(self, known: str = "") -> None:
        """Refuse the keys that nobody took; ``known`` says which there are."""
        for key in self._left:
            shown = printable(str(key)[:60])
            hint = f"; the keys here are {known}" if known else ""
            raise ConfigError(f"{self.where}: {shown}: gputel knows no such key{hint}")

    def text(self, key: str) -> str | None:
        """A text that is not empty."""
        value = self.take(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"must be text, but is {kind_of(value)}: write it in quotes")
        if value == "":
            raise self.error(key, "is empty")
        return value

    def needed_text(self, key: str) -> str:
        """A text that must be there."""
        text = self.text(key)
        if text is None:
            raise self.error(key, "is missing")
        return text

    def truth(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, but is {kind_of(value)}")
        return value

    def whole(self, key: str, default: int | None, least: int, most: int) -> int:
        """A whole number within limits."""
        value = self.take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(key, f"must be a whole number, but is {kind_of(value)}")
        return self._within(key, value, least, most, str)

    def seconds(self, key: str, default: float, least: float, most: float) -> float:
        """A duration such as ``1m30s`` within limits."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(key, f"must be a duration like 10s, but is {kind_of(value)}")
        try:
            seconds = parse_seconds(value)
        except ValueError as error:
            raise self.error(key, str(error)) from None
        return self._within(key, seconds, least, most, "{:g} s".format)

    def size(self, key: str, default: int, least: int, most: int) -> int:
        """A size in bytes, such as ``16MB``, within limits."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise self.error(key, f"must be a size like 16MB, but is {kind_of(value)}")
        try:
            size = parse_size(str(value))
        except ValueError as error:
            raise self.error(key, str(error)) from None
        return self._within(key, size, least, most, "{} bytes".format)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "must be a list of texts, as in [a, b]")
        return tuple(value)

    def path(self, key: str, folder: Path) -> Path | None:
        """The path of a file, from the folder if it is relative."""
        text = self.text(key)
        return None if text is None else folder / text

    def pattern(self, key: str) -> re.Pattern[str] | None:
        """A regular expression that the complete text must match."""
        text = self.text(key)
        try:
            return None if text is None else re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise self.error(key, f"{text!r} is not a regular expression: {error}") from None

    def section(self, key: str) -> Fields | None:
        """A mapping in this one."""
        value = self.take(key)
        return None if value is None else Fields(value, f"{self.where}: {key}")

    def sections(self, key: str) -> list[Fields]:
        """A list of mappings."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, but is {kind_of(value)}")
        return [Fields(item, f"{self.where}: {key}[{at}]") for at, item in enumerate(value, 1)]

    def _within(self, key: str, value: N, least: N, most: N, shown: Callable[[N], str]) -> N:
        if value < least:
            raise self.error(key, f"is {shown(value)}; the least is {shown(least)}")
        if value > most:
            raise self.error(key, f"is {shown(value)}; the most is {shown(most)}")
        return value
