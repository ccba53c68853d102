"""Connections that no address, answer or delay can turn against us.

Every address of a host is checked, and the connection goes to one that was checked: the name is
looked up once, so an answer that changes in between has no effect. Names in certificates are
verified against the host of the URL. Proxies of the environment are not used. Whatever the other
side does, a call ends within its deadline.
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
from typing import Any, Protocol
from urllib.parse import urljoin

import httpcore

from lipwright.errors import InvalidOptions, LimitExceeded, SourceUnreachable
from lipwright.net.address import Allowed, Url, check, parse_url, refusal
from lipwright.version import __version__

SLICE = 0.25  # seconds until a wait looks whether it shall end
MAX_ADDRESSES = 8  # of one host that are tried
REDIRECTS = {301, 302, 303, 307, 308}
BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)

Resolve = Callable[[str, int], Sequence[str]]
Dial = Callable[[str, int, float], socket.socket]
Headers = Mapping[str, str]


class TryAgain(OSError):
    """It did not work now and may work soon; for this package's callers, who know how often."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds that the other side asked for


class Stopper(Protocol):
    """Says when to end: a `lipwright.progress.CancelToken`."""

    def raise_if_cancelled(self) -> None:
        """Raise when the end was asked for."""


class Deadline:
    """The moment at which a call ends, whatever the other side does."""

    def __init__(self, seconds: float, cancel: Stopper | None = None) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._cancel = cancel

    def left(self) -> float:
        """Return the seconds that are left, more than 0.

        Raises:
            SourceUnreachable: there are none.
            Cancelled: the end was asked for.
        """
        if self._cancel is not None:
            self._cancel.raise_if_cancelled()
        left = self._end - time.monotonic()
        if left <= 0:
            raise SourceUnreachable(
                f"the other side took longer than the {self._seconds:g} s it may: use a faster "
                "server or a smaller file"
            )
        return left

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            SourceUnreachable: the wait would go beyond the end.
            Cancelled: the end was asked for.
        """
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            time.sleep(min(rest, SLICE, self.left()))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: the head, and the body as it comes."""

    url: Url
    status: int
    headers: Headers  #: lower-case names; of repeated ones the first
    body: Iterable[bytes]

    @property
    def size(self) -> int | None:
        """How many bytes the body is said to have."""
        length = self.headers.get("content-length", "")
        return int(length[:20]) if length.isascii() and length.isdigit() else None

    @property
    def retry_after(self) -> float | None:
        """How many seconds the other side asks us to wait."""
        value = self.headers.get("retry-after", "")
        if value.isascii() and value.isdigit():
            return float(value[:10])
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())

    def pieces(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body, never more than *max_bytes* of it.

        Raises:
            LimitExceeded: it is larger, or said to be.
            SourceUnreachable: it is compressed although that was not asked for.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise SourceUnreachable(
                f"{self.url.shown} is sent compressed ({coding[:20]!r}) although plain bytes were "
                "asked for: have its server send the file as it is"
            )
        read = self.size or 0
        count = 0
        if read <= max_bytes:
            for piece in self.body:
                count += len(piece)
                if count > max_bytes:
                    break
                yield piece
        if max(read, count) > max_bytes:
            raise LimitExceeded(
                f"{self.url.shown} is larger than the {max_bytes} bytes that are fetched: use a "
                "smaller file, or have the operator raise max_fetch_bytes"
            )


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which to try them."""
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """Connect to an address."""
    connection = socket.create_connection((address, port), seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@cache
def trust() -> ssl.SSLContext:
    """Return the certificates that are trusted: those of the system and of certifi."""
    return httpcore.default_ssl_context()


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Makes requests, to public addresses and those that are allowed."""

    allowed: Allowed = field(default_factory=Allowed)
    connect_seconds: float = 10.0  #: longest wait for a connection, looking up and TLS included
    idle_seconds: float = 20.0  #: longest wait for the next bytes
    resolve: Resolve = look_up
    dial: Dial = dial
    tls: Callable[[], ssl.SSLContext] = trust

    @contextmanager
    def get(self, url: str, deadline: Deadline, *, redirects: int) -> Iterator[Answer]:
        """Ask for *url*, following so many redirects, each checked like the first.

        Raises:
            InvalidOptions: a URL cannot be used.
            SourceUnreachable: an address may not be connected to, the certificate is wrong, there
                are too many redirects, or it takes too long.
            TryAgain: no connection, or it broke.
        """
        target = parse_url(url)
        for _ in range(redirects + 1):
            with self.request("GET", target, deadline) as answer:
                if answer.status not in REDIRECTS:
                    yield answer
                    return
                target = _next(answer, self.allowed)
        raise SourceUnreachable(
            f"{target.shown} comes after more than {redirects} redirects: use the final address"
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
    ) -> Iterator[Answer]:
        """Make one request, without following redirects.

        Raises:
            InvalidOptions: the URL cannot be used.
            SourceUnreachable: its address may not be connected to, the certificate is wrong, or it
                takes too long.
            TryAgain: no connection, or it broke.
        """
        check(url, self.allowed)
        pool = httpcore.ConnectionPool(
            ssl_context=self.tls() if url.scheme == "https" else None,
            network_backend=_Backend(self, url, deadline),
        )
        with (
            _translated(url),
            pool,
            pool.stream(
                method,
                httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
                headers=[*_heads(url, headers or {})],
                content=content,
                extensions={"timeout": self._timeouts()},
            ) as response,
        ):
            found: dict[str, str] = {}
            for name, value in response.headers:
                found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
            yield Answer(
                url=url, status=response.status, headers=found, body=response.iter_stream()
            )

    def _timeouts(self) -> dict[str, float]:
        idle = self.idle_seconds
        return {"connect": self.connect_seconds, "read": idle, "write": idle, "pool": idle}


class _Backend(httpcore.NetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, guard: Guard, url: Url, deadline: Deadline) -> None:
        self._guard, self._url, self._deadline = guard, url, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Look the host up, check what was found, connect to the first that answers."""
        end = time.monotonic() + (timeout or self._guard.connect_seconds)
        addresses = self._addresses(end)[:MAX_ADDRESSES]
        reason = ""
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = max((end - time.monotonic()) / untried, SLICE)
            try:
                connection = self._guard.dial(address, port, min(share, self._deadline.left()))
            except TimeoutError:
                reason = "it does not answer"
            except OSError as error:
                reason = error.strerror or str(error)
            else:
                return _Stream(connection, self._url, self._deadline)
        raise TryAgain(f"no connection to {self._url.authority}: {reason}")

    def _addresses(self, end: float) -> list[str]:
        """Return the addresses of the host, all of them checked.

        Raises:
            SourceUnreachable: there is none, or one of them is not public; which of the two is not
                told, or anybody could ask what names there are in a private network.
        """
        url, allowed = self._url, self._guard.allowed
        found = [url.host] if url.literal is not None else list(self._look_up(end))
        addresses = [ip_address(text.partition("%")[0]) for text in found]
        public = not any(refusal(address, allowed) for address in addresses)
        if not found or not (public or allowed.names(url)):
            raise SourceUnreachable(_unknown(url))
        return found

    def _look_up(self, end: float) -> Sequence[str]:
        """Ask for the addresses; a name server can take its time, but not more than we give."""
        future = _in_thread(lambda: self._guard.resolve(self._url.host, self._url.port))
        while not future.done():
            left = end - time.monotonic()
            if left <= 0:
                raise TryAgain(f"{self._url.host} cannot be looked up in time")
            wait([future], min(SLICE, left, self._deadline.left()))
        try:
            return future.result()
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise TryAgain(f"{self._url.host} cannot be looked up now") from error
            raise SourceUnreachable(_unknown(self._url)) from error


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait ends: with the next bytes, the idle limit or the deadline."""

    def __init__(self, connection: socket.socket, url: Url, deadline: Deadline) -> None:
        self._socket, self._url, self._deadline = connection, url, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        idle = time.monotonic() + (timeout or SLICE)
        while (rest := idle - time.monotonic()) > 0:
            self._socket.settimeout(min(rest, SLICE, self._deadline.left()))
            try:
                return self._socket.recv(max_bytes)
            except TimeoutError:
                continue
            except OSError as error:
                raise TryAgain(f"{self._url.authority} broke the connection off") from error
        raise TryAgain(f"{self._url.authority} sent nothing for {timeout:g} s")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        while buffer:
            self._socket.settimeout(min(timeout or SLICE, self._deadline.left()))
            try:
                buffer = buffer[self._socket.send(buffer) :]
            except TimeoutError as error:
                raise TryAgain(f"{self._url.authority} takes no bytes") from error
            except OSError as error:  # its answer may still be there to read
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
        self._socket.settimeout(min(timeout or SLICE, self._deadline.left()))
        try:
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise SourceUnreachable(
                f"the certificate of {host} is not valid ({error.verify_message}): its owner must "
                "renew it"
            ) from error
        except OSError as error:
            self.close()
            raise TryAgain(f"no TLS with {host}: {error.strerror or error}") from error
        return _Stream(wrapped, self._url, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket):
            return self._socket
        return None


def _unknown(url: Url) -> str:
    return (
        f"{url.host} has no address, or none that is public: check the URL, or have the operator "
        "add it to fetch_allow"
    )


@contextmanager
def _translated(url: Url) -> Iterator[None]:
    """Turn errors of the HTTP library into ours."""
    try:
        yield
    except BROKEN as error:
        reason = str(error) or type(error).__name__
        raise TryAgain(f"the answer of {url.authority} is broken ({reason})") from error


def _heads(url: Url, more: Headers) -> Iterator[tuple[str, str]]:
    yield "Host", url.authority
    yield "User-Agent", f"lipwright/{__version__}"
    yield "Accept", "*/*"
    yield "Accept-Encoding", "identity"
    yield "Connection", "close"
    yield from more.items()


def _next(answer: Answer, allowed: Allowed) -> Url:
    """Return where a redirect leads.

    Raises:
        SourceUnreachable: nowhere, or where nothing may be fetched from.
    """
    location = answer.headers.get("location", "").encode("latin-1")
    try:
        url = parse_url(urljoin(answer.url.text, _checked(location.decode("utf-8"))))
        check(url, allowed)
    except (InvalidOptions, SourceUnreachable, ValueError) as error:
        raise SourceUnreachable(
            f"{answer.url.shown} redirects to an address that cannot be used: {error}"
        ) from error
    return url


def _checked(location: str) -> str:
    """Refuse what joining would drop without a word."""
    if not location or any(c.isspace() or not c.isprintable() for c in location):
        raise ValueError("it is empty, or has a space or a control character in it")
    return location


def _in_thread(call: Callable[[], Sequence[str]]) -> Future[Sequence[str]]:
    """Run *call* beside; a thread that hangs does not keep the process alive."""
    future: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="look-up", daemon=True).start()
    return future
