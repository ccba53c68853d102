"""Progress and cancellation of a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lipwright.errors import Cancelled


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a running job."""

    stage: str  #: ``track``, ``hear``, ``study`` or ``paint``
    done: int  #: finished frames of this stage
    total: int | None  #: frames of this stage; None: not known
    fraction: float  #: 0 to 1 over the whole job, never falls


OnProgress = Callable[[Progress], None]

# Where each stage starts and ends in the whole job.
STAGES = {"track": (0.0, 0.3), "hear": (0.3, 0.35), "study": (0.35, 0.45), "paint": (0.45, 1.0)}
REPORT_FRAMES = 5  # frames between two reports and checks for cancellation


class CancelToken:
    """Cancels a job from any thread; the job ends at its next frame."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Request the end of the job."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether the end was requested."""
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise if the end was requested.

        Raises:
            Cancelled: it was.
        """
        if self._event.is_set():
            raise Cancelled


class ProgressReporter:
    """Reports the progress of a job, checks for cancellation, and times the stages."""

    def __init__(
        self, on_progress: OnProgress | None = None, cancel: CancelToken | None = None
    ) -> None:
        self._on_progress, self._cancel = on_progress, cancel
        self._stage = ""
        self._total: int | None = None
        self.timings: dict[str, float] = {}  #: seconds by stage

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[None]:
        """Time a stage of :data:`STAGES` with *total* frames, if known.

        Raises:
            Cancelled: the end was requested.
        """
        self._stage, self._total = name, total
        start = time.perf_counter()
        self._report(0, total)
        yield
        self.timings[name] = round(time.perf_counter() - start, 3)

    def frame(self, done: int, total: int | None = None) -> None:
        """Count *done* frames of the stage; every few frames are reported.

        Raises:
            Cancelled: the end was requested.
        """
        if done % REPORT_FRAMES == 0 or done == (total or self._total):
            self._report(done, total or self._total)

    def update(self, done: int, total: int) -> None:
        """Report *done* of *total* frames now.

        Raises:
            Cancelled: the end was requested.
        """
        self._report(done, total)

    def _report(self, done: int, total: int | None) -> None:
        if self._cancel is not None:
            self._cancel.raise_if_cancelled()
        if self._on_progress is not None:
            part = min(done / total, 1.0) if total else 0.0
            start, end = STAGES[self._stage]
            fraction = start + (end - start) * part
            self._on_progress(
                Progress(stage=self._stage, done=done, total=total, fraction=fraction)
            )
