"""Where the service is, and what may be sent where (pure)."""

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
PASSED_ON = ("https", "http", "data")


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service and the key to it.

    Raises:
        InvalidOptions: the URL or the key cannot be used.
        AccessDenied: there is no key.
    """

    url: str = DEFAULT_URL
    api_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", check_base(self.url))
        if not self.api_key:
            raise AccessDenied(
                "no API key: set LIPWRIGHT_API_KEY to one that 'lipwright keys create NAME' made"
            )
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise InvalidOptions(
                "the API key holds blanks, line breaks or special characters: copy it again, "
                "without quotes"
            )

    def call(self, path: str) -> str:
        """Return the URL of a call below ``/v1``."""
        return f"{self.url}/v1/{path}"

    def job(self, job_id: str, call: str = "") -> str:
        """Return the URL of a call about a job.

        Raises:
            InvalidOptions: that is no id.
        """
        if not ID.fullmatch(job_id):
            raise InvalidOptions(f"{job_id!r} is no id of a job: copy what 'submit' printed")
        return self.call(f"requests/{job_id}{'/' if call else ''}{call}")

    def model(self, model_id: str) -> str:
        """Return the URL that takes jobs for a model.

        Raises:
            InvalidOptions: that is no id.
        """
        dots = any(set(part) <= {"."} for part in model_id.split("/"))
        if dots or not MODEL_ID.fullmatch(model_id):
            raise InvalidOptions(f"{model_id!r} is no id of a model: write one as lipwright/NAME")
        return self.call(f"models/{quote(model_id)}")

    def check_download(self, url: str) -> str:
        """Return the URL of a result, if it may be fetched from here.

        Raises:
            ServiceUnavailable: it is neither https nor at the service itself.
        """
        parts, own = _split(url), urlsplit(self.url)
        same = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        if parts.scheme != "https" and not same:
            raise ServiceUnavailable(
                f"the result lies at {parts.scheme}://{parts.netloc}, neither https nor the "
                f"service {self.url} itself: set its public_url to the URL that clients use"
            )
        return url


def check_base(url: str) -> str:
    """Return the base URL of a service, without a slash at its end.

    Raises:
        InvalidOptions: it is no http URL, holds a user name or a query, or would send the key in
            clear over a network.
    """
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOptions(
            f"{url!r} is no URL of a service: write https://host or https://host/path"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidOptions(
            "the URL of a service has no user name, query or fragment: the key goes into "
            "LIPWRIGHT_API_KEY"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise InvalidOptions(
            f"{url} would send the API key in clear: use https (docs/howto/serve.md), or reach it "
            "through a tunnel to 127.0.0.1"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, for certain and without asking anybody."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_url(source: str) -> bool:
    """Whether a source is passed on to the service instead of being uploaded.

    Raises:
        InvalidOptions: it is a URL of a kind that the service does not fetch.
    """
    match = SCHEME.match(source)
    if match is None:
        return False
    scheme = (match[1] or match[2]).lower()
    if scheme not in PASSED_ON:
        raise InvalidOptions(
            f"{scheme} URLs are not fetched: give a path, or a URL that starts with https"
        )
    return True


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is none
    except ValueError as cause:
        raise InvalidOptions(f"{url!r} is no URL: {cause}") from cause
    return parts
