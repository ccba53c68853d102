"""Progress of a job, and the wish to end it."""

from __future__ import annotations

import threading
from collections.abc import Callable
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
