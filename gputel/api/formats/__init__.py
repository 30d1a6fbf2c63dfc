"""Lists of records come in, as columns or as rows; the bytes of the format asked for go out."""
