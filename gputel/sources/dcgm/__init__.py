"""DCGM CSV in, chunks of records and rejected lines out."""
