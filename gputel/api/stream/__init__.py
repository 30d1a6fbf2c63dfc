"""The live stream: what lands, sent on as server-sent events."""
