"""The queue itself: messages in, leases out; pure and synchronous, with time as an argument."""
