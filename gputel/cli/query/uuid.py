"""The GPU that a command is given: by its uuid, or by as much of its beginning as is enough."""

from __future__ import annotations

from gputel.cli.ask import api as api_client
from gputel.cli.query.ask import in_flags
from gputel.errors import ApiError, UsageError

_NAMED = 3


def whole_uuid(api_url: str, begun: str) -> str:
    """The uuid of the one GPU whose uuid begins like this.

    Gives back what is a uuid already, and what no uuid begins with. Asks the API; raises ApiError
    where that does not answer, and where several GPUs are meant.
    """
    if not begun:
        raise UsageError("UUID: is empty; `gputel query gpus` lists those that there are")
    with in_flags():
        gpus = api_client.rows(api_url, ("api", "v1", "gpus"), {"uuid": begun})
    uuids = [str(gpu["uuid"]) for gpu in gpus]
    if begun in uuids or not uuids:
        return begun
    if len(uuids) > 1:
        raise ApiError(
            f"the uuids of {len(uuids)} GPUs begin with {begun!r}: {_some(uuids)}; write more of it"
        )
    return uuids[0]


def _some(uuids: list[str]) -> str:
    left = len(uuids) - _NAMED
    return ", ".join(uuids[:_NAMED]) + (f" and {left} more" if left > 0 else "")
