"""Content negotiation: the Accept headers of a request, with their q-values.

Format: https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.ASCII | re.IGNORECASE)


def media_type(header: Iterable[str], offers: Sequence[str]) -> str | None:
    """The offer that Accept prefers, the earlier one of equals; None if it allows none.

    It is the first offer if the header is missing or empty.
    """
    ranges = list(_ranges(header))
    if not ranges:
        return offers[0]
    return _best([(_of_media_type(offer, ranges), offer) for offer in offers])


def coding(header: Iterable[str], offers: Sequence[str]) -> str | None:
    """The offer that Accept-Encoding prefers; None if it allows none."""
    ranges = dict(_ranges(header))
    return _best([(ranges.get(offer, ranges.get("*", 0.0)), offer) for offer in offers])


def _best(qualities: Sequence[tuple[float, str]]) -> str | None:
    quality, offer = max(qualities, key=lambda pair: pair[0])
    return offer if quality > 0 else None


def _of_media_type(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The q of the most specific range that matches the offer; 0 if none does."""
    closest = (offer, f"{offer.partition('/')[0]}/*", "*/*")
    for media_range in closest:
        for name, quality in ranges:
            if name == media_range:
                return quality
    return 0.0


def _ranges(header: Iterable[str]) -> Iterator[tuple[str, float]]:
    """Each range with its q, which is 1 if it is missing. Other parameters are ignored."""
    for part in ",".join(header).split(","):
        name, *parameters = part.split(";")
        if name.strip():
            qualities = [match[1] for match in map(_QUALITY.fullmatch, parameters) if match]
            yield name.strip().lower(), float(qualities[-1]) if qualities else 1.0
