"""The room that a broker has for the bodies of requests."""

from __future__ import annotations

from aiohttp import web

from gputel.config.settings import BrokerSettings
from gputel.web.server.intake import Intake, Told

INTAKE = web.AppKey("intake", Intake)

REPLIES = web.AppKey("replies", Intake)
"""Room for large replies until they are written."""

TOLD = Told(
    "--message-max-bytes of the broker, and 16 MiB without payloads",
    "--requests-max-bytes of the broker",
    "--receive-timeout-s of the broker",
)


def make_intake(settings: BrokerSettings) -> Intake:
    """Room as the settings say."""
    return Intake(settings.requests_max_bytes, settings.receive_timeout_s, TOLD)
