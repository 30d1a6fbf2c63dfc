"""The queues of one broker by name, with those who wait at them."""
