"""The times of the phases of a request, for its ``Server-Timing`` header.

Format: https://www.w3.org/TR/server-timing/
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timing:
    """Measures phases. The total time begins when it is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time until the end of the context to the phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + time.perf_counter() - began

    def header(self) -> str:
        """The phases so far in milliseconds, then ``total``."""
        spent = {**self._spent, "total": time.perf_counter() - self._began}
        return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in spent.items())
