"""A running service, and a client that times its calls."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MODEL_PATH = "/v1/models/lipwright/passthrough"
CALL_TIMEOUT = 60  # seconds
SIGNAL_INTERVAL = 0.5  # seconds between signals that stop the service


class TimedClient:
    """One connection to the service, kept open."""

    def __init__(self, url: str, secret: str) -> None:
        address = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(address, timeout=CALL_TIMEOUT)
        self._headers = {"Authorization": f"Bearer {secret}"}

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> tuple[dict[str, Any], float]:
        """Make a call; return its JSON object (empty for other content) and its seconds.

        Raises:
            SystemExit: the status is 300 or above.
        """
        headers = self._headers | ({"Content-Type": content_type} if body is not None else {})
        began = time.perf_counter()
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - began
        if response.status >= 300:
            raise SystemExit(f"{method} {path} returned {response.status}: {content[:300]!r}")
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return (json.loads(content) if is_json else {}), seconds

    def get(self, path: str) -> float:
        """Make a GET call and return its seconds."""
        return self.call("GET", path)[1]

    def first_event(self, job_id: str) -> float:
        """Return the seconds until the first event of a job arrives, on a new connection."""
        began = time.perf_counter()
        path = f"/v1/requests/{job_id}/events"
        with closing(
            http.client.HTTPConnection(self._connection.host, self._connection.port)
        ) as connection:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            while not response.fp.readline().startswith(b"data:"):
                pass
            return time.perf_counter() - began

    def submit(self, video: str, audio: str) -> tuple[str, float]:
        """Submit a job; return its id and the seconds of the call."""
        body = json.dumps({"video_url": video, "audio_url": audio}).encode()
        response, seconds = self.call("POST", MODEL_PATH, body)
        return response["request_id"], seconds

    def upload(self, content: bytes) -> tuple[str, float]:
        """Upload a file; return its URL and the seconds of the call."""
        response, seconds = self.call("POST", "/v1/files", content, "application/octet-stream")
        return response["url"], seconds


@contextmanager
def run_service(folder: Path) -> Iterator[tuple[str, int]]:
    """Run the service on a free port; yield its URL and process id.

    Args:
        folder: holds the service's data folder and its log.
    """
    command = [sys.executable, "-m", "lipwright", "serve", "--port", "0", "--json"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LIPWRIGHT_")}
    settings = {
        "LIPWRIGHT_FETCH_ALLOW": "127.0.0.1",
        "LIPWRIGHT_FETCH_TOTAL_SECONDS": "3600",
        "LIPWRIGHT_LOG_LEVEL": "warning",
    }
    with (
        open(folder / "serve.log", "w") as log,
        subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            stdout=subprocess.PIPE,
            stderr=log,
            env=inherited | settings,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(
                    f"the service did not start:\n{(folder / 'serve.log').read_text()}"
                )
            yield json.loads(line)["url"], process.pid
        finally:
            while process.poll() is None:  # the second signal ends the job that holds the slot
                process.send_signal(signal.SIGTERM)
                time.sleep(SIGNAL_INTERVAL)


@contextmanager
def serve_endless_file() -> Iterator[str]:
    """Serve a file at a byte per second, so that a job holds its slot without any work.

    Yields:
        The file's URL.
    """
    stopped = threading.Event()

    class SlowHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not stopped.wait(1.0):
                try:
                    self.wfile.write(b"\0")
                except OSError:
                    return

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/endless.mp4"
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all its descendants (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    paths = Path(f"/proc/{pid}/task").glob("*/children")
    children = (int(child) for path in paths for child in path.read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, children))
