"""The store: record batches go in as blocks of samples, records come out; all SQL is here."""
