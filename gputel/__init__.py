"""gputel: GPU telemetry from DCGM to Postgres through its own message queue."""

__version__ = "0.1.0"
