"""What there is: GPUs, hosts, metrics."""
