"""What a client would rather have: the Accept headers of a request, with their q-values.

Format: https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.ASCII | re.IGNORECASE)


def media_type(header: Iterable[str], offers: Sequence[str]) -> str | None:
    """The offer that fits Accept best, the earlier of two that fit as well; None if none does.

    The first offer where the header is not there or empty.
    """
    ranges = list(_ranges(header))
    if not ranges:
        return offers[0]
    return _best([(_of_media_type(offer, ranges), offer) for offer in offers])


def coding(header: Iterable[str], offers: Sequence[str]) -> str | None:
    """The offer that Accept-Encoding likes best; None where it names none, and none fits."""
    ranges = dict(_ranges(header))
    return _best([(ranges.get(offer, ranges.get("*", 0.0)), offer) for offer in offers])


def _best(qualities: Sequence[tuple[float, str]]) -> str | None:
    quality, offer = max(qualities, key=lambda pair: pair[0])
    return offer if quality > 0 else None


def _of_media_type(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The q of the closest range: its type and subtype, then its type, then any."""
    closest = (offer, f"{offer.partition('/')[0]}/*", "*/*")
    for wanted in closest:
        for given, quality in ranges:
            if given == wanted:
                return quality
    return 0.0


def _ranges(header: Iterable[str]) -> Iterator[tuple[str, float]]:
    """Each range with its q; what is no q counts as 1, parameters of a type are passed over."""
    for part in ",".join(header).split(","):
        name, *parameters = part.split(";")
        if name.strip():
            found = [match[1] for match in map(_QUALITY.fullmatch, parameters) if match]
            yield name.strip().lower(), float(found[-1]) if found else 1.0
