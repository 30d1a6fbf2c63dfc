"""The journal: queue events in, files on disk out, so that messages outlive the broker."""
