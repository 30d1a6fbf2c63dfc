"""The newest hours of the store in memory, for the process that answers queries."""
