"""The api role: questions about GPUs come in over HTTP, JSON goes out."""
