"""NVML, the library of NVIDIA's driver: its GPUs come in, dcgm-exporter's text goes out."""
