"""Counts levels and entries of JSON and MessagePack in their bytes, before they are decoded.

A decoder makes objects, up to 64 bytes of memory for one byte of input, and calls itself for each
level. These checks make no objects and do not recurse. Entries are the members of all objects and
the elements of all lists. Malformed input passes: the decoder reports what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|([\[{]\s*[\]}])|([\[{])|([\]}])|(,)', re.DOTALL)

_FIXED_BYTES = {0xC0: 0, 0xC1: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
_FIXED_BYTES |= {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_FIXED_BYTES |= {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNT_BYTES = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_MAPS = {0xDE, 0xDF}
_EXTENSIONS = {0xC7, 0xC8, 0xC9}


class TooComplex(ValueError):
    """A value has too many levels or entries; the message says which."""


@dataclass(frozen=True)
class StructureLimits:
    """The most levels (the outermost object or list is the first) and entries."""

    levels: int
    entries: int

    def check(self, levels: int, entries: int) -> None:
        """Raise TooComplex when there are more."""
        if levels > self.levels:
            raise TooComplex(f"is nested too deep: at most {self.levels} levels are allowed")
        if entries > self.entries:
            raise TooComplex(
                f"has too many entries: at most {self.entries} are allowed, in all its objects "
                "and lists together"
            )


def check_json(data: bytes, bounds: StructureLimits) -> None:
    """Raise TooComplex for a JSON text beyond the bounds."""
    levels = entries = 0
    for token in _JSON_TOKEN.finditer(data):
        empty, opened, closed, comma = token.groups()
        if opened:
            levels += 1
            entries += 1
        elif empty:
            bounds.check(levels + 1, entries)
            continue
        elif comma:
            entries += 1
        elif closed:
            levels -= 1
            continue
        bounds.check(levels, entries)


def check_msgpack(data: bytes, bounds: StructureLimits) -> None:
    """Raise TooComplex for a MessagePack value beyond the bounds."""
    at = entries = 0
    missing = [1]  # for each open container, the values to come
    while missing:
        if not missing[-1]:
            missing.pop()
            continue
        missing[-1] -= 1
        count, values, at = _header(data, at)
        if count is None:
            if at > len(data):
                return
            continue
        entries += count
        bounds.check(len(missing), entries)
        missing.append(values)


def _header(data: bytes, at: int) -> tuple[int | None, int, int]:
    """The entries of a container (None for other values), its values, and the next offset."""
    if at >= len(data):
        return None, 0, len(data) + 1
    first = data[at]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return None, 0, at
    if first < 0xA0:
        count = first & 0x0F
        return count, count if first & 0x10 else 2 * count, at
    if first < 0xC0:
        return None, 0, at + (first & 0x1F)
    if first in _COUNT_BYTES:
        end = at + _COUNT_BYTES[first]
        count = int.from_bytes(data[at:end])
        return count, 2 * count if first in _MAPS else count, end
    if first in _LENGTH_BYTES:
        end = at + _LENGTH_BYTES[first]
        return None, 0, end + int.from_bytes(data[at:end]) + (first in _EXTENSIONS)
    return None, 0, at + _FIXED_BYTES[first]
