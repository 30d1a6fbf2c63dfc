"""Memory that answers are made in stays with the process: fresh pages cost more than their use.

Source: mallopt(3) of glibc. Elsewhere nothing is changed.
"""

from __future__ import annotations

import ctypes

_MIB = 1024 * 1024
_SETTINGS = {
    -1: 32 * _MIB,  # M_TRIM_THRESHOLD: so much that is free at the end of an arena is kept
    -3: 8 * _MIB,  # M_MMAP_THRESHOLD: what is larger has pages of its own, and gives them back
}


def keep_freed_memory() -> None:
    """Let malloc keep some of what is freed, instead of asking the kernel anew for each answer."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in _SETTINGS.items():
            mallopt(name, value)
