"""What both clients share in their use of httpx."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from lipwright.client.address import DEFAULT_URL, ServiceAddress
from lipwright.client.calls import ApiResponse
from lipwright.client.flows import NotConnected
from lipwright.errors import ServiceUnavailable

URL_VARIABLE = "LIPWRIGHT_URL"
KEY_VARIABLE = "LIPWRIGHT_API_KEY"
MAX_RESPONSE = 16 * 1024 * 1024  # bytes; only results are larger, and they are streamed
TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # seconds; event streams have a heartbeat every 15

#: Arguments of the httpx clients. Redirects are not followed: the key must go to one host only.
HTTPX_OPTIONS: dict[str, Any] = {"timeout": TIMEOUT, "follow_redirects": False}


def resolve_service(url: str | None, api_key: str | None) -> ServiceAddress:
    """Return the service from the arguments, or from the environment where they are None.

    Raises:
        InvalidOptions: the URL or the key is invalid.
        AccessDenied: there is no key.
    """
    return ServiceAddress(
        url=url or os.environ.get(URL_VARIABLE) or DEFAULT_URL,
        api_key=api_key or os.environ.get(KEY_VARIABLE) or "",
    )


@contextmanager
def translate_errors(service: ServiceAddress) -> Iterator[None]:
    """Raise errors of httpx as ours.

    Raises:
        NotConnected: the service cannot be reached.
        ServiceUnavailable: the connection broke.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as cause:
        raise NotConnected(
            f"cannot reach {service.url}: {cause}; check LIPWRIGHT_URL and that it runs"
        ) from cause
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as cause:
        what = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        raise ServiceUnavailable(f"the connection to {service.url} broke: {what}") from cause


def to_response(response: httpx.Response, body: bytes = b"") -> ApiResponse:
    """Return a response of httpx as a plain value."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return ApiResponse(status=response.status_code, headers=headers, body=body)


def check_response_size(size: int) -> None:
    """Check the length of a response.

    Raises:
        ServiceUnavailable: it is too long.
    """
    if size > MAX_RESPONSE:
        raise ServiceUnavailable(
            f"the service sent more than {MAX_RESPONSE} bytes: check LIPWRIGHT_URL"
        )
