"""Queues whose messages outlive the broker."""
