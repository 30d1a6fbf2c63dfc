"""The message queue: messages go in by publish, come out by consume, and end by ack."""
