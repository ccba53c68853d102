"""The heartbeat of a running job: it tells how far the job is, and ends it when it must end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from lipwright.errors import Cancelled, LipwrightError
from lipwright.jobs.model import Stage
from lipwright.progress import CancelToken, Progress

RENDER = (0.02, 0.98)  # where rendering begins and ends in the whole job; fetching goes before
SURE = 0.02  # of the rendering: before that, the time left is a guess

_log = logging.getLogger(__name__)


class Reason(StrEnum):
    """Why a job was ended from outside."""

    TIMED_OUT = "timed_out"
    LOST = "lost"  #: another worker has it now
    STOPPED = "stopped"  #: this worker is to end


class Pulse:
    """Beats from a thread of its own while a job runs; a context manager."""

    def __init__(
        self,
        beat: Callable[[Stage], bool],
        *,
        every: float,
        timeout: float,
        on_end: Callable[[], None],
    ) -> None:
        """Prepare to beat.

        Args:
            beat: tells the ledger; False when the claim is lost.
            every: seconds between beats.
            timeout: seconds that the job may take.
            on_end: called once, from any thread, when the job must end; `token` is set before.
        """
        self._beat, self._every, self._on_end = beat, every, on_end
        self._deadline = time.monotonic() + timeout
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._stage = Stage()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self.token = CancelToken()  #: for what can be cancelled
        self.reason: Reason | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def show(self, stage: Stage) -> None:
        """Set what the next beat tells."""
        self._stage = stage

    def end(self, reason: Reason) -> None:
        """End the job; the first reason stays."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
        self.token.cancel()
        self._on_end()

    def check(self) -> None:
        """Go on only while the job may.

        Raises:
            Cancelled: it must end; `reason` says why.
        """
        if self.reason is not None:
            raise Cancelled(self.reason)

    def confirm(self) -> None:
        """Beat now, and go on only if the job is still ours.

        Raises:
            Cancelled: it must end; `reason` says why.
        """
        if not self._beat(self._stage):
            self.end(Reason.LOST)
        self.check()

    def _run(self) -> None:
        while not self._over.wait(max(0.0, min(self._every, self._deadline - time.monotonic()))):
            if time.monotonic() >= self._deadline:
                self.end(Reason.TIMED_OUT)
                return
            self._tell()

    def _tell(self) -> None:
        try:
            if not self._beat(self._stage):
                self.end(Reason.LOST)
        except LipwrightError as error:
            _log.warning("a heartbeat was not written: %s", error)


class Meter:
    """Turns progress into a stage with speed and time left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._name, self._entered = "", self._began

    def stage(self, progress: Progress) -> Stage:
        """Return what the ledger is told about a moment of rendering."""
        now = self._clock()
        if progress.stage != self._name:
            self._name, self._entered = progress.stage, now
        begin, end = RENDER
        return Stage(
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            fraction=round(begin + (end - begin) * progress.fraction, 4),
            fps=_speed(progress.done, now - self._entered),
            seconds_left=_left(progress.fraction, now - self._began),
        )


def _speed(done: int, seconds: float) -> float | None:
    return round(done / seconds, 2) if done and seconds > 0 else None


def _left(fraction: float, seconds: float) -> float | None:
    return round(seconds * (1 - fraction) / fraction, 1) if fraction >= SURE else None
