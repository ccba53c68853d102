"""Authentication by an API key in ``Authorization: Bearer`` or ``x-api-key``.

Missing, malformed, wrong and revoked keys get the same response. A key has 256 random bits and is
looked up by its hash, so neither the response nor its timing helps to guess one.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from lipwright.errors import AccessDenied
from lipwright.jobs.model import ApiKey
from lipwright.server.deployment import get_deployment

MAX_KEY_LENGTH = 256  # characters; ours have 46


def extract_api_key(headers: Headers) -> str:
    """Return the API key of a request, empty if it has none.

    ``Authorization`` takes precedence, also with another scheme than Bearer, which has no key.
    """
    authorization = headers.get("authorization")
    if authorization is None:
        return headers.get("x-api-key", "").strip()
    scheme, _, secret = authorization.strip().partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


async def authenticate(request: Request) -> ApiKey:
    """Return the API key of the caller.

    Raises:
        AccessDenied: it is missing, wrong or revoked.
    """
    secret = extract_api_key(request.headers)
    well_formed = secret.isascii() and secret.isprintable() and len(secret) <= MAX_KEY_LENGTH
    verify = get_deployment(request).services.keys.verify
    key = await run_in_threadpool(verify, secret if well_formed else "")
    if key is None:
        raise AccessDenied(
            "the API key is missing, wrong or revoked: send 'Authorization: Bearer <key>' or "
            "'x-api-key: <key>'; 'lipwright keys create NAME' creates one"
        )
    request.state.key_id = key.id
    return key


ApiKeyDep = Annotated[ApiKey, Depends(authenticate)]
