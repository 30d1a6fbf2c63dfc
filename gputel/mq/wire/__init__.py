"""The broker's contract, which both ends share: its bytes, ids and addresses."""
