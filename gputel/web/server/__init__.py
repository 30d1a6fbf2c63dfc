"""Serves aiohttp applications on sockets: listener, TLS, ports, exposure."""
