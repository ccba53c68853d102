"""The documentation pages: the OpenAPI document, and a page that shows it without the internet."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.responses import JSONResponse

from lipwright.server.openapi import document

KINDS = {"docs.css": "text/css", "docs.js": "text/javascript"}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def get_openapi_document(request: Request) -> Response:
    """Return the OpenAPI document."""
    return JSONResponse(document(request.app))


@router.get("/docs")
def get_docs() -> Response:
    """Return the page that shows it."""
    headers = {"Content-Security-Policy": POLICY}
    return Response(_asset("docs.html"), media_type="text/html", headers=headers)


@router.get("/docs/{name}")
def get_docs_asset(name: str) -> Response:
    """Return a file of that page."""
    if name not in KINDS:
        raise HTTPException(404, "there is no such page")
    return Response(_asset(name), media_type=KINDS[name])


@cache
def _asset(name: str) -> bytes:
    return (files("lipwright.server") / "static" / name).read_bytes()
