"""The heartbeat of a running job: it reports progress and aborts the job when it has to end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from lipwright.errors import Cancelled, LipwrightError
from lipwright.jobs.model import JobProgress
from lipwright.progress import CancelToken, Progress

RENDER_RANGE = (0.02, 0.98)  # start and end of rendering within the whole job, after fetching
MIN_FRACTION = 0.02  # of the rendering; below it no remaining time is estimated

_log = logging.getLogger(__name__)


class AbortReason(StrEnum):
    """Why a job was aborted."""

    TIMED_OUT = "timed_out"
    LOST = "lost"  #: another worker has claimed it
    STOPPED = "stopped"  #: this worker is stopping


class Heartbeat:
    """Sends heartbeats from its own thread while a job runs; a context manager."""

    def __init__(
        self,
        send: Callable[[JobProgress], bool],
        *,
        interval: float,
        timeout: float,
        on_abort: Callable[[], None],
    ) -> None:
        """Create a heartbeat.

        Args:
            send: writes a heartbeat to the ledger; returns False if the claim is lost.
            interval: seconds between heartbeats.
            timeout: seconds that the job may take.
            on_abort: called once, from any thread, when the job is aborted; `cancel_token` is
                cancelled before.
        """
        self._send, self._interval, self._on_abort = send, interval, on_abort
        self._deadline = time.monotonic() + timeout
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._progress = JobProgress()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.cancel_token = CancelToken()  #: for operations that can be cancelled
        self.reason: AbortReason | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def set_progress(self, progress: JobProgress) -> None:
        """Set the progress that the next heartbeat reports."""
        self._progress = progress

    def abort(self, reason: AbortReason) -> None:
        """Abort the job; only the first reason is kept."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
        self.cancel_token.cancel()
        self._on_abort()

    def raise_if_aborted(self) -> None:
        """Raise if the job was aborted.

        Raises:
            Cancelled: it was; `reason` says why.
        """
        if self.reason is not None:
            raise Cancelled(self.reason)

    def confirm_claim(self) -> None:
        """Send a heartbeat now, and raise if the claim is lost or the job was aborted.

        Raises:
            Cancelled: the job must end; `reason` says why.
        """
        if not self._send(self._progress):
            self.abort(AbortReason.LOST)
        self.raise_if_aborted()

    def _run(self) -> None:
        while not self._stopped.wait(
            max(0.0, min(self._interval, self._deadline - time.monotonic()))
        ):
            if time.monotonic() >= self._deadline:
                self.abort(AbortReason.TIMED_OUT)
                return
            self._try_send()

    def _try_send(self) -> None:
        try:
            if not self._send(self._progress):
                self.abort(AbortReason.LOST)
        except LipwrightError as error:
            _log.warning("a heartbeat was not written: %s", error)


class ProgressMeter:
    """Converts rendering progress into job progress with speed and remaining time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._stage, self._stage_started_at = "", self._started_at

    def job_progress(self, progress: Progress) -> JobProgress:
        """Return the progress of the whole job, given that of its rendering."""
        now = self._clock()
        if progress.stage != self._stage:
            self._stage, self._stage_started_at = progress.stage, now
        start, end = RENDER_RANGE
        return JobProgress(
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            fraction=round(start + (end - start) * progress.fraction, 4),
            fps=_frames_per_second(progress.done, now - self._stage_started_at),
            seconds_left=_seconds_left(progress.fraction, now - self._started_at),
        )


def _frames_per_second(frames: int, seconds: float) -> float | None:
    return round(frames / seconds, 2) if frames and seconds > 0 else None


def _seconds_left(fraction: float, seconds: float) -> float | None:
    return round(seconds * (1 - fraction) / fraction, 1) if fraction >= MIN_FRACTION else None
