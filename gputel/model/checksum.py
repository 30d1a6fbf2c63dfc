"""A checksum of a message from its producer to the collector: id, payload and metadata.

It is an item of the metadata. Network, broker and journal do not know it. A CRC-32 detects every
change of one bit, and of several bits within a span of 32.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

KEY = "gputel_crc32"
"""The key of the item. A message without it is not checked."""


def sealed(message_id: str, payload: bytes, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata with the checksum of the message added."""
    return {**metadata, KEY: _crc(message_id, payload, metadata)}


def is_damaged(message_id: str, payload: bytes, metadata: Mapping[str, Any]) -> bool:
    """Whether the message differs from the one that its producer sealed."""
    if KEY not in metadata:
        return False
    others = {key: value for key, value in metadata.items() if key != KEY}
    try:
        return bool(metadata[KEY] != _crc(message_id, payload, others))
    except (TypeError, ValueError, RecursionError):  # metadata that gputel seals has a JSON form
        return True


def _crc(message_id: str, payload: bytes, metadata: Mapping[str, Any]) -> int:
    head = json.dumps([message_id, metadata], sort_keys=True, separators=(",", ":"))
    return zlib.crc32(payload, zlib.crc32(head.encode()))
