"""``gputel ingest``: files in, a report of every row out."""
