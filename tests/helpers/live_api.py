"""The API behind a real HTTP server on a free port of this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from api_parts import Api, open_api

WAIT_SECONDS = 20.0  # longest wait of `until`


@dataclass(frozen=True, kw_only=True)
class Live:
    """A listening API."""

    api: Api
    url: str
    port: int

    def connect(self) -> socket.socket:
        """Return a TCP connection, for tests that send raw HTTP."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)


@contextmanager
def open_live(kind: str, folder: Path, **settings: Any) -> Iterator[Live]:
    """Yield a listening API; it stops at the end of the block."""
    with (
        open_api(kind, folder, **settings) as api,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(api.app, log_config=None, access_log=False, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: server.started)
        port = listener.getsockname()[1]
        try:
            yield Live(api=api, url=f"http://127.0.0.1:{port}", port=port)
        finally:
            api.app.state.deployment.closing.set()
            server.should_exit = True
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()


def until(done: Any) -> None:
    """Wait until *done* returns true; fail after 20 seconds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)
