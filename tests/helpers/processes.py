"""Finds the running processes of a service, even reparented ones (Linux only)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

MARK = "ACCEPTANCE_MARK"  # in the environment of all processes of one service
DEADLINE = 60.0  # seconds until a wait fails
ROLES = {
    "lipwright.worker.main": "worker",
    "lipwright.worker.render_process": "child",
    "serve": "api",
}

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes are found in /proc"
)


@dataclass(frozen=True, kw_only=True)
class Process:
    """One running process of a service."""

    pid: int
    role: str  #: ``api``, ``worker`` or ``child``
    slot: int | None = None  #: of a worker

    def signal(self, number: int) -> bool:
        """Send a signal; return False if the process is gone."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> bool:
        return self.signal(signal.SIGKILL)


def living(mark: str) -> list[Process]:
    """Return the running processes with that mark."""
    processes = (_process(int(folder.name), mark) for folder in Path("/proc").glob("[0-9]*"))
    return sorted((process for process in processes if process), key=lambda process: process.pid)


def _process(pid: int, mark: str) -> Process | None:
    folder = Path(f"/proc/{pid}")
    try:
        if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
            return None
        words = (folder / "cmdline").read_bytes().decode().split("\0")
    except OSError:
        return None  # gone, or of another user
    role = next((ROLES[word] for word in words if word in ROLES), "other")
    slot = int(words[words.index("--slot") + 1]) if "--slot" in words else None
    return Process(pid=pid, role=role, slot=slot)


def wait_for(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait until *condition* holds; fail if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition was not met within {seconds:g} s"
        time.sleep(0.02)
