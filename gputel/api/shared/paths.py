"""Paths that other modules than those of their handlers use."""

PAGES = ("/", "/swagger")
"""Paths that answer HTML pages. The OpenAPI document leaves them out."""

DOCUMENT_PATH = "/openapi.json"
PROMETHEUS_PATH = "/prometheus/api/v1"
