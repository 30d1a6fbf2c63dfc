"""What is printed of the log."""

import logging
from collections.abc import Iterator

import pytest

from gputel.cli.logs import configure_logs
from gputel.config.settings import CommonSettings

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


def test_a_service_link_that_has_the_name_of_a_setting_is_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUTEL_API_PORT", "tcp://10.0.0.1:8080")
    monkeypatch.setenv("GPUTEL_API_SERVICE_HOST", "10.0.0.1")
    configure_logs(CommonSettings())
    (line,) = capsys.readouterr().err.splitlines()
    assert "GPUTEL_API_PORT=tcp://10.0.0.1:8080 is a service link of Kubernetes" in line


@pytest.mark.parametrize("shape", ["text", "json"])
def test_what_comes_from_outside_forges_no_line_and_shows_no_secret(
    capsys: pytest.CaptureFixture[str], shape: str
) -> None:
    configure_logs(CommonSettings(log_format=shape))
    try:
        raise ValueError("\x1b[2J postgresql://u:SECRET@h/db")
    except ValueError:
        logging.getLogger("gputel").exception(
            "message %s\n12:00:00 INFO forged \x1b]0;x\x07\u202e\x9b\x7f", "http://u:SECRET@h"
        )
    shown = capsys.readouterr().err
    assert "SECRET" not in shown
    assert shown.isascii()
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert not any(line.startswith("12:00:00 INFO forged") for line in shown.splitlines())
