"""Deletes expired jobs and uploads: first files, then queue records, then the row that names them.

In this order nothing is lost track of if the process dies in between: the next round finds the row
again. Each round also releases held jobs that may run since a limit was raised.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lipwright.errors import LipwrightError
from lipwright.jobs.ledger.base import Ledger, Uploads
from lipwright.jobs.model import Job, Upload
from lipwright.storage.base import Storage

BATCH = 100  # rows read at once

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """How many jobs and uploads one round deleted."""

    jobs: int = 0
    uploads: int = 0


def job_prefix(job_id: str) -> str:
    """Return the storage prefix of a job's files."""
    return f"jobs/{job_id}/"


def upload_blob_name(file_id: str) -> str:
    """Return the storage name of an upload."""
    return f"uploads/{file_id}"


def work_ids(job: Job) -> list[str]:
    """Return the ids of all work items that a job may have had in the queue."""
    return [f"{job.id}:{epoch}" for epoch in range(job.epoch + 1)]


class Sweeper:
    """Deletes expired jobs and uploads in rounds.

    Args:
        ledger: the jobs.
        uploads: the uploads.
        storage: the files of both.
        delete_work: deletes the work queue's records of work items, by `Job.work_id`.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        uploads: Uploads,
        storage: Storage,
        delete_work: Callable[[Iterable[str]], None],
    ) -> None:
        self._ledger = ledger
        self._uploads = uploads
        self._storage = storage
        self._delete_work = delete_work

    def run(self, stop: threading.Event, interval_seconds: float) -> None:
        """Sweep every *interval_seconds* until *stop* is set; a failed round is logged."""
        while not stop.is_set():
            try:
                self.sweep()
            except Exception as error:  # the loop must survive any failure
                _log.warning(
                    "sweeping failed: %s; trying again later",
                    error,
                    exc_info=not isinstance(error, LipwrightError),
                )
            stop.wait(interval_seconds)

    def sweep(self) -> SweepResult:
        """Delete all expired jobs and uploads.

        Raises:
            PublishFailed: the storage cannot delete a file; the rest of the round is skipped.
            QueueUnavailable: the database is locked or unreachable.
        """
        self._ledger.release_held()
        jobs = uploads = 0
        while batch := self._ledger.list_expired(BATCH):
            self._delete_jobs(batch)
            jobs += len(batch)
        while expired := self._uploads.claim_expired(BATCH):
            self._delete_uploads(expired)
            uploads += len(expired)
        if jobs or uploads:
            _log.info("deleted %d expired jobs and %d expired uploads", jobs, uploads)
        return SweepResult(jobs=jobs, uploads=uploads)

    def _delete_jobs(self, jobs: Iterable[Job]) -> None:
        jobs = list(jobs)
        for job in jobs:
            self._storage.delete(job_prefix(job.id))
        self._delete_work([work_id for job in jobs for work_id in work_ids(job)])
        for job in jobs:
            self._ledger.purge(job.id)

    def _delete_uploads(self, uploads: Iterable[Upload]) -> None:
        for upload in uploads:
            self._storage.delete(upload_blob_name(upload.id))
            self._uploads.delete(upload.id)
