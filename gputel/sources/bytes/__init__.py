"""Bytes of a file, a pipe or a compressed file in; a seekable run of bytes out."""
