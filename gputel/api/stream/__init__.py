"""The live stream: new records as server-sent events."""
