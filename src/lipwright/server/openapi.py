"""The OpenAPI document: what FastAPI knows of the routes, and what it cannot know.

Bodies are read by our own strict reader, keys by our own check, so both are written down here.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lipwright.server.runcomfy import schemas
from lipwright.server.runcomfy.schemas import ErrorInfo, SubmitInput
from lipwright.server.sync_v2 import schemas as schemas_v2
from lipwright.server.sync_v2.schemas import Generate
from lipwright.version import __version__

REF = "#/components/schemas/{model}"
OPEN = ("/healthz", "/readyz", "/metrics", "/v1/outputs/{request_id}/{name}")  # no key needed

TITLE = "Lipwright"
ABOUT = """Give a video of a person a new voice, on your own machines.

Submit a request, poll its status or follow its events, download the result. The calls under `/v1`
speak RunComfy's Model API, those under `/v2` the API of sync.so. Every call but health, metrics
and signed downloads needs an API key: `Authorization: Bearer <key>` or `x-api-key: <key>`.
"""
TAGS = [
    {"name": "requests", "description": "RunComfy's Model API: submit, poll, result, cancel."},
    {"name": "models", "description": "What a request may name."},
    {"name": "files", "description": "Uploads, and downloads of results."},
    {"name": "sync.so v2", "description": "The same service for clients of sync.so."},
    {"name": "health", "description": "For the operator."},
]
MEANINGS = {
    400: "The body does not fit; `detail` names the fields.",
    401: "The API key is missing, wrong or revoked.",
    403: "The link has expired or was altered.",
    404: "There is no such thing, or it has expired, or it belongs to another key.",
    408: "The body stopped coming.",
    409: "Its state does not allow that.",
    412: "It is another version than `If-Match` names.",
    413: "It is over a limit.",
    415: "The body is of another type than the call takes.",
    416: "The file has no such range.",
    422: "The input does not fit; `detail` names the fields.",
    429: "Too many requests; `Retry-After` tells when to try again.",
    503: "The database or the disk is away; try again.",
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
FILE_HEADERS = {
    name: {"schema": {"type": "string"}}
    for name in ("ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition")
}
BINARY = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
BYTES = {"type": "string", "format": "binary", "minLength": 1}
FILE_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": BYTES},
                "additionalProperties": False,
            }
        },
        "application/octet-stream": {"schema": BYTES},
    },
}
GENERATION_FORM: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["model"],
            "properties": {
                "model": {"type": "string"},
                "video": {**BYTES, "description": "The video, in place of one in `input`."},
                "audio": {**BYTES, "description": "The voice, in place of one in `input`."},
                "input": {"type": "string", "contentMediaType": "application/json"},
                "options": {"type": "string", "contentMediaType": "application/json"},
                "webhookUrl": {"type": "string"},
                "outputFileName": {"type": "string"},
            },
            "additionalProperties": False,
        }
    }
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key."},
}


def answers(
    model: Any, *errors: int, status: int = 200, dialect: type[BaseModel] = ErrorInfo
) -> dict[int | str, dict[str, Any]]:
    """Return the answers of a call: the good one, and the errors it can give."""
    good = {"model": model, "description": HTTPStatus(status).phrase}
    return {status: good, **{error: _error(error, dialect) for error in errors}}


def file_answers(*errors: int) -> dict[int | str, dict[str, Any]]:
    """Return the answers of a download."""
    return {
        200: {"description": "The whole file.", "content": BINARY, "headers": FILE_HEADERS},
        206: {"description": "The range asked for.", "content": BINARY, "headers": FILE_HEADERS},
        304: {"description": "The caller has it already."},
        **{error: _error(error, ErrorInfo) for error in errors},
    }


def json_body(model: type[BaseModel], others: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a body that is one JSON object, or of other types."""
    schema = {"$ref": REF.format(model=model.__name__)}
    content = {"application/json": {"schema": schema}, **(others or {})}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the whole document; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=TITLE, version=__version__, description=ABOUT, tags=TAGS, routes=app.routes
        )
        _, bodies = models_json_schema(
            [(SubmitInput, "validation"), (Generate, "validation")], ref_template=REF
        )
        parts = made.setdefault("components", {})
        parts["schemas"] = {**parts.get("schemas", {}), **bodies["$defs"]}
        parts["securitySchemes"] = SCHEMES
        _restore_examples(parts["schemas"])
        _secure(made["paths"])
        app.openapi_schema = made
    return app.openapi_schema


def _restore_examples(found: dict[str, Any]) -> None:
    """Put examples back as they are written: FastAPI leaves their nulls out."""
    for name, model in {**vars(schemas), **vars(schemas_v2)}.items():
        extra = getattr(model, "model_config", {}).get("json_schema_extra")
        if name in found and isinstance(extra, dict):
            found[name] |= extra


def _secure(paths: dict[str, Any]) -> None:
    for path, calls in paths.items():
        if path not in OPEN:
            for call in calls.values():
                call["security"] = [{name: []} for name in SCHEMES]


def _error(status: int, dialect: type[BaseModel]) -> dict[str, Any]:
    headers = {"headers": RETRY_AFTER} if status in (429, 503) else {}
    return {"model": dialect, "description": MEANINGS[status], **headers}
