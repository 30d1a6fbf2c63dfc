"""Filters and a time range in, series, samples and records out."""
