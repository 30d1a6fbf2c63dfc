"""The room that a broker has for the bodies of requests."""

from __future__ import annotations

from aiohttp import web

from gputel.config.settings import BrokerSettings
from gputel.web.server.intake import BodyIntake, BoundNames

INTAKE = web.AppKey("intake", BodyIntake)

REPLIES = web.AppKey("replies", BodyIntake)
"""Room for large replies until they are written."""

BOUNDS = BoundNames(
    "--message-max-bytes of the broker, and 16 MiB without payloads",
    "--requests-max-bytes of the broker",
    "--receive-timeout-s of the broker",
)


def make_intake(settings: BrokerSettings) -> BodyIntake:
    """Room as the settings say."""
    return BodyIntake(settings.requests_max_bytes, settings.receive_timeout_s, BOUNDS)
