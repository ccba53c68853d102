"""What both clients share where they meet httpx."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from lipwright.client.address import DEFAULT_URL, Service
from lipwright.client.calls import Answer
from lipwright.client.flows import NotReached
from lipwright.errors import ServiceUnavailable

URL_VARIABLE = "LIPWRIGHT_URL"
KEY_VARIABLE = "LIPWRIGHT_API_KEY"
MAX_ANSWER = 16 * 1024 * 1024  # bytes; only results are larger, and those are read in pieces
TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # seconds; a stream of events is never silent so long

#: What httpx is told; redirects are not followed, so that the key goes to one host only.
HTTPX: dict[str, Any] = {"timeout": TIMEOUT, "follow_redirects": False}


def service_of(url: str | None, api_key: str | None) -> Service:
    """Return the service that the arguments name, or else the environment.

    Raises:
        InvalidOptions: the URL or the key cannot be used.
        AccessDenied: there is no key.
    """
    return Service(
        url=url or os.environ.get(URL_VARIABLE) or DEFAULT_URL,
        api_key=api_key or os.environ.get(KEY_VARIABLE) or "",
    )


@contextmanager
def told_as_ours(service: Service) -> Iterator[None]:
    """Turn what httpx raises into our errors.

    Raises:
        NotReached: nothing was sent.
        ServiceUnavailable: it broke on the way.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as cause:
        raise NotReached(
            f"cannot reach {service.url}: {cause}; check LIPWRIGHT_URL and that it runs"
        ) from cause
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as cause:
        what = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        raise ServiceUnavailable(f"the connection to {service.url} broke: {what}") from cause


def answer_of(response: httpx.Response, body: bytes = b"") -> Answer:
    """Return a response as a plain value."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=body)


def check_size(size: int) -> None:
    """Refuse an answer that has no end.

    Raises:
        ServiceUnavailable: it is too long.
    """
    if size > MAX_ANSWER:
        raise ServiceUnavailable(
            f"the service answered more than {MAX_ANSWER} bytes: check LIPWRIGHT_URL"
        )
