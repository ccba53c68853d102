"""A slot of this machine: its name, its lock, its folder. One process lives in it at a time."""

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

from lipwright.errors import QueueUnavailable
from lipwright.storage.secret import keep_secret

LOCKS, WORK, NODE = "locks", "work", "node"  # in the data folder
LOOK_SECONDS = 0.05  # between looks at a lock that another process holds


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One of the jobs that run at once."""

    data_dir: Path
    number: int  #: from 0

    @property
    def name(self) -> str:
        """Its name in the queue, the same after each restart, and no other machine's."""
        return f"{node_of(self.data_dir)}-{self.number}"

    @property
    def folder(self) -> Path:
        """Where its jobs keep their files while they run."""
        return self.data_dir / WORK / f"slot-{self.number}"

    def cleared(self) -> Path:
        """Return the folder, empty: what a killed process left there is gone."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder

    @contextmanager
    def held(self, wait_seconds: float = 0.0) -> Iterator[None]:
        """Hold the slot; the lock goes when the process does, however it ends.

        Raises:
            QueueUnavailable: another process holds it.
        """
        with locked(self.data_dir, self.name, wait_seconds):
            yield


def node_of(data_dir: Path) -> str:
    """Return the name of the machine that a data folder belongs to; made once, kept in it."""
    return keep_secret(data_dir / NODE, lambda: secrets.token_hex(16).encode()).decode()[:12]


@contextmanager
def locked(data_dir: Path, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock called *name*, waiting for it so long.

    Raises:
        QueueUnavailable: another process holds it.
    """
    folder = data_dir / LOCKS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not inherited by child processes: a lock must not outlive the process that took it.
    handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(handle, name, time.monotonic() + wait_seconds)
        yield
    finally:
        os.close(handle)


def _take(handle: int, name: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as cause:
            if time.monotonic() >= deadline:
                raise QueueUnavailable(
                    f"another process works as {name}: end it, or use another data_dir"
                ) from cause
            time.sleep(LOOK_SECONDS)
