"""Ids for messages whose producer gave none."""

from __future__ import annotations

import itertools
import os
import secrets

_prefix = ""
_count = itertools.count()


def new_id() -> str:
    """A unique id: 96 random bits of this process, and a count.

    A random id for each message would cost more than the rest of the publish.
    """
    return f"{_prefix}{next(_count):x}"


def _begin() -> None:
    global _prefix
    _prefix = secrets.token_hex(12) + "-"


_begin()
os.register_at_fork(after_in_child=_begin)
