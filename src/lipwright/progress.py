"""Progress of a job, and the wish to end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lipwright.errors import Cancelled


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One moment of a running job."""

    stage: str  #: ``track``, ``hear``, ``study`` or ``paint``
    done: int  #: frames finished in this stage
    total: int | None  #: frames of this stage, None when not known
    fraction: float  #: 0 to 1 over the whole job, never falls


OnProgress = Callable[[Progress], None]

# Where each stage begins and ends in the whole, for progress.
STAGES = {"track": (0.0, 0.3), "hear": (0.3, 0.35), "study": (0.35, 0.45), "paint": (0.45, 1.0)}
REPORT_FRAMES = 5  # progress and cancel are looked at this often


class CancelToken:
    """Set from any thread; the job ends at its next frame."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the job to end."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise when the end was asked for.

        Raises:
            Cancelled: the end was asked for.
        """
        if self._event.is_set():
            raise Cancelled


class ProgressReporter:
    """Tells the caller how far a job is, hears when to end it, and times its stages."""

    def __init__(self, on_progress: OnProgress | None, cancel: CancelToken | None) -> None:
        self._tell, self._cancel = on_progress, cancel
        self._stage = ""
        self._total: int | None = None
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[None]:
        """Time a stage of :data:`STAGES`, of *total* frames if that is known.

        Raises:
            Cancelled: the end was asked for.
        """
        self._stage, self._total = name, total
        began = time.perf_counter()
        self._report(0, total)
        yield
        self.timings[name] = round(time.perf_counter() - began, 3)

    def frame(self, done: int, of: int | None = None) -> None:
        """Note that so many frames of the stage are done.

        Raises:
            Cancelled: the end was asked for.
        """
        if done % REPORT_FRAMES == 0 or done == (of or self._total):
            self._report(done, of or self._total)

    def at(self, done: int, of: int) -> None:
        """Note how far a stage is that others work on, whenever one looks.

        Raises:
            Cancelled: the end was asked for.
        """
        self._report(done, of)

    def _report(self, done: int, total: int | None) -> None:
        if self._cancel is not None:
            self._cancel.raise_if_cancelled()
        if self._tell is not None:
            part = min(done / total, 1.0) if total else 0.0
            begin, end = STAGES[self._stage]
            fraction = begin + (end - begin) * part
            self._tell(Progress(stage=self._stage, done=done, total=total, fraction=fraction))
