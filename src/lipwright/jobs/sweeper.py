"""Removes what has expired: first files, then what the queue keeps, then the row that names them.

In this order nothing is left behind by whoever dies in between: the row is found again. Each round
also lets jobs go that may run since a limit has grown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lipwright.errors import LipwrightError
from lipwright.jobs.model import Job, Ledger, Upload, Uploads
from lipwright.storage.base import Storage

BATCH = 100  # rows read at once

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What one round removed."""

    jobs: int = 0
    uploads: int = 0


def job_files(job_id: str) -> str:
    """Return the prefix of a job's files in storage."""
    return f"jobs/{job_id}/"


def upload_file(file_id: str) -> str:
    """Return the name of an upload in storage."""
    return f"uploads/{file_id}"


def work_ids(job: Job) -> list[str]:
    """Return the names of all pieces of work that a job may have had in the queue."""
    return [f"{job.id}:{epoch}" for epoch in range(job.epoch + 1)]


class Sweeper:
    """Sweeps in rounds until it is told to stop.

    Args:
        forget_work: deletes what the work queue keeps of pieces of work, by `Job.work_id`.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        uploads: Uploads,
        storage: Storage,
        forget_work: Callable[[Iterable[str]], None],
    ) -> None:
        self._ledger = ledger
        self._uploads = uploads
        self._storage = storage
        self._forget_work = forget_work

    def run(self, stop: threading.Event, every_seconds: float) -> None:
        """Sweep now and then; a round that fails is logged, and the next one tries again."""
        while not stop.is_set():
            try:
                self.sweep()
            except Exception as error:  # whatever it is, the next round comes
                _log.warning(
                    "expired things are not removed: %s; trying again later",
                    error,
                    exc_info=not isinstance(error, LipwrightError),
                )
            stop.wait(every_seconds)

    def sweep(self) -> Swept:
        """Remove all that has expired.

        Raises:
            PublishFailed: the storage does not let go of a file; what follows waits too.
            QueueUnavailable: the database is locked or away.
        """
        self._ledger.release()
        jobs = uploads = 0
        while batch := self._ledger.expired(BATCH):
            self._remove_jobs(batch)
            jobs += len(batch)
        while files := self._uploads.expired(BATCH):
            self._remove_uploads(files)
            uploads += len(files)
        if jobs or uploads:
            _log.info("removed %d expired jobs and %d expired uploads", jobs, uploads)
        return Swept(jobs=jobs, uploads=uploads)

    def _remove_jobs(self, jobs: Iterable[Job]) -> None:
        jobs = list(jobs)
        for job in jobs:
            self._storage.delete(job_files(job.id))
        self._forget_work([name for job in jobs for name in work_ids(job)])
        for job in jobs:
            self._ledger.forget(job.id)

    def _remove_uploads(self, uploads: Iterable[Upload]) -> None:
        for upload in uploads:
            self._storage.delete(upload_file(upload.id))
            self._uploads.drop(upload.id)
