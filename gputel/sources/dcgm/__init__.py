"""Lines of a DCGM CSV in, records and rejected lines out."""
