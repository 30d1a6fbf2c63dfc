"""Files of the package itself, served from this server and from nowhere else."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

STATIC = "/static/"
DIRECTORY = Path(__file__).resolve().parent / "static"

_NO_SNIFF = {"X-Content-Type-Options": "nosniff"}

# Pages load nothing from other sites and run no script of their own text; Swagger UI sets styles
# and draws its icons from data: URLs.
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    **_NO_SNIFF,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_static_routes(app: web.Application) -> None:
    """Serve the files of ``gputel/web/static`` under ``/static``."""
    app.router.add_get(STATIC + "{name:.+}", _static_file)


async def _static_file(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    path = (DIRECTORY / name.replace("\x00", "")).resolve()
    if not path.is_relative_to(DIRECTORY) or not path.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Cache-Control": "no-cache", **_NO_SNIFF})


def page(name: str) -> web.FileResponse:
    """One HTML page of ``gputel/web/static``."""
    return web.FileResponse(DIRECTORY / name, headers=_PAGE_HEADERS)


def vendored(name: str) -> bool:
    """Whether a fetched asset, ``swagger-ui/swagger-ui.css``, is there."""
    return (DIRECTORY / "vendor" / name).is_file()
