"""Lists of records or rows, encoded in the format that a request prefers."""
