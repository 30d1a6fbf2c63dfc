"""What is printed of the log."""

import logging
from collections.abc import Iterator

import pytest

from gputel.cli.logs import configure_logs
from gputel.config import CommonSettings

ROLLED_BACK = "Resetting connection with an active transaction <asyncpg.connection.Connection>"


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    root.handlers[:] = before


def test_a_transaction_that_a_client_left_is_not_told_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs(CommonSettings())
    logging.getLogger("asyncio").error(ROLLED_BACK)
    logging.getLogger("asyncio").error("Task was destroyed but it is pending!")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("ERROR   Task was destroyed but it is pending!")
