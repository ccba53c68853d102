"""The OpenAPI document, and Swagger UI to read and try it; no foreign host is involved."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.responses import JSONResponse

from lipwright.server.openapi import build_openapi

#: Files of the page by URL name: path below ``static``, media type.
ASSETS = {
    "docs.css": ("docs.css", "text/css"),
    "docs.js": ("docs.js", "text/javascript"),
    "swagger-ui.css": ("swagger-ui/swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js", "text/javascript"),
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSET_CACHING = "public, max-age=3600"

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def get_openapi_document(request: Request) -> Response:
    """Return the OpenAPI document."""
    return JSONResponse(build_openapi(request.app))


@router.get("/docs")
def get_docs() -> Response:
    """Return the page that shows the OpenAPI document."""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return Response(_read_static("docs.html"), media_type="text/html", headers=headers)


@router.get("/docs/{name}")
def get_docs_asset(name: str) -> Response:
    """Return a script or style sheet of that page."""
    if name not in ASSETS:
        raise HTTPException(404, "there is no such page")
    path, media_type = ASSETS[name]
    headers = {"Cache-Control": ASSET_CACHING}
    return Response(_read_static(path), media_type=media_type, headers=headers)


@cache
def _read_static(path: str) -> bytes:
    return (files("lipwright.server") / "static" / path).read_bytes()
