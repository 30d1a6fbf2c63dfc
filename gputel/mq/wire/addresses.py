"""The addresses of brokers: one URL, a list of URLs, or a DNS name of many.

``http://a:8081`` is one broker, ``http://a:8081,http://b:8081`` are two, and ``dns+http://name:8081``
stands for all addresses of the name, looked up again every few seconds.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

DNS = "dns+"
_LOOKUP_S = 5.0


def split(url: str | Sequence[str]) -> list[str]:
    """The addresses in a comma-separated text, or in a list; each once."""
    texts = url.split(",") if isinstance(url, str) else url
    return list(dict.fromkeys(text.strip().rstrip("/") for text in texts if text.strip()))


def are_several(url: str | Sequence[str]) -> bool:
    """Whether the text or list may name more than one broker."""
    addresses = split(url)
    return len(addresses) > 1 or any(address.startswith(DNS) for address in addresses)


async def resolve(address: str) -> list[str]:
    """The URLs of an address, sorted. Raises OSError when the name is not found."""
    if not address.startswith(DNS):
        return [address]
    import asyncio

    parts = urlsplit(address.removeprefix(DNS))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_LOOKUP_S):
        results = await loop.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    hosts = {str(socket_address[0]) for *_, socket_address in results}
    names = sorted(f"[{host}]" if ":" in host else host for host in hosts)
    return [f"http://{name}:{parts.port or 80}{parts.path}" for name in names]
