"""Samples in, blocks in Postgres' binary COPY format out, and back."""
