"""Protocol buffers, field by field: nothing is allocated that a body does not have."""
