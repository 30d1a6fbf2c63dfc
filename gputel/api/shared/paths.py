"""Paths that other modules than those of their handlers use."""

PAGES = ("/", "/swagger")
"""Paths that answer HTML pages. The OpenAPI document leaves them out."""

DOCUMENT_PATH = "/openapi.json"
PROMETHEUS_PATH = "/prometheus/api/v1"

WRITE_PATH = "/api/v1/write"
"""Prometheus' remote write."""

OTLP_PATH = "/v1/metrics"
"""OpenTelemetry's metrics, where its exporters send them."""

OTLP_PATHS = (OTLP_PATH, "/api/v1/otlp/v1/metrics")
"""The same, and where Prometheus takes them."""

NEVER_429 = frozenset({WRITE_PATH, *OTLP_PATHS})
"""Paths at which a client is refused with 503 if it sends too much: it sends again only then."""
