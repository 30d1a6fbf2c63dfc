"""NVML in a process of its own: a request comes in, the readings of this machine's GPUs go out."""
