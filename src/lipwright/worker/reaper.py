"""Hands the jobs of dead and silent workers on to living ones.

A dead slot of this machine is known at once: nobody holds its lock. A silent one, on whatever
machine, is known by its missing heartbeats; should it wake up, the ledger refuses what it says.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from lipwright.errors import LipwrightError, QueueUnavailable, WorkerDied
from lipwright.jobs.model import Failure, Job, Ledger
from lipwright.worker.slot import LOCKS, Slot, locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipwright.settings import Settings

LOCK = "reaper"  # one of all workers of a machine looks
LOOKS_PER_LEASE = 3

_log = logging.getLogger(__name__)


class Recovers(Protocol):
    """What brings the work of dead executors back; see `lipwright.jobs.queue.Executor`."""

    def owners(self) -> set[str]:
        """Return the names of the executors that have unfinished work."""
        ...

    def recover(self, names: Sequence[str]) -> None:
        """Put the work of dead executors back into the queue."""


class Reaper:
    """Looks now and then, from a thread of its own; a context manager."""

    def __init__(
        self, *, ledger: Ledger, executor: Recovers, slot: Slot, settings: Settings
    ) -> None:
        self._ledger, self._executor, self._slot = ledger, executor, slot
        self._lease, self._attempts = settings.lease_seconds, settings.max_attempts
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

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

    def _run(self) -> None:
        while not self._over.wait(self._lease / LOOKS_PER_LEASE):
            try:
                self.look()
            except LipwrightError as error:
                _log.warning("the reaper could not look: %s", error)
            except Exception:  # a thread that ended would leave abandoned jobs for ever
                _log.exception("the reaper could not look")

    def look(self) -> None:
        """Hand on what is abandoned now; nothing while another worker of this machine looks."""
        try:
            with locked(self._slot.data_dir, LOCK):
                self._hand_on_dead_slots()
                for job in self._ledger.stale(self._lease):
                    self._hand_on(job)
        except QueueUnavailable as error:
            _log.debug("not looking: %s", error)

    def _hand_on_dead_slots(self) -> None:
        for name in sorted(self._executor.owners() - {self._slot.name}):
            if not _lock_of(self._slot.data_dir, name).exists():
                continue  # of another machine: its heartbeats tell
            try:
                # Held meanwhile, so that the slot cannot come to life and begin anew in between.
                with locked(self._slot.data_dir, name):
                    self._executor.recover([name])
                    _log.warning("slot %s is dead: its work is handed on", name)
            except QueueUnavailable:
                continue  # it lives

    def _hand_on(self, job: Job) -> None:
        _log.warning("job has no heartbeat", extra={"request_id": job.id, "worker": job.worker})
        died = WorkerDied(f"no heartbeat of its worker for {self._lease:g} seconds")
        failure = Failure(code=died.code, message=str(died))
        if job.attempts > self._attempts:
            self._ledger.finish(job.id, job.epoch, output=None, failure=failure)
        else:
            self._ledger.retry(job.id, job.epoch, failure, 0.0)


def _lock_of(data_dir: Path, name: str) -> Path:
    return data_dir / LOCKS / name
