"""HTTP requests in, calls of a queue, replies out."""
