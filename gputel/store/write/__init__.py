"""Record batches in, one committed transaction out."""
