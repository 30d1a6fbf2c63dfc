"""What every HTTP server of gputel shares: listening, health, errors, static files."""
