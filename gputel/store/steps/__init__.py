"""Samples in, one value per series, group and step out."""
