"""Scraping of exporters: jobs come in from flags and a file, targets and their answers go out."""
