"""The parts that all HTTP servers of gputel share: listening, health, errors, static files."""
