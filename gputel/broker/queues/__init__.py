"""The queues of one broker, with their waiting publishers and consumers."""
