"""Paths that other modules than those of their handlers use."""

PAGES = ("/", "/swagger")
"""Paths that answer HTML pages. The OpenAPI document leaves them out."""

DOCUMENT_PATH = "/openapi.json"
PROMETHEUS_PATH = "/prometheus/api/v1"

WRITE_PATH = "/api/v1/write"
"""Prometheus' remote write: a sender tries again after a 503, and never after a 4xx."""
