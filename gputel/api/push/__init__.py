"""Bodies of records come in from clients; a message for the queue goes out, and what was wrong."""
