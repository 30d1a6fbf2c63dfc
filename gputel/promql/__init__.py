"""PromQL: an expression and samples in columns go in, series by steps come out."""
