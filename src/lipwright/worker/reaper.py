"""Requeues the jobs of dead and silent workers.

A dead slot of this machine is detected at once, because nobody holds its lock. A silent worker on
any machine is detected by its missing heartbeats; if it resumes, the ledger refuses its updates.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from lipwright.errors import Busy, LipwrightError, WorkerDied
from lipwright.jobs.ledger.base import Ledger
from lipwright.jobs.model import Failure, Job
from lipwright.worker.slot import LOCKS, Slot, file_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lipwright.settings import Settings

LOCK = "reaper"  # held by the one worker of a machine that runs a round
ROUNDS_PER_LEASE = 3

_log = logging.getLogger(__name__)


class RecoversWork(Protocol):
    """Recovers the work of dead executors; see `lipwright.jobs.queue.Executor`."""

    def pending_executors(self) -> set[str]:
        """Return the names of the executors that have unfinished work."""
        ...

    def recover(self, names: Sequence[str]) -> None:
        """Put the unfinished work of dead executors back into the queue."""


class Reaper:
    """Requeues abandoned jobs in rounds, from its own thread; a context manager."""

    def __init__(
        self, *, ledger: Ledger, executor: RecoversWork, slot: Slot, settings: Settings
    ) -> None:
        self._ledger, self._executor, self._slot = ledger, executor, slot
        self._lease, self._max_attempts = settings.lease_seconds, settings.max_attempts
        self._stopped = threading.Event()
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
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._lease / ROUNDS_PER_LEASE):
            try:
                self.run_round()
            except LipwrightError as error:
                _log.warning("the reaper failed: %s", error)
            except Exception:  # if the thread ended, abandoned jobs would never be requeued
                _log.exception("the reaper failed")

    def run_round(self) -> None:
        """Requeue what is abandoned now; skip the round if another worker here runs one."""
        try:
            with file_lock(self._slot.data_dir, LOCK):
                self._recover_dead_slots()
                for job in self._ledger.list_stale(self._lease):
                    self._requeue(job)
        except Busy as error:
            _log.debug("reaper round skipped: %s", error)

    def _recover_dead_slots(self) -> None:
        for name in sorted(self._executor.pending_executors() - {self._slot.name}):
            if not _lock_path(self._slot.data_dir, name).exists():
                continue  # of another machine: detected by its heartbeats
            try:
                # The lock is held meanwhile, so that the slot cannot start again in between.
                with file_lock(self._slot.data_dir, name):
                    self._executor.recover([name])
                    _log.warning("slot %s is dead; its work was requeued", name)
            except Busy:
                continue  # it is alive

    def _requeue(self, job: Job) -> None:
        extra = {"job_id": job.id, "worker": job.worker}
        _log.warning("the job has no heartbeat; it is requeued", extra=extra)
        error = WorkerDied(f"its worker sent no heartbeat for {self._lease:g} seconds")
        failure = Failure(code=error.code, message=str(error))
        if job.attempts > self._max_attempts:
            self._ledger.finish(job.id, job.epoch, output=None, failure=failure)
        else:
            self._ledger.retry(job.id, job.epoch, failure, 0.0)


def _lock_path(data_dir: Path, name: str) -> Path:
    return data_dir / LOCKS / name
