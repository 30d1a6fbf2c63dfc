"""The shape of telemetry: records in columns go in, encoded record batches and series come out."""
