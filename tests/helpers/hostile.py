"""A server on loopback that answers whatever a test tells it to, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PATIENCE = 20.0  # seconds until a connection that nobody closes is given up


@dataclass(frozen=True)
class Call:
    """A request that came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Script = Callable[["Wire"], object]

MEDIA = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 20  # looks like the head of an MP4


def body(data: bytes, *heads: str, status: str = "200 OK", length: int | None = None) -> Script:
    """Answer with these bytes."""
    return lambda wire: wire.answer(data, *heads, status=status, length=length)


def redirect(location: str, status: str = "302 Found") -> Script:
    """Send elsewhere."""
    return body(b"", f"Location: {location}", status=status)


class Wire:
    """One connection, as a script sees it."""

    def __init__(self, connection: socket.socket, call: Call, attempt: int) -> None:
        self.connection, self.call = connection, call
        self.attempt = attempt  #: how often this path was asked for, from 1

    def send(self, data: bytes) -> bool:
        """Send; say whether the other side is still there."""
        try:
            self.connection.sendall(data)
        except OSError:
            return False
        return True

    def answer(
        self, body: bytes = b"", *heads: str, status: str = "200 OK", length: int | None = None
    ) -> bool:
        """Send a whole answer."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
        return self.send("\r\n".join([*lines, *heads, "", ""]).encode("latin-1") + body)

    def trickle(self, data: bytes, closed: threading.Event) -> None:
        """Send the same byte now and then, for as long as somebody listens."""
        while self.send(data) and not closed.wait(0.02):
            pass

    def hold(self) -> None:
        """Say nothing until the other side goes."""
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass


@dataclass
class HostileServer:
    """Answers by script, by path; a context manager."""

    scripts: dict[str, Script] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"
    calls: list[Call] = field(default_factory=list)
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
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def url(self, path: str = "/", host: str | None = None) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{host or self.address}:{self.port}{path}"

    def on(self, path: str, script: Script) -> str:
        """Answer a path by a script; return its URL."""
        self.scripts[path] = script
        return self.url(path)

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(call.target.partition("?")[0] == path for call in self.calls)

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
            connection.settimeout(PATIENCE)
            self._open.append(connection)
            self._start(lambda c=connection: self._serve(c))

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            call = _read(connection)
            self.calls.append(call)
            path = call.target.partition("?")[0]
            self.scripts[path](Wire(connection, call, self.asked(path)))
        except (OSError, EOFError):
            pass  # the other side went
        finally:
            connection.close()


def _read(connection: socket.socket) -> Call:
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
    return Call(method, target, headers, body)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise EOFError
    return data
