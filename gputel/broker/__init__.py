"""The broker role: HTTP requests come in, and the message queue answers them."""
