"""A data directory in, a running Postgres of our own out."""
