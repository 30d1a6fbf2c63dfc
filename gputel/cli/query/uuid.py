"""The GPU that an argument names by its uuid or by the beginning of its uuid."""

from __future__ import annotations

from gputel.cli.ask import api as api_client
from gputel.cli.query.ask import in_flags
from gputel.errors import ApiError, UsageError

_NAMED = 3


def complete_uuid(api_url: str, prefix: str) -> str:
    """The uuid of the only GPU whose uuid begins with ``prefix``, by the API.

    Returns the prefix itself if it is a uuid, or if no uuid begins with it. Raises ApiError if the
    API does not answer, or if several uuids begin with it.
    """
    if not prefix:
        raise UsageError("UUID: is empty; `gputel query gpus` lists the uuids")
    with in_flags():
        gpus = api_client.rows(api_url, ("api", "v1", "gpus"), {"uuid": prefix})
    uuids = [str(gpu["uuid"]) for gpu in gpus]
    if prefix in uuids or not uuids:
        return prefix
    if len(uuids) > 1:
        raise ApiError(
            f"the uuids of {len(uuids)} GPUs begin with {prefix!r}: {_some(uuids)}; write more of "
            "it"
        )
    return uuids[0]


def _some(uuids: list[str]) -> str:
    left = len(uuids) - _NAMED
    return ", ".join(uuids[:_NAMED]) + (f" and {left} more" if left > 0 else "")
