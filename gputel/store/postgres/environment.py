"""The environment of Postgres' programs: what they need, and nothing of gputel's or the user's.

The account that they run as may read it, and tokens are not for that account; PGDATA and its like
are about another server; NOTIFY_SOCKET and the like are gputel's own.
"""

from __future__ import annotations

import os

# Programs of one's own (--postgres-bin-dir) may need their libraries to be found.
_KEPT = {"PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "LD_LIBRARY_PATH"}
_KEPT |= {"DYLD_LIBRARY_PATH", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}
_KEPT |= {"MALLOC_ARENA_MAX"}
# A session keeps so much of what a statement freed, bytes: fresh pages cost more than their use.
# Of glibc, mallopt(3); an environment that says otherwise goes before.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": "16777216", "MALLOC_MMAP_THRESHOLD_": "8388608"}


def clean_environment() -> dict[str, str]:
    """The variables for a program of Postgres."""
    kept = {
        name: text for name, text in os.environ.items() if name in _KEPT or name.startswith("LC_")
    }
    return _MALLOC | kept
