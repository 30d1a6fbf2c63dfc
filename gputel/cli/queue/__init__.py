"""``gputel queue``: look into a broker's queues, and act on them."""
