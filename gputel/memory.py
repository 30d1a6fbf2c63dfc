"""How a process takes memory from the system, where its C library is glibc.

Source: mallopt(3). Nothing changes with another C library.
"""

from __future__ import annotations

import ctypes
import os

_MIB = 1024 * 1024
_ARENA_MAX = -8
_KEPT = {
    -1: 32 * _MIB,  # M_TRIM_THRESHOLD: so much that is free at the end of an arena is kept
    -3: 8 * _MIB,  # M_MMAP_THRESHOLD: what is larger has pages of its own, and gives them back
}
_mallopt = getattr(ctypes.CDLL(None), "mallopt", None)


def keep_memory_in_one_place() -> None:
    """Have all threads, and Arrow, allocate from one arena; call it before any thread starts.

    Else each thread keeps what it has freed to itself, and Arrow as much again. What
    MALLOC_ARENA_MAX or ARROW_DEFAULT_MEMORY_POOL say comes first.
    """
    if _mallopt is None:  # pragma: no cover - another C library
        return
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" not in os.environ:
        _mallopt(_ARENA_MAX, 1)


def keep_freed_memory() -> None:
    """Let malloc keep some of what is freed: fresh pages cost more than the use of them."""
    if _mallopt is not None:
        for option, value in _KEPT.items():
            _mallopt(option, value)
