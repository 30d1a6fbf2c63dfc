"""Records of GPUs: by time, by step, the newest, the largest."""
