"""Log lines on stderr: plain text for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import sys

from gputel.config import CommonSettings


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, and a trace if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _is_news(record: logging.LogRecord) -> bool:
    """Not that asyncpg rolls back, of a client that left while its transaction was ending."""
    return not record.getMessage().startswith("Resetting connection with an active transaction")


def configure_logs(settings: CommonSettings, *, level: str | None = None) -> None:
    """Send gputel's log lines to stderr; ``level`` overrides the setting."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_news)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gputel").setLevel((level or settings.log_level).upper())
