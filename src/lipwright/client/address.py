"""The address of the service, and which URLs the client accepts; no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, urlsplit

from lipwright.errors import AccessDenied, InvalidOptions, ServiceUnavailable

DEFAULT_URL = "http://127.0.0.1:8800"
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
MODEL_ID = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://|(data):", re.IGNORECASE)
FORWARDED_SCHEMES = ("https", "http", "data")


@dataclass(frozen=True, kw_only=True)
class ServiceAddress:
    """The base URL of a service and an API key.

    Raises:
        InvalidOptions: the URL or the key is invalid.
        AccessDenied: there is no key.
    """

    url: str = DEFAULT_URL
    api_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", check_base_url(self.url))
        if not self.api_key:
            raise AccessDenied(
                "no API key: set LIPWRIGHT_API_KEY to one created with 'lipwright keys create NAME'"
            )
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise InvalidOptions(
                "the API key contains spaces, line breaks or special characters: copy it again, "
                "without quotes"
            )

    def endpoint(self, path: str) -> str:
        """Return the URL of a call below ``/v1``."""
        return f"{self.url}/v1/{path}"

    def job_url(self, job_id: str, call: str = "") -> str:
        """Return the URL of a call about a job.

        Raises:
            InvalidOptions: the id is malformed.
        """
        if not ID.fullmatch(job_id):
            raise InvalidOptions(f"{job_id!r} is not a job id: copy the one that 'submit' printed")
        return self.endpoint(f"requests/{job_id}{'/' if call else ''}{call}")

    def model_url(self, model_id: str) -> str:
        """Return the URL to submit jobs for a model.

        Raises:
            InvalidOptions: the id is malformed.
        """
        dots = any(set(part) <= {"."} for part in model_id.split("/"))
        if dots or not MODEL_ID.fullmatch(model_id):
            raise InvalidOptions(f"{model_id!r} is not a model id: write one as lipwright/NAME")
        return self.endpoint(f"models/{quote(model_id)}")

    def check_download(self, url: str) -> str:
        """Return the URL of a result if the client may download it.

        Raises:
            ServiceUnavailable: it is neither https nor at the service itself.
        """
        parts, own = _split(url), urlsplit(self.url)
        same = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        if parts.scheme != "https" and not same:
            raise ServiceUnavailable(
                f"the result is at {parts.scheme}://{parts.netloc}, neither https nor the "
                f"service {self.url} itself: set its public_url to the URL that clients use"
            )
        return url


def check_base_url(url: str) -> str:
    """Return the base URL of a service without a trailing slash.

    Raises:
        InvalidOptions: it is not an http URL, has a user name or a query, or would send the key
            unencrypted over a network.
    """
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOptions(
            f"{url!r} is not the URL of a service: write https://host or https://host/path"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidOptions(
            "the URL of a service has no user name, query or fragment: the key goes into "
            "LIPWRIGHT_API_KEY"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise InvalidOptions(
            f"{url} would send the API key unencrypted: use https (docs/howto/serve.md), or a "
            "tunnel to 127.0.0.1"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, without a DNS lookup."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_url(source: str) -> bool:
    """Whether a source is a URL for the service to fetch, not a local file to upload.

    Raises:
        InvalidOptions: the service does not fetch URLs of this scheme.
    """
    match = SCHEME.match(source)
    if match is None:
        return False
    scheme = (match[1] or match[2]).lower()
    if scheme not in FORWARDED_SCHEMES:
        raise InvalidOptions(
            f"{scheme} URLs are not supported: use a path, or a URL that starts with https"
        )
    return True


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if the port is invalid
    except ValueError as cause:
        raise InvalidOptions(f"{url!r} is not a URL: {cause}") from cause
    return parts
