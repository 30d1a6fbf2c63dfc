"""How many bytes of labels one query may read."""

from __future__ import annotations

from gputel.errors import QueryTooLarge

UNLIMITED = 2**62


def check_bytes(size: int, max_bytes: int) -> int:
    """The size, if it is not over the limit. Raises QueryTooLarge."""
    if size > max_bytes:
        raise QueryTooLarge(
            f"the labels of the series that the query selects have more than {max_bytes} bytes, "
            "the limit (--query-max-bytes): narrow it by metric, hostname, namespace, pod or uuid"
        )
    return size
