"""The whole service as a process on loopback."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class LiveService:
    """A running ``lipwright serve``."""

    process: subprocess.Popen[str]
    url: str
    api_key: str | None  #: created on the first start
    data_dir: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for its clients."""
        return {"LIPWRIGHT_URL": self.url, "LIPWRIGHT_API_KEY": self.api_key or ""}

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def environment(**more: str) -> dict[str, str]:
    """Return the environment without settings other than *more*."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LIPWRIGHT_")}
    return {**kept, **more}


@contextmanager
def live_service(
    data_dir: Path, *words: str, settings: Mapping[str, str] | None = None
) -> Iterator[LiveService]:
    """Run a service on a free port until the block ends; its log is next to its data folder."""
    command = [sys.executable, "-m", "lipwright", "serve", "--port", "0", "--json"]
    with (
        open(data_dir.with_name(f"{data_dir.name}.log"), "a") as log,
        subprocess.Popen(
            [*command, "--data-dir", str(data_dir), *words],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=data_dir.parent,
            env=environment(**(settings or {})),
        ) as process,
    ):
        try:
            started = json.loads(read_line(process, START_SECONDS))
            assert "url" in started, started
            yield LiveService(process=process, data_dir=data_dir, **started)
        finally:
            end(process)


def read_line(process: subprocess.Popen[str], seconds: float) -> str:
    """Return the next line of stdout."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(seconds), f"nothing was printed in {seconds:g} s"
        return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> None:
    """End a running process; a second signal returns running jobs to the queue."""
    deadline = time.monotonic() + STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
        raise AssertionError("the service did not stop after SIGTERM")


def read_all(descriptor: int) -> str:
    """Read a terminal until its other end is closed."""
    parts = []
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # raised on Linux when the last writer has closed
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
