"""Lists of GPUs, hosts and metrics."""
