"""The journal: writes queue events to files, so that messages outlive the broker."""
