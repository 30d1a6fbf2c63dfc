"""Paths that more than their handlers need to know."""

PAGES = ("/", "/swagger")
"""Paths that answer HTML to a browser; the document leaves them out."""

DOCUMENT_PATH = "/openapi.json"
PROMETHEUS_PATH = "/prometheus/api/v1"
