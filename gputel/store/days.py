"""UTC days: the store keeps each in a table of its own."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta


def day_span(day: date) -> tuple[datetime, datetime]:
    """A UTC day: its beginning, and its end, which is not included."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return midnight, midnight + timedelta(days=1)
