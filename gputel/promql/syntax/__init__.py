"""PromQL text in, a checked tree out, and back to text."""
