"""Log lines on stderr: plain text for people, JSON for machines, without secrets.

Text from outside can neither forge a line nor act on a terminal.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from gputel.cli.log_limits import LogLimits
from gputel.config.resolve import mistaken_service_links
from gputel.config.settings import CommonSettings
from gputel.masking import mask
from gputel.printable import json_text, printable, printable_lines

log = logging.getLogger("gputel")


class TextFormatter(logging.Formatter):
    """One line: time, level and message, and the lines of a traceback if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        record.message = printable(mask(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """The lines of a traceback."""
        return printable_lines(mask(super().formatException(ei)))


class JsonFormatter(logging.Formatter):
    """A JSON object for each line: time (RFC 3339), level, logger, message, and trace if any."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask(record.getMessage()),
        }
        if record.exc_info:
            line["trace"] = record.exc_text or mask(self.formatException(record.exc_info))
        return json_text(line)


def _is_relevant(record: logging.LogRecord) -> bool:
    """False for asyncpg's warning about a client that left while its transaction was ending."""
    return not record.getMessage().startswith("Resetting connection with an active transaction")


def configure_logs(settings: CommonSettings, *, level: str | None = None) -> None:
    """Write gputel's log to stderr; ``level`` overrides the setting."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_relevant)
    handler.addFilter(LogLimits())
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gputel").setLevel((level or settings.log_level).upper())
    for link in mistaken_service_links(os.environ):
        log.info("%s is a service link of Kubernetes, not a setting: gputel ignores it", link)
