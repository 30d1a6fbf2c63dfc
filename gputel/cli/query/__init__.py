"""``gputel query``: queries to the API, answered as tables for people or data for programs."""
