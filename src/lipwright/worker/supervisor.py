"""Keeps one worker process per slot running, restarts dead ones and shuts them down."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lipwright.settings import Settings

COMMAND = (sys.executable, "-P", "-m", "lipwright.worker.main")  # -P: nothing from this folder
RESTART_DELAYS = (0.2, 30.0)  # seconds before a dead worker is restarted: first, longest
STABLE_SECONDS = 60.0  # a worker that ran this long resets the restart delay
STOP_SECONDS = 10.0  # for a worker to stop before it is killed

_log = logging.getLogger(__name__)


class Supervisor:
    """Runs the worker processes of all slots; a context manager that stops them at its end.

    A worker does not outlive the process that started it: it stops when its stdin ends.
    """

    def __init__(self, settings: Settings, *, command: Sequence[str] = COMMAND) -> None:
        self._slots = [
            _SlotSupervisor(number, settings=settings, command=command)
            for number in range(settings.slots)
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.join()

    def start(self) -> None:
        """Start a worker in every slot, and restart those that die."""
        for slot in self._slots:
            slot.start()

    def drain(self) -> None:
        """Tell workers to finish running jobs and take no others; return at once."""
        for slot in self._slots:
            slot.drain()

    def stop(self) -> None:
        """Tell workers to give running jobs back and exit; return at once."""
        for slot in self._slots:
            slot.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all workers have ended; return False if some still run after *timeout*."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for slot in self._slots:
            slot.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(slot.is_alive() for slot in self._slots)

    def alive(self) -> Mapping[str, bool]:
        """Return whether the worker of each slot is running."""
        return {slot.name: slot.pid is not None for slot in self._slots}

    def pids(self) -> Mapping[str, int | None]:
        """Return the process id of each slot's worker, None if it is not running."""
        return {slot.name: slot.pid for slot in self._slots}


class _SlotSupervisor(threading.Thread):
    """Keeps the worker of one slot running."""

    def __init__(self, number: int, *, settings: Settings, command: Sequence[str]) -> None:
        super().__init__(name=f"slot-{number}", daemon=True)
        self._command = (*command, "--slot", str(number), "--supervised")
        self._settings = settings
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        worker = self._worker
        return worker.pid if worker is not None and worker.poll() is None else None

    def run(self) -> None:
        """Restart the worker until told to stop."""
        failures = 0
        while not self._stopping.is_set():
            started_at = time.monotonic()
            status = self._run_worker()
            if self._stopping.is_set():
                break
            failures = 0 if time.monotonic() - started_at > STABLE_SECONDS else failures + 1
            delay = restart_delay(failures)
            _log.error(
                "the worker of %s exited with status %s; it restarts in %g s",
                self.name,
                status,
                delay,
                extra={"action": "worker_died", "slot": self.name},
            )
            self._stopping.wait(delay)

    def drain(self) -> None:
        with self._lock:
            self._stopping.set()
            if self._worker is not None:
                self._worker.terminate()
                self._kill_after(self._settings.drain_seconds + STOP_SECONDS)

    def stop(self) -> None:
        with self._lock:
            self._stopping.set()
            if self._worker is not None:
                _close_stdin(self._worker)
                self._kill_after(STOP_SECONDS)

    def _run_worker(self) -> int | str:
        """Run one worker until it exits; return its status."""
        try:
            with self._lock:
                if self._stopping.is_set():
                    return 0
                self._worker = worker = _start(self._command, self._settings)
        except OSError as error:
            return f"{error.strerror} (could not be started)"
        status = worker.wait()
        _close_stdin(worker)
        return status

    def _kill_after(self, seconds: float) -> None:
        assert self._worker is not None
        timer = threading.Timer(seconds, self._worker.kill)
        timer.daemon = True
        timer.start()


def restart_delay(failures: int) -> float:
    """Return the delay in seconds after a number of early failures in a row."""
    first, longest = RESTART_DELAYS
    return float(min(first * 2 ** max(0, failures - 1), longest))


def _start(command: Sequence[str], settings: Settings) -> subprocess.Popen[bytes]:
    # In its own session: Ctrl-C in a terminal then reaches only the supervisor, which decides.
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    assert worker.stdin is not None
    try:
        # By pipe: arguments and environment are visible to others, and the settings hold secrets.
        worker.stdin.write(settings.model_dump_json().encode() + b"\n")
        worker.stdin.flush()
    except BrokenPipeError:
        _log.debug("worker %d exited before it read its settings", worker.pid)
    return worker


def _close_stdin(worker: subprocess.Popen[bytes]) -> None:
    """Close a worker's stdin, which tells it to stop."""
    assert worker.stdin is not None
    try:
        worker.stdin.close()
    except BrokenPipeError:
        _log.debug("worker %d had already exited", worker.pid)
