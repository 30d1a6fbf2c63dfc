"""How a process takes memory from the system, if its C library is glibc.

Source: mallopt(3). Nothing changes with another C library.
"""

from __future__ import annotations

import ctypes
import os

_MIB = 1024 * 1024
_ARENA_MAX = -8
_KEPT = {
    -1: 32 * _MIB,  # M_TRIM_THRESHOLD: free memory that malloc keeps at the end of an arena
    -3: 8 * _MIB,  # M_MMAP_THRESHOLD: larger blocks have their own pages, and give them back
}
_mallopt = getattr(ctypes.CDLL(None), "mallopt", None)


def keep_memory_in_one_place() -> None:
    """Make all threads, and Arrow, allocate from one arena; call it before any thread starts.

    Otherwise each thread keeps the memory that it has freed, and Arrow keeps as much again.
    MALLOC_ARENA_MAX and ARROW_DEFAULT_MEMORY_POOL take precedence.
    """
    if _mallopt is None:  # pragma: no cover - another C library
        return
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" not in os.environ:
        _mallopt(_ARENA_MAX, 1)


def keep_freed_memory() -> None:
    """Let malloc keep some of the freed memory: to get new pages costs more than to fill them."""
    if _mallopt is not None:
        for option, value in _KEPT.items():
            _mallopt(option, value)
