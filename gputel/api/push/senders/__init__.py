"""Protocols of programs that send samples again after an error: remote write and OTLP."""
