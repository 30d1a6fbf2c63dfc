"""Service links: variables that Kubernetes adds to a pod for each Service of its namespace.

A Service called ``gputel-api`` becomes ``GPUTEL_API_PORT=tcp://10.0.0.1:8080``, which has the name
of a setting, ``GPUTEL_API_SERVICE_HOST``, ``GPUTEL_API_SERVICE_PORT[_<port name>]`` and
``GPUTEL_API_PORT_8080_TCP[_PROTO|_PORT|_ADDR]``. None of them is meant for gputel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(
    r"GPUTEL(_[A-Z0-9_]+)?"
    r"(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
)
_PORT_NAME = re.compile(r"GPUTEL(_[A-Z0-9_]+)?_PORT")
_PORT_VALUE = re.compile(r"(tcp|udp|sctp)://\S+:\d+", re.IGNORECASE)


def is_service_link(name: str, text: str) -> bool:
    """Whether an environment variable with this value is a service link."""
    if _NAME.fullmatch(name):
        return True
    return bool(_PORT_NAME.fullmatch(name) and _PORT_VALUE.fullmatch(text.strip()))


def without_service_links(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are not service links."""
    return {name: text for name, text in environ.items() if not is_service_link(name, text)}
