"""A loopback HTTP server whose responses a test controls byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

TIMEOUT = 20.0  # seconds until an open connection is closed


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the server received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[["RawConnection"], object]

MEDIA = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 20  # looks like the start of an MP4


def respond_with(
    data: bytes, *headers: str, status: str = "200 OK", length: int | None = None
) -> Handler:
    """Return a handler that responds with these bytes."""
    return lambda connection: connection.respond(data, *headers, status=status, length=length)


def redirect_to(location: str, status: str = "302 Found") -> Handler:
    """Return a handler that redirects."""
    return respond_with(b"", f"Location: {location}", status=status)


class RawConnection:
    """One connection, as a handler sees it."""

    def __init__(self, connection: socket.socket, request: ReceivedRequest, attempt: int) -> None:
        self._socket, self.request = connection, request
        self.attempt = attempt  #: how often this path was requested, from 1

    def send(self, data: bytes) -> bool:
        """Send; return whether the client is still connected."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def respond(
        self, body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None
    ) -> bool:
        """Send a whole response."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
        return self.send("\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body)

    def trickle(self, data: bytes, closed: threading.Event) -> None:
        """Send the same data again and again until the client disconnects or *closed* is set."""
        while self.send(data) and not closed.wait(0.02):
            pass

    def stall(self) -> None:
        """Send nothing until the client disconnects."""
        with contextlib.suppress(OSError):
            while self._socket.recv(4096):
                pass


@dataclass
class HostileServer:
    """Calls a handler per path; a context manager."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"
    requests: list[ReceivedRequest] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.address, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()

    def url(self, path: str = "/", host: str | None = None) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{host or self.address}:{self.port}{path}"

    def on(self, path: str, handler: Handler) -> str:
        """Set the handler of a path; return its URL."""
        self.handlers[path] = handler
        return self.url(path)

    def request_count(self, path: str) -> int:
        """Return how often a path was requested."""
        return sum(request.target.partition("?")[0] == path for request in self.requests)

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(TIMEOUT)
            self._open.append(connection)
            self._start(lambda c=connection: self._serve(c))

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            request = _read(connection)
            self.requests.append(request)
            path = request.target.partition("?")[0]
            self.handlers[path](RawConnection(connection, request, self.request_count(path)))
        except (OSError, EOFError):
            pass  # the client disconnected
        finally:
            connection.close()


def _read(connection: socket.socket) -> ReceivedRequest:
    """Read one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _more(connection)
    return ReceivedRequest(method, target, headers, body)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise EOFError
    return data
