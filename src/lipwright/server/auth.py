"""Who calls: an API key in ``Authorization: Bearer`` or ``x-api-key``.

A missing, malformed, wrong or revoked key gets the same answer. Keys hold 256 random bits and are
looked up by their hash, so neither the answer nor its time tells how near a guess was.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from lipwright.errors import AccessDenied
from lipwright.jobs.model import Key
from lipwright.server.deployment import deployment_of

MAX_SECRET = 256  # characters; ours have 46

# Both are for the OpenAPI document; what is accepted is decided below, the same for both dialects.
_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key.")
_header = APIKeyHeader(
    name="x-api-key", auto_error=False, scheme_name="apiKey", description="An API key."
)


def secret_in(headers: Headers) -> str:
    """Return the key that a request carries, empty when it carries none.

    ``Authorization`` goes first; a scheme other than Bearer carries none.
    """
    given = headers.get("authorization")
    if given is None:
        return headers.get("x-api-key", "").strip()
    scheme, _, secret = given.strip().partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


async def caller(request: Request) -> Key:
    """Return the key of the caller.

    Raises:
        AccessDenied: it is missing, wrong or revoked.
    """
    secret = secret_in(request.headers)
    plain = secret.isascii() and secret.isprintable() and len(secret) <= MAX_SECRET
    verify = deployment_of(request).services.keys.verify
    key = await run_in_threadpool(verify, secret if plain else "")
    if key is None:
        raise AccessDenied(
            "the API key is missing, wrong or revoked: send 'Authorization: Bearer <key>' or "
            "'x-api-key: <key>'; 'lipwright keys create NAME' makes one"
        )
    request.state.key_id = key.id
    return key


Caller = Annotated[Key, Depends(caller)]
SECURITY = [Depends(_bearer), Depends(_header)]
