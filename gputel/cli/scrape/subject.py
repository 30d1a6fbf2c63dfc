"""What the argument of ``gputel scrape check`` is: a configuration, a saved answer, or a target."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path

from gputel.cli.standard_streams import standard_input
from gputel.errors import SourceError
from gputel.streamer.scrape.addresses import is_url
from gputel.units import size

STANDARD_INPUT = "-"
_CONFIGURATIONS = (".yml", ".yaml")


class Kind(Enum):
    """What to check."""

    CONFIGURATION = auto()  # a file of scrape jobs
    TEXT = auto()  # a file that has the answer of an exporter
    TARGET = auto()  # an exporter


def kind_of(subject: str) -> Kind:
    """The kind of an argument, by its form, its ending, and whether there is such a file."""
    if is_url(subject):
        return Kind.TARGET
    path = Path(subject)
    if path.suffix.lower() in _CONFIGURATIONS:
        return Kind.CONFIGURATION
    if subject == STANDARD_INPUT or "/" in subject or path.exists():
        return Kind.TEXT
    return Kind.TARGET


def read_text(subject: str, limit: int) -> bytes:
    """The bytes of a file or of standard input. Raises SourceError."""
    if subject == STANDARD_INPUT:
        name, data = "standard input", standard_input()
    else:
        name, data = subject, _read(Path(subject), limit)
    if len(data) > limit:
        raise SourceError(f"{name}: is over body_size_limit, {size(limit)}")
    return data


def _read(path: Path, limit: int) -> bytes:
    """The bytes of a file, but not many more than the limit."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
