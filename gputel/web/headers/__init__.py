"""Request headers and response headers, as the HTTP standards define them."""
