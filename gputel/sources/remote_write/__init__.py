"""Prometheus' remote write, versions 1.0 and 2.0: what other Prometheus servers send."""
