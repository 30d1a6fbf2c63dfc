from __future__ import annotations

import socket

import pytest

from gputel.cli.ask.api import get
from gputel.errors import ApiError


def test_an_api_that_does_not_answer_is_told_from_one_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ApiError) as error, get(url, ("gpus",), {}, timeout_s=0.1):
            pass
    assert error.value.message == (
        f"the API at {url} did not answer in time: try again, ask for less, or name another "
        "with --api-url"
    )
