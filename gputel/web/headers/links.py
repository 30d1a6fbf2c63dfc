"""The ``Link`` header that leads from one page of an answer to the next."""

from __future__ import annotations

from aiohttp import web


def next_page(request: web.Request, **changed: str) -> dict[str, str]:
    """The header with the address of the next page: this request's, with these parameters.

    The address has no host: it holds behind any proxy.
    """
    url = request.rel_url.update_query(changed)
    return {"Link": f'<{url.raw_path_qs}>; rel="next"'}
