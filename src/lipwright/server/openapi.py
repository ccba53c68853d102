"""The OpenAPI document: FastAPI's description of the routes, completed.

FastAPI does not see bodies and API keys, which our own code reads; this module describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from lipwright.server.runcomfy import schemas
from lipwright.server.runcomfy.schemas import ErrorInfo, SubmitInput
from lipwright.server.sync_v2 import schemas as schemas_v2
from lipwright.server.sync_v2.schemas import Generate
from lipwright.version import __version__

SCHEMA_REF = "#/components/schemas/{model}"
PUBLIC_PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/outputs/{request_id}/{name}",
)  # no API key required

TITLE = "Lipwright"
DESCRIPTION = """Give a video of a person a new voice, on your own machines.

Submit a request, poll its status or follow its events, download the result. The calls under `/v1`
are RunComfy's Model API, those under `/v2` the API of sync.so. Every call except health, metrics
and signed downloads requires an API key: `Authorization: Bearer <key>` or `x-api-key: <key>`.
"""
TAGS = [
    {"name": "requests", "description": "RunComfy's Model API: submit, poll, result, cancel."},
    {"name": "models", "description": "The models that a request can name."},
    {"name": "files", "description": "Uploads, and downloads of results."},
    {"name": "sync.so v2", "description": "The API of sync.so for the same service."},
    {"name": "health", "description": "For the operator."},
]
STATUS_DESCRIPTIONS = {
    400: "The body is invalid; `detail` names the fields.",
    401: "The API key is missing, wrong or revoked.",
    403: "The link has expired or was altered.",
    404: "It does not exist, has expired, or belongs to another key.",
    408: "The body did not arrive in time.",
    409: "Its state does not allow the call.",
    412: "The file is not the version in `If-Match`.",
    413: "The body or a file is over a limit.",
    415: "The call does not support the content type.",
    416: "The file has no such range.",
    422: "The input is invalid; `detail` names the fields.",
    429: "Too many requests; try again after `Retry-After` seconds.",
    503: "The database or the storage is unavailable; try again.",
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


def responses(
    model: Any, *errors: int, status: int = 200, dialect: type[BaseModel] = ErrorInfo
) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a call.

    Args:
        model: body of the successful response.
        errors: HTTP statuses of its errors.
        status: HTTP status of the successful response.
        dialect: body of its errors.
    """
    success = {"model": model, "description": HTTPStatus(status).phrase}
    return {status: success, **{error: _error(error, dialect) for error in errors}}


def file_responses(*errors: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a download."""
    return {
        200: {"description": "The whole file.", "content": BINARY, "headers": FILE_HEADERS},
        206: {"description": "The requested range.", "content": BINARY, "headers": FILE_HEADERS},
        304: {"description": "Not modified."},
        **{error: _error(error, ErrorInfo) for error in errors},
    }


def json_request_body(
    model: type[BaseModel], others: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the OpenAPI request body of a call that takes a JSON object.

    Args:
        model: of the object.
        others: other content types.
    """
    schema = {"$ref": SCHEMA_REF.format(model=model.__name__)}
    content = {"application/json": {"schema": schema}, **(others or {})}
    return {"requestBody": {"required": True, "content": content}}


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of *app*; it is built once."""
    if app.openapi_schema is None:
        spec = get_openapi(
            title=TITLE, version=__version__, description=DESCRIPTION, tags=TAGS, routes=app.routes
        )
        components = spec.setdefault("components", {})
        components["schemas"] = {**components.get("schemas", {}), **_body_schemas()}
        components["securitySchemes"] = SCHEMES
        _restore_examples(components["schemas"])
        _require_key(spec["paths"])
        app.openapi_schema = spec
    return app.openapi_schema


def _body_schemas() -> dict[str, Any]:
    """Return the schemas of the request bodies and of all models in them."""
    schemas: dict[str, Any] = {}
    for model in (SubmitInput, Generate):
        schema = model.model_json_schema(ref_template=SCHEMA_REF)
        schemas |= {**schema.pop("$defs"), model.__name__: schema}
    return schemas


def _restore_examples(components: dict[str, Any]) -> None:
    """Restore the examples of the schemas: FastAPI removes their nulls."""
    for name, model in {**vars(schemas), **vars(schemas_v2)}.items():
        extra = getattr(model, "model_config", {}).get("json_schema_extra")
        if name in components and isinstance(extra, dict):
            components[name] |= extra


def _require_key(paths: dict[str, Any]) -> None:
    for path, calls in paths.items():
        if path not in PUBLIC_PATHS:
            for call in calls.values():
                call["security"] = [{name: []} for name in SCHEMES]


def _error(status: int, dialect: type[BaseModel]) -> dict[str, Any]:
    headers = {"headers": RETRY_AFTER} if status in (429, 503) else {}
    return {"model": dialect, "description": STATUS_DESCRIPTIONS[status], **headers}
