"""The client of several brokers, with the same methods as the client of one."""
