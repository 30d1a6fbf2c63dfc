"""What others can cause again and again does not fill the log."""

from __future__ import annotations

import io
import json
import logging

import pytest

from gputel.cli.log_limits import LogLimits
from gputel.cli.logs import JsonFormatter


class Log:
    """A logger with the filter on its handler, a clock, and what was written."""

    def __init__(self, name: str) -> None:
        self.now = 0.0
        self._text = io.StringIO()
        handler = logging.StreamHandler(self._text)
        handler.addFilter(LogLimits(lambda: self.now))
        self.handler = handler
        self.logger = logging.Logger(name)
        self.logger.addHandler(handler)

    @property
    def text(self) -> str:
        return self._text.getvalue()

    def fault(self, words: str = "boom") -> None:
        try:
            raise OSError(words)
        except OSError:
            self.logger.exception("unexpected error while answering %s", words)


@pytest.mark.parametrize("name", ["gputel.web", "aiohttp.server", "asyncio", "gputel.collector"])
def test_a_cause_has_one_traceback_a_minute_and_then_the_count_of_those_left_out(name) -> None:
    log = Log(name)
    for n in range(500):
        log.fault(f"boom {n}")
    assert log.text.count("Traceback") == 1
    log.now = 61
    log.fault()
    assert log.text.count("Traceback") == 2
    assert "(499 more like it were left out before)" in log.text


def test_another_cause_has_its_own() -> None:
    log = Log("gputel.web")
    log.fault()
    try:
        raise ValueError("other")
    except ValueError:
        log.logger.exception("unexpected")
    assert log.text.count("Traceback") == 2


def test_lines_of_servers_come_ten_a_minute_and_those_of_other_roles_all() -> None:
    for name, most in (("gputel.web", 10), ("gputel.collector", 300)):
        log = Log(name)
        for n in range(300):
            log.logger.warning("closed a connection of %d", n)
        assert len(log.text.splitlines()) == most


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_line_and_its_trace_are_bounded(shape) -> None:
    log = Log("gputel.web")
    if shape == "json":
        log.handler.setFormatter(JsonFormatter())
    log.fault("x" * 1_000_000)
    assert len(log.text) < 16_000
    if shape == "json":
        line = json.loads(log.text)
        assert line["trace"].startswith("Traceback")
        assert "characters" in line["message"]


def test_what_is_remembered_is_bounded() -> None:
    log, limits = Log("x"), LogLimits()
    for n in range(3000):
        record = logging.LogRecord("gputel.web", 20, f"{n}.py", n, "x", (), None)
        assert limits.filter(record)
    assert len(limits._kinds) == 1000
    assert log.text == ""
