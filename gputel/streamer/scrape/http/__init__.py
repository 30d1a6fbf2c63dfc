"""HTTP GET as a scraper needs it: a URL and credentials come in, a bounded body goes out."""
