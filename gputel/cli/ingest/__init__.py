"""``gputel ingest``: it lands files and reports on every row."""
