"""Make text from outside safe to show: on a terminal, in a log line, in an error.

Labels, ids, paths and the texts of servers may contain anything. A terminal takes some characters
as commands (ESC and the C1 range move the cursor, write the clipboard, set the title); others
change the direction of a line, are invisible, or begin a new line. They are written as escapes.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Characters that are invisible although str.isprintable allows them.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_printable(text: str) -> bool:
    """Whether every character is visible, or a space."""
    return text.isprintable() and (text.isascii() or not _INVISIBLE.search(text))


def printable(text: str) -> str:
    r"""The text with an escape (``\x1b``, ``\n``) for each character that is not printable."""
    if is_printable(text):
        return text
    return "".join(
        character if is_printable(character) else _escape(character) for character in text
    )


def shortened(text: str, most: int) -> str:
    """The text, or its first ``most`` characters and an ellipsis."""
    return text if len(text) <= most else text[:most] + "…"


def printable_lines(text: str) -> str:
    """The same for a text of several lines, whose line feeds and tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """The value in JSON, in characters that every terminal prints."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def printable_json(text: str) -> str:
    """The same JSON, with escapes for the characters that are not printable.

    Such characters can only be in JSON's strings, where any character may be an escape.
    """
    if is_printable(text):
        return text
    return "".join(
        character if character in "\n\r\t" or is_printable(character) else _json_escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    return json_text(character)[1:-1]
