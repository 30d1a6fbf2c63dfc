"""A made-up fleet in, its telemetry as DCGM CSV out."""
