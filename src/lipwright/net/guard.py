"""HTTP client for untrusted URLs: guards against SSRF, DNS rebinding and slow servers.

Each host is resolved once, every address is checked, and the connection goes to a checked address,
so a DNS answer that changes in between has no effect. Certificates are verified against the host of
the URL. Proxies from the environment are not used. Every request ends within its deadline, whatever
the server does.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin

import httpcore

from lipwright.errors import InvalidOptions, LimitExceeded, SourceUnreachable
from lipwright.net.address import AllowList, Url, check_allowed, parse_url, refusal_reason
from lipwright.progress import CancelToken
from lipwright.version import __version__

POLL_SECONDS = 0.25  # longest wait between two checks of the deadline and the cancel token
MAX_ADDRESSES = 8  # addresses of one host that are tried
REDIRECT_STATUSES = {301, 302, 303, 307, 308}
TRANSPORT_ERRORS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)

Resolve = Callable[[str, int], Sequence[str]]
Connect = Callable[[str, int, float], socket.socket]
Headers = Mapping[str, str]


class TransientError(OSError):
    """A request failed and may succeed on retry; the caller decides how often to retry."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds that the server asked to wait


class Deadline:
    """The time at which a request ends, whatever the server does."""

    def __init__(self, seconds: float, cancel: CancelToken | None = None) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._cancel = cancel

    def remaining(self) -> float:
        """Return the seconds that remain, more than 0.

        Raises:
            SourceUnreachable: The deadline has passed.
            Cancelled: The token was cancelled.
        """
        if self._cancel is not None:
            self._cancel.raise_if_cancelled()
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise SourceUnreachable(
                f"the server took longer than the limit of {self._seconds:g} s: use a faster "
                "server or a smaller file"
            )
        return remaining

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            SourceUnreachable: The deadline passed during the wait.
            Cancelled: The token was cancelled.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS, self.remaining()))


@dataclass(frozen=True, kw_only=True)
class HttpResponse:
    """A response: status, headers, and the body as a stream."""

    url: Url
    status: int
    headers: Headers  #: lower-case names; the first value of a repeated header
    body: Iterable[bytes]

    @property
    def size(self) -> int | None:
        """Bytes of the body according to Content-Length, None if it is absent or malformed."""
        length = self.headers.get("content-length", "")
        return int(length[:20]) if length.isascii() and length.isdigit() else None

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait according to Retry-After, None if it is absent or malformed."""
        value = self.headers.get("retry-after", "")
        if value.isascii() and value.isdigit():
            return float(value[:10])
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())

    def iter_bytes(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body in chunks, at most *max_bytes* in all.

        Raises:
            LimitExceeded: The body, or its Content-Length, is larger.
            SourceUnreachable: The body is compressed although the request did not accept that.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise SourceUnreachable(
                f"{self.url.redacted} is sent compressed ({coding[:20]!r}), which the request did "
                "not accept: configure its server to send the file uncompressed"
            )
        declared = self.size or 0
        received = 0
        if declared <= max_bytes:
            for chunk in self.body:
                received += len(chunk)
                if received > max_bytes:
                    break
                yield chunk
        if max(declared, received) > max_bytes:
            raise LimitExceeded(
                f"{self.url.redacted} is larger than the limit of {max_bytes} bytes: use a "
                "smaller file, or ask the operator to raise max_fetch_bytes"
            )


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which to try them."""
    infos = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def connect(address: str, port: int, timeout: float) -> socket.socket:
    """Open a TCP connection to an address; *timeout* in seconds."""
    connection = socket.create_connection((address, port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@cache
def default_tls_context() -> ssl.SSLContext:
    """Return a client context that trusts the certificates of the system and of certifi."""
    return httpcore.default_ssl_context()


@dataclass(frozen=True, kw_only=True)
class GuardedClient:
    """Makes HTTP requests to public addresses and to those on the allow list only."""

    allow_list: AllowList = field(default_factory=AllowList)
    connect_seconds: float = 10.0  #: longest wait for a connection, including DNS and TLS
    idle_seconds: float = 20.0  #: longest wait for the next bytes
    resolve: Resolve = resolve_host
    connect: Connect = connect
    tls_context: Callable[[], ssl.SSLContext] = default_tls_context

    @contextmanager
    def get(self, url: str, deadline: Deadline, *, max_redirects: int) -> Iterator[HttpResponse]:
        """Get *url* and follow redirects, each checked like the first URL.

        Raises:
            InvalidOptions: A URL is malformed, ambiguous, or not https.
            SourceUnreachable: An address may not be connected to, the certificate is not valid,
                there are too many redirects, or the deadline has passed.
            TransientError: The connection failed or broke.
        """
        target = parse_url(url)
        for _ in range(max_redirects + 1):
            with self.request("GET", target, deadline) as response:
                if response.status not in REDIRECT_STATUSES:
                    yield response
                    return
                target = _redirect_target(response, self.allow_list)
        raise SourceUnreachable(
            f"{target.redacted} comes after more than {max_redirects} redirects: use the final "
            "address"
        )

    @contextmanager
    def request(
        self,
        method: str,
        url: Url,
        deadline: Deadline,
        *,
        headers: Headers | None = None,
        content: bytes | None = None,
    ) -> Iterator[HttpResponse]:
        """Make one request, without following redirects.

        Raises:
            InvalidOptions: The URL is not https.
            SourceUnreachable: The address may not be connected to, the certificate is not valid, or
                the deadline has passed.
            TransientError: The connection failed or broke.
        """
        check_allowed(url, self.allow_list)
        pool = httpcore.ConnectionPool(
            ssl_context=self.tls_context() if url.scheme == "https" else None,
            network_backend=_GuardedBackend(self, url, deadline),
        )
        with (
            _translate_errors(url),
            pool,
            pool.stream(
                method,
                httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
                headers=[*_request_headers(url, headers or {})],
                content=content,
                extensions={"timeout": self._timeouts()},
            ) as response,
        ):
            received: dict[str, str] = {}
            for name, value in response.headers:
                received.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
            yield HttpResponse(
                url=url, status=response.status, headers=received, body=response.iter_stream()
            )

    def _timeouts(self) -> dict[str, float]:
        idle = self.idle_seconds
        return {"connect": self.connect_seconds, "read": idle, "write": idle, "pool": idle}


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, client: GuardedClient, url: Url, deadline: Deadline) -> None:
        self._client, self._url, self._deadline = client, url, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve the host, check all its addresses, connect to the first that accepts."""
        end = time.monotonic() + (timeout or self._client.connect_seconds)
        addresses = self._checked_addresses(end)[:MAX_ADDRESSES]
        reason = ""
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = max((end - time.monotonic()) / untried, POLL_SECONDS)
            share = min(share, self._deadline.remaining())
            try:
                connection = self._client.connect(address, port, share)
            except TimeoutError:
                reason = "it does not answer"
            except OSError as error:
                reason = error.strerror or str(error)
            else:
                return _GuardedStream(connection, self._url, self._deadline)
        raise TransientError(f"no connection to {self._url.authority}: {reason}")

    def _checked_addresses(self, end: float) -> list[str]:
        """Return the addresses of the host after checking all of them.

        Raises:
            SourceUnreachable: There is none, or one of them is not public. The message is the same
                for both, or callers could probe which names exist in a private network.
        """
        url, allow_list = self._url, self._client.allow_list
        texts = [url.host] if url.address is not None else list(self._resolve(end))
        addresses = [ip_address(text.partition("%")[0]) for text in texts]
        public = not any(refusal_reason(address, allow_list) for address in addresses)
        if not texts or not (public or allow_list.allows_host(url)):
            raise SourceUnreachable(_no_public_address(url))
        return texts

    def _resolve(self, end: float) -> Sequence[str]:
        """Resolve the host in a thread, since getaddrinfo has no timeout of its own."""
        future = _in_thread(lambda: self._client.resolve(self._url.host, self._url.port))
        while not future.done():
            left = end - time.monotonic()
            if left <= 0:
                raise TransientError(f"resolving {self._url.host} timed out")
            wait([future], min(POLL_SECONDS, left, self._deadline.remaining()))
        try:
            return future.result()
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise TransientError(f"{self._url.host} cannot be resolved now") from error
            raise SourceUnreachable(_no_public_address(self._url)) from error


class _GuardedStream(httpcore.NetworkStream):
    """A connection on which every wait is bounded by the idle limit and the deadline."""

    def __init__(self, connection: socket.socket, url: Url, deadline: Deadline) -> None:
        self._socket, self._url, self._deadline = connection, url, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        idle_end = time.monotonic() + (timeout or POLL_SECONDS)
        while (left := idle_end - time.monotonic()) > 0:
            self._socket.settimeout(min(left, POLL_SECONDS, self._deadline.remaining()))
            try:
                return self._socket.recv(max_bytes)
            except TimeoutError:
                continue
            except OSError as error:
                raise TransientError(f"{self._url.authority} closed the connection") from error
        raise TransientError(f"{self._url.authority} sent nothing for {timeout:g} s")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        while buffer:
            self._socket.settimeout(min(timeout or POLL_SECONDS, self._deadline.remaining()))
            try:
                buffer = buffer[self._socket.send(buffer) :]
            except TimeoutError as error:
                raise TransientError(f"{self._url.authority} accepts no data") from error
            except OSError as error:  # httpcore then still reads the response
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        host = self._url.authority
        self._socket.settimeout(min(timeout or POLL_SECONDS, self._deadline.remaining()))
        try:
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise SourceUnreachable(
                f"the certificate of {host} is not valid ({error.verify_message}): the owner of "
                "the server must renew it"
            ) from error
        except OSError as error:
            self.close()
            raise TransientError(f"no TLS with {host}: {error.strerror or error}") from error
        return _GuardedStream(wrapped, self._url, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket):
            return self._socket
        return None


def _no_public_address(url: Url) -> str:
    return (
        f"{url.host} has no address, or none that is public: check the URL, or ask the operator "
        "to add it to fetch_allow"
    )


@contextmanager
def _translate_errors(url: Url) -> Iterator[None]:
    """Raise errors of httpcore as `TransientError`."""
    try:
        yield
    except TRANSPORT_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise TransientError(f"the response of {url.authority} is broken ({reason})") from error


def _request_headers(url: Url, extra: Headers) -> Iterator[tuple[str, str]]:
    yield "Host", url.authority
    yield "User-Agent", f"lipwright/{__version__}"
    yield "Accept", "*/*"
    yield "Accept-Encoding", "identity"
    yield "Connection", "close"
    yield from extra.items()


def _redirect_target(response: HttpResponse, allow_list: AllowList) -> Url:
    """Return the URL that a redirect names.

    Raises:
        SourceUnreachable: It names none, or one that may not be connected to.
    """
    location = response.headers.get("location", "").encode("latin-1")
    try:
        url = parse_url(urljoin(response.url.text, _check_location(location.decode("utf-8"))))
        check_allowed(url, allow_list)
    except (InvalidOptions, SourceUnreachable, ValueError) as error:
        raise SourceUnreachable(
            f"{response.url.redacted} redirects to an address that cannot be used: {error}"
        ) from error
    return url


def _check_location(location: str) -> str:
    """Refuse characters that urljoin would drop silently."""
    if not location or any(c.isspace() or not c.isprintable() for c in location):
        raise ValueError("it is empty, or contains a space or a control character")
    return location


def _in_thread(call: Callable[[], Sequence[str]]) -> Future[Sequence[str]]:
    """Run *call* in a daemon thread, which does not keep the process alive if it hangs."""
    future: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="resolve-host", daemon=True).start()
    return future
