"""Paths that other modules than those of their handlers use."""

PAGES = ("/", "/swagger")
"""Paths that answer HTML pages. The OpenAPI document leaves them out."""

DOCUMENT_PATH = "/openapi.json"
PROMETHEUS_PATH = "/prometheus/api/v1"

WRITE_PATH = "/api/v1/write"
"""Prometheus' remote write."""

NEVER_429 = frozenset({WRITE_PATH})
"""Paths at which a client is refused with 503 if it sends too much: it sends again only then."""
