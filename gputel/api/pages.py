"""Pages for people and the document for programs: ``/``, ``/swagger``, ``/openapi.json``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from gputel.api.shared.documented import answer, errors, operation
from gputel.api.shared.paths import DOCUMENT_PATH
from gputel.web import static_files
from gputel.web.base_path import BASE_PATH, base_path_of

DOCUMENT: web.AppKey[Callable[[], dict[str, Any]]] = web.AppKey("document")
"""Makes the OpenAPI document when it is first requested."""

_SWAGGER_UI = ("swagger-ui.css", "swagger-ui-bundle.js")


def add_page_routes(app: web.Application) -> None:
    """Add the pages, the document and the static files that the pages load.

    Pages name what they load or link to by relative addresses, which are right under any base path.
    """
    app.router.add_get("/", landing)
    if app[BASE_PATH]:
        app.router.add_get(app[BASE_PATH], to_landing)
    app.router.add_get("/swagger", swagger)
    app.router.add_get(DOCUMENT_PATH, openapi_document)
    static_files.add_static_routes(app)


async def landing(_request: web.Request) -> web.FileResponse:
    """The first page, with links to the others."""
    return static_files.page("landing.html")


async def to_landing(request: web.Request) -> web.Response:
    """Lead to the first page, whose links are relative to a path that ends with a slash."""
    return web.Response(status=308, headers={"Location": f"{request.path.rpartition('/')[2]}/"})


async def swagger(_request: web.Request) -> web.FileResponse:
    """Swagger UI, or how to fetch its files if they are missing."""
    if all(static_files.vendored(f"swagger-ui/{name}") for name in _SWAGGER_UI):
        return static_files.page("swagger.html")
    return static_files.page("swagger-missing.html")


@operation(
    "get_openapi_document", "service", "Read this document", "The API as an OpenAPI 3.0.3 document."
)
@answer({"type": "object"}, 200, "The document.")
@errors()
async def openapi_document(request: web.Request) -> web.Response:
    """Answer the OpenAPI document of this application."""
    document = await asyncio.to_thread(request.app[DOCUMENT])
    if base_path := base_path_of(request):
        (server,) = document["servers"]
        document = {**document, "servers": [{**server, "url": base_path}]}
    body = msgspec.json.encode(document)
    return web.Response(body=body, content_type="application/json")
