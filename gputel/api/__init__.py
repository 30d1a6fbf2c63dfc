"""The api role: serves telemetry over HTTP."""
