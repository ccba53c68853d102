"""A slot of this machine: its name, lock and workspace. One worker process runs in it at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lipwright.errors import Busy
from lipwright.storage.secrets import load_or_create_secret

LOCKS, WORK, NODE = "locks", "work", "node"  # in the data folder
RETRY_SECONDS = 0.05  # between attempts to take a lock that another process holds


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Capacity for one running job."""

    data_dir: Path
    number: int  #: from 0

    @property
    def name(self) -> str:
        """Its name in the queue: the same after each restart, and different on each machine."""
        return f"{machine_id(self.data_dir)}-{self.number}"

    @property
    def workspace(self) -> Path:
        """The folder for the files of running jobs."""
        return self.data_dir / WORK / f"slot-{self.number}"

    def clear_workspace(self) -> Path:
        """Empty the workspace of what a killed process left there, and return it."""
        shutil.rmtree(self.workspace, ignore_errors=True)
        self.workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.workspace

    @contextmanager
    def lock(self, wait_seconds: float = 0.0) -> Iterator[None]:
        """Hold the slot; the lock ends with the process, however it ends.

        Raises:
            Busy: another process holds it.
        """
        with file_lock(self.data_dir, self.name, wait_seconds):
            yield


def machine_id(data_dir: Path) -> str:
    """Return the id of the machine that a data folder belongs to; created on first use."""
    secret = load_or_create_secret(data_dir / NODE, lambda: secrets.token_hex(16).encode())
    return secret.decode()[:12]


@contextmanager
def file_lock(data_dir: Path, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock called *name*; wait for it up to *wait_seconds*.

    Raises:
        Busy: another process holds it.
    """
    folder = data_dir / LOCKS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not inherited by child processes: a lock must not outlive the process that took it.
    handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(handle, name, time.monotonic() + wait_seconds)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, name: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as cause:
            if time.monotonic() >= deadline:
                raise Busy(
                    f"another process holds the lock {name}: end it, or use another data_dir"
                ) from cause
            time.sleep(RETRY_SECONDS)
