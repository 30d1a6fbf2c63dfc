"""The collector role: consumes messages from the broker and commits their rows to the store."""
