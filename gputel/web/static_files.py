"""Static files, which are all files of this package."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from gputel.web.headers.added import GUARDED

STATIC = "/static/"
DIRECTORY = Path(__file__).resolve().parent / "static"

# Pages load nothing from other sites and have no inline scripts. Swagger UI has inline styles, and
# icons in data: URLs.
_PAGE_HEADERS = {
    **GUARDED,
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}


def add_static_routes(app: web.Application) -> None:
    """Serve the files of ``gputel/web/static`` under ``/static``."""
    app.router.add_get(STATIC + "{name:.+}", _static_file)


async def _static_file(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    try:
        path = (DIRECTORY / name).resolve()
        is_there = path.is_relative_to(DIRECTORY) and path.is_file()
    except (OSError, ValueError):  # not a valid file name
        is_there = False
    if not is_there:
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Cache-Control": "no-cache"})


def page(name: str) -> web.FileResponse:
    """One HTML page of ``gputel/web/static``."""
    return web.FileResponse(DIRECTORY / name, headers=_PAGE_HEADERS)


def vendored(name: str) -> bool:
    """Whether a fetched asset such as ``swagger-ui/swagger-ui.css`` is there."""
    return (DIRECTORY / "vendor" / name).is_file()
