"""Records in JSON, as the API and other producers write them."""
