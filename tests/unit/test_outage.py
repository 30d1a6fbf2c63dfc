"""One line when a server goes, one for each new reason, one when it is back."""

from __future__ import annotations

import logging

import pytest

from gputel.errors import GputelError
from gputel.outage import Outage


async def test_an_outage_is_told_once_for_each_reason_and_checks_name_the_present_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("gputel"), "the database")
    for text in ("port 1 refused", "port 2 refused", "disk full", "port 3 refused", "disk full"):
        outage.begins(GputelError(text))
        assert await outage.check() == text
    outage.ends()
    outage.ends()
    assert await outage.check() is None
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == [
        "the database is away, trying again until it is back: port 1 refused",
        "the database still is away, now for this reason: disk full",
    ]
    assert len(lines) == 3
    assert lines[2].startswith("the database is back after")


async def test_a_new_outage_is_told_of_again(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("gputel"), "the broker")
    for _ in range(2):
        outage.begins(GputelError("gone"))
        outage.ends()
    assert caplog.text.count("the broker is away") == 2
