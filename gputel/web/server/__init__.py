"""Sockets in, aiohttp applications served: listener, TLS, ports, exposure."""
