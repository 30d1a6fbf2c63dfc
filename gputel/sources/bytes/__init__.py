"""Opens a file, a pipe or a compressed file as one seekable stream of bytes."""
