"""Prometheus' text format and OpenMetrics: what exporters answer, as record batches."""
