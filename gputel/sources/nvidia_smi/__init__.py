"""The CSV of ``nvidia-smi --query-gpu``: one line a GPU and time, one column a property."""
