"""Request headers read, response headers written, as the HTTP standards have them."""
