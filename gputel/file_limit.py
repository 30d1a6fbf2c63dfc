"""How many files this process may open, connections included."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH = 1 << 20


def raise_file_limit() -> int:
    """Allow this process as many open files as its user may allow; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # a system may have a bound of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return file_limit()


def file_limit() -> int:
    """How many files this process may open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft
