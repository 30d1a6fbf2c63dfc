"""``gputel db``: the database behind gputel."""
