"""Keeps one worker process per slot alive, and ends them in good order."""

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

COMMAND = (sys.executable, "-m", "lipwright.worker.run")
PAUSES = (0.2, 30.0)  # seconds before a dead worker is replaced: the first, the longest
STEADY_SECONDS = 60.0  # a worker that lived so long has not failed at once
STOP_SECONDS = 10.0  # for a worker that was told to stop; then it is killed

_log = logging.getLogger(__name__)


class Supervisor:
    """The worker processes of all slots; a context manager that stops them at its end.

    A worker lives only as long as the process that made it: it notices the end of its stdin.
    """

    def __init__(self, settings: Settings, *, command: Sequence[str] = COMMAND) -> None:
        self._keepers = [
            _Keeper(number, settings=settings, command=command) for number in range(settings.slots)
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
        """Start a worker in every slot, and replace whichever dies."""
        for keeper in self._keepers:
            keeper.start()

    def drain(self) -> None:
        """Let running jobs finish and take no others; returns at once."""
        for keeper in self._keepers:
            keeper.drain()

    def stop(self) -> None:
        """Let running jobs go back to the queue at once; returns at once."""
        for keeper in self._keepers:
            keeper.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all workers have ended; return whether that is so."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for keeper in self._keepers:
            keeper.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(keeper.is_alive() for keeper in self._keepers)

    def alive(self) -> Mapping[str, bool]:
        """Say of each slot whether its worker lives."""
        return {keeper.name: keeper.pid is not None for keeper in self._keepers}

    def pids(self) -> Mapping[str, int | None]:
        """Return the process of each slot's worker, None where there is none now."""
        return {keeper.name: keeper.pid for keeper in self._keepers}


class _Keeper(threading.Thread):
    """Keeps one slot's worker alive."""

    def __init__(self, number: int, *, settings: Settings, command: Sequence[str]) -> None:
        super().__init__(name=f"slot-{number}", daemon=True)
        self._command = (*command, "--slot", str(number), "--held")
        self._settings = settings
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        worker = self._worker
        return worker.pid if worker is not None and worker.poll() is None else None

    def run(self) -> None:
        """Replace the worker until told to end."""
        failures = 0
        while not self._ending.is_set():
            began = time.monotonic()
            status = self._live()
            if self._ending.is_set():
                break
            failures = 0 if time.monotonic() - began > STEADY_SECONDS else failures + 1
            pause = pause_after(failures)
            _log.error(
                "the worker of %s ended with status %s; another one starts in %g s",
                self.name,
                status,
                pause,
                extra={"action": "worker_died", "slot": self.name},
            )
            self._ending.wait(pause)

    def drain(self) -> None:
        with self._lock:
            self._ending.set()
            if self._worker is not None:
                self._worker.terminate()
                self._kill_after(self._settings.drain_seconds + STOP_SECONDS)

    def stop(self) -> None:
        with self._lock:
            self._ending.set()
            if self._worker is not None:
                _let_go(self._worker)
                self._kill_after(STOP_SECONDS)

    def _live(self) -> int | str:
        """Run one worker to its end."""
        try:
            with self._lock:
                if self._ending.is_set():
                    return 0
                self._worker = worker = _start(self._command, self._settings)
        except OSError as error:
            return f"{error.strerror} (it could not be started)"
        status = worker.wait()
        _let_go(worker)
        return status

    def _kill_after(self, seconds: float) -> None:
        assert self._worker is not None
        timer = threading.Timer(seconds, self._worker.kill)
        timer.daemon = True
        timer.start()


def pause_after(failures: int) -> float:
    """Return how many seconds to wait after so many early deaths in a row."""
    first, longest = PAUSES
    return float(min(first * 2 ** max(0, failures - 1), longest))


def _start(command: Sequence[str], settings: Settings) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in a terminal reaches the supervisor only, which then decides.
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    assert worker.stdin is not None
    try:
        # By pipe, not by argument or environment: others may read those, and there are secrets.
        worker.stdin.write(settings.model_dump_json().encode() + b"\n")
        worker.stdin.flush()
    except BrokenPipeError:
        _log.debug("worker %d ended before it read its settings", worker.pid)
    return worker


def _let_go(worker: subprocess.Popen[bytes]) -> None:
    """Close a worker's stdin: it stops."""
    assert worker.stdin is not None
    try:
        worker.stdin.close()
    except BrokenPipeError:
        _log.debug("worker %d had ended before", worker.pid)
