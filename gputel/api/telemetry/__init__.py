"""Records and values of GPUs, by time, by step, newest, largest."""
