"""The streamer role: source rows come in, messages go out to the broker."""
