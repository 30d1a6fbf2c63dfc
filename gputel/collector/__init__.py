"""The collector role: messages come in from the broker, committed rows go out to the store."""
