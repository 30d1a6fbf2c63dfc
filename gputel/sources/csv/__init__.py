"""CSV files of DCGM and nvidia-smi: any range of their rows, also while they grow or in a loop."""
