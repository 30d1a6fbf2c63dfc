"""The broker's contract in bytes, which both ends share."""
