"""``gputel queue``: inspect and change the queues of a broker."""
