"""Requests to a server from the command line, and their answers as text."""
