"""Sources of telemetry: a file or an exporter goes in, record batches come out."""
